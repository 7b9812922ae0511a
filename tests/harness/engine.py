"""Bench of the LIF engine: a program and spikes in, every spike, membrane and state of the RTL out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from amaranth.hdl import Elaboratable, Module
from amaranth.sim import Simulator

from harness.assign import assign
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.program import Program
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.lib.memory import LoadedMemory
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.core.neuron import NeuronState
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import ReferenceResult


@dataclass
class EngineRun:
    """The behaviour of the RTL. Steps count through all samples."""

    spikes: set[tuple[int, int]] = field(default_factory=set)  #: (step, slot)
    values: dict[tuple[int, int], int] = field(default_factory=dict)  #: (step, slot) -> value of a spike
    membranes: dict[tuple[int, int], int] = field(default_factory=dict)  #: (step, slot) -> value
    packets: int = 0
    states: list[list[int]] = field(default_factory=list)  #: after each step, the words of the state memory
    touched: list[list[int]] = field(default_factory=list)  #: after each step, the accumulators that are not zero again
    words_added: int = 0
    waiting_cycles: int = 0  #: cycles in which an event waited or its words were being read
    sweep_cycles: int = 0
    sent: int = 0  #: spikes and membranes that were sent, out or back into the core
    cycles: int = 0
    step_cycles: int = 0  #: cycles between the ends of the last two steps


_MOST_BYTES = 32
"""Largest memory, in bytes, that is loaded through the port, as a host does. Larger ones, which would take longer to
load than to run, are written directly, unless a test asks for the port; the compiled core always uses the port."""


@contextlib.contextmanager
def noting_memories() -> Iterator[list[LoadedMemory]]:
    """The memories that the host loads, of everything elaborated in this context."""
    noted: list[LoadedMemory] = []
    original = LoadedMemory.elaborate

    def elaborate(memory: LoadedMemory, platform: object) -> Module:
        noted.append(memory)
        return original(memory, platform)

    LoadedMemory.elaborate = elaborate
    try:
        yield noted
    finally:
        LoadedMemory.elaborate = original


def write_directly(ctx, memory: LoadedMemory, words: np.ndarray) -> None:
    """Write ``words``, bytes ``(n, planes)`` with the lowest first, directly to a memory, to the slice of a
    bank, or to a column, which holds every n-th word."""
    data, mask = memory._block.memory.data, (1 << memory._width) - 1
    part = words[:, memory._first_plane : memory._first_plane + -(-memory._width // 8)]
    for index, octets in enumerate(part[memory._column :: 1 << memory._column_bits]):
        value = int.from_bytes(octets.tobytes(), "little") & mask
        if ctx.get(data[index]) != value:  # most words are still zero, and reading is cheaper than writing
            ctx.set(data[index], value)


class EngineSimulator:
    """An engine in a simulator, for any number of runs: to make the simulator takes longer than a short run."""

    def __init__(self, engine: Elaboratable) -> None:
        self.engine = engine
        with noting_memories() as self.memories:
            self._simulator = Simulator(engine)
        self._simulator.add_clock(1e-6)
        for domain, period in getattr(engine, "clocks", {}).items():
            self._simulator.add_clock(period, domain=domain)
        self._processes: Sequence[Callable] = ()
        self._has_run = False

    def run(self, processes: Sequence[Callable]) -> None:
        """Begin anew, all memories as they were at first, and run until the first of ``processes`` ends."""
        if self._has_run:
            self._simulator.reset()
        else:
            for number in range(len(processes)):
                self._simulator.add_testbench(self._testbench(number), background=number > 0)
        assert len(processes) == len(self._processes or processes), "each run must have as many processes"
        self._processes, self._has_run = processes, True
        self._simulator.run()

    def _testbench(self, number: int) -> Callable:
        async def testbench(ctx) -> None:
            await self._processes[number](ctx)

        return testbench


def run_engine(
    engine: Elaboratable | EngineSimulator,
    program: Program,
    spikes: np.ndarray,
    rng: np.random.Generator,
    *,
    idle: float = 0.3,
    stall: float = 0.3,
    shuffle: bool = True,
    by_port: bool = False,
    timeout: int = 200_000,
    on_accepted: Callable[[object], None] = lambda packet: None,
    background: Sequence[Callable] = (),
    prepare: Callable | None = None,
) -> EngineRun:
    """Load ``program`` and stream ``spikes`` ``(T, B, inputs)``; ``idle`` and ``stall`` are the probabilities of input
    pauses and output stalls.

    If ``spikes`` are integers, each is the value of an event, and 0 is no event. ``by_port`` loads every memory through
    the port. ``background`` are processes of other parts at the engine, such as a memory of weights, ``prepare``
    is called before the program is loaded. If several runs use the same engine, pass an `EngineSimulator` of it.
    """
    simulator = engine if isinstance(engine, EngineSimulator) else EngineSimulator(engine)
    engine, loaded = simulator.engine, simulator.memories
    steps, batch, _ = spikes.shape
    total = steps * batch
    run = EngineRun()
    acknowledged = 0  # steps that the engine has finished
    answers: list[int] = []  # parities of the acknowledgements that the bench owes to the engine
    core = engine.parameters

    async def load(ctx) -> None:
        if prepare:
            await prepare(ctx)
        port = engine.load
        for image in program.memories:
            blocks = [memory for memory in loaded if memory._number == image.memory]
            direct = not by_port and all(isinstance(memory._block, BlockMemory) for memory in blocks)
            if direct and image.words.size > _MOST_BYTES:
                for memory in blocks:
                    write_directly(ctx, memory, image.words)
                continue
            for (index, plane), value in np.ndenumerate(image.words):
                place = (port.memory, image.memory), (port.plane, plane), (port.index, index)
                assign(ctx, [*place, (port.write_data, value), (port.write_enable, 1)])
                await ctx.tick()
        ctx.set(port.write_enable, 0)
        for _, name, value in program.registers:
            ctx.set(getattr(engine, name), value)

    async def send(ctx, **packet: object) -> None:
        while rng.random() < idle:
            await ctx.tick()
        assign(ctx, [(engine.i.payload, engine.i.payload.shape().const(packet).as_bits()), (engine.i.valid, 1)])
        await ctx.tick().until(engine.i.ready)
        on_accepted(packet)
        ctx.set(engine.i.valid, 0)

    async def source(ctx) -> None:
        await load(ctx)
        for step in range(total):
            sample, t = divmod(step, steps)
            while step >= acknowledged + 2:
                await answer(ctx)
                await ctx.tick()
            lines = np.flatnonzero(spikes[t, sample])
            for line in rng.permutation(lines) if shuffle else lines:
                await answer(ctx)
                axon, value = int(program.input_axons[line]), int(spikes[t, sample, line])
                await send(ctx, kind=PacketKind.SPIKE, parity=step & 1, axon=axon, value=value)
            await send(ctx, kind=PacketKind.TICK, parity=step & 1, last=int(t == steps - 1))
        while acknowledged < total or answers:
            await answer(ctx)
            await ctx.tick()

    async def answer(ctx) -> None:
        while answers:
            await send(ctx, kind=PacketKind.ACK, parity=answers.pop(0))

    async def sink(ctx) -> None:
        nonlocal acknowledged
        step = ready = 0
        while True:
            before, ready = ready, int(rng.random() >= stall)
            if ready != before:
                ctx.set(engine.o.ready, ready)
            _, _, valid, packet = await ctx.tick().sample(engine.o.valid, engine.o.payload)
            if not (valid and ready):
                continue
            run.packets += 1
            assert packet.parity == (acknowledged if packet.kind == PacketKind.ACK else step) & 1
            if packet.kind != PacketKind.ACK:
                assert packet.last == (step % steps == steps - 1)
            if packet.kind == PacketKind.SPIKE:
                assert (step, packet.axon) not in run.spikes
                run.spikes.add((step, packet.axon))
                run.values[step, packet.axon] = packet.value
            elif packet.kind == PacketKind.MEMBRANE:
                run.membranes[step, packet.axon] = packet.value
            elif packet.kind == PacketKind.TICK:
                answers.append(step & 1)
                step += 1
            else:
                acknowledged += 1

    async def watch(ctx) -> None:
        last_done = 0
        counted = (engine.step_done, engine.word_added, engine.waiting, engine.sweeping, engine.spike)
        async for _, _, done, added, waiting, sweeping, sent in ctx.tick().sample(*counted):
            run.words_added += added
            run.waiting_cycles += waiting
            run.sweep_cycles += sweeping
            run.sent += sent
            run.cycles += 1
            assert run.cycles < timeout, "the engine must end its run, not hang"
            if done:
                run.step_cycles, last_done = run.cycles - last_done, run.cycles
                parity = len(run.states) & 1
                banks = [bank.states.memory.data for bank in engine.sweep.banks]
                run.states.append([joined([ctx.get(bank[word]) for bank in banks], core) for word in range(core.words)])
                touched = engine.accumulator.touched[parity]
                # A core that adds several words per cycle has one memory for each, in which every n-th word is.
                columns = touched if isinstance(touched, list) else [touched]
                run.touched.append(
                    [
                        ctx.get(columns[word % len(columns)].memory.data[word // len(columns)])
                        for word in range(core.words)
                    ]
                )

    simulator.run([source, sink, watch, *background])
    return run


def assert_equal_to_reference(
    run: EngineRun, network: QuantisedNetwork, program: Program, spikes: np.ndarray, reference: ReferenceResult
) -> None:
    """Assert that every spike, every membrane read out and every state of every neuron after every step is equal."""
    core = program.fabric.core
    steps, batch, outputs = reference.spikes[network.output].shape
    expected = {
        (int(sample * steps + t), int(program.output_axons[neuron]))
        for t, sample, neuron in zip(*np.nonzero(reference.spikes[network.output]), strict=True)
    }
    assert run.spikes == expected
    values = reference.values.get(network.output, reference.spikes[network.output].astype(np.int64))
    assert run.values == {
        (int(sample * steps + t), int(program.output_axons[neuron])): int(values[t, sample, neuron])
        for t, sample, neuron in zip(*np.nonzero(reference.spikes[network.output]), strict=True)
    }
    if program.membranes:
        values = reference.states[network.output].v
        assert run.membranes == {
            (sample * steps + t, int(program.output_axons[neuron])): int(values[t, sample, neuron])
            for t in range(steps)
            for sample in range(batch)
            for neuron in range(outputs)
        }
    else:
        assert not run.membranes
    assert len(run.states) == steps * batch
    layout_of = layouts(network, core.lanes)
    for population in network.populations:
        found = unpack_states(core, run.states, layout_of[population.name].slots)
        assert_equal_states(found, reference.states[population.name], population.name)
    assert all(not any(touched) for touched in run.touched), "every accumulator must be zero again after its step"
    assert run.words_added == expected_words(network, core, spikes, reference)


def joined(parts: list[int], core: CoreParameters) -> int:
    """A state word, joined from those of the banks."""
    width = core.bank_lanes * core.state_layout.width
    return sum(part << number * width for number, part in enumerate(parts))


def unpack_states(core: CoreParameters, steps: list[list[int]], slots: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of the states in ``slots``, each ``(step, slot)``, from the words after each step."""
    layout = core.state_layout
    size = (core.lanes * layout.width + 7) // 8
    octets = b"".join(word.to_bytes(size, "little") for words in steps for word in words)
    bits = np.unpackbits(np.frombuffer(octets, np.uint8).reshape(len(steps), -1, size), axis=2, bitorder="little")
    word, lane = np.divmod(np.asarray(slots), core.lanes)
    of_slot = bits[:, word[:, None], (lane * layout.width)[:, None] + np.arange(layout.width)].astype(np.int64)
    found, low = {}, 0
    for entry in layout.fields:
        value = of_slot[..., low : low + entry.width] @ (1 << np.arange(entry.width, dtype=np.int64))
        if entry.signed and entry.width:
            value -= (value >> (entry.width - 1)) << entry.width
        found[entry.name] = value
        low += entry.width
    return found


