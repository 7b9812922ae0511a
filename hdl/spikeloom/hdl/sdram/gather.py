"""Gathers single bytes into bursts, and bursts into write requests.

::

    byte, address ──▶ burst with byte masks ──▶ writes
                          └──▶ up to CHUNK consecutive bursts ──▶ requests

The configuration port carries one byte per cycle and cannot wait. A request for every burst would keep the memory busy
for three times as long as the bytes of the burst take; a request for a chunk of 16 leaves it idle half of the time at
equal clocks. What follows `_QUIET` cycles without a byte is written without waiting for the rest of its chunk.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.sdram.controller import request_layout, write_layout
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = ["CHUNK", "QUIET_CYCLES", "ByteGatherer"]

CHUNK = 16
"""Largest number of bursts of a request. Twice as many must fit into the queue of writes, because a chunk is gathered
while the one before it is written."""

QUIET_CYCLES = 8
"""Cycles without a byte after which everything is written."""


class ByteGatherer(wiring.Component):
    """Turns writes of bytes into writes of bursts.

    Parameters
    ----------
    parameters
        Parameters of the controller.

    Members
    -------
    enable : Signal, in
    address : Signal(address_bits + bits_for(burst_bytes)), in
    data : Signal(8), in
        A byte to write, in every cycle if need be.
    requests : Stream(request_layout(parameters)), out
    writes : Stream(write_layout(parameters)), out
        Requests, all of them writes, and their bursts. Bytes of a burst that were not written are kept; without byte
        masks they become 0.
    lost : Signal, out
        High for one cycle when a burst is dropped, because earlier ones have not been taken.
    busy : Signal, out
        Bytes have not been sent yet.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "enable": In(1),
                "address": In(p.address_bits + bits_for(p.burst_bytes)),
                "data": In(8),
                "requests": Out(stream.Signature(request_layout(p))),
                "writes": Out(stream.Signature(write_layout(p))),
                "lost": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        byte_bits = bits_for(p.burst_bytes)
        # Registered, because the configuration port comes from far away. A second stage compares the burst with that of
        # the byte before, which would otherwise be in front of everything that follows from it.
        given, enable = Signal(), Signal()
        given_address, given_byte = Signal(len(self.address), reset_less=True), Signal(8, reset_less=True)
        m.d.sync += [given.eq(self.enable), given_address.eq(self.address), given_byte.eq(self.data), enable.eq(given)]
        place, burst, byte = Signal(byte_bits), Signal(p.address_bits), Signal(8)
        after = Signal(p.address_bits)  # `burst` + 1
        repeats, succeeds = Signal(), Signal()  # `burst` is that of the byte before, or the one after it
        with m.If(given):
            m.d.sync += [
                Cat(place, burst).eq(given_address),
                byte.eq(given_byte),
                after.eq(given_address[byte_bits:] + 1),
                repeats.eq(given_address[byte_bits:] == burst),
                succeeds.eq(given_address[byte_bits:] == after),
            ]

        quiet = Signal(range(QUIET_CYCLES + 1))
        with m.If(enable):
            m.d.sync += quiet.eq(0)
        with m.Elif(quiet != QUIET_CYCLES):
            m.d.sync += quiet.eq(quiet + 1)
        is_quiet = quiet == QUIET_CYCLES

        # The burst being gathered. It is complete when a byte of another one comes, or none for a while.
        some = Signal()
        number = Signal(p.address_bits)
        bytes_of = Signal(p.burst_bits)
        present = Signal(p.burst_bytes)
        same, complete, push = Signal(), Signal(), Signal()
        m.d.comb += [
            same.eq(some & repeats),
            complete.eq(some & Mux(enable, ~same, is_quiet)),
            self.writes.payload.data.eq(bytes_of),
            self.writes.payload.keep.eq(~present),
        ]
        with m.If(push):
            m.d.sync += some.eq(0)
        with m.If(enable):
            here = (Const(1, p.burst_bytes) << place)[: p.burst_bytes]
            m.d.sync += [some.eq(1), number.eq(burst), present.eq(Mux(same, present, 0) | here)]
            # A byte that is not written is 0, for memories without masks.
            with m.If(~same):
                m.d.sync += bytes_of.eq(0)
            m.d.sync += bytes_of.word_select(place, 8).eq(byte)

        # The chunk of bursts that have been sent and not yet requested.
        length = Signal(range(CHUNK + 1))
        first = Signal(p.address_bits)
        sent, adjacent = Signal(), Signal()  # the burst before has been sent; the burst being gathered is the next one
        pending = Signal()  # a request waits until it is taken
        request = Signal(self.requests.payload.shape())
        ends, emit, continues, room = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            continues.eq(adjacent & (length != CHUNK)),
            # A chunk ends with a burst that does not belong to it, or when there is none for a while.
            ends.eq((length != 0) & Mux(complete, ~continues, is_quiet & ~some)),
            # A burst is never sent without its request, nor a request without its bursts: the memory would wait for
            # the other for ever. So where one of them finds no place, the burst is dropped before either is sent.
            room.eq(~pending | self.requests.ready),
            push.eq(complete & self.writes.ready & (~ends | room)),
            emit.eq(ends & room & (~complete | push)),
            self.writes.valid.eq(complete & (~ends | room)),
            self.lost.eq(complete & enable & ~push),
        ]
        with m.If(enable & ~same):
            m.d.sync += [adjacent.eq(succeeds & (push | sent)), sent.eq(0)]
        with m.Elif(push):
            m.d.sync += sent.eq(1)
        with m.If(push):
            with m.If(emit | (length == 0)):
                m.d.sync += [first.eq(number), length.eq(1)]
            with m.Else():
                m.d.sync += length.eq(length + 1)
        with m.Elif(emit):
            m.d.sync += length.eq(0)

        m.d.comb += [
            self.requests.valid.eq(pending),
            self.requests.payload.eq(request),
            self.busy.eq(Cat(given, enable, some, length != 0, pending).any()),
        ]
        with m.If(self.requests.ready):
            m.d.sync += pending.eq(0)
        with m.If(emit):
            m.d.sync += [pending.eq(1), request.address.eq(first), request.count.eq(length - 1), request.write.eq(1)]
        return m
