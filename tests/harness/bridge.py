"""Bench of the host bridge: bytes of a host, and a fabric that obeys and checks the rules of elastic time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, ResetInserter, Signal
from amaranth.sim import Simulator

from harness.assign import assign
from harness.mutations import mutated, plant
from harness.networks import rng_of
from spikeloom.hdl.host import bridge as bridge_module
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.host.bridge import BridgeModel, Read, Spike, Tick, Write
from spikeloom.sim.host.messages import ConfigurationAddress, MessageDecoder, encode_read, encode_spikes, encode_write
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, REGISTER_MEMORY

Packet = tuple[PacketKind, int, int]
"""A packet from the fabric: kind, axon (of a TICK: ``last``), value."""


@dataclass
class BridgeRun:
    """Everything that a run of the bridge has produced."""

    requests: list[Spike | Tick] = field(default_factory=list)  #: packets that the fabric received
    writes: list[tuple[int, int, int, int]] = field(default_factory=list)  #: (memory, plane, index, byte)
    answers: bytearray = field(default_factory=bytearray)  #: messages that the host received
    taken: list[Packet] = field(default_factory=list)  #: packets that the bridge took from the fabric, without ACKs
    acknowledged: int = 0  #: ACKs that the bridge took
    answered: int = 0  #: ACKs that the fabric received
    begun: int = 0  #: steps that the fabric has begun
    at_limit: int = 0  #: packets of the last step that the credit allows
    cycles: int = 0
    bytes_taken: int = 0
    last_byte: int = 0  #: cycle in which the host's last byte was taken
    last_request: int = 0  #: cycle of the last packet for the fabric
    flushed: bool = False  #: whether `flush` was high in the last cycle
    register_bytes: dict[int, int] = field(default_factory=dict)  #: writes to the registers of the core


class BridgeBench:
    """Drives a `HostBridge`.

    ``idle`` and ``stall`` are the probabilities of a pause before each byte or packet and of a stall in each cycle;
    ``stalled`` names ports that are never ready, "host" or "fabric". ``density`` is the mean number of packets with
    which the fabric answers a step.
    """

    def __init__(
        self,
        bridge: Elaboratable,
        rng: np.random.Generator,
        *,
        idle: float = 0.3,
        stall: float = 0.3,
        density: float = 3,
        stalled: tuple[str, ...] = (),
    ) -> None:
        self.bridge = bridge
        self.rng = rng
        self.idle = idle
        self.stall = stall
        self.density = density
        self.stalled = stalled

    def step_answers(self, step: int) -> list[Packet]:
        """The packets with which the fabric answers a step, the same in every run: spikes in any order, and
        membranes."""
        rng = np.random.default_rng(step)
        bridge = self.bridge
        axons = rng.permutation(1 << bridge.axon_width)[: rng.poisson(self.density)]
        if rng.random() < 0.7:
            axons = np.sort(axons)
        high = 1 << (bridge.value_width - 1)
        kinds = rng.choice([PacketKind.SPIKE, PacketKind.MEMBRANE], len(axons), p=[0.8, 0.2])
        values = rng.integers(-high, high, len(axons))
        values[(kinds == PacketKind.SPIKE) & (rng.random(len(axons)) < 0.5)] = 1
        return [(PacketKind(k), int(a), int(v)) for k, a, v in zip(kinds, axons, values, strict=True)]

    def simulate(self, data: bytes, *, cycles: int = 100_000, reset_at: int = -1, then: bytes = b"") -> BridgeRun:
        """Send ``data`` to the bridge until nothing has happened for 100 cycles; return what came out.

        ``reset_at`` begins a new session in that cycle and sends ``data`` again from its beginning; earlier output is
        discarded. The bytes ``then`` follow in a run of their own, whose result is in `run` afterwards.
        """
        first: list[BridgeRun] = []
        reset = Signal()

        async def clock(ctx) -> None:
            await self._clock(ctx, data, cycles, reset, reset_at)
            first.append(self.run)
            if then:
                await self._clock(ctx, then, cycles, reset, -1)

        simulator = Simulator(ResetInserter(reset)(self.bridge))
        simulator.add_clock(1e-6)
        simulator.add_testbench(clock)
        simulator.run()
        return first[0]

    def _begin(self, data: bytes) -> None:
        self.run = BridgeRun()
        self.host = deque(data)
        self.packets = deque[dict[str, int]]()
        self.lasts: list[bool] = []  # for each TICK that the fabric has received from the host

    async def _clock(self, ctx, data: bytes, cycles: int, reset: Signal, reset_at: int) -> None:
        bridge, rng = self.bridge, self.rng
        port = bridge.configuration
        self._begin(data)
        outputs = (
            bridge.receive.ready & bridge.receive.valid,
            bridge.from_fabric.ready & bridge.from_fabric.valid,
            bridge.transmit.ready & bridge.transmit.valid,
            bridge.transmit.payload,
            bridge.to_fabric.ready & bridge.to_fabric.valid,
            bridge.to_fabric.payload,
            bridge.flush,
            port.write_enable,
            port.memory,
            port.plane,
            port.index,
            port.write_data,
        )
        ticks = aiter(ctx.tick().sample(*outputs))
        byte_offered = packet_offered = False
        cycle = quiet = 0
        while quiet < 100:
            assert cycle < cycles, "the bridge must end its work, not hang"
            resetting = cycle == reset_at
            if not byte_offered and self.host and rng.random() >= self.idle:
                ctx.set(bridge.receive.payload, self.host[0])
                byte_offered = True
            self._answer_steps()
            if not packet_offered and self.packets and rng.random() >= self.idle:
                ctx.set(bridge.from_fabric.payload, self.packets[0])
                packet_offered = True
            levels = [
                (reset, resetting),
                (bridge.receive.valid, byte_offered and not resetting),
                (bridge.from_fabric.valid, packet_offered and not resetting),
                (bridge.transmit.ready, "host" not in self.stalled and rng.random() >= self.stall),
                (bridge.to_fabric.ready, "fabric" not in self.stalled and rng.random() >= self.stall),
            ]
            assign(ctx, levels)
            sample = await anext(ticks)
            byte_taken, packet_taken, answer, answer_byte, request, packet, flush, write, *place, written = sample[2:]
            cycle += 1
            if resetting:
                self._begin(data)
                byte_offered = packet_offered = False
                continue
            run = self.run
            run.cycles = cycle
            run.flushed = bool(flush)
            quiet = 0 if byte_taken or packet_taken or answer or request else quiet + 1
            if byte_taken:
                self.host.popleft()
                byte_offered = False
                run.bytes_taken += 1
                run.last_byte = cycle
            if packet_taken:
                self._take(self.packets.popleft())
                packet_offered = False
            if answer:
                run.answers.append(answer_byte)
            if request:
                self._request(packet)
                run.last_request = cycle
            memory, plane, index = place
            # The byte of a register is there in the cycle after its address; in other cycles, a wrong byte that must
            # not be used.
            ctx.set(port.read_data, self.register(index) if memory == REGISTER_MEMORY else 0xEE)
            if write:
                run.writes.append((memory, plane, index, written))
                if memory == REGISTER_MEMORY:
                    run.register_bytes[index] = written

    def register(self, index: int) -> int:
        """The byte ``index`` of the core's registers."""
        return self.run.register_bytes.get(index, (index * 37 + 11) & 0xFF)

    def _answer_steps(self) -> None:
        """The fabric begins a step when it has everything that the step needs; its answer ends with TICK and ACK."""
        run = self.run
        step = run.begun
        if step < len(self.lasts) and run.answered >= step - 1:
            parity = step & 1
            for kind, axon, value in self.step_answers(step):
                self.packets.append({"kind": kind, "parity": parity, "last": 0, "axon": axon, "value": value})
            tick = {"kind": PacketKind.TICK, "parity": parity, "last": int(self.lasts[step]), "axon": 0, "value": 0}
            self.packets += [tick, tick | {"kind": PacketKind.ACK, "last": 0}]
            run.begun += 1

    def _take(self, packet: dict[str, int]) -> None:
        if packet["kind"] == PacketKind.ACK:
            self.run.acknowledged += 1
        elif packet["kind"] == PacketKind.TICK:
            self.run.taken.append((PacketKind.TICK, packet["last"], 0))
        else:
            self.run.taken.append((PacketKind(packet["kind"]), packet["axon"], packet["value"]))

    def _request(self, packet) -> None:
        run = self.run
        if packet.kind == PacketKind.ACK:
            ticks = sum(kind is PacketKind.TICK for kind, *_ in run.taken)
            assert run.answered < ticks, "an ACK must answer a TICK"
            assert packet.parity == run.answered & 1
            run.answered += 1
            return
        step = len(self.lasts)
        assert packet.parity == step & 1
        assert step <= run.acknowledged + 1, "step t must wait for ACK(t-2)"
        run.at_limit += step == run.acknowledged + 1
        if packet.kind == PacketKind.TICK:
            self.lasts.append(bool(packet.last))
            run.requests.append(Tick(bool(packet.last)))
        else:
            assert packet.kind == PacketKind.SPIKE
            run.requests.append(Spike(packet.axon, packet.value))


