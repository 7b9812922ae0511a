"""Properties of queues, sampler, arbiter and router: harnesses with free inputs.

A harness has two kinds of assertions. Assertions about ports are the properties. Assertions about internal state, the
*invariants*, explain why the properties hold and make them inductive: if all hold in one cycle, all hold in the next.
"""

from collections.abc import Callable

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from spikeloom.hdl.attention.sampler import AndSampler
from spikeloom.hdl.lib.arbiter import RoundRobinArbiter
from spikeloom.hdl.lib.block_queue import BlockQueue
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.noc.router import Router, _Input
from spikeloom.sim.noc.mesh import MeshParameters, Port


def constant(m: Module, free: Value, name: str) -> Signal:
    """A value that the solver chooses once: the value of the input ``free`` in the first cycle."""
    kept, begun = Signal(len(free), name=f"{name}_kept"), Signal(name=f"{name}_begun")
    value = Signal(len(free), name=name)
    m.d.comb += value.eq(Mux(begun, kept, free))
    m.d.sync += [kept.eq(value), begun.eq(1)]
    return value


class FifoProof(wiring.Component):
    """Every word leaves as it entered, in order, and the ready and valid signals agree with the number of words.

    One arbitrary word is followed: the solver chooses when it enters (``follow``). It must leave after exactly the
    words that entered before it. Since the choice is arbitrary, the result holds for all words: none is lost, invented,
    changed or overtaken.
    """

    def __init__(self, depth: int, *, width: int = 2, fifo: type[Fifo] = Fifo, invariants: bool = True) -> None:
        self.dut = fifo(width, depth)
        self.width = width
        self.invariants = invariants
        super().__init__({"i_valid": In(1), "i_payload": In(width), "o_ready": In(1), "follow": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        depth = dut.depth
        m.d.comb += [
            dut.i.valid.eq(self.i_valid),
            dut.i.payload.eq(self.i_payload),
            dut.o.ready.eq(self.o_ready),
        ]
        push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready

        held = Signal(range(depth + 2))  # number of words inside
        followed, ahead, word = Signal(), Signal(range(depth + 2)), Signal(self.width)
        m.d.sync += held.eq(held + push - pop)
        with m.If(~followed & push & self.follow):
            m.d.sync += [followed.eq(1), ahead.eq(held - pop), word.eq(self.i_payload)]
        with m.Elif(followed & pop):
            m.d.sync += [followed.eq(ahead != 0), ahead.eq(ahead - 1)]

        may = (held < depth) | (self.o_ready if depth == 1 else 0)
        m.d.comb += [
            Assert(dut.o.valid == (held != 0)),
            Assert(dut.i.ready == may),
            Assert(~followed | (ahead != 0) | (dut.o.payload == word)),
            # The promise of `following`: the word that will be in front, here checked for the word that is followed.
            Assert(dut.following_valid == ((held > 1) | push)),
            Assert(~(followed & (ahead == 1)) | (dut.following == word)),
            Assert((held > 1) | ~push | (dut.following == self.i_payload)),
        ]
        if self.invariants:
            m.d.comb += [Assert(held <= depth), Assert(~followed | (ahead < held))]
            if depth > 1:
                last, first = dut._last, dut._first
                place = dut._storage.read_port(domain="comb")
                m.d.comb += [
                    place.addr.eq(first + ahead),
                    Assert(~followed | (place.data == word)),
                    Assert((first + held)[: len(last)] == last),
                    Assert(dut._second == (first + 1)[: len(first)]),
                    Assert(dut._more == (held > 1)),
                    Assert(dut._full == (held == depth)),
                ]
                if depth > 2:
                    m.d.comb += Assert(dut._level == held)
        return m


class BlockQueueProof(wiring.Component):
    """Every word of the queue in block RAM leaves as it entered, in order; one arbitrary word is followed.

    The invariants state where a word is: in the memory, in one of the two registers behind it, or in the queue at the
    end. Without them, a search of the states after reset takes hours beyond 13 cycles.
    """

    def __init__(
        self, depth: int, *, width: int = 2, queue: type[BlockQueue] = BlockQueue, invariants: bool = True
    ) -> None:
        self.dut = queue(width, depth)
        self.width, self.depth = width, depth
        self.invariants = invariants
        super().__init__({"i_valid": In(1), "i_payload": In(width), "o_ready": In(1), "follow": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.i.valid.eq(self.i_valid), dut.i.payload.eq(self.i_payload), dut.o.ready.eq(self.o_ready)]
        push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        most = self.depth + 8  # including those that are being read
        held, ahead = Signal(range(most)), Signal(range(most))
        followed, word = Signal(), Signal(self.width)
        waits, offered = Signal(), Signal(self.width)
        m.d.sync += [held.eq(held + push - pop), waits.eq(dut.o.valid & ~dut.o.ready), offered.eq(dut.o.payload)]
        with m.If(~followed & push & self.follow):
            m.d.sync += [followed.eq(1), ahead.eq(held - pop), word.eq(self.i_payload)]
        with m.Elif(followed & pop):
            m.d.sync += [followed.eq(ahead != 0), ahead.eq(ahead - 1)]
        m.d.comb += [
            Assert(~dut.o.valid | (held != 0)),
            Assert(~dut.o.valid | ~followed | (ahead != 0) | (dut.o.payload == word)),
            Assert((held >= self.depth) | dut.i.ready),
            Assert(~waits | (dut.o.valid & (dut.o.payload == offered))),
        ]
        if self.invariants:
            self._invariants(m, held, followed, ahead, word)
        return m

    def _invariants(self, m: Module, held: Signal, followed: Signal, ahead: Signal, word: Signal) -> None:
        dut, reader = self.dut, self.dut._ahead
        fifo, (young, old) = reader._fifo, reader._arriving
        level, bits = fifo._level, len(dut._write)
        # The next words, as held by the two registers of the memory, observed through a read port of this harness.
        port, read_word, output_word = (
            dut._memory.memory.read_port(domain="comb"),
            *(Signal(self.width, name=f"coming_{cycle}") for cycle in range(2)),
        )
        m.d.comb += port.addr.eq(dut._read)
        m.d.sync += [read_word.eq(port.data), output_word.eq(read_word)]
        coming = Signal(range(4))
        in_memory = Signal(range(self.depth + 9))
        m.d.comb += [coming.eq(young + old), in_memory.eq(held - level - coming)]
        m.d.comb += [
            Assert(held >= level + coming),
            Assert(in_memory <= self.depth),
            Assert(reader.more == (in_memory != 0)),
            Assert(dut.i.ready == (in_memory != self.depth)),
            Assert((dut._read + in_memory)[:bits] == dut._write),
            Assert(dut._after_read == (dut._read + 1)[:bits]),
            Assert(dut._after_write == (dut._write + 1)[:bits]),
            Assert(level + coming <= fifo.depth),
            Assert(reader._room == fifo.depth - level - coming),
            Assert(fifo.o.valid == (level != 0)),
            Assert(fifo._more == (level > 1)),
            Assert(fifo._full == (level == fifo.depth)),
            Assert(fifo._second == (fifo._first + 1)[: len(fifo._first)]),
            Assert(fifo._last == (fifo._first + level)[: len(fifo._first)]),
            Assert(~followed | (ahead < held)),
        ]
        stored, waiting = fifo._storage.read_port(domain="comb"), dut._memory.memory.read_port(domain="comb")
        m.d.comb += [
            stored.addr.eq(fifo._first + ahead),
            waiting.addr.eq(dut._read + ahead - level - coming),
        ]
        with m.If(followed):
            with m.If(ahead < level):
                m.d.comb += Assert(stored.data == word)
            with m.Elif(old & (ahead == level)):
                m.d.comb += Assert(output_word == word)
            with m.Elif(young & (ahead == level + old)):
                m.d.comb += Assert(read_word == word)
            with m.Else():
                m.d.comb += Assert(waiting.data == word)


class SamplerProof(wiring.Component):
    """A sample is the carry of the number of common ones plus the random word, for all words."""

    def __init__(self, bits: int, *, sampler: type[AndSampler] = AndSampler) -> None:
        self.dut = sampler(bits)
        self.invariants = False
        super().__init__({"left": In(1 << bits), "right": In(1 << bits), "word": In(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.left.eq(self.left), dut.right.eq(self.right), dut.word.eq(self.word)]
        count: Value = sum((bit for bit in self.left & self.right), Const(0))
        known: Value = Const(1)
        for cycle in range(dut.latency):
            if cycle == dut.latency - 1:
                count = count + self.word
            kept, valid = Signal(len(count), name=f"count_{cycle}"), Signal(name=f"known_{cycle}")
            m.d.sync += [kept.eq(count), valid.eq(known)]
            count, known = kept, valid
        m.d.comb += Assert(~known | (dut.sample == (count >= len(dut.left))))
        return m


class ArbiterProof(wiring.Component):
    """At most one grant, always to a request, always one if there is a request, and a bounded wait.

    One arbitrary requester (``watched``) is followed: while its request is active, each other one is served at most
    once.
    """

    def __init__(
        self, requesters: int, *, arbiter: type[RoundRobinArbiter] = RoundRobinArbiter, invariants: bool = True
    ) -> None:
        self.dut = arbiter(requesters)
        self.invariants = invariants
        super().__init__({"requests": In(requesters), "taken": In(1), "watched": In(requesters)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        count = dut.requesters
        numbers = range(count)
        m.d.comb += [dut.requests.eq(self.requests), dut.taken.eq(self.taken)]
        grants = dut.grants
        m.d.comb += [
            Assert((grants & ~self.requests) == 0),
            Assert((grants & (grants - 1)[:count]) == 0),
            Assert(grants.any() == self.requests.any()),
        ]

        watched = constant(m, self.watched, "watched_one")
        m.d.comb += Assume((watched != 0) & ((watched & (watched - 1)[:count]) == 0))
        asks, served = (self.requests & watched).any(), (grants & watched).any()
        turns = Signal(range(count + 1))  # number of others served since the request
        passed = Signal(count)  # the requesters served since then
        with m.If(~asks | (served & self.taken)):
            m.d.sync += [turns.eq(0), passed.eq(0)]
        with m.Elif(self.taken):
            m.d.sync += [turns.eq(turns + 1), passed.eq(passed | grants)]
        m.d.comb += [
            Assert(~asks | (turns <= count - 1)),
            Assert(~asks | (turns != count - 1) | served),
            Assert(~asks | served | ((grants & passed) == 0)),
        ]
        if self.invariants:
            for a in numbers:
                for b in numbers:
                    for c in numbers:
                        if len({a, b, c}) == 3:
                            m.d.comb += Assert(~(dut.later(a, b) & dut.later(b, c)) | dut.later(a, c))
                # A requester that has been served since then is ordered behind the one that waits.
                for b in numbers:
                    if a != b:
                        m.d.comb += Assert(~(watched[a] & passed[b]) | dut.later(b, a))
            m.d.comb += [
                Assert((passed & watched) == 0),
                Assert(turns == sum((passed[number] for number in numbers), Const(0, 1))),
            ]
        return m


class RouterProof(wiring.Component):
    """A packet leaves by its correct ports only, once by each, with the correct destinations; packets of one input stay
    in order.

    Two arbitrary packets of one input are followed: the environment gives the payload 1 to the first and 2 to the
    second of them, and 0 to all others. The router only copies payloads, so the result for these two holds for any two
    with any payloads. At each output it is recorded (``entered``, ``left``) which of the two are still to come.

    Parameters
    ----------
    entry
        The input of the two packets.
    timeout
        If not 0: with all outputs ready, a packet has left by all of its ports this many cycles after it entered.
    """

    def __init__(
        self,
        parameters: MeshParameters,
        tile: int,
        entry: Port,
        *,
        router: Callable[[MeshParameters, int], Router] = Router,
        invariants: bool = True,
        timeout: int = 0,
    ) -> None:
        assert parameters.payload_width == 2
        self.parameters, self.tile, self.entry = parameters, tile, entry
        self.dut = router(parameters, tile)
        self.invariants, self.timeout = invariants, timeout
        self._waited: dict[Port, Signal] = {}
        ports = parameters.ports(tile)
        members = {"first": In(parameters.tiles), "second": In(parameters.tiles)}
        for port in ports:
            for name in (f"{port.value}_i", f"{port.value}_o"):
                members[name] = self.dut.signature.members[name]
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        parameters, tile = self.parameters, self.tile
        ports = parameters.ports(tile)
        sets = [constant(m, self.first, "first_set"), constant(m, self.second, "second_set")]
        arrivals = parameters.arrivals(tile, self.entry)
        masks = {port: parameters.mask(tile, port) & arrivals for port in ports}

        entered = [Signal(name=f"entered_{tag}") for tag in (1, 2)]
        left = [{port: Signal(name=f"left_{tag}_{port.value}") for port in ports} for tag in (1, 2)]
        for port in ports:
            wiring.connect(m, wiring.flipped(getattr(self, f"{port.value}_i")), getattr(dut, f"{port.value}_i"))
            wiring.connect(m, getattr(dut, f"{port.value}_o"), wiring.flipped(getattr(self, f"{port.value}_o")))

        # The environment offers each of the two once, the first before the second; an offered word stays until it is
        # taken.
        for port in ports:
            incoming = getattr(dut, f"{port.value}_i")
            payload, destinations = incoming.payload.payload, incoming.payload.destinations
            if port is self.entry:
                m.d.comb += Assume(payload != 3)
                for number, tag in enumerate((1, 2)):
                    with m.If(incoming.valid & (payload == tag)):
                        m.d.comb += Assume(~entered[number] & (destinations == sets[number]))
                        m.d.sync += entered[number].eq(entered[number] | incoming.ready)
                with m.If(incoming.valid & (payload == 2)):
                    m.d.comb += Assume(entered[0])
            else:
                m.d.comb += Assume(payload == 0)
            waited, offered = Signal(name=f"{port.value}_waited"), Signal.like(incoming.payload.as_value())
            self._waited[port] = waited
            m.d.sync += [
                waited.eq(incoming.valid & ~incoming.ready),
                offered.eq(incoming.payload.as_value()),
            ]
            m.d.comb += Assume(~waited | (incoming.valid & (incoming.payload.as_value() == offered)))

        # The properties. With a depth of 0, branches may leave before the packet counts as taken.
        begun = [entered[number] | self._offers(tag) for number, tag in enumerate((1, 2))]
        for port in ports:
            outgoing = getattr(dut, f"{port.value}_o")
            value = Value.cast(outgoing.payload)
            payload = value[:2]
            for number, tag in enumerate((1, 2)):
                mine = outgoing.valid & (payload == tag)
                right = (sets[number] & masks[port]).any()
                m.d.comb += Assert(~mine | (begun[number] & right & ~left[number][port]))
                if port is not Port.LOCAL:
                    m.d.comb += Assert(~mine | (value[2:] == (sets[number] & masks[port])))
                with m.If(mine & outgoing.ready):
                    m.d.sync += left[number][port].eq(1)
            both = (sets[0] & masks[port]).any()
            m.d.comb += Assert(~(outgoing.valid & (payload == 2) & both) | left[0][port])
            m.d.comb += Assert(~outgoing.valid | (payload != 3))
            stays, before = Signal(name=f"{port.value}_stays"), Signal.like(value)
            m.d.sync += [stays.eq(outgoing.valid & ~outgoing.ready), before.eq(value)]
            m.d.comb += Assert(~stays | (outgoing.valid & (value == before)))

        if self.timeout:
            age = Signal(range(self.timeout + 2))
            with m.If(entered[0] & (age <= self.timeout)):
                m.d.sync += age.eq(age + 1)
            for port in ports:
                m.d.comb += Assume(getattr(dut, f"{port.value}_o").ready)
                gone = left[0][port] | ~(sets[0] & masks[port]).any()
                m.d.comb += Assert((age < self.timeout) | gone)
        if self.invariants:
            self._invariants(m, sets, masks, entered, left)
        return m

    def _offers(self, tag: int) -> Value:
        incoming = getattr(self.dut, f"{self.entry.value}_i")
        if self.parameters.queue_depth:
            return Const(0, 1)
        return incoming.valid & (incoming.payload.payload == tag)

    def _invariants(self, m: Module, sets: list, masks: dict, entered: list, left: list) -> None:
        """Where the two packets are: in the queue of their input and not yet sent to an output, in the register of an
        output, or gone; and in exactly one of these places for each of their outputs once they have entered."""
        dut = self.dut
        ports = self.parameters.ports(self.tile)
        m.d.comb += Assert(~entered[1] | entered[0])
        for arbiter in dut._arbiters.values():
            numbers = range(arbiter.requesters)
            for a in numbers:
                for b in numbers:
                    for c in numbers:
                        if len({a, b, c}) == 3:
                            m.d.comb += Assert(~(arbiter.later(a, b) & arbiter.later(b, c)) | arbiter.later(a, c))
        for port, entry in dut._inputs.items():
            places = self._places(m, port, entry)
            held, front = places[0]
            m.d.comb += [Assert(held | (entry.pending == 0)), Assert((entry.pending & ~front.branches) == 0)]
            for held, word in places:
                m.d.comb += Assert(~held | ((word.payload == 0) if port is not self.entry else (word.payload != 3)))
            if port is not self.entry:
                continue
            at = [[held & (word.payload == tag) for held, word in places] for tag in (1, 2)]
            for ahead in range(len(places)):
                for behind in range(ahead + 1, len(places)):
                    m.d.comb += Assert(~(at[1][ahead] & at[0][behind]))
            for number, tag in enumerate((1, 2)):
                begun = entered[number] | self._offers(tag)
                right = Cat((sets[number] & masks[output]).any() for output in entry.outputs)
                kept = Cat(sets[number][bit] for bit in entry.kept)
                m.d.comb += Assert(sum(at[number], Const(0, 1)) <= begun)
                for here, (_, word) in zip(at[number], places, strict=True):
                    m.d.comb += Assert(~here | ((word.branches == right) & (word.destinations == kept)))
                for output in ports:
                    outgoing = getattr(dut, f"{output.value}_o")
                    in_register = outgoing.valid & (Value.cast(outgoing.payload)[:2] == tag)
                    gone = left[number][output]
                    if output not in entry.outputs:
                        m.d.comb += Assert(~in_register & ~gone)
                        continue
                    index = entry.outputs.index(output)
                    waits = right[index] & ((at[number][0] & entry.pending[index]) | Cat(at[number][1:]).any())
                    m.d.comb += Assert(waits + in_register + gone == (begun & right[index]))

    def _places(self, m: Module, port: Port, entry: _Input) -> list[tuple[Value, data.View]]:
        """The places in which a packet can wait behind an input, from the front: whether one waits there, and which."""
        queue = entry.queue
        if queue is None:
            incoming = getattr(self.dut, f"{port.value}_i")
            m.d.comb += [
                Assert(self._waited[port] | (entry.gone == 0)),
                Assert((entry.gone & ~entry.front.branches) == 0),
            ]
            return [(incoming.valid, entry.front)]
        if queue.depth == 1:
            return [(queue.o.valid, queue._word)]
        held = queue.o.valid + queue._more if queue.depth == 2 else queue._level
        width = len(queue._first)
        m.d.comb += [
            Assert(held <= queue.depth),
            Assert(queue.o.valid == (held > 0)),
            Assert(queue._more == (held > 1)),
            Assert(queue._full == (held == queue.depth)),
            Assert(queue._second == (queue._first + 1)[:width]),
            Assert(queue._last == (queue._first + held)[:width]),
        ]
        places = []
        for number in range(queue.depth):
            row = queue._storage.read_port(domain="comb")
            m.d.comb += row.addr.eq(queue._first + number)
            places.append((held > number, row.data))
        return places
