"""cocotb bench of an AER tile in Verilog: tiles that obey the token rules, and a chip without a clock.

The chip uses every freedom of the protocol: each phase takes any time, an address drives noise while it is not valid,
and the chip may be silent for long.
"""

import random
from itertools import pairwise

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, FallingEdge, Timer, ValueChange
from harness.aer_variants import INPUT, INPUT_BUGS, NAMES, OUTPUT, OUTPUT_BUGS
from harness.streams import can_be_cut

from spikeloom.sim.aer.registers import AER

PERIOD_PS = 10_000
SPIKE, TICK, ACK = range(3)
SPIKE_TO, TICK_TO, ACK_TO = 0b0110, 0b1100, 0b0011
STEPS, SAMPLE = 24, 6


def is_last(step):
    return int(step % SAMPLE == SAMPLE - 1)


class Bench:
    """The tile's packets and registers; ``taken`` are the packets that it sends, as (kind, parity, last, axon,
    destinations)."""

    def __init__(self, dut, seed, *, tile, idle=0.2, stall=0.2):
        self.dut, self.rng, self.idle, self.stall = dut, random.Random(seed), idle, stall
        self.tile = tile
        self.outgoing, self.taken, self.longest_wait = [], [], 0
        self.on_packet = lambda packet: None

    async def begin(self):
        dut = self.dut
        dut.chosen.value = NAMES.index(self.tile)
        dut.input_request.value, dut.output_acknowledge.value = int(INPUT.active_low), int(OUTPUT.active_low)
        dut.input_address.value = 0
        for name in ("i__valid", "o__ready", "configuration__write_enable", "configuration__plane"):
            getattr(dut, name).value = 0
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_PS, "ps").start()
        await ClockCycles(dut.clk, 4)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        is_input = self.tile in ("input", *INPUT_BUGS)
        known = self.rng.sample(range(1 << 6), 40)
        axons = [self.rng.randrange(30) if is_input else axon for axon in self.rng.sample(range(1 << 7), 40)]
        words = (INPUT if is_input else OUTPUT).table_words(known, axons)
        for plane in range(words.shape[1]):
            for index in range(len(words)):
                await self.write_byte(1, plane, index, int(words[index, plane]))
        before, after = (known, axons) if is_input else (axons, known)
        self.table = dict(zip(before, after, strict=True))
        cocotb.start_soon(self.packets())

    async def write_byte(self, memory, plane, index, byte):
        for name, value in (("memory", memory), ("plane", plane), ("index", index), ("write_data", byte)):
            getattr(self.dut, f"configuration__{name}").value = value
        self.dut.configuration__write_enable.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.configuration__write_enable.value = 0

    async def write(self, **values):
        await FallingEdge(self.dut.clk)
        for name, value in values.items():
            register = AER.register(name)
            for place, byte in enumerate(register.encode(value)):
                await self.write_byte(0, 0, register.offset + place, byte)

    async def read(self, name):
        register, data = AER.register(name), []
        await FallingEdge(self.dut.clk)
        self.dut.configuration__memory.value = 0
        for place in range(register.size):
            self.dut.configuration__index.value = register.offset + place
            await FallingEdge(self.dut.clk)
            data.append(int(self.dut.configuration__read_data.value))
        return int.from_bytes(data, "little")

    async def packets(self):
        """Both streams, in every cycle."""
        dut, rng, offered, waited = self.dut, self.rng, False, 0
        while True:
            await FallingEdge(dut.clk)
            if not offered and self.outgoing and rng.random() >= self.idle:
                kind, parity, last, axon = self.outgoing.pop(0)
                dut.i__payload.value = kind | parity << 2 | last << 3 | axon << 4
                offered, waited = True, 0
            dut.i__valid.value = int(offered)
            dut.o__ready.value = ready = int(rng.random() >= self.stall)
            await Timer(1, "ns")  # ready signals may depend on it
            waited += 1
            if offered and int(dut.i__ready.value):
                offered = False
                self.longest_wait = max(self.longest_wait, waited)
            if ready and int(dut.o__valid.value):
                word = int(dut.o__payload.value)
                packet = (word & 3, word >> 2 & 1, word >> 3 & 1, word >> 4 & 127, word >> 15 & 15)
                self.taken.append(packet)
                self.on_packet(packet)

    def of_kind(self, kind):
        return [packet for packet in self.taken if packet[0] == kind]

    async def until(self, condition, what, limit=20_000):
        for _ in range(limit):
            if condition():
                return
            await FallingEdge(self.dut.clk)
        raise AssertionError(f"there must be {what}")


