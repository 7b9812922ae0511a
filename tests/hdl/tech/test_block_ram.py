# amaranth: UnusedElaboratable=no
"""Block RAM against a list of words, as simulated and as on ECP5 and iCE40; and its initial content."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from harness.assign import assign
from harness.dp16kd import simulated_block_ram
from harness.networks import rng_of
from harness.sb_ram40_4k import simulated_ice40_block_ram

from spikeloom.boards.qor.measure import ECP5_85F, ICE40_UP5K, run_tool
from spikeloom.boards.sizing.memories import Array, block_rams
from spikeloom.hdl.tech import block_ram
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ram import block_memory, registered_read


class Inferred(wiring.Component):
    """A memory as synthesised by Yosys, which chooses where each bit of its contents is stored."""

    def __init__(self, width, depth, words):
        self.memory = block_memory(width, depth, words)
        address = (depth - 1).bit_length()
        super().__init__(
            {
                "write_address": In(address),
                "write_data": In(width),
                "write_enable": In(1),
                "address": In(address),
                "data": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write = self.memory.write_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            self.data.eq(registered_read(m, self.memory, self.address)),
        ]
        return m


SHAPES_OF_ONE = [(36, 9), (18, 10), (9, 11), (4, 12), (2, 13), (1, 14)]
"""Width, and bits of the address, of each shape in which a block RAM of an ECP5 holds words."""


def initial_values(folder):
    """By shape and by memory, ours or inferred, the parameters of its only block RAM that say what it holds.

    All are synthesised in one process, up to the step that makes block RAMs.
    """
    script, designs = [], []
    for width, address_bits in SHAPES_OF_ONE:
        words = rng_of(f"{width} {address_bits}").integers(0, 1 << width, 1 << address_bits).tolist()
        for memory in (BlockMemory(width, 1 << address_bits, words=words), Inferred(width, 1 << address_bits, words)):
            name = f"design{len(designs)}"
            designs.append((width, address_bits, type(memory), name))
            text = rtlil.convert(memory, name="top", platform=ECP5_85F, emit_src=False)
            (folder / f"{name}.il").write_text(text)
            script += [f"read_rtlil {name}.il", "synth_ecp5 -top top -run begin:map_ffram"]
            script += ["select top", f"write_json -selected {name}.json", "design -reset"]
    run_tool(ECP5_85F.flow, "yosys", ["-q", "-p", "; ".join(script)], folder)
    found = {}
    for *key, name in designs:
        cells = json.loads((folder / f"{name}.json").read_text())["modules"]["top"]["cells"].values()
        (block,) = (cell["parameters"] for cell in cells if cell["type"] == "DP16KD")
        found[tuple(key)] = [int(block.get(f"INITVAL_{row:02X}", "0"), 2) for row in range(64)]
    return found


def test_block_rams_of_an_ecp5_hold_what_yosys_would_make_them_hold(tmp_path):
    found = initial_values(tmp_path)
    for shape in SHAPES_OF_ONE:
        ours = found[*shape, BlockMemory]
        assert ours == found[*shape, Inferred], shape
        assert len(set(ours)) > 50


class Elaborated(Elaboratable):
    """A design for a platform unknown to the simulator."""

    def __init__(self, design, platform):
        self.design, self.platform = design, platform

    def elaborate(self, platform):
        return self.design.elaborate(self.platform)


SHAPES = [
    (40, 500, {}),
    (20, 1000, {}),
    (21, 1000, {"part": 8}),
    (13, 2000, {"part": 8}),
    (7, 4000, {"part": 8}),
    (3, 8000, {}),
    (2, 1 << 14, {"pipelined": True}),
    (2, (1 << 14) + 1, {}),
    (2, 20_000, {"pipelined": True}),
    (2, 40_000, {}),
    (10, 20_000, {"part": 8}),
]


@pytest.mark.parametrize(
    ("platform", "width", "depth", "options"),
    [
        *(pytest.param(None, *shape, id=f"inferred {shape[0]} x {shape[1]}") for shape in SHAPES),
        *(pytest.param(ECP5_85F, *shape, id=f"ecp5 {shape[0]} x {shape[1]}") for shape in SHAPES),
        *(
            pytest.param(ICE40_UP5K, *shape, id=f"ice40 {shape[0]} x {shape[1]}")
            for shape in [(1, 90, {}), (16, 256, {}), (17, 257, {}), *SHAPES[:4]]
        ),
    ],
)
def test_words_are_those_of_a_list(request, monkeypatch, platform, width, depth, options):
    """Random writes and reads of a few addresses that differ in all bits, with pauses wherever they are allowed.

    If several block RAMs hold the words, the same address in each of them is read in turn.
    """
    (simulated_ice40_block_ram if platform is ICE40_UP5K else simulated_block_ram)(monkeypatch)
    made, instance = [], block_ram.Instance
    monkeypatch.setattr(block_ram, "Instance", lambda kind, **given: made.append(kind) or instance(kind, **given))
    rng = rng_of(request.node.name)
    words = [int.from_bytes(rng.bytes(8)) & (1 << width) - 1 for _ in range(depth - 3)]
    dut = BlockMemory(width, depth, words=words, **options)
    deep = depth > 1 << 14
    assert dut.latency == 2 + (deep and "pipelined" in options)
    held = [*words, 0, 0, 0]
    low = [0, 1, 2, depth - 1, depth - 4, *rng.integers(0, depth, 4).tolist(), *(1 << bit for bit in range(14))]
    places = sorted({at for place in low for at in range(place % (1 << 14), depth, 1 << 14)})
    mask, part = (1 << width) - 1, options.get("part", width)
    found, expected, blocks = [], [], []

    async def bench(ctx):
        stages = [None] * dut.latency  # what has been read, the output register, and what was chosen
        for _ in range(800):
            address, written = rng.choice(places, 2, replace=False).tolist()
            data = int.from_bytes(rng.bytes(8)) & mask
            enables = int(rng.integers(1 << len(dut.write_enable))) if rng.random() < 0.5 else 0
            enable = dut.latency == 3 or rng.random() < 0.7
            output_enable = enable and (dut.latency == 3 or rng.random() < 0.7)
            assign(
                ctx,
                [
                    (dut.address, address),
                    (dut.write_address, written),
                    (dut.write_data, data),
                    (dut.write_enable, enables),
                    (dut.enable, enable),
                    (dut.output_enable, output_enable),
                ],
            )
            stages[2:] = stages[1:2] if dut.latency == 3 else []
            if output_enable:
                stages[1] = stages[0]
            if enable:
                stages[0] = held[address]
            bits = sum((1 << part) - 1 << part * number for number in range(8) if enables >> number & 1) & mask
            held[written] = held[written] & ~bits | data & bits
            await ctx.tick()
            if stages[-1] is not None:
                found.append(ctx.get(dut.data))
                expected.append(stages[-1])
                blocks.append(address >> 14)

    simulator = Simulator(Elaborated(dut, platform))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == expected
    if platform is ECP5_85F:
        array = Array(name="words", width=width, depth=depth, bytes_written="part" in options)
        assert len(made) == block_rams(array, "ecp5")
    assert len(set(blocks)) == -(-depth >> 14)
    assert sum(a != b for a, b in zip(words, held, strict=False)) > len(places) // 3
