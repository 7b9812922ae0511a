"""The parts of an AER tile, queues of axons and table, against their models; and whole tiles, step by step.

`tests/cosim/test_aer_tile.py` tests whole tiles with chips without a clock and with all token rules.
"""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.aer import tile
from spikeloom.hdl.aer.tile import AerTile, EventQueue, Translator
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.aer.registers import AER

WIDTH, DEPTH = 4, 8


def check_queue(queue, rng, *, events=200, turn=0.03, resets=2, both=False):
    """Random axons, many of them repeated, compared with a list; a reset at any time empties the queue.

    As in a tile, a queue either collects or gives, and switches with probability ``turn`` when no axon is coming in.
    With ``both`` it gives at any time, except the axon that is being looked up.
    """
    m, reset = Module(), Signal()
    m.submodules.queue = ResetInserter(reset)(queue)
    resets = sorted(rng.choice(events, resets, replace=False).tolist())
    seen = {"repeated": 0, "full": 0, "given": 0}

    async def bench(ctx):
        inside, offered, count, since, collects = [], None, 0, 0, True
        await ctx.tick().repeat(1 << WIDTH)  # as after a reset
        while count < events or inside:
            if resets and count == resets[0]:
                resets.pop(0)
                ctx.set(queue.i.valid, 0)
                ctx.set(queue.o.ready, 0)
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                inside.clear()
                offered = None
                assert ctx.get(queue.busy), "it forgets what was in it first"
                # One axon is cleared per cycle, and none is accepted before that is finished.
                for _ in range(1 << WIDTH):
                    assert (ctx.get(queue.busy), ctx.get(queue.i.ready)) == (1, 0)
                    await ctx.tick()
                assert not ctx.get(queue.busy)
            if offered is None and count < events and rng.random() < 0.7:
                offered, since = int(rng.integers(1 << WIDTH)), 0
            ctx.set(queue.i.valid, int(offered is not None and collects))
            if offered is not None:
                ctx.set(queue.i.payload, offered)
            if not collects or not ctx.get(queue.busy):
                turns = count == events or rng.random() < turn if collects else not inside
                collects ^= turns and not both
                ctx.set(queue.i.valid, int(offered is not None and collects))
                since = 0 if turns else since
            ready = not collects and rng.random() < 0.5
            if both:
                ready = rng.random() < (0.1 if count < events else 0.5)
                ready &= not ctx.get(queue.busy) or ctx.get(queue.o.payload) != offered
            ctx.set(queue.o.ready, int(ready))
            assert ctx.get(queue.empty) == (not inside)
            taken = offered is not None and collects and ctx.get(queue.i.ready)
            given = ctx.get(queue.o.payload) if ready and ctx.get(queue.o.valid) else None
            if taken:
                assert ctx.get(queue.busy)
                assert ctx.get(queue.repeated) == (offered in inside)
                assert len(inside) < DEPTH
                seen["repeated"] += offered in inside
            was_full = len(inside) == DEPTH
            if given is not None:
                assert inside
                assert given == inside.pop(0), "axons leave in the order in which they have come"
                seen["given"] += 1
            if taken:
                if not ctx.get(queue.repeated):
                    inside.append(offered)
                offered, count = None, count + 1
            elif offered is not None:
                since = 0 if was_full or not collects else since + (given is None)
                seen["full"] += was_full and collects
                assert since <= 4, "an axon takes four cycles or five"
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("turn", [0.01, 0.03])
def test_axons_wait_once_each(request, turn):
    check_queue(EventQueue(WIDTH, DEPTH), rng_of(request.node.name), turn=turn)


def test_axons_wait_while_others_leave(request):
    check_queue(EventQueue(WIDTH, DEPTH), rng_of(request.node.name), both=True)


