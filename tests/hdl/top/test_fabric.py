"""Parts of fabrics: the chain of the configuration port, the pins of tiles, and the tiles of a small mesh."""

from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from harness.cores import TINY_PAIR
from harness.mutations import mutated
from harness.networks import rng_of
from harness.weight_memory import BUSY as EXAMPLE_SDRAM

from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.top import fabric
from spikeloom.hdl.top.fabric import ConfigurationStage, Fabric, Tiles, WeightStage, fabric_pins
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.registers import REGISTER_MEMORY
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.registers import SDRAM_MEMORY

SMALL = TINY_PAIR
REQUEST = ("memory", "plane", "index", "write_data")


def check_chain(stage, rng, *, tiles=(4, 1, 2), accesses=60, index_width=18, plane_width=10):
    """A chain of stages: each write reaches only the addressed tile, and a read returns the byte of that tile."""
    m = Module()
    widths = {"index_width": index_width, "plane_width": plane_width}
    before = port = ConfigurationPort(tile=True, **widths).create()
    stages = []
    for number, tile in enumerate(tiles):
        m.submodules[f"stage{number}"] = made = stage(tile, **widths)
        wiring.connect(m, before, made.before)
        before = made.after
        stages.append(made)
    written = {tile: [] for tile in tiles}

    async def tiles_(ctx):
        """Each tile answers one cycle after the address with a value of its own."""
        names = [getattr(made.here, name) for made in stages for name in ("write_enable", *REQUEST)]
        async for _, _, *values in ctx.tick().sample(*names):
            for number, (tile, made) in enumerate(zip(tiles, stages, strict=True)):
                enable, *request = values[5 * number : 5 * number + 5]
                if enable:
                    written[tile].append(tuple(request))
                ctx.set(made.here.read_data, (request[2] * 7 + 31 * tile) % 256)

    async def bench(ctx):
        expected = {tile: [] for tile in tiles}
        ctx.set(port.write_enable, 0)
        for _ in range(accesses):
            tile = int(rng.choice([*tiles, 3]))
            request = tuple(int(rng.integers(1 << width)) for width in (4, plane_width, index_width, 8))
            enable = int(rng.integers(2))
            ctx.set(port.tile, tile)
            ctx.set(port.write_enable, enable)
            for name, value in zip(REQUEST, request, strict=True):
                ctx.set(getattr(port, name), value)
            if enable:  # one after the other, without a pause
                expected.get(tile, []).append(request)
                await ctx.tick()
                continue
            # A read takes two registers per stage, there and back, and the register of the tile.
            await ctx.tick().repeat(2 * len(tiles) + 1)
            answer = (request[2] * 7 + 31 * tile) % 256 if tile in tiles else 0
            assert ctx.get(port.read_data) == answer
        ctx.set(port.write_enable, 0)
        await ctx.tick().repeat(2 * len(tiles))
        assert written == expected
        assert all(len(found) > 3 for found in expected.values())

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(tiles_, background=True)
    simulator.run()


def test_the_configuration_port_goes_from_tile_to_tile(request):
    check_chain(ConfigurationStage, rng_of(request.node.name))


def test_a_read_of_a_memory_is_marked_at_the_addressed_tile_only():
    """With read-back: `reading` arrives with the address of its tile, and passes all others."""
    m, tiles = Module(), (4, 1, 2)
    before = port = ConfigurationPort(tile=True, read_back=True).create()
    stages = []
    for tile in tiles:
        m.submodules[f"stage{tile}"] = made = ConfigurationStage(tile, read_back=True)
        wiring.connect(m, before, made.before)
        before = made.after
        stages.append(made)

    async def bench(ctx):
        for tile in (*tiles, 3):
            for reading in (1, 0):
                ctx.set(port.tile, tile)
                ctx.set(port.reading, reading)
                await ctx.tick().repeat(len(tiles))
                assert [ctx.get(made.here.reading) for made in stages] == [reading and tile == own for own in tiles]

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


CHAIN_BUGS = {
    "another's write": ("self.before.write_enable & meant", "self.before.write_enable"),
    "another's answer": ("Mux(mine, self.here.read_data, self.after.read_data)", "self.here.read_data"),
    "the tiles behind": (
        "Mux(mine, self.here.read_data, self.after.read_data)",
        "self.here.read_data & mine.replicate(8)",
    ),
    "which tile": ("self.before.tile == self.tile", "self.before.tile == self.tile + 1"),
}