@dataclass
class Expected:
    """The results that a host's bytes must produce."""

    requests: list[Spike | Tick]
    writes: list[tuple[int, int, int, int]]
    reads: list[bytes]
    answers: bytes  #: without the answers to READs, which may come between any two messages
    error: int


def model_of(bridge) -> BridgeModel:
    """The model of a bridge whose axons are as wide as those of messages or narrower."""
    return BridgeModel(
        bridge.axon_width,
        index_width=bridge.index_width,
        plane_width=bridge.plane_width,
        value_width=bridge.input_value_width,
    )


def expected_of(bench: BridgeBench, data: bytes) -> Expected:
    """The results that ``data`` must produce, by the model of the bridge. Only registers of the core are read."""
    model = model_of(bench.bridge)
    expected = Expected([], [], [], b"", 0)
    registers: dict[int, int] = {}
    steps = 0
    for request in model.from_host(data):
        if isinstance(request, (Spike, Tick)):
            expected.requests.append(request)
        if isinstance(request, Tick):
            for kind, axon, value in bench.step_answers(steps):
                spike = kind is PacketKind.SPIKE and (value == 1 or not bench.bridge.graded)
                expected.answers += model.spike(axon) if spike else model.value(axon, value)
            expected.answers += model.tick(request.last)
            steps += 1
        if isinstance(request, Write) and request.address.tile == CORE_TILE:
            place = request.address
            for offset, byte in enumerate(request.data):
                index, plane = place.place(offset)
                if not model.reaches(place, offset):
                    continue
                expected.writes.append((place.memory, plane, index, byte))
                if place.memory == REGISTER_MEMORY:
                    registers[index] = byte
        if isinstance(request, Read):
            place, found = request.address, bytearray()
            for offset in range(request.count):
                index, _ = place.place(offset)
                known = place.tile == CORE_TILE and model.reaches(place, offset)
                found.append(registers.get(index, (index * 37 + 11) & 0xFF) if known else 0)
            expected.reads.append(bytes(found))
    expected.error = model.error
    return expected


