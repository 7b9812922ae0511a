"""An SDRAM with its controller in a clock domain of its own, behind asynchronous queues.

::

    requests ──▶ queue ──▶                      ┐
    writes ────▶ queue ──▶  SdramController ──▶ │ pins
    words ◀──── queue ◀───                      ┘
       domain sync            domain sdram

The two clocks need no relation. Each queue adds four to five cycles of the clock behind it.
"""

from amaranth.hdl import DomainRenamer, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.sdram.controller import SdramController, SdramPinSignature, request_layout, write_layout
from spikeloom.hdl.sdram.gather import CHUNK
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = ["SDRAM_DOMAIN", "SdramCrossing", "SdramPortSignature"]

SDRAM_DOMAIN = "sdram"
"""Clock domain of controllers and chips."""

_REQUESTS = 8
_CROSSED = 16
"""Bursts of the queues that cross: a deeper LUT RAM would need a multiplexer on their slowest path."""
_WRITES = 2 * CHUNK - _CROSSED
"""Bursts of the queue behind the one that crosses."""


class SdramPortSignature(Signature):
    """The port of a weight memory to an `SdramCrossing`.

    Parameters
    ----------
    parameters
        Parameters of the controller.

    Members
    -------
    requests : Stream(request_layout(parameters)), out
    writes : Stream(write_layout(parameters)), out
    words : Stream(parameters.burst_bits), in
    restart : Signal, out
    ready : Signal, in
        As for `SdramController`, from the side of its user.
    phase_step : Signal, out
        Step the phase of the chip's clock, as for `spikeloom.hdl.sdram.retest.Retest`.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        super().__init__(
            {
                "requests": Out(stream.Signature(request_layout(parameters))),
                "writes": Out(stream.Signature(write_layout(parameters))),
                "words": In(stream.Signature(parameters.burst_bits)),
                "restart": Out(1),
                "ready": In(1),
                "phase_step": Out(1),
            }
        )


class SdramCrossing(wiring.Component):
    """An `SdramController` in the domain ``sdram``, used from the domain ``sync``.

    A reset of ``sync`` alone must not happen: bursts on their way would be lost.

    Parameters
    ----------
    parameters
        Parameters of the controller.

    Members
    -------
    port : SdramPortSignature(parameters), in
        The port of the user, in the domain ``sync``.
    pins : SdramPinSignature(parameters), out
        Pins of the chip, in the domain ``sdram``.
    phase_step : Signal, out
        To the PLL of the chip's clock, in the domain ``sync``.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "port": In(SdramPortSignature(parameters)),
                "pins": Out(SdramPinSignature(parameters)),
                "phase_step": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        controller = SdramController(self.parameters)
        m.submodules.controller = DomainRenamer(SDRAM_DOMAIN)(controller)
        wiring.connect(m, controller.pins, wiring.flipped(self.pins))
        m.submodules.ready = FFSynchronizer(controller.ready, self.port.ready)
        m.submodules.restart = FFSynchronizer(self.port.restart, controller.restart, o_domain=SDRAM_DOMAIN)
        m.d.comb += self.phase_step.eq(self.port.phase_step)
        there, here = SDRAM_DOMAIN, "sync"
        for name, source, sink, depths, domains in (
            ("requests", self.port.requests, controller.requests, (_REQUESTS, 2), (here, there)),
            ("writes", self.port.writes, controller.writes, (_CROSSED, _WRITES), (here, there)),
            ("words", controller.words, self.port.words, (_CROSSED, 2), (there, here)),
        ):
            width = len(Value.cast(source.payload))
            queue = AsyncFIFO(width=width, depth=depths[0], w_domain=domains[0], r_domain=domains[1])
            m.submodules[name] = queue
            # Gray code, comparison and memory follow each other within a cycle of the queue: the taker of its words
            # must not be on that path.
            after = Fifo(width, depths[1])
            m.submodules[f"{name}_after"] = DomainRenamer(domains[1])(after)
            m.d.comb += [
                queue.w_en.eq(source.valid),
                queue.w_data.eq(source.payload),
                source.ready.eq(queue.w_rdy),
                after.i.valid.eq(queue.r_rdy),
                after.i.payload.eq(queue.r_data),
                queue.r_en.eq(after.i.ready),
                sink.valid.eq(after.o.valid),
                sink.payload.eq(after.o.payload),
                after.o.ready.eq(sink.ready),
            ]
        return m
