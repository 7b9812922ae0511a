"""The parts of an AER tile against their models: its queues of axons, and its table.

Whole tiles are compared with chips and with the rules of tokens in `tests/cosim/test_aer_tile.py`.
"""

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.aer import tile
from spikeloom.hdl.aer.tile import EventQueue, Translator
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters

WIDTH, DEPTH = 4, 8


def check_queue(queue, rng, *, events=200, turn=0.03, resets=2):
    """Random axons, many of them twice, against a list; a reset at any time empties it.

    As in a tile, a queue either collects or gives, and turns with a chance of ``turn`` when no axon is coming in.
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
                # An axon a cycle is forgotten, and nothing is taken before.
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
                collects ^= turns
                ctx.set(queue.i.valid, int(offered is not None and collects))
                since = 0 if turns else since
            ready = not collects and rng.random() < 0.5
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
                since = 0 if was_full or not collects else since + 1
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


def table_of(rng, direction):
    """A tile with a table in which half is known, and the table as a dictionary."""
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
