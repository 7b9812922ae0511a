"""Gearbox of a weight memory: requests for rows of weight words become requests for bursts, and bursts become words.

::

    rows ─┬─▶ bursts of the row ──▶ requests
          └─▶ queue: first word, length ─┐
    bursts ──────────────────────────────┴─▶ select or join ──▶ words

A burst holds several words, or a word takes several bursts (`spikeloom.sim.sdram.weights`). Throughput: one word per
cycle from bursts of several words, else one burst per cycle, without a pause between rows. No latency.
"""

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.sdram.controller import request_layout
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.weights import WeightMemoryParameters

__all__ = ["ROWS", "Gearbox", "row_layout"]

ROWS = 16
"""Largest number of rows whose words have not all been taken."""


def row_layout(parameters: WeightMemoryParameters) -> data.StructLayout:
    """A request for the ``length`` + 1 weight words from ``address`` on."""
    return data.StructLayout({"address": bits_for(parameters.words), "length": bits_for(parameters.row_words)})


class Gearbox(wiring.Component):
    """Translates rows of weight words into bursts.

    Parameters
    ----------
    parameters
        Words and bursts.

    Members
    -------
    rows : Stream(row_layout(parameters)), in
    words : Stream(word_bits), out
        Rows, and their words in the same order. At most `ROWS` rows may be incomplete.
    requests : Stream(request_layout(sdram)), out
    bursts : Stream(sdram.burst_bits), in
        Requests, all of them reads, and their bursts in the same order.
    clear : Signal, in
        Forget all rows. Bursts that arrive for them are dropped, and no row is accepted until the last one has arrived.
    busy : Signal, out
        Bursts have been requested that have not arrived.
    """

    def __init__(self, parameters: WeightMemoryParameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "rows": In(stream.Signature(row_layout(p))),
                "words": Out(stream.Signature(p.word_bits)),
                "requests": Out(stream.Signature(request_layout(p.sdram))),
                "bursts": In(stream.Signature(p.sdram.burst_bits)),
                "clear": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, row = self.parameters, self.rows.payload
        # The number of bursts on their way is all that has to outlive a clear.
        flight = Signal(p.sdram.count_bits + ROWS.bit_length())
        dropping, free, accepted, taken = Signal(), Signal(init=1), Signal(), Signal()
        m.d.comb += [
            self.busy.eq(flight != 0),
            self.requests.valid.eq(self.rows.valid & free & ~dropping & ~self.clear),
            self.rows.ready.eq(self.requests.ready & free & ~dropping & ~self.clear),
            accepted.eq(self.requests.valid & self.requests.ready),
            taken.eq(self.bursts.valid & self.bursts.ready),
        ]
        added = Signal(p.sdram.count_bits + 1)
        with m.If(accepted):
            m.d.comb += added.eq(self.requests.payload.count + 1)
        m.d.sync += flight.eq(flight + added - taken)
        with m.If(self.clear):
            m.d.sync += dropping.eq(1)
        with m.Elif(flight == 0):
            m.d.sync += dropping.eq(0)

        words, offered = Signal.like(self.words.payload), Signal()
        last_word = Signal()  # the offered word is the last one of its burst
        m.d.comb += [
            self.words.payload.eq(words),
            self.words.valid.eq(offered & ~dropping),
        ]
        needs_no_word: Value = Const(0)  # the burst is taken without a word
        if p.words_per_burst > 1:
            self._select(m, row, accepted, free, dropping, words, offered, last_word)
        else:
            needs_no_word = self._join(m, row, taken, words, offered)
            m.d.comb += last_word.eq(1)
        m.d.comb += self.bursts.ready.eq(dropping | needs_no_word | (offered & last_word & self.words.ready))
        return m

    def _select(
        self,
        m: Module,
        row: data.View,
        accepted: Signal,
        free: Signal,
        dropping: Signal,
        words: Signal,
        offered: Signal,
        last_word: Signal,
    ) -> None:
        """A burst holds several words: offer those of the row one by one."""
        p = self.parameters
        place_bits = bits_for(p.words_per_burst)
        first = row.address[:place_bits]
        end = Signal(range(p.words_per_burst + p.row_words))
        kept = Signal(data.StructLayout({"place": place_bits, "left": len(row.length)}), name="kept")
        active = Signal()
        queue = Fifo(kept.shape(), ROWS)
        m.submodules.queue = ResetInserter(self.clear)(queue)
        ends = Signal()
        m.d.comb += [
            end.eq(first + row.length),
            self.requests.payload.address.eq(row.address[place_bits:]),
            self.requests.payload.count.eq(end[place_bits:]),
            free.eq(queue.i.ready),
            queue.i.valid.eq(accepted),
            queue.i.payload.place.eq(first),
            queue.i.payload.left.eq(row.length),
            words.eq(self.bursts.payload.word_select(kept.place, 8 * p.word_bytes)),
            offered.eq(self.bursts.valid & active),
            last_word.eq((kept.left == 0) | kept.place.all()),
            ends.eq(offered & self.words.ready & (kept.left == 0)),
            # The next row follows without a pause.
            queue.o.ready.eq(~active | ends),
        ]
        with m.If(offered & self.words.ready):
            m.d.sync += [kept.place.eq(kept.place + 1), kept.left.eq(kept.left - 1)]
        with m.If(queue.o.ready):
            m.d.sync += [active.eq(queue.o.valid), kept.eq(queue.o.payload)]
        with m.If(self.clear | dropping):
            m.d.sync += active.eq(0)

    def _join(
        self,
        m: Module,
        row: data.View,
        taken: Signal,
        words: Signal,
        offered: Signal,
    ) -> Value:
        """A word takes one or several bursts: the last of them completes it. Return whether a burst is not the last."""
        p = self.parameters
        several = bits_for(p.bursts_per_word) if p.bursts_per_word > 1 else 0
        earlier = Signal((p.bursts_per_word - 1) * p.sdram.burst_bits)
        place = Signal(several)
        m.d.comb += [
            self.requests.payload.address.eq(Cat(Const(0, several), row.address)),
            self.requests.payload.count.eq(Cat(Const((1 << several) - 1, several), row.length)),
            words.eq(Cat(earlier, self.bursts.payload)),
            offered.eq(self.bursts.valid & place.all() if several else self.bursts.valid),
        ]
        if several:
            # Bursts that are dropped count too: all bursts of a word are requested, so the next word begins at 0.
            with m.If(taken):
                m.d.sync += [
                    place.eq(place + 1),
                    earlier.eq(Cat(earlier, self.bursts.payload)[p.sdram.burst_bits :]),
                ]
        return ~place.all() if several else Const(0)