@pytest.mark.parametrize("bug", CHAIN_BUGS)
def test_a_planted_bug_in_the_chain_is_found(bug):
    copy = mutated(fabric, *CHAIN_BUGS[bug])
    with pytest.raises(AssertionError):
        check_chain(copy.ConfigurationStage, rng_of(bug))


STREAMED = CoreParameters(lanes=2, neurons=16, axons=32, weight_words=60, weight_memory="sdram")
MIXED = replace(STREAMED, weight_memory="block", streamed_words=40)
SHARED = FabricConfig(
    tiles=(None, STREAMED, SMALL, MIXED, STREAMED), mesh=MeshParameters(columns=3, rows=2), sdram=EXAMPLE_SDRAM
)


def check_weight_stage(stage, rng, *, fabric=SHARED, accesses=600):
    """Each request passes on after a cycle; those for weights in SDRAM arrive at the weight memory too, in the slice of
    their core, and so do those for its registers. Read data come back from both."""
    dut = stage(fabric)
    before, after, here = dut.before, dut.after, dut.here
    numbers = {tile: memory.number for tile, memory in fabric.streamed.items()}
    hits = {SDRAM_MEMORY: 0, "weights": 0, "others": 0}

    async def bench(ctx):
        for _ in range(accesses):
            tile, memory = int(rng.integers(6)), int(rng.choice([*numbers.values(), SDRAM_MEMORY, 2]))
            index, plane, byte = int(rng.integers(40)), int(rng.integers(2)), int(rng.integers(256))
            enable, reading = int(rng.integers(2)), int(rng.integers(2))
            values = (tile, memory, index, plane, byte, enable, reading)
            names = ("tile", "memory", "index", "plane", "write_data", "write_enable", "reading")
            for name, value in zip(names, values, strict=True):
                ctx.set(getattr(before, name), value)
            await ctx.tick()
            assert tuple(ctx.get(getattr(after, name)) for name in names) == values
            found = tuple(ctx.get(getattr(here, name)) for name in names[1:])
            weights = numbers.get(tile) == memory
            mine = weights or memory == SDRAM_MEMORY
            hits["weights" if weights else memory if mine else "others"] += 1
            place = index + fabric.weight_slices[tile] if weights else index
            wanted = dut.memory if weights else memory
            assert found[4:] == (enable and mine, reading and mine)
            if mine:
                assert found[:4] == (wanted, place, plane, byte)
            ctx.set(here.read_data, 0x55)
            ctx.set(after.read_data, 0x22)
            await ctx.tick()
            assert ctx.get(before.read_data) == (0x77 if mine else 0x22)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert min(hits.values()) > 20


def test_weights_of_several_cores_are_one_memory(request):
    assert SHARED.weight_slices == {1: 0, 3: 64, 4: 128}
    assert len({memory.number for memory in SHARED.streamed.values()}) == 2
    check_weight_stage(WeightStage, rng_of(request.node.name))


def test_weights_of_one_core_of_a_mesh(request):
    one = FabricConfig(tiles=SHARED.tiles[:3], mesh=SHARED.mesh, sdram=SHARED.sdram)
    check_weight_stage(WeightStage, rng_of(request.node.name), fabric=one)


STAGE_BUGS = {
    "slice": ("number.eq(place)", "number.eq(place ^ 1)"),
    "index of a register": ("here.index.eq(Mux(weights, index, after.index))", "here.index.eq(index)"),
    "number of the memory": ("Mux(weights, self.memory, after.memory)", "after.memory"),
    "other cores": ("with m.Case(tile):", "with m.Case():"),
    "registers": ("of_weights | (before.memory == SDRAM_MEMORY)", "of_weights"),
    "reads of others": ("here.reading.eq(after.reading & mine)", "here.reading.eq(after.reading)"),
    "answers of tiles": ("Mux(mine, here.read_data, 0) | after.read_data", "Mux(mine, here.read_data, 0)"),
}


@pytest.mark.parametrize("bug", STAGE_BUGS)
def test_a_planted_bug_in_the_stage_of_weights_is_found(bug):
    copy = mutated(fabric, *STAGE_BUGS[bug])
    with pytest.raises(AssertionError):
        check_weight_stage(copy.WeightStage, rng_of(bug))


AER = AerTileParameters(direction=AerDirection.INPUT, address_width=5, depth=8)
WITH_CHIP = FabricConfig(tiles=(None, SMALL, AER, SMALL), mesh=MeshParameters(columns=2, rows=2))


