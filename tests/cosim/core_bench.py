"""cocotb bench of a LIF core in Verilog: random networks in, every spike and membrane out.

The bench only takes the place of the host bridge: it writes the program through the configuration port, sends spikes
and TICKs at most two steps ahead of the ACKs, and answers each TICK. It accesses only the ports.
"""

import json
import os
from collections import Counter, deque
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly
from harness.engine import expected_words
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.sim.core.neuron import NeuronParameters, signed_range
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import core_from_json
from spikeloom.sim.lib.registers import REGISTER_MEMORY
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import ReferenceResult, simulate

PARAMETERS = core_from_json(json.loads(os.environ["CORE_PARAMETERS"]))
LAYOUT = packet_layout(PARAMETERS.axon_width, PARAMETERS.v_width)
CYCLE_LIMIT = 40_000
HAS_MAPS = PARAMETERS.coordinate_width > 0
PLANTED = json.loads(os.environ.get("PLANTED_BUGS", "[]"))
LONG = "LONG_FORM" in os.environ


@dataclass
class Run:
    """The behaviour of the core. Steps count through all samples."""

    values: dict[tuple[int, int], int] = field(default_factory=dict)  #: (step, slot) -> value of a spike
    membranes: dict[tuple[int, int], int] = field(default_factory=dict)  #: (step, slot) -> value
    begun: int = 0  #: TICKs that the core sent
    finished: int = 0  #: ACKs that the core sent
    taken: Counter[PacketKind] = field(default_factory=Counter)  #: packets that the core accepted
    at_limit: int = 0  #: packets of the last step that elastic time allows
    stalled: int = 0  #: cycles in which a packet was offered and not taken by the bench
    refused: int = 0  #: cycles in which a packet was offered and not taken by the core
    taken_while_stuck: int = 0  #: packets that the core accepted while its own was not taken
    registers: dict[str, int] = field(default_factory=dict)  #: read after the end of the run