def random_values(rng, axon_width, value_width, errors):
    """VALUEs and RUNs of every width, between TICKs. With ``errors``, some axons and values are too large."""
    data = b""
    for _ in range(12):
        axon = int(rng.integers(1 << (16 if errors and rng.random() < 0.3 else axon_width)))
        if rng.random() < 0.4:
            high = 1 << (24 if errors and rng.random() < 0.3 else value_width) - 1
            value = int(rng.integers(-high, high)) * bool(rng.random() < 0.8)
            data += b"\x11" + axon.to_bytes(2, "little") + value.to_bytes(3, "little", signed=True)
        else:
            power, is_signed = int(rng.integers(4)), int(rng.integers(2))
            # Without errors, values have at most as many bits as packets hold.
            while not errors and (1 << power) + 1 - is_signed > value_width:
                power -= 1
            count = int(rng.choice([0, 1, 2, 7, 8, 9, 30]))
            if not errors:
                count = min(count, (1 << axon_width) - axon)
            some = np.packbits(rng.random((count << power) + 7 & ~7) < rng.choice([0.1, 0.5])).tobytes()
            head = bytes([0x18 | is_signed << 2 | power]) + axon.to_bytes(2, "little") + count.to_bytes(2, "little")
            data += head + some
        if rng.random() < 0.3:
            data += bytes([0x80 | int(rng.integers(4))])
        if rng.random() < 0.2:
            data += b"\x20"
    return data + b"\x21"


