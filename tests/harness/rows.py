"""Bench of the row reader: memory images and events in, words out; and the same words from the model."""

from amaranth.sim import Simulator

from harness.assign import assign
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.lib.words import bits_for

_TIMEOUT = 20_000


def read_rows(reader, images, events, rng, *, idle=0.0, last=False):
    """Words ``(weight address, target, bank, parity)`` in the order of the RTL, and the cycles from first to last.

    Each event is ``(axon, parity)``, or ``(axon, parity, other, last, value)``; then the words end with the value of
    their event. Asserts that the reader reports busy from each event to its last word.
    """
    core = reader.parameters
    streamed = "requests" in reader.signature.members
    words, cycles = [], []
    quiet = []  # (events accepted, words given) in the cycles in which the reader does not report busy
    accepted = 0
    hung = False

    weights, targets = 1 << bits_for(core.weight_words), 1 << bits_for(core.words)

    async def source(ctx):
        nonlocal accepted, hung
        port = reader.load
        for name, image in images.items():
            for plane in range(image.shape[1]):
                for index, value in enumerate(image[:, plane]):
                    place = (port.memory, core.memories[name].number), (port.plane, plane), (port.index, index)
                    assign(ctx, [*place, (port.write_data, value), (port.write_enable, 1)])
                    await ctx.tick()
        ctx.set(port.write_enable, 0)
        if streamed:  # requests are accepted and weights offered all the time
            assign(ctx, [(reader.requests.ready, 1), (reader.weights.valid, 1)])
        for axon, parity, *more in events:
            while rng.random() < idle:
                await ctx.tick().repeat(int(rng.integers(1, 12)))
            other, is_last, value = more or (0, last, 0)
            payload = {"axon": int(axon), "parity": int(parity), "last": int(is_last)}
            ctx.set(reader.events.payload, payload | {"other": int(other), "value": int(value)} if more else payload)
            ctx.set(reader.events.valid, 1)
            taken, left = 0, _TIMEOUT
            while not taken and left:
                _, _, taken = await ctx.tick().sample(reader.events.ready)
                left -= 1
            ctx.set(reader.events.valid, 0)
            accepted += 1
            hung = hung or not left
            if hung:
                return
        for _ in range(_TIMEOUT):
            if not ctx.get(reader.busy):
                break
            await ctx.tick()
        else:
            hung = True
        await ctx.tick().repeat(20)

    async def watch(ctx):
        cycle = before = 0
        async for _, _, word, busy in ctx.tick().sample(reader.word, reader.busy):
            cycle += 1
            if not busy:
                quiet.append((before, len(words)))
            if word.valid:
                marks = (word.bank, word.parity, word.value) if core.value_width else (word.bank, word.parity)
                for number in range(word.others + 1 if core.words_per_cycle > 1 else 1):
                    place = (word.weight_address + number) % weights, (word.target + number) % targets
                    words.append((*place, *marks))
                cycles.append(cycle)
            before = accepted

    simulator = Simulator(reader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    assert not hung, "the reader must take every event and end"
    count = [0]
    for event in events:
        count.append(count[-1] + len(expected_words(core, images, [event], last=last)))
    assert all(count[number] == given for number, given in quiet), "busy must last from an event to its last word"
    return words, (cycles[-1] - cycles[0] + 1 if cycles else 0)


def expected_words(core, images, events, *, last=False):
    """Like `read_rows`, by the model; unordered, because words of other events may come between those of one."""
    tables = RowTables(core, images)
    found = []
    for axon, parity, *more in events:
        other, is_last, value = more or (0, last, 0)
        for word in tables.words(int(axon)):
            if not (is_last and word.delay):
                place = word.weight_address, word.target, parity ^ other ^ word.delay, parity
                found.append((*place, value) if core.value_width else place)
    return found


def loaded(rows):
    """The images of the memories that the row reader has: all except the weights."""
    return {name: image for name, image in rows.images.items() if name != "weights"}