class CoreBench:
    """Drives a core. Inputs change at the falling edge, and the response of the core is read after that."""

    def __init__(self, core) -> None:
        self.core = core
        # Finding a port by its name takes as long as reading it.
        self.i_payload, self.i_valid, self.i_ready = core.i__payload, core.i__valid, core.i__ready
        self.o_payload, self.o_valid, self.o_ready = core.o__payload, core.o__valid, core.o__ready
        self.falling = FallingEdge(core.clk)
        self._forget()

    def _forget(self) -> None:
        """Offer nothing in either direction."""
        self.i_valid.value = 0
        self.o_ready.value = 0
        self.offered: PacketKind | None = None
        self.ready = 0
        self.held: int | None = None

    @classmethod
    async def begin(cls, core) -> "CoreBench":
        """A bench, and the core after a reset. The clock runs."""
        await FallingEdge(core.clk)
        bench = cls(core)
        for name in ("write_enable", "memory", "plane", "index", "write_data"):
            getattr(core, f"configuration__{name}").value = 0
        core.i__payload.value = 0
        core.reset.value = 0
        core.rst.value = 1
        await ClockCycles(core.clk, 3)
        await FallingEdge(core.clk)
        core.rst.value = 0
        return bench

    async def write(self, memory: int, plane: int, first: int, data: bytes) -> None:
        """Write bytes through the configuration port, one per cycle."""
        core = self.core
        core.configuration__memory.value = memory
        core.configuration__plane.value = plane
        core.configuration__write_enable.value = 1
        index_port, data_port = core.configuration__index, core.configuration__write_data
        for index, byte in enumerate(data, first):
            index_port.value = index
            data_port.value = byte
            await self.falling
        core.configuration__write_enable.value = 0

    async def write_register(self, name: str, value: int) -> None:
        register = CORE.register(name)
        await self.write(REGISTER_MEMORY, 0, register.offset, register.encode(value))

    async def read_register(self, name: str) -> int:
        register = CORE.register(name)
        self.core.configuration__memory.value = REGISTER_MEMORY
        value = bytearray()
        for index in range(register.offset, register.offset + register.size):
            self.core.configuration__index.value = index
            await FallingEdge(self.core.clk)
            value.append(int(self.core.configuration__read_data.value))
        return int.from_bytes(value, "little")

    async def load_memories(self, program: Program) -> None:
        for image in program.memories:
            for plane in range(image.words.shape[1]):
                await self.write(image.memory, plane, 0, image.words[:, plane].tobytes())

    async def load_registers(self, program: Program) -> None:
        for _, name, value in program.registers:
            await self.write_register(name, value)

    async def clear(self) -> None:
        """As a host does between runs: bit 0 of `control`, with no packet in transit."""
        self._forget()
        await self.write_register("control", 1)
        await ClockCycles(self.core.clk, 2)
        await FallingEdge(self.core.clk)

    async def restart(self, signal: str) -> None:
        """One cycle of ``reset`` (a new session) or ``rst``."""
        self._forget()
        getattr(self.core, signal).value = 1
        await FallingEdge(self.core.clk)
        getattr(self.core, signal).value = 0

    async def cycle(self, run: Run) -> tuple[bool, int | None]:
        """Run one clock cycle; return whether the core accepted the packet offered to it, and the packet that it
        sent."""
        await ReadOnly()
        offered = self.offered is not None
        taken = offered and bool(self.i_ready.value)
        packet = int(self.o_payload.value) if self.o_valid.value else None
        assert self.held in (None, packet), "a packet that is offered must stay until it is taken"
        self.held = None if self.ready else packet
        stuck = self.held is not None
        run.stalled += stuck
        run.refused += offered and not taken
        run.taken_while_stuck += taken and stuck
        await self.falling
        return taken, packet if self.ready else None

    async def run(
        self,
        program: Program,
        spikes: np.ndarray,
        rng: np.random.Generator,
        *,
        idle: float = 0.3,
        stall: float = 0.3,
        deaf_for: int = 0,
        stop_after: int = 1 << 30,
    ) -> Run:
        """Stream ``spikes`` ``(T, B, inputs)``, with the given probabilities of input pauses and output stalls.

        Some ACKs are late. For ``deaf_for`` cycles, no output is taken. After ``stop_after`` cycles, the run is left as
        it is.
        """
        steps, batch, _ = spikes.shape
        total = steps * batch
        run = Run()
        queue: deque[tuple[int, PacketKind, int]] = deque()  # (step, kind, packet)
        for step in range(total):
            sample, t = divmod(step, steps)
            for axon in rng.permutation(program.input_axons[np.flatnonzero(spikes[t, sample])]):
                spike = self._pack(PacketKind.SPIKE, parity=step & 1, axon=int(axon), value=1)
                queue.append((step, PacketKind.SPIKE, spike))
            tick = self._pack(PacketKind.TICK, parity=step & 1, last=int(t == steps - 1))
            queue.append((step, PacketKind.TICK, tick))
        answers: deque[tuple[int, int]] = deque()  # (first cycle in which it may be sent, packet)
        cycle = 0
        while run.finished < total or answers or self.offered is not None:
            assert cycle < CYCLE_LIMIT, "the core must end its run, not hang"
            if cycle == stop_after:
                return run
            if self.offered is None and rng.random() >= idle:
                allowed = bool(queue) and queue[0][0] < run.finished + 2
                if answers and answers[0][0] <= cycle and not (allowed and rng.random() < 0.5):
                    self._offer(PacketKind.ACK, answers.popleft()[1])
                elif allowed:
                    step, kind, packet = queue.popleft()
                    run.at_limit += step == run.finished + 1
                    self._offer(kind, packet)
            ready = int(cycle >= deaf_for and rng.random() >= stall)
            if ready != self.ready:
                self.o_ready.value = self.ready = ready
            taken, packet = await self.cycle(run)
            cycle += 1
            if packet is not None:
                begun = run.begun
                self._take(run, packet, steps)
                if run.begun > begun:
                    late = int(rng.integers(300)) if rng.random() < 0.2 else 0
                    answers.append((cycle + late, self._pack(PacketKind.ACK, parity=begun & 1)))
            if taken:
                run.taken[self.offered] += 1
                self.offered = None
                self.i_valid.value = 0
        # Nothing may follow, and the counters must be read while the core is idle.
        self.o_ready.value = self.ready = 1
        for _ in range(30):
            assert await self.cycle(run) == (False, None)
        for name in ("status", "words", "steps", "spikes", "busy_cycles", "waiting_cycles", "sweep_cycles"):
            run.registers[name] = await self.read_register(name)
        return run

    def _offer(self, kind: PacketKind, packet: int) -> None:
        self.i_payload.value = packet
        self.i_valid.value = 1
        self.offered = kind

    @staticmethod
    def _take(run: Run, packet: int, steps: int) -> None:
        kind = PacketKind(_part(packet, "kind"))
        axon, value = _part(packet, "axon"), _part(packet, "value")
        step = run.finished if kind is PacketKind.ACK else run.begun
        assert _part(packet, "parity") == step & 1
        assert run.begun == run.finished + (kind is PacketKind.ACK), "a step must end with one TICK and one ACK"
        assert run.taken[PacketKind.TICK] > step, "step t must wait for TICK(t)"
        assert run.taken[PacketKind.ACK] >= step - 1, "step t must wait for ACK(t-2)"
        if kind is PacketKind.SPIKE:
            assert (step, axon) not in run.values
            run.values[step, axon] = _signed(value)
        elif kind is PacketKind.MEMBRANE:
            assert (step, axon) not in run.membranes
            run.membranes[step, axon] = _signed(value)
        elif kind is PacketKind.TICK:
            assert _part(packet, "last") == (step % steps == steps - 1)
            run.begun += 1
        else:
            run.finished += 1

    @staticmethod
    def _pack(kind: PacketKind, **parts: int) -> int:
        return sum(value << LAYOUT[name].offset for name, value in (parts | {"kind": kind.value}).items())