def test_pins_are_those_of_the_tiles():
    pins = {f"aer_2_{name}" for name in ("request", "acknowledge", "address")}
    assert set(fabric_pins(WITH_CHIP)) == pins
    assert fabric_pins(FabricConfig(core=SMALL)) == {}
    for component in (Tiles(WITH_CHIP), Fabric(WITH_CHIP)):
        assert pins <= set(component.signature.members)
        assert component.aer_2_address.shape().width == 5
        Simulator(component)  # it elaborates


def check_mesh(tiles):
    """TICKs of the host through a mesh: the addressed tile ends a step and acknowledges it to the host."""
    meant, other = 3, 1

    async def write(ctx, tile, name, value):
        port, register = tiles.configuration, CORE.register(name)
        for place, byte in enumerate(value.to_bytes(register.size, "little")):
            ctx.set(port.tile, tile)
            ctx.set(port.memory, REGISTER_MEMORY)
            ctx.set(port.index, register.offset + place)
            ctx.set(port.write_data, byte)
            ctx.set(port.write_enable, 1)
            await ctx.tick()
        ctx.set(port.write_enable, 0)

    async def bench(ctx):
        for tile in (meant, other):
            await write(ctx, tile, "sources", 1)
            await write(ctx, tile, "ack_destinations", 1)  # the host is tile 0
        await ctx.tick().repeat(10)
        steps = [0] * len(WITH_CHIP.tiles)
        packets = []

        async def pass_cycles(cycles):
            for _ in range(cycles):
                done = ctx.get(tiles.steps_done)
                for tile in range(len(steps)):
                    steps[tile] += done >> tile & 1
                if ctx.get(tiles.o.valid):
                    packets.append((ctx.get(tiles.o.payload.kind), ctx.get(tiles.o.payload.parity)))
                await ctx.tick()

        ctx.set(tiles.o.ready, 1)
        for step in range(3):
            tick = {"kind": PacketKind.TICK, "parity": step & 1, "last": 0, "axon": 0, "value": 0}
            ctx.set(tiles.i.payload, tick | {"destinations": 1 << meant})
            ctx.set(tiles.i.valid, 1)
            while not ctx.get(tiles.i.ready):
                await pass_cycles(1)
            await pass_cycles(1)
            ctx.set(tiles.i.valid, 0)
            await pass_cycles(150)
        assert steps == [0, 0, 0, 3]
        assert packets == [(PacketKind.ACK, step & 1) for step in range(3)]
        # A new session resets the registers, so no step begins.
        ctx.set(tiles.reset, 1)
        await ctx.tick()
        ctx.set(tiles.reset, 0)
        await pass_cycles(40)
        ctx.set(tiles.i.payload, tick | {"parity": 1, "destinations": 1 << meant})
        ctx.set(tiles.i.valid, 1)
        await pass_cycles(1)
        ctx.set(tiles.i.valid, 0)
        await pass_cycles(150)
        assert steps == [0, 0, 0, 3]

    simulator = Simulator(tiles)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_tiles_of_a_mesh():
    check_mesh(Tiles(WITH_CHIP))


def test_packets_for_a_position_without_a_tile_do_not_stay_in_the_mesh():
    tiles = Tiles(FabricConfig(tiles=(None, SMALL, SMALL), mesh=MeshParameters(columns=2, rows=2)))
    taken = 0

    async def bench(ctx):
        nonlocal taken
        spike = {"kind": PacketKind.SPIKE, "parity": 0, "last": 0, "axon": 1, "value": 1, "destinations": 1 << 3}
        ctx.set(tiles.i.payload, spike)
        ctx.set(tiles.i.valid, 1)
        for _ in range(100):
            _, _, ready = await ctx.tick().sample(tiles.i.ready)
            taken += ready

    simulator = Simulator(tiles)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken > 90


MESH_BUGS = {
    "another tile's step": (
        "self.steps_done[number].eq(tile.step_done)",
        "self.steps_done[number ^ 2].eq(tile.step_done)",
    ),
    "a reset": ("tile.reset.eq(self.reset)", "tile.reset.eq(0)"),
    "destinations": (
        "entry.payload.destinations.eq(source.payload.destinations)",
        "entry.payload.destinations.eq(source.payload.destinations >> 2)",
    ),
    "what arrives": ("sink.valid.eq(leaving.valid)", "sink.valid.eq(0)"),
}


@pytest.mark.parametrize("bug", MESH_BUGS)
def test_a_planted_bug_in_the_tiles_is_found(bug):
    copy = mutated(fabric, *MESH_BUGS[bug])
    with pytest.raises(AssertionError):
        check_mesh(copy.Tiles(WITH_CHIP))
