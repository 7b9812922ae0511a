"""The bytes of a transport between its own clock domain and ``sync``, through two asynchronous FIFOs."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import AsyncFIFO

__all__ = ["cross"]

_FIFO_BYTES = 16


def cross(m: Module, from_host: Any, to_host: Any, line: Any, *, domain: str) -> None:
    """Connect byte streams of a device, in ``domain``, with the streams ``o`` and ``i`` of ``line``, in ``sync``.

    ``from_host`` is the output of the device, ``to_host`` its input. The clocks need no relation.
    """
    m.submodules.received = received = AsyncFIFO(width=8, depth=_FIFO_BYTES, w_domain=domain, r_domain="sync")
    m.submodules.sent = sent = AsyncFIFO(width=8, depth=_FIFO_BYTES, w_domain="sync", r_domain=domain)
    wiring.connect(m, from_host, received.w_stream)
    wiring.connect(m, sent.r_stream, to_host)
    m.d.comb += [
        line.o.valid.eq(received.r_stream.valid),
        line.o.payload.eq(received.r_stream.payload),
        received.r_stream.ready.eq(line.o.ready),
        sent.w_stream.valid.eq(line.i.valid),
        sent.w_stream.payload.eq(line.i.payload),
        line.i.ready.eq(sent.w_stream.ready),
    ]