def _signed(value: int) -> int:
    sign = 1 << (PARAMETERS.v_width - 1)
    return (value ^ sign) - sign


def _part(packet: int, name: str) -> int:
    return packet >> LAYOUT[name].offset & ((1 << LAYOUT[name].width) - 1)


def check(run: Run, network: QuantisedNetwork, program: Program, spikes: np.ndarray) -> ReferenceResult:
    """Compare every spike of every population, every membrane read out, and the counters."""
    reference = simulate(network, spikes)
    steps, batch, _ = spikes.shape
    fired = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
    sent = [reference.values.get(name, reference.spikes[name]) for name, _ in program.observed]
    value = np.concatenate(sent, axis=2).astype(np.int64)
    expected = {
        (int(sample * steps + t), int(program.output_axons[neuron])): int(value[t, sample, neuron])
        for t, sample, neuron in np.argwhere(fired)
    }
    assert run.values == expected
    values = reference.states[network.output].v if program.membranes else np.zeros((steps, batch, 0), np.int64)
    assert run.membranes == {
        (sample * steps + t, int(program.output_axons[neuron])): int(values[t, sample, neuron])
        for t, sample, neuron in np.ndindex(values.shape)
    }
    assert run.begun == run.finished == run.registers["steps"] == steps * batch
    assert run.registers["words"] == expected_words(network, PARAMETERS, spikes, reference)
    assert run.registers["status"] == 1
    assert run.registers["words"] <= run.registers["waiting_cycles"] < run.registers["busy_cycles"]
    assert 0 < run.registers["sweep_cycles"] < run.registers["busy_cycles"]
    assert run.registers["spikes"] >= len(run.values) + len(run.membranes)
    return reference


def assert_interesting(run: Run, network: QuantisedNetwork, reference: ReferenceResult) -> None:
    """Assert that some neurons fire and some do not, and that both streams were made to wait."""
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())
    assert run.at_limit > 0
    assert run.stalled > 0
    assert run.refused > 0 or HAS_MAPS  # (16 lanes add the few words of such an event in one cycle)


def random_program(rng: np.random.Generator, **options) -> tuple[QuantisedNetwork, Program]:
    """A random network of which every spike can be observed; a spatial one if the core has coordinates."""
    if HAS_MAPS:
        network = random_spatial_network(rng, PARAMETERS, extent=5, readout=options.get("readout", False))
    else:
        network = random_network(rng, PARAMETERS, **options)
    names = [population.name for population in network.populations]
    return network, place(network, FabricConfig(core=PARAMETERS), observe=names)


