"""Rows of a core with weights in block RAM and in SDRAM, in the order of their events.

::

    row ─┬─▶ requests ──▶ memory ──▶ weights ───────────────┐
         └─▶ queue of rows ─┬─▶ streamed ───────────────────┴─▶ word
                            └─▶ rows: a sequencer of its own ─▶ word

All rows pass one queue, so that their words are added in the order in which they were read. The weights of a streamed
row are requested when it enters the queue: they come from the memory while the rows in front of it are added. A row of
the other kind begins when the last word of the row before it has left. Throughput within rows of one kind: one word per
cycle; between rows of different kinds up to three cycles pass.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.geometry import positioned_row_layout
from spikeloom.hdl.core.stream_sequencer import ROWS, weight_request_layout
from spikeloom.hdl.core.words import word_layout
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["MixedSequencer"]


class MixedSequencer(wiring.Component):
    """Requests and sequences streamed rows, and hands on the others.

    Parameters
    ----------
    parameters
        Sizes and features of the core, which must have weights of both kinds.

    Members
    -------
    i : Stream(positioned_row_layout(parameters)), in
        Rows. They wait for a place in the queue, and for the requests of earlier rows.
    requests : Stream(weight_request_layout(parameters)), out
    weights : Stream(lanes * weight_width), in
        Requests, and their weights in the same order. Without a requested row no weights are accepted.
    rows : Stream(positioned_row_layout(parameters)), out
        Rows of weights in block RAM. Their sequencer produces the first word after it has accepted a row.
    rows_busy : Signal, in
        That sequencer holds rows or a word.
    word : word_layout(parameters), out
        The word of a streamed row, which must be accepted. Never in a cycle with a word of ``rows``.
    busy : Signal(2), out
        One bit per parity: rows of a step with this parity are in progress, ``word`` included, those of ``rows`` from
        their acceptance on excluded.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "i": In(stream.Signature(positioned_row_layout(p))),
                "requests": Out(stream.Signature(weight_request_layout(p))),
                "weights": In(stream.Signature(p.lanes * p.weight_width)),
                "rows": Out(stream.Signature(positioned_row_layout(p))),
                "rows_busy": In(1),
                "word": Out(word_layout(p)),
                "busy": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        given = self.i.payload
        m.submodules.queue = queue = Fifo(given.shape(), ROWS)
        # A delayed row adds to the next step, which does not exist after the last step of a sample: it is not read. The
        # sequencer behind `rows` drops those of its kind.
        streamed = given.row.streamed
        dropped = streamed & given.row.delay & given.last
        accepted = Signal()
        m.d.comb += [
            self.requests.valid.eq(self.i.valid & streamed & ~dropped & queue.i.ready),
            self.requests.payload.address.eq(given.row.weight_address),
            self.requests.payload.length.eq(given.row.length),
            self.i.ready.eq(dropped | (queue.i.ready & (self.requests.ready | ~streamed))),
            accepted.eq(self.i.valid & self.i.ready & ~dropped),
            queue.i.valid.eq(accepted),
            queue.i.payload.eq(given),
        ]

        # The streamed row whose weights are arriving. The next one is taken in the cycle of its last word.
        head = queue.o.payload
        current = Signal(
            data.StructLayout(
                {
                    "target": bits_for(p.words),
                    "length": bits_for(p.words),
                    "bank": 1,
                    "parity": 1,
                    "value": len(given.value),
                }
            )
        )
        active = Signal()
        taken, ends, begins, handed = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.weights.ready.eq(active),
            taken.eq(self.weights.valid & active),
            ends.eq(taken & (current.length == 0)),
            # The words of a row of the other kind come one cycle after `active` or two after `begins`, at the earliest.
            begins.eq(queue.o.valid & head.row.streamed & (~active | ends) & ~self.rows_busy),
            self.rows.valid.eq(queue.o.valid & ~head.row.streamed & ~active),
            self.rows.payload.eq(head),
            handed.eq(self.rows.valid & self.rows.ready),
            queue.o.ready.eq(begins | handed),
        ]
        with m.If(taken):
            m.d.sync += [current.target.eq(current.target + 1), current.length.eq(current.length - 1)]
        with m.If(ends):
            m.d.sync += active.eq(0)
        with m.If(begins):
            m.d.sync += [
                active.eq(1),
                current.target.eq(head.row.target),
                current.length.eq(head.row.length),
                current.bank.eq(head.parity ^ head.other ^ head.row.delay),
                current.parity.eq(head.parity),
                current.value.eq(head.value),
            ]
        m.d.sync += [
            self.word.valid.eq(taken),
            self.word.weights.eq(self.weights.payload),
            self.word.streamed.eq(1),
            *(getattr(self.word, name).eq(getattr(current, name)) for name in ("target", "bank", "parity", "value")),
        ]

        # Number of rows from the queue to their last word, or until they are handed on, by parity.
        for number in range(2):
            rows = Signal(range(ROWS + 2), name=f"rows_{number}")
            entering = accepted & (given.parity == number)
            leaving = (ends & (current.parity == number)) | (handed & (head.parity == number))
            m.d.sync += rows.eq(rows + entering - leaving)
            m.d.comb += self.busy[number].eq(Cat(rows != 0, self.word.valid & (self.word.parity == number)).any())
        return m
