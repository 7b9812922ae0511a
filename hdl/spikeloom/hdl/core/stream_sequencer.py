"""Rows whose weights come through a stream: requests the weights ahead, and combines them with their targets.

::

    fetched row ─┬─▶ requests ──▶ memory of any latency ──▶ weights ─┐
                 └─▶ queue of requested rows ────────────────────────┴─▶ word

It takes the place of the counters that address the weight memory. A row is requested as soon as it is fetched, so the
memory sees up to `ROWS` rows ahead; the weights arrive in the order of the requests. The time of their arrival affects
only the cycle in which a word is added: the results are those of a core with a weight memory. Throughput: one word per
cycle in which weights are offered. Latency: one cycle from the weights to the word.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import value_shape
from spikeloom.hdl.core.words import word_layout
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["ROWS", "StreamSequencer", "weight_request_layout"]

ROWS = 8
"""Number of requested rows besides the one whose weights are arriving. Two keep an SDRAM busy; more cover its
refreshes."""


def weight_request_layout(parameters: CoreParameters) -> data.StructLayout:
    """A request for the ``length`` + 1 weight words from ``address`` on."""
    depth = parameters.streamed_words or parameters.weight_words
    return data.StructLayout({"address": bits_for(depth), "length": bits_for(parameters.words)})


class StreamSequencer(wiring.Component):
    """Requests the weights of rows and combines them with their targets.

    Parameters
    ----------
    parameters
        Sizes and features of the core, whose weights must be streamed.

    Members
    -------
    i : Stream(row, parity, other, last, value), in
        Rows. They wait for the requests of earlier rows.
    requests : Stream(weight_request_layout(parameters)), out
    weights : Stream(lanes * weight_width), in
        Requests, and their weights in the same order. Without a requested row no weights are accepted.
    word : word_layout(parameters), out
        The word of this cycle, which must be accepted.
    busy : Signal(2), out
        One bit per parity: rows of a step with this parity are in progress, ``word`` included.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = p = parameters
        row = {"row": struct_layout(p.row_layout), "parity": 1, "other": 1, "last": 1, "value": value_shape(p)}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(row))),
                "requests": Out(stream.Signature(weight_request_layout(p))),
                "weights": In(stream.Signature(p.lanes * p.weight_width)),
                "word": Out(word_layout(p)),
                "busy": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        given, row = self.i.payload, self.i.payload.row
        waiting = data.StructLayout(
            {
                "target": bits_for(p.words),
                "length": bits_for(p.words),
                "bank": 1,
                "parity": 1,
                "value": value_shape(p),
            }
        )
        m.submodules.queue = queue = Fifo(waiting, ROWS)
        # A delayed row adds to the next step, which does not exist after the last step of a sample: it is not read.
        dropped = row.delay & given.last
        accepted = Signal()
        m.d.comb += [
            self.requests.valid.eq(self.i.valid & ~dropped & queue.i.ready),
            self.requests.payload.address.eq(row.weight_address),
            self.requests.payload.length.eq(row.length),
            self.i.ready.eq(dropped | (self.requests.ready & queue.i.ready)),
            accepted.eq(self.requests.valid & self.requests.ready),
            queue.i.valid.eq(accepted),
            queue.i.payload.target.eq(row.target),
            queue.i.payload.length.eq(row.length),
            # As for rows from a weight memory: the step in which the event was sent, or with delay the one after it.
            queue.i.payload.bank.eq(given.parity ^ given.other ^ row.delay),
            queue.i.payload.parity.eq(given.parity),
            queue.i.payload.value.eq(given.value),
        ]

        # The row whose weights are arriving. The next row is taken in the cycle of its last word.
        active, current = Signal(), Signal(waiting)
        taken, ends = Signal(), Signal()
        m.d.comb += [
            self.weights.ready.eq(active),
            taken.eq(self.weights.valid & active),
            ends.eq(taken & (current.length == 0)),
            queue.o.ready.eq(~active | ends),
        ]
        with m.If(taken):
            m.d.sync += [current.target.eq(current.target + 1), current.length.eq(current.length - 1)]
        with m.If(queue.o.ready):
            m.d.sync += [active.eq(queue.o.valid), current.eq(queue.o.payload)]
        m.d.sync += [
            self.word.valid.eq(taken),
            self.word.weights.eq(self.weights.payload),
            *(getattr(self.word, name).eq(getattr(current, name)) for name in ("target", "bank", "parity", "value")),
        ]

        # Number of rows from their request to their last word, by parity: the queue alone does not tell which step has
        # to wait for them.
        for number in range(2):
            rows = Signal(range(ROWS + 2), name=f"rows_{number}")
            begins = accepted & (given.parity == number)
            m.d.sync += rows.eq(rows + begins - (ends & (current.parity == number)))
            m.d.comb += self.busy[number].eq(Cat(rows != 0, self.word.valid & (self.word.parity == number)).any())
        return m
