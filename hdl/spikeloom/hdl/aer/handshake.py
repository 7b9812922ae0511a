"""Events over wires: the four-phase parallel handshake of event cameras and other AER chips, in both directions.

::

    address       ──< valid      >───────────
    request       ____/‾‾‾‾‾‾‾‾‾\\____________
    acknowledge   _________/‾‾‾‾‾‾‾‾‾\\_______
                      1    2    3    4

1. The sender holds an address and requests. 2. The receiver has it and acknowledges. 3. The sender takes its request
back. 4. The receiver takes its acknowledgement back.

Neither side knows the other's clock. Only request and acknowledge cross from one clock to the other, each through a
synchroniser and each from a register, so that it never glitches. The address is *bundled*: it holds still from before
the request until the acknowledgement, so that it is stable when the synchronised request is seen, and needs no
synchroniser. (Boahen, "Point-to-point connectivity between neuromorphic chips using address events", IEEE Transactions
on Circuits and Systems II 47(5), 2000.)

An event takes four crossings: at best ``2 * (stages + 1)`` cycles of either side. Chips whose lines are active low are
met by ``active_low``.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["AerReceiver", "AerSender"]


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


class AerReceiver(wiring.Component):
    """Events from the wires of another chip to a stream of addresses.

    An event is acknowledged when its address has been stored; while the last one waits to be taken from ``o`` the next
    is not acknowledged. So nothing is lost as long as the sender keeps to the protocol.

    Parameters
    ----------
    address_width
        Wires of the address, 1 to 32.
    stages
        Registers of the synchroniser, 2 to 8. Two are usual; more where the clock is fast.
    active_low
        Request and acknowledge are low when they are meant. (The address never is.)

    Members
    -------
    request : Signal, in
    address : Signal(address_width), in
        From the sender; need not be synchronous.
    acknowledge : Signal, out
        To the sender.
    o : Stream(address_width), out
        The addresses.
    waiting : Signal, out
        It is the sender's turn to end the event: it is acknowledged.
    """

    def __init__(self, address_width: int, *, stages: int = 2, active_low: bool = False) -> None:
        _integer("address_width", address_width, 1, 32)
        _integer("stages", stages, 2, 8)
        self.stages = stages
        self.active_low = bool(active_low)
        super().__init__(
            {
                "request": In(1, init=self.active_low),
                "address": In(address_width),
                "acknowledge": Out(1, init=self.active_low),
                "o": Out(stream.Signature(address_width)),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, requested = Signal(init=self.active_low), Signal()
        m.submodules.synchroniser = FFSynchronizer(self.request, line, stages=self.stages, init=self.active_low)
        m.d.comb += requested.eq(line ^ self.active_low)
        acknowledging = Signal()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(requested & ~acknowledging & (~self.o.valid | self.o.ready)):
            m.d.sync += [self.o.payload.eq(self.address), self.o.valid.eq(1), acknowledging.eq(1)]
        with m.Elif(~requested):
            m.d.sync += acknowledging.eq(0)
        # A register of its own, whose level is that of the wire also before the first clock.
        m.d.comb += [self.acknowledge.eq(acknowledging ^ self.active_low), self.waiting.eq(acknowledging)]
        return m


class AerSender(wiring.Component):
    """A stream of addresses to the wires of another chip.

    Parameters
    ----------
    address_width
        Wires of the address, 1 to 32.
    setup_cycles
        Cycles from the address to its request, 1 to 255: what the wires of the address may be slower than that of the
        request.
    stages, active_low
        As of `AerReceiver`.

    Members
    -------
    i : Stream(address_width), in
        The addresses. One is taken when the one before has been acknowledged and the acknowledgement taken back.
    request : Signal, out
    address : Signal(address_width), out
        To the receiver. The address keeps its value until the next one.
    acknowledge : Signal, in
        From the receiver; need not be synchronous.
    idle : Signal, out
        Nothing is on the wires: the last event has been through all four phases.
    waiting : Signal, out
        It is the receiver's turn: to acknowledge, or to take that back.
    """

    def __init__(self, address_width: int, *, setup_cycles: int = 1, stages: int = 2, active_low: bool = False) -> None:
        _integer("address_width", address_width, 1, 32)
        _integer("setup_cycles", setup_cycles, 1, 255)
        _integer("stages", stages, 2, 8)
        self.setup_cycles = setup_cycles
        self.stages = stages
        self.active_low = bool(active_low)
        super().__init__(
            {
                "i": In(stream.Signature(address_width)),
                "request": Out(1, init=self.active_low),
                "address": Out(address_width),
                "acknowledge": In(1, init=self.active_low),
                "idle": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, acknowledged = Signal(init=self.active_low), Signal()
        m.submodules.synchroniser = FFSynchronizer(self.acknowledge, line, stages=self.stages, init=self.active_low)
        m.d.comb += acknowledged.eq(line ^ self.active_low)
        requesting = Signal()
        m.d.comb += self.request.eq(requesting ^ self.active_low)
        waiting = Signal(range(self.setup_cycles))
        with m.FSM():
            with m.State("IDLE"):
                # The other side takes its acknowledgement back first: of the last event, and also of one that a reset
                # interrupted.
                m.d.comb += [self.i.ready.eq(~acknowledged), self.idle.eq(~acknowledged)]
                m.d.comb += self.waiting.eq(acknowledged)
                m.d.sync += waiting.eq(self.setup_cycles - 1)
                with m.If(self.i.valid & ~acknowledged):
                    m.d.sync += self.address.eq(self.i.payload)
                    m.next = "SETUP"
            with m.State("SETUP"):
                m.d.sync += waiting.eq(waiting - 1)
                with m.If(waiting == 0):
                    m.d.sync += requesting.eq(1)
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.waiting.eq(1)
                with m.If(acknowledged):
                    m.d.sync += requesting.eq(0)
                    m.next = "IDLE"
        return m
