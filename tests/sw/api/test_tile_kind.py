"""A new kind of tile, which delays spikes by one step, defined in this file alone.

It goes through fabric, ``fabric.json``, register map, placement, cost, driver, compiled simulation and Verilog, through
the public API only; nothing is patched.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from harness.compiled import BUILD
from harness.networks import random_spikes, rng_of
from harness.simulated_link import SimulatedLink

from spikeloom.api import (
    INPUT,
    Board,
    CompiledRunner,
    FabricConfig,
    PlaceError,
    QuantisedNetwork,
    QuantisedUnit,
    TileCompiler,
    TileParameters,
    TileSignature,
    bake,
    explain,
    export_fabric,
    fabric_to_json,
    measured_rates,
    place,
    register_compiler,
    register_tile,
    simulate,
)
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.compiler.work import TileWork
from spikeloom.hdl.lib.memory import LoadedMemory, load_register
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.tokens import Tokens, relation_members
from spikeloom.runners.compare import compare
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric_file import fabric_from_json
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import MemoryRegion, Register, RegisterMap, tile_set
from spikeloom.sim.lib.tile import Widths
from spikeloom.sim.lib.words import Field, WordLayout, pack_lanes
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import QuantisedPopulation
from spikeloom.sim.noc.mesh import MeshParameters

# Definition: its registers, its parameters, its model.


def _count(name: str, offset: int, description: str) -> Register:
    return Register(name=name, offset=offset, width_bits=8, access="write", description=description)


DELAY = RegisterMap(
    name="delay",
    where="Delay tiles",
    registers=(
        Register(name="control", offset=0, width_bits=1, access="pulse", description="bit 0 clears the tile alone."),
        _count("sources", 1, "tiles that lead here without delay."),
        _count("sinks", 2, "tiles that this one leads to without delay."),
        Register(name="status", offset=4, width_bits=8, access="read", description="bit 0: idle."),
        _count("delayed_sources", 5, "tiles that lead here with delay 1."),
        _count("delayed_sinks", 6, "tiles that this one leads to with delay 1."),
        Register(name="page", offset=8, width_bits=16, access="write", description="page of the axons that are read."),
        Register(name="spikes", offset=12, width_bits=32, access="read", description="spikes that were sent."),
        tile_set("spike_destinations", 24, "tiles that get the spikes."),
        tile_set("tick_destinations", 32, "the sinks without delay."),
        tile_set("delayed_tick_destinations", 40, "the sinks with delay 1."),
        tile_set("ack_destinations", 48, "the sources without delay."),
        tile_set("delayed_ack_destinations", 56, "the sources with delay 1."),
    ),
    memories=(MemoryRegion(name="routes", number=1, description="for each line, the axon of its spikes."),),
)


@dataclass(frozen=True, kw_only=True)
class DelayTileParameters(TileParameters, kind="delay", register_map=DELAY):
    """A tile that sends in each step the events of the step before. ``forgets`` states whether it drops them at the end
    of a sample, as a correct one does."""

    index_bits: int = 3
    forgets: bool = True
    axon_width: int = 6
    value_width: int = 2
    destinations: int = 0
    contents: Contents = field(default=NOTHING, compare=False, repr=False)

    @property
    def packets(self) -> Widths:
        return Widths(self.axon_width, self.value_width)

    @property
    def asks(self) -> Widths:
        return Widths(self.axon_width, 0)

    def fitted(self, *, tiles: int, packets: Widths) -> "DelayTileParameters":
        return replace(self, destinations=tiles, axon_width=packets.axon, value_width=packets.value)

    @property
    def memories(self) -> dict[str, Memory]:
        words = self.contents.memories.get(1, ())
        return {"routes": Memory("routes", 1, 1 << self.index_bits, self.axon_width, words)}


@dataclass(frozen=True, kw_only=True, eq=False)
class LastStep(QuantisedUnit):
    """The spikes of ``source`` in the step before."""

    name: str
    source: str
    lines: int

    @property
    def size(self) -> int:
        return self.lines

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def needs(self) -> str:
        return f"a delay tile of its own for {self.lines} lines"

    def begin(self, steps: int, samples: int):
        held = np.zeros((samples, self.lines), bool)

        def step(fired: Mapping[str, Any]):
            nonlocal held
            now, held = held, fired[self.source]
            return now

        return step


# Placement


@register_compiler(DelayTileParameters)
class DelayCompiler(TileCompiler):
    """A delay tile with a `LastStep`."""

    is_unit = True

    @classmethod
    def holds(cls, tile: DelayTileParameters, unit: QuantisedUnit) -> bool:
        return isinstance(unit, LastStep) and unit.size <= 1 << tile.index_bits

    @classmethod
    def page_axons(cls, tile: DelayTileParameters) -> int:
        return 1 << tile.index_bits

    @property
    def unit(self) -> QuantisedUnit:
        return self.placement.units[self.number]

    @property
    def tile(self) -> DelayTileParameters:
        return self.placement.fabric.tiles_of(DelayTileParameters)[self.number]

    @property
    def uses(self) -> list[tuple[str, int, int]]:
        return [("lines", self.unit.size, 1 << self.tile.index_bits)]

    def memories(self) -> dict[str, Any]:
        axons = np.zeros(1 << self.tile.index_bits, np.int64)
        axons[: self.unit.size] = self.placement.axons.get(self.unit.name, 0)
        layout = WordLayout((Field("axon", self.tile.axon_width),))
        return {"routes": pack_lanes(layout.bits({"axon": axons}, len(axons)), 1)}

    def registers(self):
        dependencies = self.placement.dependencies
        for delayed in (False, True):
            yield from token_registers(dependencies, self.number, delayed=delayed, mesh=True)
        sinks = dependencies.sinks(self.number) | dependencies.sinks(self.number, delayed=True)
        yield "spike_destinations", set_of(sinks)
        (source,) = self.unit.sources
        yield "page", int(self.placement.axons[source][0]) >> self.tile.index_bits

    def work(self, rates) -> TileWork:
        (source,) = self.unit.sources
        events = float(rates[source].sum())
        return TileWork(
            tile=self.number, parts=(self.unit.name,), events=events, words_added=4 * events, words_updated=0
        )


# Hardware


@register_tile(DelayTileParameters)
class DelayTile(wiring.Component):
    """One bit per line and parity, and one per line that is sent in this step."""

    def __init__(self, parameters: DelayTileParameters) -> None:
        self.parameters = parameters
        super().__init__(TileSignature(parameters))

    def elaborate(self, platform: object) -> Module:
        m, p = Module(), self.parameters
        bank = RegisterBank(DELAY, p.contents)
        m.submodules.registers = ResetInserter(self.reset)(bank)
        wiring.connect(m, wiring.flipped(self.configuration), bank.configuration)
        m.submodules.routes = routes = LoadedMemory(p.memories["routes"])
        wiring.connect(m, load_register(m, self.configuration), routes.load)
        restart = Signal()
        m.d.comb += restart.eq(self.reset | self.clear | bank.control)
        running = Module()
        m.submodules.running = ResetInserter(restart)(running)
        self._elaborate_running(running, bank, routes)
        with m.If(restart):
            m.d.sync += bank.spikes.eq(0)
        with m.Elif(self.o.valid & self.o.ready & (self.o.payload.kind == PacketKind.SPIKE)):
            m.d.sync += bank.spikes.eq(bank.spikes + 1)
        return m

    def _elaborate_running(self, m: Module, registers: Any, routes: LoadedMemory) -> None:
        p, lines = self.parameters, 1 << self.parameters.index_bits
        m.submodules.tokens = tokens = Tokens(p.destinations)
        m.d.comb += [getattr(tokens, name).eq(getattr(registers, name)) for name in relation_members(p.destinations)]

        # Input is accepted immediately, whatever the output waits for.
        packet, arrived = Signal(self.i.payload.shape()), Signal()
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [packet.eq(self.i.payload), arrived.eq(self.i.valid)]
        m.d.comb += [
            tokens.tick.eq(arrived & (packet.kind == PacketKind.TICK)),
            tokens.ack.eq(arrived & (packet.kind == PacketKind.ACK)),
            tokens.token_parity.eq(packet.parity),
            tokens.token_last.eq(packet.last),
        ]
        coming = [Signal(lines, name=f"coming_{parity}") for parity in range(2)]
        here = arrived & (packet.kind == PacketKind.SPIKE) & (packet.axon[p.index_bits :] == registers.page)
        for parity, bits in enumerate(coming):
            with m.If(here & (packet.parity == parity)):
                m.d.sync += bits.bit_select(packet.axon[: p.index_bits], 1).eq(1)

        held, sending, line = Signal(lines), Signal(lines), Signal(p.index_bits)
        for number in reversed(range(lines)):
            with m.If(sending[number]):
                m.d.comb += line.eq(number)
        waiting = Signal(range(routes.latency + 1))
        m.d.comb += routes.address.eq(line)
        out = self.o.payload
        with m.If(tokens.finish):
            m.d.comb += [self.o.valid.eq(tokens.o.valid), tokens.o.ready.eq(self.o.ready)]
            m.d.comb += [
                getattr(out, name).eq(getattr(tokens.o.payload, name)) for name in tokens.o.payload.shape().members
            ]
        with m.Else():
            m.d.comb += [
                out.kind.eq(PacketKind.SPIKE),
                out.parity.eq(tokens.parity),
                out.last.eq(tokens.last),
                out.value.eq(1),
                out.axon.eq(routes.data),
                out.destinations.eq(registers.spike_destinations),
            ]
        m.d.comb += self.step_done.eq(tokens.done)
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += registers.status.eq(~arrived)
                with m.If(tokens.due):
                    m.d.comb += tokens.start.eq(1)
                    m.d.sync += [sending.eq(held), waiting.eq(routes.latency)]
                    m.next = "SEND"
            with m.State("SEND"):
                with m.If(sending == 0):
                    m.next = "FINISH"
                with m.Elif(waiting != 0):
                    m.d.sync += waiting.eq(waiting - 1)
                with m.Else():
                    m.d.comb += self.o.valid.eq(1)
                    with m.If(self.o.ready):
                        m.d.sync += [sending.eq(sending & (sending - 1)), waiting.eq(routes.latency)]
            with m.State("FINISH"):
                m.d.comb += tokens.finish.eq(1)
                with m.If(tokens.done):
                    now = Mux(tokens.parity, coming[1], coming[0])
                    m.d.sync += held.eq(Mux(tokens.last & int(p.forgets), 0, now))
                    for parity, bits in enumerate(coming):
                        with m.If(tokens.parity == parity):
                            m.d.sync += bits.eq(0)
                    m.next = "WAIT"


# Tests

CORE = CoreParameters(lanes=1, neurons=16, axons=32, weight_words=256, populations=4)
MESH = MeshParameters(columns=2, rows=2)


def fabric_of(**changes) -> FabricConfig:
    return FabricConfig(name="with a delay", tiles=(None, CORE, DelayTileParameters(**changes), CORE), mesh=MESH)


def network_of(rng, *, source: str = "first", immediate: bool = False) -> QuantisedNetwork:
    """``first`` and ``input`` lead to ``last``, directly and through the delay."""
    sizes = {INPUT: 8, "first": 7, "last": 5}
    lines = sizes[source]

    def connect(source: str, target: str, size: int) -> QuantisedConnection:
        weight = rng.integers(-60, 128, (sizes[target], size))
        return QuantisedConnection(source=source, target=target, weight=weight)

    through = connect("before", "last", lines)
    return QuantisedNetwork(
        name="delayed",
        inputs=sizes[INPUT],
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=sizes[name], threshold=100, v_width=16))
            for name in ("first", "last")
        ),
        connections=(
            connect(INPUT, "first", 8),
            connect("first", "last", 7),
            replace(through, source=source) if immediate else through,
        ),
        units=() if immediate else (LastStep(name="before", source=source, lines=lines),),
        output="last",
    )


def test_the_fabric_and_its_file_have_it():
    fabric = fabric_of(index_bits=4)
    assert fabric.register_map(2) is DELAY
    assert "| `page` | 8 | 16 | write | 0 |" in fabric.register_map(2).to_markdown()
    assert (fabric.tile(2).destinations, fabric.tile(2).packets) == (4, Widths(6, 16))
    assert json.loads(fabric_to_json(fabric))["tiles"][1] == {
        "delay": {"index_bits": 4, "value_width": 16, "destinations": 4}
    }
    assert fabric_from_json(fabric_to_json(fabric)) == fabric


def test_the_model_delays_by_a_step(request):
    rng = rng_of(request.node.name)
    network = network_of(rng)
    result = simulate(network, random_spikes(rng, 6, 5, 8))
    assert np.array_equal(result.spikes["before"][1:], result.spikes["first"][:-1])
    assert not result.spikes["before"][0].any()
    assert 0 < result.spikes["first"].sum() < result.spikes["first"].size


def test_it_is_placed(request):
    rng = rng_of(request.node.name)
    network = network_of(rng)
    program = place(network, fabric_of(), observe=("first", "before"))
    assert program.assignment.tile_of["before"] == 2
    assert [(use.used, use.available) for use in program.uses if use.tile == 2] == [(7, 8)]
    page = next(value for tile, name, value in program.registers if (tile, name) == (2, "page"))
    assert program.output_axons[5] == page << 3  # those of `first` follow those of `last`
    assert bake(program).tile(2).memories["routes"].words[:7] == tuple(program.output_axons[12:19])
    work = explain(program, measured_rates(network, random_spikes(rng, 6, 5, 8))).work
    assert [tile.parts for tile in work if tile.tile == 2] == [("before",)]
    message = r"^network delayed: before needs a delay tile of its own for 7 lines, but the fabric has none left$"
    with pytest.raises(PlaceError, match=message):
        place(network, fabric_of(index_bits=2))


def runs_like_the_reference(rng, network, fabric) -> bool:
    program = place(network, fabric, observe=("first", "before"))
    spikes = random_spikes(rng, 6, 12, 8)
    expected = simulate(network, spikes)
    result = CompiledRunner(program, BUILD, workers=2).run(spikes)
    assert all(0 < fired.sum() < fired.size for fired in expected.spikes.values())
    compared, mismatches = compare(expected, result)
    assert compared > 100
    assert mismatches or result.counters[2]["spikes"] == expected.spikes["before"].sum()
    return mismatches == 0


@pytest.mark.parametrize("source", ["first", INPUT])
def test_compiled_it_equals_its_model(request, source):
    rng = rng_of(request.node.name)
    network = network_of(rng, source=source)
    assert runs_like_the_reference(rng, network, fabric_of())


def test_one_that_remembers_the_last_sample_is_found(request):
    rng = rng_of(request.node.name)
    assert not runs_like_the_reference(rng, network_of(rng), fabric_of(forgets=False))


def test_the_driver_runs_it(request):
    rng = rng_of(request.node.name)
    network = network_of(rng)
    program = place(network, fabric_of(), observe=("first", "before"))
    board = Board(SimulatedLink(rng, program.fabric, stall=0.1), program.fabric)
    board.load(program)
    spikes = random_spikes(rng, 4, 2, 8)
    found = board.run(spikes, timeout_s=10)
    expected = simulate(network, spikes).spikes
    assert np.array_equal(
        found.spikes, np.concatenate([expected[name] for name in ("last", "first", "before")], axis=-1)
    )
    assert board.counters()[2] == {"spikes": expected["before"].sum()}
    assert 0 < expected["before"].sum() < expected["before"].size
    assert board.read_register(2, "status") & 1
    assert board.stalled_chips() == []


def test_it_is_exported(request, tmp_path):
    program = place(network_of(rng_of(request.node.name)), fabric_of())
    export_fabric(program, tmp_path, divisor=4)
    assert r"\top.fabric.tiles.delay_2 " in (tmp_path / "top.v").read_text()
    assert np.load(tmp_path / "program.npz")["tile_2_routes"].shape == (8, 1)


def test_a_kind_registers_once():
    with pytest.raises(ValueError, match=r"^component of tiles of kind delay must be registered once$"):
        register_tile(DelayTileParameters)(DelayTile)
    with pytest.raises(ValueError, match=r"^the compiler for tiles of kind delay is already registered$"):
        register_compiler(DelayTileParameters)(DelayCompiler)
    with pytest.raises(
        ValueError, match=r"^kind of a tile must be unique, but 'core' is that of CoreParameters already$"
    ):

        class Another(TileParameters, kind="core", register_map=DELAY):
            pass