async def networks_after_each_other(core) -> None:
    """Each network has its own program, smaller or larger than the one before, with only `control` between them."""
    bench = await CoreBench.begin(core)
    shapes = [(7, 5, 4), (3,), (9, 8), (1, 2, 3, 4), (4, 4, 4), (11, 2, 6)]
    pauses = [(0.3, 0.3), (0.0, 0.0), (0.0, 0.6), (0.8, 0.0), (0.1, 0.9)]
    # The short form also has every shape, except that of spatial networks, and every pair of pauses.
    interesting, numbers = 0, range(0 if LONG else 10 if HAS_MAPS else 8, 15)
    for number in numbers:
        rng = rng_of(f"networks_after_each_other-{PARAMETERS.lanes}-{number}")
        sizes, (idle, stall) = shapes[number % len(shapes)], pauses[number % len(pauses)]
        network, program = random_program(rng, sizes=sizes)
        spikes = random_spikes(rng, 6, 2, network.inputs)
        await bench.clear()
        await bench.load_memories(program)
        await bench.load_registers(program)
        run = await bench.run(program, spikes, rng, idle=idle, stall=stall)
        reference = check(run, network, program, spikes)
        fired = sum(int(s.sum()) for s in reference.spikes.values())
        interesting += 0 < fired < sum(s.size for s in reference.spikes.values())
        if number == 10:
            assert_interesting(run, network, reference)
    # A small network of delay lines may send nothing.
    silent = len(numbers) // 5 if PARAMETERS.delay_line else 0
    assert interesting >= len(numbers) - silent


async def membranes(core) -> None:
    """An output population that does not spike sends its membranes, among the spikes of the others."""
    rng = rng_of(f"membranes-{PARAMETERS.lanes}")
    bench = await CoreBench.begin(core)
    values: set[int] = set()
    for _ in range(3):
        network, program = random_program(rng, readout=True)
        spikes = random_spikes(rng, 6, 2, network.inputs)
        await bench.clear()
        await bench.load_memories(program)
        await bench.load_registers(program)
        run = await bench.run(program, spikes, rng)
        assert_interesting(run, network, check(run, network, program, spikes))
        values |= set(run.membranes.values())
    assert len(values) > 50
    assert min(values) < 0 < max(values)


