"""A first-in first-out queue with access to the word after the front word.

::

    i ──▶ storage[depth] ──▶ o             the front word
               └───────────▶ following     the word that will be at the front after it

Throughput is one word per cycle at any depth, and latency one cycle. For depths of two and more ``i.ready`` and
``o.valid`` are registers, so no combinational path connects the two sides. An offered word is stable until it is taken.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """First in, first out.

    Parameters
    ----------
    shape
        Shape of a word.
    depth
        Capacity in words, a power of two. With a depth of 1 a word is accepted in the cycle in which the previous one
        leaves, so ``i.ready`` depends on ``o.ready`` combinationally. A depth of 2 uses registers, a larger one LUT RAM
        if the device has it; 16 words then cost as much as 4.

    Members
    -------
    i : Stream(shape), in
    o : Stream(shape), out
        Streams of words.
    following_valid : Signal, out
    following : Signal(shape), out
        The word that will be at ``o`` in the next cycle, if ``o`` is empty or its word is taken in this cycle: the
        second stored word, or the word arriving at ``i``. Logic behind the queue can thus start a cycle early and
        register its result.
    """

    def __init__(self, shape: object, depth: int) -> None:
        if not isinstance(depth, int) or depth < 1 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "following_valid": Out(1),
                "following": Out(shape),
            }
        )
        # The state is created here so that proofs can refer to it (tests/formal).
        if depth == 1:
            # No reset: `o.valid` says when the word counts.
            self._word = Signal(self.i.payload.shape(), name="word", reset_less=True)
        else:
            style = {"ram_style": "distributed" if depth > 2 else "logic"}
            self._storage = Memory(shape=self.i.payload.shape(), depth=depth, init=[], attrs=style)
            # Both read addresses are registers, so that no adder precedes the read.
            self._first, self._second = Signal(range(depth), name="first"), Signal(range(depth), name="second", init=1)
            self._last = Signal(range(depth), name="last")
            # The level and the conditions derived from it, each in a register: at least two words, and full.
            self._more, self._full = Signal(name="more"), Signal(name="full")
            self._level = Signal(range(depth + 1), name="level")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        push, pop = Signal(), Signal()
        m.d.comb += [push.eq(self.i.valid & self.i.ready), pop.eq(self.o.valid & self.o.ready)]
        if self.depth == 1:
            self._elaborate_one(m, push, pop)
        else:
            self._elaborate_more(m, push, pop)
        return m

    def _elaborate_one(self, m: Module, push: Signal, pop: Signal) -> None:
        word = self._word
        m.d.sync += self.o.valid.eq(push | (self.o.valid & ~pop))
        with m.If(push):
            m.d.sync += word.eq(self.i.payload)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.o.payload.eq(word),
            self.following_valid.eq(push),
            self.following.eq(self.i.payload),
        ]

    def _elaborate_more(self, m: Module, push: Signal, pop: Signal) -> None:
        depth, first, second, last = self.depth, self._first, self._second, self._last
        m.submodules.storage = storage = self._storage
        # Two asynchronous read ports, for the front word and the one after it. Each is a copy of the storage in LUT
        # RAM.
        write, read = storage.write_port(), storage.read_port(domain="comb")
        ahead = storage.read_port(domain="comb")
        with m.If(push):
            m.d.sync += last.eq(last + 1)
        with m.If(pop):
            m.d.sync += [first.eq(second), second.eq(second + 1)]
        m.d.comb += [
            write.addr.eq(last),
            write.en.eq(push),
            write.data.eq(self.i.payload),
            read.addr.eq(first),
            ahead.addr.eq(second),
        ]

        # `pop` arrives late in the cycle, so the expressions place it in the last level of logic.
        more, full, level = self._more, self._full, self._level
        one = Signal()
        m.d.comb += one.eq(self.o.valid & ~more)
        m.d.sync += self.o.valid.eq(push | more | (self.o.valid & ~pop))
        if depth == 2:
            m.d.sync += more.eq((more | (one & push)) & ~pop)
            # With two words, "at least two" and "full" are the same condition.
            m.d.comb += full.eq(more)
        else:
            m.d.sync += [
                level.eq(level + push - pop),
                more.eq(Mux(pop, (more & (level != 2)) | (more & push), more | (one & push))),
                # `pop` alone clears `full`: a full queue accepts no word, so no push can arrive in that cycle.
                full.eq((full | ((level == depth - 1) & push)) & ~pop),
            ]
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.payload.eq(read.data),
            self.following_valid.eq(more | push),
            self.following.eq(Mux(more, ahead.data, self.i.payload)),
        ]