def table_of(rng, direction):
    """A tile with a table of which half the entries are known, and the table as a dictionary."""
    parameters = AerTileParameters(direction=direction, address_width=5, axon_width=6)
    entries = {}
    for key in rng.permutation(parameters.table.depth)[: parameters.table.depth // 2]:
        entries[int(key)] = int(rng.integers(1 << parameters.table_layout.fields[1].width))
    pairs = np.array(list(entries.items()))
    words = parameters.table_words(*(pairs.T if parameters.is_input else pairs.T[::-1]))
    return parameters, entries, words


def check_translator(rng, direction, kind=Translator, *, number=120, stall=0.3):
    parameters, entries, words = table_of(rng, direction)
    translator = kind(parameters)
    given, expected, waits = [], [], set()

    async def load(ctx):
        for plane in range(words.shape[1]):
            for index, byte in enumerate(words[:, plane]):
                ctx.set(translator.load.write_enable, 1)
                ctx.set(translator.load.memory, parameters.table.number)
                ctx.set(translator.load.plane, plane)
                ctx.set(translator.load.index, index)
                ctx.set(translator.load.write_data, int(byte))
                await ctx.tick()
        ctx.set(translator.load.write_enable, 0)
        await ctx.tick()

    async def bench(ctx):
        await load(ctx)
        offered, left, held, since, quiet = None, number, None, 0, 0
        while quiet < 8:
            if offered is None and left and rng.random() < 0.7:
                offered, left, since = int(rng.integers(parameters.table.depth)), left - 1, 0
            ctx.set(translator.i.valid, int(offered is not None))
            if offered is not None:
                ctx.set(translator.i.payload, offered)
            ready = rng.random() >= stall
            ctx.set(translator.o.ready, int(ready))
            valid, value = ctx.get(translator.o.valid), ctx.get(translator.o.payload)
            assert held is None or (valid, value) == (1, held), "what is offered must stay until it is taken"
            held = value if valid and not ready else None
            if valid and ready:
                given.append(value)
            since += 1
            taken = offered is not None and ctx.get(translator.i.ready)
            assert ctx.get(translator.unknown) == (taken and offered not in entries)
            if taken:
                if offered in entries:
                    expected.append(entries[offered])
                if stall == 0:
                    waits.add(since)
                offered = None
            quiet = 0 if left or offered is not None else quiet + 1
            await ctx.tick()

    simulator = Simulator(translator)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert given == expected
    assert 0.2 * number < len(given) < 0.8 * number
    return waits


@pytest.mark.parametrize("direction", AerDirection)
@pytest.mark.parametrize("stall", [0.0, 0.8])
def test_what_is_known_is_translated(request, direction, stall):
    waits = check_translator(rng_of(request.node.name), direction, stall=stall)
    assert waits <= {3, 4}


QUEUE_BUGS = {
    "an axon twice": ("queue.i.valid.eq(~present.data)", "queue.i.valid.eq(1)"),
    "what has left is still there": (
        "[present.write_address.eq(self.o.payload), present.write_enable.eq(1)]",
        "[present.write_address.eq(self.o.payload), present.write_enable.eq(0)]",
    ),
    "more than fits": ("self.busy.eq(self.i.valid & ~full)", "self.busy.eq(self.i.valid)"),
    "a reset forgets one axon": ("with m.If(place.all()):", "with m.If(1):"),
    "the memory is looked at too early": ("waiting.eq(present.latency - 1)", "waiting.eq(0)"),
    "empty": ("self.empty.eq(level == 0)", "self.empty.eq(level <= 1)"),
}


@pytest.mark.parametrize("bug", QUEUE_BUGS)
def test_a_planted_bug_in_the_queue_is_found(bug):
    copy = mutated(tile, *QUEUE_BUGS[bug])
    with pytest.raises(AssertionError):
        check_queue(copy.EventQueue(WIDTH, DEPTH), rng_of(bug))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with m.Elif(~pop):", "with m.Else():"),
        ("pop.eq(self.o.valid & self.o.ready)", "pop.eq(self.o.ready)"),
        ("pop.eq(self.o.valid & self.o.ready)", "pop.eq(self.o.valid)"),
    ],
)
def test_a_planted_bug_where_axons_come_and_leave_is_found(old, new):
    copy = mutated(tile, old, new)
    with pytest.raises(AssertionError):
        check_queue(copy.EventQueue(WIDTH, DEPTH), rng_of("both"), both=True)