async def pause(rng, most_ps):
    """A random time that is not a whole number of cycles, often short."""
    await Timer(1 + round(most_ps * rng.random() ** 3), "ps")


async def level(pin, high):
    while int(pin.value) != high:
        await ValueChange(pin)


class Changes:
    """Counts the changes of a wire: two per event, unless it glitches."""

    def __init__(self, pin):
        self.count = 0
        self._pin = pin
        cocotb.start_soon(self._watch())

    async def _watch(self):
        while True:
            await ValueChange(self._pin)
            self.count += 1


class Sender:
    """A chip that sends addresses, active high; ``sent`` are those that were acknowledged."""

    def __init__(self, bench, most_ps):
        self.bench, self.most_ps, self.sent = bench, most_ps, []

    async def send(self, address):
        dut, rng = self.bench.dut, self.bench.rng
        dut.input_address.value = address
        await pause(rng, 2_000)
        dut.input_request.value = 1
        asked = get_sim_time("ps")
        await level(dut.input_acknowledge, True)
        waited = get_sim_time("ps") - asked
        assert waited >= INPUT.stages * PERIOD_PS, "a request must go through the synchroniser"
        self.sent.append(address)
        dut.input_address.value = rng.getrandbits(6)
        await pause(rng, self.most_ps)
        assert int(dut.input_acknowledge.value), "an acknowledgement must stay"
        dut.input_request.value = 0
        await level(dut.input_acknowledge, False)
        await pause(rng, self.most_ps)

    async def send_all(self, addresses):
        for address in addresses:
            await self.send(address)


async def input_steps(bench, steps, *, gap):
    """The host, which sends TICKs, and the sinks, which acknowledge; both as early as the rules allow."""
    rng = bench.rng
    acknowledged = 0  # TICKs of the tile that its sinks have acknowledged
    for step in range(steps):
        await ClockCycles(bench.dut.clk, rng.randrange(gap))
        await bench.until(lambda step=step: len(bench.of_kind(ACK)) >= step - 1, "an ACK of the step before the last")
        bench.outgoing.append((TICK, step & 1, is_last(step), 0))
        while acknowledged < min(step - 1, len(bench.of_kind(TICK))):
            bench.outgoing += [(ACK, acknowledged & 1, 0, 0)] * 2  # of two sinks
            acknowledged += 1
    while acknowledged < steps:
        await bench.until(lambda done=acknowledged: len(bench.of_kind(TICK)) > done, "a TICK of every step")
        bench.outgoing += [(ACK, acknowledged & 1, 0, 0)] * 2
        acknowledged += 1
    await bench.until(lambda: len(bench.of_kind(ACK)) == steps, "an ACK of every step")


def steps_of(packets):
    """The axons of each step, once all packets are as expected."""
    found, step = [[]], 0
    for kind, parity, last, axon, to in packets:
        assert parity == step & 1, "a packet must have the parity of its step"
        if kind == SPIKE:
            assert (last, to) == (is_last(step), SPIKE_TO)
            found[-1].append(axon)
        elif kind == TICK:
            assert (last, to) == (is_last(step), TICK_TO)
            assert len(found) == step + 1, "one TICK a step"
            found.append([])
        else:
            assert (kind, to) == (ACK, ACK_TO)
            assert len(found) == step + 2, "the ACK comes behind the TICK"
            assert not found[-1], "no spikes between TICK and ACK"
            step += 1
    assert not found.pop()
    return found


async def begin_input(dut, seed, **options):
    bench = Bench(dut, seed, **{"tile": "input"} | options)
    await bench.begin()
    await bench.write(
        spike_destinations=SPIKE_TO, tick_destinations=TICK_TO, ack_destinations=ACK_TO, sinks=2, sources=1
    )
    return bench


@cocotb.test()
@cocotb.parametrize(most_ps=[0, 30_000, 400_000], gap=[100, 600])
async def every_event_is_in_one_step(dut, most_ps: int, gap: int) -> None:
    bench = await begin_input(dut, most_ps + gap)
    chip, acknowledge = Sender(bench, most_ps), Changes(dut.input_acknowledge)
    addresses = [bench.rng.getrandbits(6) for _ in range(150)]
    sending = cocotb.start_soon(chip.send_all(addresses))
    await input_steps(bench, STEPS, gap=gap)
    found = steps_of(bench.taken)
    known = [bench.table[address] for address in chip.sent if address in bench.table]
    assert all(len(step) == len(set(step)) for step in found), "an axon counts once a step"
    assert sum(map(len, found)) > 10
    assert can_be_cut(known, [set(step) for step in found])
    assert 2 * len(chip.sent) - 1 <= acknowledge.count <= 2 * len(chip.sent) + 1
    sending.cancel()


