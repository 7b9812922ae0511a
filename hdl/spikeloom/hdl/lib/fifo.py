"""A queue of words, whose far end may also be looked at one word ahead.

::

    i ──▶ storage[depth] ──▶ o             the word at the front, read out of the storage
               └───────────▶ following     the word that is at the front once that one is gone

One word per cycle, at any depth, and a word that comes in is offered in the next cycle. From two words on ``i.ready``
and ``o.valid`` are registers: nothing runs from one side to the other. What is offered stays until it is taken.
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
        Of a word.
    depth
        Words that it holds: 1, or a power of two. A queue of one takes a word in the cycle in which its only word goes,
        so ``i.ready`` follows ``o.ready`` in the same cycle; deeper ones do not. Two words are registers, more are a
        LUT RAM where the device has one (16 deep costs as much as 4).

    Members
    -------
    i : Stream(shape), in
    o : Stream(shape), out
        Streams of words.
    following_valid : Signal, out
    following : Signal(shape), out
        The word that is at ``o`` in the next cycle if ``o`` offers none or is taken in this one: the second stored or
        the one that ``i`` transfers. It lets logic behind the queue begin a cycle early, in registers of its own.
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
        # The state is made here so that proofs can speak of it (tests/formal).
        if depth == 1:
            self._word = Signal(self.i.payload.shape(), name="word", reset_less=True)
        else:
            style = {"ram_style": "distributed" if depth > 2 else "logic"}
            self._storage = Memory(shape=self.i.payload.shape(), depth=depth, init=[], attrs=style)
            # Both read addresses are registers, so that no adder is in the way of what is read.
            self._first, self._second = Signal(range(depth), name="first"), Signal(range(depth), name="second", init=1)
            self._last = Signal(range(depth), name="last")
            # What is known about the number of words, each in a register: at least two, all, and the number itself.
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

        # `pop` is late in the cycle, and decides last.
        more, full, level = self._more, self._full, self._level
        one = Signal()
        m.d.comb += one.eq(self.o.valid & ~more)
        m.d.sync += self.o.valid.eq(push | more | (self.o.valid & ~pop))
        if depth == 2:
            m.d.sync += more.eq((more | (one & push)) & ~pop)
            m.d.comb += full.eq(more)
        else:
            m.d.sync += [
                level.eq(level + push - pop),
                more.eq(Mux(pop, (more & (level != 2)) | (more & push), more | (one & push))),
                full.eq((full | ((level == depth - 1) & push)) & ~pop),
            ]
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.payload.eq(read.data),
            self.following_valid.eq(more | push),
            self.following.eq(Mux(more, ahead.data, self.i.payload)),
        ]