TRANSLATOR_BUGS = {
    "what is not known": ("self.o.valid.eq(known)]", "self.o.valid.eq(1)]"),
    "a full register": ("(waiting == 0) & (~self.o.valid | self.o.ready)", "(waiting == 0)"),
    "the table is read too early": (
        "with m.If(~self.i.valid | self.i.ready):\n            m.d.sync += waiting.eq(table.latency)",
        "with m.If(~self.i.valid | self.i.ready):\n            m.d.sync += waiting.eq(0)",
    ),
    "an address twice": (
        "with m.If(self.o.ready):\n            m.d.sync += self.o.valid.eq(0)",
        "if False:\n            pass",
    ),
}


@pytest.mark.parametrize("bug", TRANSLATOR_BUGS)
def test_a_planted_bug_in_the_table_is_found(bug):
    copy = mutated(tile, *TRANSLATOR_BUGS[bug])
    with pytest.raises(AssertionError):
        check_translator(rng_of(bug), AerDirection.INPUT, copy.Translator)


SPIKE_TO, TICK_TO, ACK_TO = 0b0110, 0b1100, 0b0011
DESTINATIONS = {"spike_destinations": SPIKE_TO, "tick_destinations": TICK_TO, "ack_destinations": ACK_TO}


class Tile:
    """The ports of an AER tile, with a chip at its wires, and two sources and a sink that obey the token rules.

    ``alive`` states whether the chip responds; ``addresses`` are those that it still sends, or those that it has
    received.
    """

    def __init__(self, design, rng, *, stall=0.3):
        self.design, self.rng, self.stall = design, rng, stall
        self.outgoing, self.sent = deque(), []
        self.alive, self.addresses = True, deque()
        self.offered, self.asked = None, 0

    async def cycle(self, ctx):
        """One clock cycle: a packet in each direction, and a phase of the handshake."""
        tile, p = self.design, self.design.parameters
        if self.offered is None and self.outgoing and self.rng.random() < 0.8:
            self.offered = self.outgoing.popleft()
            ctx.set(
                tile.i.payload, {"kind": PacketKind.SPIKE, "parity": 0, "last": 0, "axon": 0, "value": 1} | self.offered
            )
        ctx.set(tile.i.valid, self.offered is not None)
        ready = self.rng.random() >= self.stall
        ctx.set(tile.o.ready, ready)
        if self.alive and self.rng.random() < 0.5:
            self.phase(ctx, p.is_input)
        if ready and ctx.get(tile.o.valid):
            packet = ctx.get(tile.o.payload)
            self.sent.append((packet.kind, packet.parity, packet.last, packet.axon, packet.value, packet.destinations))
        if self.offered is not None and ctx.get(tile.i.ready):
            self.offered = None
        await ctx.tick()

    def phase(self, ctx, sends):
        """The next action of the chip, if it is its turn."""
        tile = self.design
        request, acknowledge = ctx.get(tile.request), ctx.get(tile.acknowledge)
        if not sends and request != acknowledge:
            if request:
                self.addresses.append(ctx.get(tile.address))
            ctx.set(tile.acknowledge, request)
        elif sends and request == acknowledge and (request or self.addresses):
            if not request:
                ctx.set(tile.address, self.addresses.popleft())
            ctx.set(tile.request, not request)

    async def until(self, ctx, condition, limit=3000):
        for _ in range(limit):
            if condition():
                return
            await self.cycle(ctx)
        raise AssertionError("the tile must go on")

    async def write(self, ctx, memory, plane, index, byte):
        port = self.design.configuration
        values = {"memory": memory, "plane": plane, "index": index, "write_data": byte, "write_enable": 1}
        for name, value in values.items():
            ctx.set(getattr(port, name), int(value))
        await ctx.tick()
        ctx.set(port.write_enable, 0)

    async def load(self, ctx, words, **registers):
        for (index, plane), byte in np.ndenumerate(words):
            await self.write(ctx, self.design.parameters.table.number, plane, index, byte)
        await self.set(ctx, **registers)

    async def set(self, ctx, **registers):
        for name, value in registers.items():
            register = AER.register(name)
            for place, byte in enumerate(register.encode(value)):
                await self.write(ctx, 0, 0, register.offset + place, byte)

    async def restart(self, ctx, by):
        """Restart by the register ``control`` or by one of the lines ``clear`` and ``reset``."""
        if by == "control":
            await self.set(ctx, control=1)
        else:
            ctx.set(getattr(self.design, by), 1)
            await ctx.tick()
            ctx.set(getattr(self.design, by), 0)
        await ctx.tick()

    async def get(self, ctx, name):
        port, register, data = self.design.configuration, AER.register(name), []
        ctx.set(port.memory, 0)
        for place in range(register.offset, register.offset + register.size):
            ctx.set(port.index, place)
            await self.cycle(ctx)
            data.append(ctx.get(port.read_data))
        return int.from_bytes(bytes(data), "little")

    def count(self, kind):
        return sum(packet[0] == kind for packet in self.sent)

    def run(self, bench):
        simulator = Simulator(self.design)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()