async def bursts(dut, tile="input"):
    """Bursts with pauses around each TICK; some exceed the queue, and their rest is in the next step."""
    bench = await begin_input(dut, 5, tile=tile)
    rng, chip = bench.rng, Sender(bench, 20_000)
    of_axon = {axon: address for address, axon in bench.table.items()}
    left, long = [], 0
    for step in range(12):
        many = step % 4 == 1
        axons = rng.sample(sorted(set(of_axon) - set(left)), 14 if many else rng.randrange(2))
        cocotb.start_soon(chip.send_all([of_axon[axon] for axon in axons for _ in range(1 if many else 2)]))
        await ClockCycles(dut.clk, 1200)
        expected, left = (left + axons)[:8], (left + axons)[8:]
        long += bool(left)
        bench.outgoing.append((TICK, step & 1, is_last(step), 0))
        await bench.until(lambda step=step: len(bench.of_kind(ACK)) == step + 1, "the end of the step")
        bench.outgoing += [(ACK, step & 1, 0, 0)] * 2
        assert steps_of(bench.taken)[step] == expected
        if left:
            await ClockCycles(dut.clk, 1200)
    assert long == 3
    events, repeated, unknown = [await bench.read(name) for name in ("events", "repeated", "unknown")]
    assert (events, unknown) == (len(chip.sent), 0)
    assert repeated == events - sum(map(len, steps_of(bench.taken)))


@cocotb.test()
async def a_step_has_what_came_before_its_tick(dut) -> None:
    await bursts(dut)


