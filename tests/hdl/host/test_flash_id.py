"""The ID of a flash chip: read from a model of the chip, which may be asleep, lose clocks, or have no ID."""

import pytest
from amaranth.sim import Simulator
from harness.flash import Flash
from harness.mutations import mutated

from spikeloom.hdl.host import flash_id

ID = 0xD3_69_10_2C_87_4F_5A_E1


def read(flash, module=flash_id):
    """What the reader has found: the ID, None if there is none, and False if it has not ended."""
    reader = module.FlashId(half_cycles=4)
    simulator = Simulator(reader)
    simulator.add_clock(1e-8)
    found = []

    async def wait(ctx):
        for _ in range(3000):
            await ctx.tick()
            if ctx.get(reader.is_done):
                break
        else:
            found.append(False)
            return
        await ctx.tick()
        found.append(ctx.get(reader.number) if ctx.get(reader.is_found) else None)
        before = flash.clocks
        await ctx.tick().repeat(200)
        assert flash.clocks == before, "the chip is left alone"
        assert not ctx.get(reader.flash_cs)

    simulator.add_testbench(flash.serve(reader), background=True)
    simulator.add_testbench(wait)
    simulator.run()
    return found[0]


@pytest.mark.parametrize("options", [{}, {"is_asleep": True}, {"lost_clocks": 3}, {"lost_clocks": 8}], ids=str)
def test_the_id(options):
    flash = Flash(ID, **options)
    assert read(flash) == ID
    assert flash.commands == ([0x4B] if options.get("lost_clocks") else [0xAB, 0x4B])


@pytest.mark.parametrize("level", [0, 1])
def test_a_chip_without_an_id(level):
    assert read(Flash(None, level=level)) is None


@pytest.mark.parametrize(
    "bug",
    [
        ("_WAKE, _READ_ID = 0xAB", "_WAKE, _READ_ID = 0x4B"),
        ("8 + 32 + ID_BITS", "8 + 24 + ID_BITS"),
        ("wakes.eq(0)", "wakes.eq(1)"),
        ("command.eq(command << 1)", "command.eq(command)"),
        ("self.number[:-1]", "self.number[1:]"),
    ],
)
def test_a_planted_bug_is_found(bug):
    assert read(Flash(ID, is_asleep=True), mutated(flash_id, *bug)) != ID