def packet_of(kind, step, *, last=0, axon=0):
    return {"kind": kind, "parity": step & 1, "last": last, "axon": axon}


def check_input(kind, rng, *, steps=6):
    """Bursts with repeated and unknown addresses, and with more than the queue holds: each step is complete, and the
    counters are right."""
    parameters, entries, words = table_of(rng, AerDirection.INPUT)
    parameters = replace(parameters, depth=DEPTH)
    tile = Tile(kind(parameters), rng)
    seen = {"repeated": 0, "unknown": 0, "full": 0}

    async def bench(ctx):
        await tile.load(ctx, words, **DESTINATIONS, sinks=1, sources=1)
        waiting, total = [], 0
        for step in range(steps):
            burst = rng.integers(1 << parameters.address_width, size=40 if step % 3 == 1 else 3).tolist()
            tile.addresses.extend(burst)
            total += len(burst)
            waiting += burst
            inside, taken = [], 0
            for address in waiting:
                axon = entries.get(address)
                if axon is not None and len(inside) == DEPTH:
                    break  # the chip waits
                if axon is None:
                    seen["unknown"] += 1
                elif axon in inside:
                    seen["repeated"] += 1
                else:
                    inside.append(axon)
                taken += 1
            waiting = waiting[taken:]
            seen["full"] += bool(waiting)
            for _ in range(700):
                await tile.cycle(ctx)
            assert [await tile.get(ctx, name) for name in ("repeated", "unknown")] == [
                seen["repeated"],
                seen["unknown"],
            ]
            if not waiting:
                assert await tile.get(ctx, "events") == total
            assert await tile.get(ctx, "status") == (not inside)
            last, parity, begin = int(step == steps - 2), step & 1, len(tile.sent)
            tile.outgoing.append(packet_of(PacketKind.TICK, step, last=last))
            await tile.until(ctx, lambda step=step: tile.count(PacketKind.ACK) == step + 1)
            assert tile.sent[begin:-2] == [(PacketKind.SPIKE, parity, last, axon, 1, SPIKE_TO) for axon in inside]
            tick, ack = tile.sent[-2:]
            assert (*tick[:3], tick[5]) == (PacketKind.TICK, parity, last, TICK_TO)
            assert (*ack[:2], ack[5]) == (PacketKind.ACK, parity, ACK_TO)
            tile.outgoing.append(packet_of(PacketKind.ACK, step))

    tile.run(bench)
    assert min(seen.values()) > 1, seen