async def periods(dut, tile="input"):
    bench = await begin_input(dut, 6, tile=tile, stall=0, idle=0)
    await bench.write(step_cycles=250)
    times = []
    bench.on_packet = lambda packet: packet[0] == TICK and times.append(get_sim_time("ps") // PERIOD_PS)
    await input_steps(bench, 10, gap=2)
    assert {later - earlier for earlier, later in pairwise(times[1:])} == {250}
    await ClockCycles(dut.clk, 2_000)
    assert await bench.read("status") == 1


@cocotb.test()
async def a_step_takes_its_period(dut) -> None:
    await periods(dut)


@cocotb.test(expect_fail=True)
@cocotb.parametrize(bug=list(INPUT_BUGS))
async def a_planted_bug_in_the_input_is_found(dut, bug: str) -> None:
    await bursts(dut, bug)
    await periods(dut, bug)


@cocotb.test()
async def a_request_that_stays_is_told(dut) -> None:
    bench = await begin_input(dut, 7)
    await bench.write(patience=300)
    dut.input_request.value = 1
    await ClockCycles(dut.clk, 250)
    assert not await bench.read("status") & 2
    await ClockCycles(dut.clk, 100)
    assert await bench.read("status") & 2
    assert await bench.read("events") == 1


# Output.


class Receiver:
    """A chip that receives addresses, active low, and checks that each is stable and was there in time."""

    def __init__(self, bench, most_ps, *, dead=False):
        self.bench, self.most_ps, self.received, self.dead = bench, most_ps, [], dead
        self.changed = 0.0
        cocotb.start_soon(self.watch())
        cocotb.start_soon(self.receive())

    async def watch(self):
        dut = self.bench.dut
        while True:
            await ValueChange(dut.output_address)
            self.changed = get_sim_time("ps")
            assert int(dut.output_request.value), "the address must hold still"

    async def receive(self):
        dut, rng = self.bench.dut, self.bench.rng
        while True:
            await level(dut.output_request, False)
            there = get_sim_time("ps") - self.changed
            assert there >= OUTPUT.setup_cycles * PERIOD_PS, "the address must be stable before its request"
            address = int(dut.output_address.value)
            while self.dead:
                await Timer(1, "us")
            await pause(rng, self.most_ps)
            self.received.append(address)
            dut.output_acknowledge.value = 0
            told = get_sim_time("ps")
            await level(dut.output_request, True)
            waited = get_sim_time("ps") - told
            assert waited >= OUTPUT.stages * PERIOD_PS, "an acknowledgement must go through the synchroniser"
            await pause(rng, self.most_ps)
            dut.output_acknowledge.value = 1


class Sources:
    """Two tiles that send spikes, each as far ahead of the other as the rules allow, and the host, a sink."""

    def __init__(self, bench, steps):
        rng = bench.rng
        self.bench, self.steps = bench, steps
        axons = [rng.sample(range(1 << 7), rng.choice((0, 3, 8))) for _ in range(steps)]
        self.axons = [[step[::2], step[1::2]] for step in axons]  # for each step, the packets of each source
        self.expected = [[bench.table[axon] for axon in step if axon in bench.table] for step in axons]
        for source in range(2):
            cocotb.start_soon(self.send(source))
        cocotb.start_soon(self.acknowledge())

    async def send(self, source):
        bench = self.bench
        for step in range(self.steps):
            await bench.until(
                lambda step=step: len(bench.of_kind(ACK)) >= step - 1, "an ACK of the step before the last"
            )
            for axon in self.axons[step][source]:
                await ClockCycles(bench.dut.clk, bench.rng.randrange(4))
                bench.outgoing.append((SPIKE, step & 1, is_last(step), axon))
            await ClockCycles(bench.dut.clk, bench.rng.choice((1, 100)))
            bench.outgoing.append((TICK, step & 1, is_last(step), 0))

    async def acknowledge(self):
        for step in range(self.steps):
            await self.bench.until(lambda step=step: len(self.bench.of_kind(TICK)) > step, "a TICK of every step")
            self.bench.outgoing.append((ACK, step & 1, 0, 0))


async def begin_output(dut, seed, **options):
    bench = Bench(dut, seed, **{"tile": "output"} | options)
    await bench.begin()
    await bench.write(tick_destinations=TICK_TO, ack_destinations=ACK_TO, sinks=1, sources=2)
    return bench


async def steps_leave(dut, most_ps, tile="output"):
    bench = await begin_output(dut, most_ps, tile=tile)
    chip, request = Receiver(bench, most_ps), Changes(dut.output_request)
    sources, ends = Sources(bench, STEPS), []
    bench.on_packet = lambda packet: packet[0] == TICK and ends.append(len(chip.received))
    await bench.until(lambda: len(bench.of_kind(ACK)) == STEPS, "an ACK of every step", limit=100_000)
    assert steps_of(bench.taken) == [[]] * STEPS
    pieces = [chip.received[first:stop] for first, stop in zip([0, *ends], ends, strict=False)]
    assert [sorted(piece) for piece in pieces] == [sorted(step) for step in sources.expected]
    assert len(chip.received) == ends[-1] > 20
    assert request.count == 2 * ends[-1]
    assert bench.longest_wait <= 2, "what arrives is always taken"
    assert [await bench.read(name) for name in ("events", "repeated")] == [ends[-1], 0]
    assert await bench.read("unknown") > 0
    assert await bench.read("status") == 1


@cocotb.test()
@cocotb.parametrize(most_ps=[0, 30_000, 400_000])
async def steps_leave_one_after_the_other(dut, most_ps: int) -> None:
    await steps_leave(dut, most_ps)


@cocotb.test(expect_fail=True)
@cocotb.parametrize(bug=list(OUTPUT_BUGS))
async def a_planted_bug_in_the_output_is_found(dut, bug: str) -> None:
    await steps_leave(dut, 30_000, bug)


@cocotb.test()
async def a_dead_chip_stops_steps_and_no_packet(dut) -> None:
    bench = await begin_output(dut, 9)
    await bench.write(patience=500)
    chip = Receiver(bench, 0, dead=True)
    sources = Sources(bench, 6)
    sources.axons[0][0].append(next(iter(bench.table)))
    sources.expected[0].append(bench.table[next(iter(bench.table))])
    await ClockCycles(dut.clk, 3_000)
    assert not bench.outgoing
    assert not bench.taken
    assert bench.longest_wait <= 2
    assert await bench.read("status") == 2
    chip.dead = False
    await bench.until(lambda: len(bench.of_kind(ACK)) == 6, "an ACK of every step")
    assert sorted(chip.received) == sorted(address for step in sources.expected for address in step)
    assert await bench.read("status") == 3, "it stays until the tile is cleared"
    await bench.write(control=1)
    await ClockCycles(dut.clk, 2)
    assert await bench.read("status") == 1