def assert_equal_states(found: dict[str, np.ndarray], expected: NeuronState, place: object) -> None:
    """Compare the result of `unpack_states` with the reference's ``(T, B, neurons)``; a field that a core lacks must be
    0."""
    for field_ in fields(NeuronState):
        wanted = np.asarray(getattr(expected, field_.name)).swapaxes(0, 1)
        wanted = wanted.reshape(-1, wanted.shape[2]).astype(np.int64)
        is_value = found.get(field_.name, np.zeros_like(wanted))
        differ = np.argwhere(is_value != wanted)
        if len(differ):
            step, neuron = differ[0]
            raise AssertionError(
                f"{field_.name} of neuron {neuron} of {place} after step {step} "
                f"must be {wanted[step, neuron]}, not {is_value[step, neuron]}"
            )


def expected_words(
    network: QuantisedNetwork, core: CoreParameters, spikes: np.ndarray, reference: ReferenceResult
) -> int:
    """The number of groups of weight words that the spikes of the whole run must add, by the model of the row reader.

    A group is a word, unless the core adds several per cycle."""
    rows = rows_of(network, core, layouts(network, core.lanes))
    tables = RowTables(core, rows.images)
    groups = 0
    for source, axons in rows.axons.items():
        fired = np.asarray(spikes if source == INPUT else reference.spikes[source]) != 0
        for delay in range(2):
            events = fired[: len(fired) - delay].sum(axis=(0, 1))
            of_each = [sum(group.first.delay == delay for group in tables.groups(int(axon))) for axon in axons]
            groups += int(events @ np.array(of_each))
    return groups
