"""Queues in block RAM, and a prefetcher that turns the reads of a block RAM into a stream."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.tech.block_ram import BlockMemory

__all__ = ["READ_LATENCY", "BlockQueue", "ReadAhead"]

READ_LATENCY = 2
"""Cycles from an address to its word, for block RAM with its output register."""


class ReadAhead(wiring.Component):
    """Turns the reads of a memory into a stream of one word per cycle.

    Parameters
    ----------
    width
        Width of a word.

    Members
    -------
    more : Signal, in
    read : Signal, out
        ``more``: a word is available. ``read``: its address is sampled in this cycle and must advance at its end.
    data : Signal(width), in
        The word whose address was sampled `READ_LATENCY` cycles earlier.
    o : Stream(width), out
        The words.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"more": In(1), "read": Out(1), "data": In(width), "o": Out(stream.Signature(width))})
        depth = READ_LATENCY + 2  # round trip from the use of a credit to its return, for one word per cycle
        # The state is created here so that proofs can refer to it (tests/formal).
        self._fifo = Fifo(width, depth)
        self._room = Signal(range(depth + 1), init=depth, name="room")
        self._arriving = Signal(READ_LATENCY, name="arriving")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        # `room` is the credit: free places minus the reads in flight, so that each word read finds a place.
        room, arriving = self._room, self._arriving
        m.d.comb += [
            self.read.eq(self.more & (room != 0)),
            fifo.i.payload.eq(self.data),
            fifo.i.valid.eq(arriving[-1]),
        ]
        m.d.sync += [
            arriving.eq((arriving << 1) | self.read),
            room.eq(room - self.read + (self.o.valid & self.o.ready)),
        ]
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        return m


class BlockQueue(wiring.Component):
    """A deep queue in block RAM; a word is offered four cycles after it was accepted.

    Parameters
    ----------
    width, depth
        Width of a word, and number of words, a power of two.

    Members
    -------
    i : Stream(width), in
    o : Stream(width), out
        Words, first in, first out.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})
        # The state is created here so that proofs can refer to it (tests/formal).
        self._memory, self._ahead = BlockMemory(width, depth), ReadAhead(width)
        # Each pointer is stored with its successor, so that becoming full or empty is a comparison without an adder.
        self._write, self._read = Signal(range(depth), name="write"), Signal(range(depth), name="read")
        self._after_write = Signal(range(depth), init=1, name="after_write")
        self._after_read = Signal(range(depth), init=1, name="after_read")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = self._memory
        m.submodules.ahead = ahead = self._ahead
        write, after_write, read, after_read = self._write, self._after_write, self._read, self._after_read
        push, some, full = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            push.eq(self.i.valid & self.i.ready),
            memory.write_address.eq(write),
            memory.write_data.eq(self.i.payload),
            memory.write_enable.eq(push),
            memory.address.eq(read),
            ahead.more.eq(some),
            ahead.data.eq(memory.data),
        ]
        # Pointers wrap by themselves, because the depth is a power of two.
        with m.If(push):
            m.d.sync += [write.eq(after_write), after_write.eq(after_write + 1)]
        with m.If(ahead.read):
            m.d.sync += [read.eq(after_read), after_read.eq(after_read + 1)]
        m.d.sync += [
            # A push always leaves a word behind. A read always leaves a place free, because a full queue accepts no
            # push.
            some.eq((some & ~((after_read == write) & ahead.read)) | push),
            full.eq((full | ((after_write == read) & push)) & ~ahead.read),
        ]
        wiring.connect(m, ahead.o, wiring.flipped(self.o))
        return m
