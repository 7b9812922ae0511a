"""Control of the converters that supply I/O banks: the average of the pulses, and the order of the start."""

import itertools

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated

from spikeloom.hdl.tech import supply
from spikeloom.hdl.tech.supply import PULSE_BITS

SHARES = (0.0, 0.095, 0.672, 1.0)
PERIOD = 1 << PULSE_BITS


def traced(module=supply, *, cycles=3 * PERIOD):
    """The outputs in each cycle: pulses, enable, supply is good."""
    control = module.SupplyControl(SHARES, settle_cycles=100, start_cycles=30)
    found = []

    async def watch(ctx):
        outputs = control.pulses, control.enable, control.is_good
        async for _, _, *values in ctx.tick().sample(*outputs):
            found.append(values)
            if len(found) == cycles:
                return

    simulator = Simulator(control)
    simulator.add_clock(1e-8)
    simulator.add_testbench(watch)
    simulator.run()
    return found


def test_the_average_of_the_pulses():
    found = traced()
    for number, share in enumerate(SHARES):
        high = [pulses >> number & 1 for pulses, _, _ in found[1 : 1 + PERIOD]]
        assert sum(high) == round(share * PERIOD)
        assert sum(before != after for before, after in itertools.pairwise(high)) <= 1
        assert high == [pulses >> number & 1 for pulses, _, _ in found[1 + PERIOD : 1 + 2 * PERIOD]]


def test_the_order_of_the_start():
    """The filters settle, the converters start, and the supply stays."""
    found = traced()
    enabled, good = ([row[place] for row in found] for place in (1, 2))
    assert enabled == [0] * 101 + [1] * (len(found) - 101)
    assert good == [0] * 131 + [1] * (len(found) - 131)


@pytest.mark.parametrize(
    "bug",
    [
        ("output.eq(place < length)", "output.eq(place <= length)"),
        ("count >= self.settle_cycles", "count >= 0"),
        ("self.is_good.eq(1)", "self.is_good.eq(self.enable & ~self.is_good)"),
    ],
)
def test_a_planted_bug_is_found(bug):
    assert traced(mutated(supply, *bug)) != traced()
