"""Four-phase parallel handshake of event cameras and other AER chips, in both directions.

::

    address       ──< valid      >───────────
    request       ____/‾‾‾‾‾‾‾‾‾\\____________
    acknowledge   _________/‾‾‾‾‾‾‾‾‾\\_______
                      1    2    3    4

1. The sender asserts the request with a stable address. 2. The receiver stores the address and acknowledges. 3. The
sender deasserts the request. 4. The receiver deasserts the acknowledgement.

The two sides have independent clocks. Only request and acknowledge cross clock domains, each from a register (so it
never glitches) and through a synchroniser. The address is *bundled data*: it is stable from before the request until
the acknowledgement, thus also when the synchronised request is seen, and needs no synchroniser. (Boahen,
"Point-to-point connectivity between neuromorphic chips using address events", IEEE Transactions on Circuits and Systems
II 47(5), 2000.)

An event takes four crossings, at best ``2 * (stages + 1)`` cycles of either side. ``active_low`` supports chips with
active-low lines.
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
    """Receives events from another chip as a stream of addresses.

    An event is acknowledged when its address has been stored. No event is acknowledged while the previous one waits at
    ``o``, so no event is lost if the sender follows the protocol.

    Parameters
    ----------
    address_width
        Width of the address, 1 to 32.
    stages
        Number of registers in series in the synchroniser, 2 to 8. Two are usual; fast clocks need more.
    active_low
        Request and acknowledge are active low. The address is always active high.

    Members
    -------
    request : Signal, in
    address : Signal(address_width), in
        From the sender, asynchronous.
    acknowledge : Signal, out
        To the sender.
    o : Stream(address_width), out
        The addresses.
    waiting : Signal, out
        The event is acknowledged, and the sender must deassert its request.
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
        # Before the assignment below, so that an address stored in this cycle overrides it.
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(requested & ~acknowledging & (~self.o.valid | self.o.ready)):
            m.d.sync += [self.o.payload.eq(self.address), self.o.valid.eq(1), acknowledging.eq(1)]
        with m.Elif(~requested):
            m.d.sync += acknowledging.eq(0)
        # The register's initial value gives the pin its inactive level even before the first clock edge.
        m.d.comb += [self.acknowledge.eq(acknowledging ^ self.active_low), self.waiting.eq(acknowledging)]
        return m


class AerSender(wiring.Component):
    """Sends a stream of addresses to another chip.

    Parameters
    ----------
    address_width
        Width of the address, 1 to 32.
    setup_cycles
        Cycles from the address to its request, 1 to 255; bounds the skew of the address wires against the request.
    stages, active_low
        As for `AerReceiver`.

    Members
    -------
    i : Stream(address_width), in
        The addresses. An address is accepted when the previous event has completed all four phases.
    request : Signal, out
    address : Signal(address_width), out
        To the receiver. The address is held until the next one.
    acknowledge : Signal, in
        From the receiver, asynchronous.
    idle : Signal, out
        The last event has completed all four phases.
    waiting : Signal, out
        The receiver must assert or deassert its acknowledgement.
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
        # Derived from a register alone, because a glitch on the request would be taken for an event.
        m.d.comb += self.request.eq(requesting ^ self.active_low)
        # Counts down the setup time, so that every address wire has settled at the receiver before the request.
        waiting = Signal(range(self.setup_cycles))
        with m.FSM():
            with m.State("IDLE"):
                # Wait until the acknowledgement is deasserted, for the last event as well as for one that a reset has
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
