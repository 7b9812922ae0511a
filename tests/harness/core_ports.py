"""Bench of a core at its ports, native or AXI: program bytes and spikes in, spikes and membranes out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from spikeloom.compiler.program import Program
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate

_TIMEOUT = 20_000


@dataclass(frozen=True)
class Packet:
    """A packet, with the fields at the ports of a tile."""

    kind: PacketKind
    parity: int = 0
    last: int = 0
    axon: int = 0
    value: int = 0


@dataclass
class PortsRun:
    """The packets that a core sent: steps count through all samples."""

    spikes: set[tuple[int, int]] = field(default_factory=set)
    membranes: dict[tuple[int, int], int] = field(default_factory=dict)


def bytes_of(program: Program) -> list[tuple[int, int, int, int]]:
    """Everything that is loaded into a core, as ``(memory, plane, index, byte)``; registers are memory 0."""
    writes = [
        (image.memory, plane, index, int(byte))
        for image in program.memories
        for plane in range(image.words.shape[1])
        for index, byte in enumerate(image.words[:, plane])
    ]
    for _, name, value in program.registers:
        register = CORE.register(name)
        octets = int(value).to_bytes(register.size, "little")
        writes += [(0, 0, register.offset + place, byte) for place, byte in enumerate(octets)]
    return writes


async def run_steps(ctx, ports, program: Program, spikes: np.ndarray, rng, *, idle=0.2, stall=0.3) -> PortsRun:
    """Stream ``spikes`` ``(T, B, inputs)`` through ``ports``, which sends and receives a packet in each cycle."""
    steps, batch, _ = spikes.shape
    run, waiting = PortsRun(), deque()
    for step in range(steps * batch):
        sample, t = divmod(step, steps)
        for line in rng.permutation(np.flatnonzero(spikes[t, sample])):
            axon = int(program.input_axons[line])
            waiting.append((step, Packet(PacketKind.SPIKE, step & 1, axon=axon, value=1)))
        waiting.append((step, Packet(PacketKind.TICK, step & 1, last=int(t == steps - 1))))
    answers, offered, ended, acknowledged, left = deque(), None, 0, 0, _TIMEOUT
    while acknowledged < steps * batch or answers or offered:
        left -= 1
        assert left, "the core must end its steps, not hang"
        if offered is None and rng.random() >= idle:
            if answers:
                offered = answers.popleft()
            elif waiting and waiting[0][0] < acknowledged + 2:
                _, offered = waiting.popleft()
        taken, packet = await ports.exchange(ctx, offered, ready=rng.random() >= stall)
        if taken:
            offered = None
        if packet is None:
            continue
        if packet.kind == PacketKind.ACK:
            assert packet.parity == acknowledged & 1
            acknowledged += 1
            continue
        assert packet.parity == ended & 1
        if packet.kind == PacketKind.TICK:
            assert packet.last == (ended % steps == steps - 1)
            answers.append(Packet(PacketKind.ACK, ended & 1))
            ended += 1
        elif packet.kind == PacketKind.SPIKE:
            assert (ended, packet.axon) not in run.spikes
            run.spikes.add((ended, packet.axon))
        else:
            run.membranes[ended, packet.axon] = packet.value
    return run


def assert_equal_to_reference(run: PortsRun, network: QuantisedNetwork, program: Program, spikes: np.ndarray) -> None:
    """Assert that every spike and every membrane that is read out is equal."""
    steps, batch, _ = spikes.shape
    reference = simulate(network, spikes, record=[network.output])
    axons = [int(axon) for axon in program.output_axons]
    fired, v = reference.spikes[network.output], reference.states[network.output].v
    places = [(t, b, n) for t in range(steps) for b in range(batch) for n in range(len(axons))]
    if program.membranes:
        assert run.membranes == {(b * steps + t, axons[n]): int(v[t, b, n]) for t, b, n in places}
        assert min(run.membranes.values()) < 0 < max(run.membranes.values())
    else:
        assert run.spikes == {(b * steps + t, axons[n]) for t, b, n in places if fired[t, b, n]}
        assert 0 < len(run.spikes) < len(places)