def random_data(rng, axon_width, *, samples=3, requests=True, errors=False, value_width=0):
    """Samples of a few steps each, with WRITEs and READs of the core and of nonexistent tiles in between.

    With ``errors``, some of these have addresses that the fabric does not have, and bytes that begin no message follow.
    With a ``value_width``, values are included.
    """
    data = b""
    for _ in range(samples):
        inputs = min(1 << axon_width, 40)
        spikes = rng.random((int(rng.integers(2, 6)), inputs)) < rng.choice([0.05, 0.4], p=[0.3, 0.7])
        axons = rng.choice(1 << axon_width, inputs, replace=False)
        data += encode_spikes(spikes, axons)
        if value_width:
            data += random_values(rng, axon_width, value_width, errors)
        for _ in range(3 if requests else 0):
            index = int(rng.choice([0, 60, 250, 65530, (1 << 18) - 40]))
            # The low bits of 5 are those of the core.
            tile = int(rng.choice([CORE_TILE, 2, 5, 255], p=[0.8, 0.06, 0.08, 0.06]))
            memory, lane, most = int(rng.integers(16)), int(rng.integers(1024)), 20
            if errors and rng.random() < 0.5:
                index = int(rng.choice([(1 << 18) - 5, (1 << 18) - 1, 1 << 18, 1 << 25, (1 << 32) - 60]))
                memory, lane = int(rng.integers(14, 18)), int(rng.choice([0, 1023, 1024, 0xFFFF]))
            order = {"plane": lane}
            if rng.random() < 0.5:
                lane = lane if lane > 1023 else int(rng.integers(6))
                order, most = {"word_bytes": lane + 1}, 40
            if rng.random() < 0.5:
                address = ConfigurationAddress(tile=tile, memory=memory, index=index, **order)
                data += encode_write(address, rng.bytes(int(rng.integers(most))))
            else:
                data += encode_read(ConfigurationAddress(tile=tile, index=index, **order), int(rng.integers(most)))
        if errors:
            unknown = [0x00, 0x03, 0x04, 0x07, 0x09, 0x0F, 0x10, 0x12, 0x17, 0x22, 0x25, 0x3F, 0x7F, 0x7F]
            unknown += [] if value_width else [0x11, 0x18, 0x1F]
            data += bytes(rng.permutation(unknown).tolist())
    return data


def messages_of(answers):
    """The decoded messages for the host: spikes and values with their steps, ticks, reads."""
    decoder = MessageDecoder()
    found = decoder.feed(bytes(answers))
    assert not decoder.inside
    return (
        np.stack([found.spike_step, found.spike_axon]).tolist(),
        np.stack([found.value_step, found.value_axon, found.value]).tolist(),
        found.ticks.tolist(),
    ), list(found.reads)


def check(bench, data, **how):
    """Run, and compare everything with the model, including the register ``error``."""
    run = bench.simulate(data, then=read("error"), **how)
    expected = expected_of(bench, data)
    _, (error,) = messages_of(bench.run.answers)
    assert error == bytes([expected.error])
    assert run.requests == expected.requests
    assert run.writes == expected.writes
    messages, reads = messages_of(run.answers)
    assert reads == expected.reads
    assert messages == messages_of(expected.answers)[0]
    if not reads:
        assert bytes(run.answers) == expected.answers
    assert run.answered == run.acknowledged == sum(isinstance(request, Tick) for request in run.requests)
    assert run.bytes_taken == len(data)
    assert run.flushed
    return run, expected


def write(name, value):
    """A message that writes a register of the bridge."""
    register = BRIDGE.register(name)
    return encode_write(ConfigurationAddress(tile=BRIDGE_TILE, index=register.offset), register.encode(value))


def read(name):
    """A message that reads a register of the bridge."""
    register = BRIDGE.register(name)
    return encode_read(ConfigurationAddress(tile=BRIDGE_TILE, index=register.offset), register.size)


PLANTED = random_data(rng_of("planted"), 9, samples=5)
"""The input for a bridge with a planted bug."""


def bridge_with_bug(monkeypatch, module, old, new):
    """Host bridges of which one module, their own or that of a part, has ``old`` replaced by ``new`` in one place."""
    if module is bridge_module:
        return mutated(module, old, new).HostBridge
    plant(monkeypatch, bridge_module.__name__, module, old, new)
    return bridge_module.HostBridge


def find_planted_bug(monkeypatch, module, old, new):
    """Fail unless the bench finds the bug in a bridge made by `bridge_with_bug`."""
    design = bridge_with_bug(monkeypatch, module, old, new)
    with pytest.raises((AssertionError, ValueError)):
        check(BridgeBench(design(9, 20), rng_of("planted")), PLANTED)
