"""Ethernet device: from GMII, the bytes of a PHY, to the byte streams of the host link.

::

    GMII ─▶ EthernetReceiver ─▶ ring of payloads ─▶ asynchronous FIFO ─▶ bytes ─▶ link
                  │ session, answers
    GMII ◀─ EthernetSender ◀── ring of frames ◀──── asynchronous FIFO ◀─ bytes ◀─ link
    └────────────────── ethernet ──────────────────┘└────────── sync ───────────────┘

The domain ``ethernet`` runs at 125 MHz, with the clock that the PHY recovers from its line; the fabric keeps its own
clock, ``sync``, which is unrelated to it. `spikeloom.sim.host.ethernet` specifies what the device does.
"""

from amaranth.hdl import DomainRenamer, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.host.crossing import cross
from spikeloom.hdl.host.ethernet_receiver import EthernetReceiver
from spikeloom.hdl.host.ethernet_sender import EthernetSender
from spikeloom.hdl.lib.block_queue import ReadAhead
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.host.ethernet import IDLE_CYCLES, Station

__all__ = ["GMII_PINS", "EthernetLine", "PayloadRing"]

GMII_PINS = {
    "rx_data": In(8),
    "rx_valid": In(1),
    "rx_error": In(1),
    "tx_data": Out(8),
    "tx_valid": Out(1),
}
"""Members of a component with the bytes of a PHY, in the domain ``ethernet``; `EthernetLine` describes them."""


class PayloadRing(Component):
    """Ring of bytes that are stored as they arrive and passed on once their frame is known to be good.

    Parameters
    ----------
    depth
        Bytes, a power of two from 16 on. Six of them stay free when bytes arrive without a pause.

    Members
    -------
    byte : Signal(8), in
    store : Signal, in
        Store a byte.
    begin : Signal, in
        Forget the bytes since the last ``accept``; at least three cycles before the next byte.
    accept : Signal, in
        Pass them on.
    overflow : Signal, out
        A byte since ``begin`` did not fit.
    o : Stream(8), out
        The bytes.
    """

    def __init__(self, depth: int):
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two from 16 on, not {depth!r}")
        self.depth = depth
        super().__init__(
            {
                "byte": In(8),
                "store": In(1),
                "begin": In(1),
                "accept": In(1),
                "overflow": Out(1),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(8, self.depth)
        m.submodules.ahead = ahead = ReadAhead(8)
        bits = self.depth.bit_length()
        place, end, start = Signal(bits), Signal(bits), Signal(bits)  # next byte to store, end of the good ones, first
        # It lags by two cycles, in which two more bytes may come, so places are reserved.
        used, full = Signal(bits), Signal()
        m.d.sync += [used.eq(place - start), full.eq(used >= self.depth - 8)]
        m.d.comb += [
            memory.write_enable.eq(self.store & ~full),
            memory.write_address.eq(place),
            memory.write_data.eq(self.byte),
            memory.address.eq(start),
        ]
        with m.If(self.begin):
            m.d.sync += [place.eq(end), self.overflow.eq(0)]
        with m.Elif(self.store):
            with m.If(full):
                m.d.sync += self.overflow.eq(1)
            with m.Else():
                m.d.sync += place.eq(place + 1)
        with m.If(self.accept):
            m.d.sync += end.eq(place)

        m.d.comb += [ahead.more.eq(start != end), ahead.data.eq(memory.data)]
        with m.If(ahead.read):
            m.d.sync += start.eq(start + 1)
        wiring.connect(m, ahead.o, wiring.flipped(self.o))
        return m


class EthernetLine(Component):
    """The transport: GMII on one side, the byte streams of the link on the other.

    Parameters
    ----------
    station
        The board's addresses.
    buffer
        Bytes of the ring for payloads that the link has not taken yet, a power of two. Datagrams that do not fit are
        dropped; the window of the link should not be larger.
    idle_cycles
        Cycles of silence after which another host may take over the session.

    Members
    -------
    rx_data : Signal(8), in
    rx_valid, rx_error : Signal, in
    tx_data : Signal(8), out
    tx_valid : Signal, out
        GMII, with preamble and FCS, in the domain ``ethernet``. It is never told to stop, and never sends errors.
    o : Stream(8), out
        Bytes from the host, in the domain ``sync``.
    i : Stream(8), in
        Frames to the host, in the domain ``sync``, each ended by a zero byte.
    """

    def __init__(self, station: Station, *, buffer: int = 4096, idle_cycles: int = IDLE_CYCLES):
        self.station = station
        self.buffer = buffer
        self.idle_cycles = idle_cycles
        super().__init__({**GMII_PINS, "o": Out(stream.Signature(8)), "i": In(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        in_line = DomainRenamer("ethernet")
        receiver = EthernetReceiver(self.station, idle_cycles=self.idle_cycles)
        sender, ring = EthernetSender(self.station), PayloadRing(self.buffer)
        m.submodules.receiver = in_line(receiver)
        m.submodules.sender = in_line(sender)
        m.submodules.ring = in_line(ring)
        m.d.comb += [
            receiver.rx_data.eq(self.rx_data),
            receiver.rx_valid.eq(self.rx_valid),
            receiver.rx_error.eq(self.rx_error),
            receiver.overflow.eq(ring.overflow),
            receiver.answer_done.eq(sender.answer_done),
            ring.byte.eq(receiver.byte),
            ring.store.eq(receiver.store),
            ring.begin.eq(receiver.begin),
            ring.accept.eq(receiver.accept),
            sender.byte.eq(receiver.byte),
            sender.store_echo.eq(receiver.store_echo),
            sender.begin.eq(receiver.begin),
            sender.answer.eq(receiver.answer),
            sender.answer_pending.eq(receiver.answer_pending),
            sender.peer.eq(receiver.peer),
            sender.bound.eq(receiver.bound),
            self.tx_data.eq(sender.tx_data),
            self.tx_valid.eq(sender.tx_valid),
        ]
        cross(m, ring.o, sender.i, self, domain="ethernet")
        return m
