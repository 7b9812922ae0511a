"""An SDRAM with its controller in a clock domain of its own, behind asynchronous queues.

::

    requests ──▶ queue ──▶                      ┐
    writes ────▶ queue ──▶  SdramController ──▶ │ pins
    words ◀──── queue ◀───                      ┘
       domain sync            domain sdram

The two clocks need no relation. Each queue adds three to four cycles of the clock behind it.
"""

from amaranth.hdl import DomainRenamer, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.sdram.controller import SdramController, SdramPinSignature, request_layout, write_layout
from spikeloom.hdl.sdram.gather import CHUNK
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = ["SDRAM_DOMAIN", "SdramCrossing", "SdramPortSignature"]

SDRAM_DOMAIN = "sdram"
"""Clock domain of controllers and chips."""

_REQUESTS = 8
_WRITES = 2 * CHUNK
_WORDS = 16


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
    ready : Signal, in
        As for `SdramController`, from the side of its user.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        super().__init__(
            {
                "requests": Out(stream.Signature(request_layout(parameters))),
                "writes": Out(stream.Signature(write_layout(parameters))),
                "words": In(stream.Signature(parameters.burst_bits)),
                "ready": In(1),
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
    """

    def __init__(self, parameters: SdramParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "port": In(SdramPortSignature(parameters)),
                "pins": Out(SdramPinSignature(parameters)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        controller = SdramController(self.parameters)
        m.submodules.controller = DomainRenamer(SDRAM_DOMAIN)(controller)
        wiring.connect(m, controller.pins, wiring.flipped(self.pins))
        m.submodules.ready = FFSynchronizer(controller.ready, self.port.ready)
        there, here = SDRAM_DOMAIN, "sync"
        for name, source, sink, depth, domains in (
            ("requests", self.port.requests, controller.requests, _REQUESTS, (here, there)),
            ("writes", self.port.writes, controller.writes, _WRITES, (here, there)),
            ("words", controller.words, self.port.words, _WORDS, (there, here)),
        ):
            width = len(Value.cast(source.payload))
            queue = AsyncFIFO(width=width, depth=depth, w_domain=domains[0], r_domain=domains[1])
            m.submodules[name] = queue
            m.d.comb += [
                queue.w_en.eq(source.valid),
                queue.w_data.eq(source.payload),
                source.ready.eq(queue.w_rdy),
                sink.valid.eq(queue.r_rdy),
                sink.payload.eq(queue.r_data),
                queue.r_en.eq(sink.ready),
            ]
        return m