async def membranes_saturate(core) -> None:
    """At both ends of the range, from which they also return."""
    rng = rng_of(f"membranes_saturate-{PARAMETERS.lanes}")
    bench = await CoreBench.begin(core)
    size, inputs = 6, 8
    weight = rng.integers(60, 128, (size, inputs)) * np.repeat([-1, 1], size // 2)[:, None]
    weight[:, inputs // 2 :] *= -1
    neurons = NeuronParameters(size=size, v_width=PARAMETERS.v_width, threshold=0, spiking=False)
    network = QuantisedNetwork(
        name="saturating",
        inputs=inputs,
        populations=(QuantisedPopulation(name="a", parameters=neurons),),
        connections=(QuantisedConnection(source=INPUT, target="a", weight=weight),),
        output="a",
    )
    program = place(network, FabricConfig(core=PARAMETERS))
    # The first half of the inputs drives each neuron to one end, the second half to the other.
    spikes = np.zeros((48, 1, inputs), bool)
    for t in range(len(spikes)):
        half = slice(0, 4) if t < 24 else slice(4, 8)
        spikes[t, 0, half] = rng.random(4) < 0.8
    await bench.load_memories(program)
    await bench.load_registers(program)
    run = await bench.run(program, spikes, rng)
    check(run, network, program, spikes)
    ends = set(signed_range(PARAMETERS.v_width))
    assert ends < set(run.membranes.values())
    for slot in program.output_axons:
        assert {run.membranes[step, slot] for step in (23, 47)} == ends


async def a_program_stays(core) -> None:
    """Neither `control` nor ``reset`` nor ``rst`` clears a program, and each clears everything that a run has begun."""
    rng = rng_of(f"a_program_stays-{PARAMETERS.lanes}")
    bench = await CoreBench.begin(core)
    network, program = random_program(rng)
    await bench.load_memories(program)
    await bench.load_registers(program)
    unfinished, longest = [], 3000 if HAS_MAPS else 900
    for number in range(12 if LONG else 6):
        spikes = random_spikes(rng, 4, 2, network.inputs)
        # Maps give each event so much work that without pauses of the host a packet would always wait at the input;
        # with pauses, none would wait at the other cores.
        idle, end = 0.3 if HAS_MAPS else 0.0, int(rng.integers(50, longest))
        broken = await bench.run(program, spikes, rng, idle=idle, stall=0.9, stop_after=end)
        unfinished.append((broken.begun, broken.taken.total() > 0, bench.held is not None))
        if number % 3 == 0:
            await bench.clear()
        else:
            await bench.restart("reset" if number % 3 == 1 else "rst")
            assert await bench.read_register("steps") == 0
            await bench.load_registers(program)
        spikes = random_spikes(rng, 4, 2, network.inputs)
        run = await bench.run(program, spikes, rng)
        check(run, network, program, spikes)
        await bench.clear()
    assert len({begun for begun, _, _ in unfinished}) > 2
    assert {taken for _, taken, _ in unfinished} == {True}
    assert {held for _, _, held in unfinished} == {False, True}


async def still_without_sources(core) -> None:
    """With `sources` 0, as after a new session, nothing comes out, whatever the input."""
    rng = rng_of(f"still_without_sources-{PARAMETERS.lanes}")
    bench = await CoreBench.begin(core)
    network, program = random_program(rng)
    await bench.load_memories(program)
    spikes = np.ones((3, 1, network.inputs), bool)
    run = await bench.run(program, spikes, rng, idle=0, stall=0, stop_after=500)
    assert run.taken == {PacketKind.SPIKE: 2 * network.inputs, PacketKind.TICK: 2}
    assert (run.begun, run.finished, run.values) == (0, 0, {})
    assert await bench.read_register("steps") == 0


async def input_is_consumed_while_the_output_waits(core) -> None:
    """All input of the two steps that may be sent is accepted while the output is stalled, and nothing is lost."""
    rng = rng_of(f"input_is_consumed_while_the_output_waits-{PARAMETERS.lanes}")
    bench = await CoreBench.begin(core)
    network, program = random_program(rng)
    deaf_for = 5000 if LONG else 2500
    spikes = np.ones((4, 1, network.inputs), bool)
    await bench.load_memories(program)
    await bench.load_registers(program)
    idle = 1 - 250 / deaf_for
    stuck = await bench.run(program, spikes, rng, idle=idle, deaf_for=deaf_for, stop_after=deaf_for)
    assert stuck.taken == {PacketKind.SPIKE: 2 * network.inputs, PacketKind.TICK: 2}
    assert stuck.taken_while_stuck > network.inputs // 2, "input must have come when the output was stuck already"
    assert stuck.stalled > 0.8 * deaf_for
    assert bench.held is not None
    await bench.clear()
    run = await bench.run(program, spikes, rng, deaf_for=deaf_for)
    reference = check(run, network, program, spikes)
    assert_interesting(run, network, reference)


# The short scenarios come first: a planted bug is found as soon as one of them fails.
SCENARIOS = [
    still_without_sources,
    membranes_saturate,
    networks_after_each_other,
    membranes,
    input_is_consumed_while_the_output_waits,
    a_program_stays,
]


@cocotb.test()
@cocotb.parametrize(scenario=SCENARIOS)
async def core_fits_its_model(core, scenario) -> None:
    Clock(core.clk, 10, "ns").start()
    await scenario(core)


if PLANTED:

    @cocotb.test()
    @cocotb.parametrize(planted=range(1, len(PLANTED) + 1))
    async def planted_bug_is_found(core, planted: int) -> None:
        """Run the scenarios, one after the other, until one finds the bug that is enabled in this Verilog."""
        Clock(core.clk, 10, "ns").start()
        await FallingEdge(core.clk)
        core.planted.value = planted
        for scenario in SCENARIOS:
            try:
                await scenario(core)
            except AssertionError:
                core._log.info("%s is found by %s", PLANTED[planted - 1], scenario.__name__)
                return
        raise RuntimeError(f"a planted bug must be found: {PLANTED[planted - 1]}")