def check_output(kind, rng, *, first):
    """One parity fills its queue while the chip is dead: packets behind it wait, those of the other parity are accepted
    as long as none waits, and all of them reach the chip, step by step."""
    parameters, entries, words = table_of(rng, AerDirection.OUTPUT)
    parameters = replace(parameters, depth=DEPTH)
    known = sorted(entries)
    room = 0  # the capacity of a queue, including the words read out of its memory

    def spikes(step, count):
        return [packet_of(PacketKind.SPIKE, step, axon=int(axon)) for axon in rng.choice(known, count)]

    async def fill(ctx, tile, count):
        """One source has ended step 0, and the other sends ``count`` spikes, which the dead chip does not accept."""
        tile.alive = False
        await tile.load(ctx, words, **DESTINATIONS, sinks=1, sources=2)
        assert await tile.get(ctx, "status") == 1
        filling = spikes(first, count)
        tile.outgoing.extend([packet_of(PacketKind.TICK, 0), *filling])
        for _ in range(300):
            await tile.cycle(ctx)
        assert await tile.get(ctx, "status") == 0
        return filling

    async def finish(ctx, tile, expected, restart):
        """The sources end both steps; a restart clears the counters."""
        tile.alive = True
        tile.outgoing.extend([packet_of(PacketKind.TICK, 0)])
        await tile.until(ctx, lambda: tile.count(PacketKind.ACK) == 1)
        steps = [[entries[packet["axon"]] for packet in expected if packet["parity"] == parity] for parity in (0, 1)]
        assert list(tile.addresses) == steps[0]
        tile.outgoing.extend(2 * [packet_of(PacketKind.TICK, 1, last=1)])
        await tile.until(ctx, lambda: tile.count(PacketKind.ACK) == 2)
        assert list(tile.addresses) == steps[0] + steps[1]
        assert [packet[:3] for packet in tile.sent if packet[0] == PacketKind.TICK] == [
            (PacketKind.TICK, 0, 0),
            (PacketKind.TICK, 1, 1),
        ]
        for _ in range(40):
            await tile.cycle(ctx)
        assert await tile.get(ctx, "events") == len(expected)
        assert await tile.get(ctx, "status") == 1
        await tile.restart(ctx, restart)
        assert [await tile.get(ctx, name) for name in ("events", "repeated", "unknown")] == [0, 0, 0]

    async def too_many(ctx):
        nonlocal room
        expected = await fill(ctx, full, 3 * DEPTH)
        assert full.offered is not None, "there is no room"
        room = 3 * DEPTH - len(full.outgoing) - 2  # one is offered, and one waits behind the port
        assert DEPTH <= room < 2 * DEPTH
        full.alive = True
        if first == 0:
            await full.until(ctx, lambda: not full.outgoing and full.offered is None)
        else:  # the TICK of the other source is behind the spikes of step 1
            return
        await finish(ctx, full, expected, "control")

    async def other_parity(ctx):
        expected = await fill(ctx, one, room)
        others = spikes(1 - first, 4)
        one.outgoing.extend(others)
        for _ in range(60):
            await one.cycle(ctx)
        assert not one.outgoing
        assert one.offered is None
        await finish(ctx, one, expected + others, ("clear", "reset")[first])

    full = Tile(kind(parameters), rng)
    full.run(too_many)
    one = Tile(kind(parameters), rng)
    one.run(other_parity)


def test_a_step_of_an_input_is_what_came_before_it(request):
    check_input(AerTile, rng_of(request.node.name))


@pytest.mark.parametrize("first", [0, 1])
def test_an_output_has_room_for_each_parity(request, first):
    check_output(AerTile, rng_of(request.node.name), first=first)


INPUT_BUGS = {
    "events before their step": ("collecting.eq(tokens.parity ^ in_step)", "collecting.eq(tokens.parity)"),
    "an axon that is being accepted": ("empty.eq(level == 0),", "empty.eq(level <= 1),"),
    "last": ("out.last.eq(tokens.last)", "out.last.eq(0)"),
    "counters": ("count.eq(count + event)", "count.eq(count + 1)"),
    "idle": ("empty.all() & ~line.o.valid", "~line.o.valid"),
}
OUTPUT_BUGS = {
    "room of parity 0": ("room.bit_select(packet.parity, 1)", "room[0]"),
    "room of parity 1": ("room.bit_select(packet.parity, 1)", "room[1]"),
    "room of any": ("room.bit_select(packet.parity, 1)", "room.any()"),
    "room of all": ("room.bit_select(packet.parity, 1)", "room.all()"),
    "room of the step": ("room.bit_select(packet.parity, 1)", "room.bit_select(tokens.parity, 1)"),
    "idle": ("empty.all() & ~arrived & out", "empty[0] & ~arrived & out"),
}


@pytest.mark.parametrize("bug", INPUT_BUGS)
def test_a_planted_bug_in_an_input_is_found(bug):
    copy = mutated(tile, *INPUT_BUGS[bug])
    with pytest.raises(AssertionError):
        check_input(copy.AerTile, rng_of(bug))


def check_output_of_both(kind, name):
    for first in (0, 1):
        check_output(kind, rng_of(name), first=first)


@pytest.mark.parametrize("bug", OUTPUT_BUGS)
def test_a_planted_bug_in_an_output_is_found(bug):
    copy = mutated(tile, *OUTPUT_BUGS[bug])
    with pytest.raises(AssertionError):
        check_output_of_both(copy.AerTile, bug)
