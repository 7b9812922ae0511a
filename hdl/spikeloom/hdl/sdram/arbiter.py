"""Arbiter of the rows of several cores at one weight memory.

::

    requests ─▶ round robin ─┬─▶ queue of 2 ──▶ rows
                             └─▶ queue of 16: core, length ─┐
    words of each core ◀────────────────────────────────────┴── words

`spikeloom.sim.sdram.arbiter` has the recurrence, which this component follows in every cycle. Latency: one cycle from a
request to the memory, none from a word to its core. Throughput: one row and one word per cycle.
"""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.arbiter import RoundRobinArbiter
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.sdram.gearbox import row_layout
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.arbiter import INCOMPLETE_ROWS, OFFERED_ROWS, ArbiterParameters
from spikeloom.sim.sdram.weights import WeightMemoryParameters

__all__ = ["RowArbiter"]


class RowArbiter(wiring.Component):
    """Shares a weight memory among cores.

    Parameters
    ----------
    parameters
        Number of cores, and the slice of each.
    weights
        The weight memory, with the words of all cores.

    Members
    -------
    requests : Stream(address, length).array(cores), in
        Requests of each core for the ``length`` + 1 words from ``address`` of its slice on.
    weights : Stream(word_bits).array(cores), out
        The words of each core, in the order of its requests.
    restarted : Signal(cores), in
        One bit per core: the core has forgotten its rows. Words that arrive for them are dropped, and no request of the
        core is accepted until the last one has arrived. Other cores are not affected.
    rows : Stream(row_layout(weights)), out
    words : Stream(word_bits), in
        Rows for the memory, and their words in the same order. At most `INCOMPLETE_ROWS` rows are incomplete.
    """

    def __init__(self, parameters: ArbiterParameters, weights: WeightMemoryParameters) -> None:
        self.parameters = p = parameters
        if p.words != weights.words:
            raise ValueError(f"words of the memory must be {p.words:,}, those of all cores, not {weights.words:,}")
        self._weights = weights
        request = data.StructLayout({"address": p.address_bits, "length": bits_for(p.row_words)})
        super().__init__(
            {
                "requests": In(stream.Signature(request)).array(p.cores),
                "weights": Out(stream.Signature(weights.word_bits)).array(p.cores),
                "restarted": In(p.cores),
                "rows": Out(stream.Signature(row_layout(weights))),
                "words": In(stream.Signature(weights.word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, cores = self.parameters, range(self.parameters.cores)
        length_bits = bits_for(p.row_words)
        m.submodules.order = order = RoundRobinArbiter(p.cores)
        # Offered through a queue: the grant may change from cycle to cycle, an offered row must not, and neither the
        # memory nor the cores are on each other's paths.
        m.submodules.offered = offered = Fifo(self.rows.payload.shape(), OFFERED_ROWS)
        entry = data.StructLayout({"core": p.core_bits, "length": length_bits})
        m.submodules.incomplete = incomplete = Fifo(entry, INCOMPLETE_ROWS)
        wiring.connect(m, offered.o, wiring.flipped(self.rows))

        dropping = Signal(p.cores)
        room, granted = Signal(), Signal()
        chosen, number = Signal(self.requests[0].payload.shape()), Signal(p.core_bits)
        m.d.comb += [
            room.eq(offered.i.ready & incomplete.i.ready),
            order.requests.eq(Cat(request.valid for request in self.requests) & ~dropping & ~self.restarted),
            granted.eq(order.requests.any() & room),
            order.taken.eq(granted),
            offered.i.valid.eq(granted),
            incomplete.i.valid.eq(granted),
            offered.i.payload.address.eq(Cat(chosen.address, number)),
            offered.i.payload.length.eq(chosen.length),
            incomplete.i.payload.core.eq(number),
            incomplete.i.payload.length.eq(chosen.length),
        ]
        for core in cores:
            m.d.comb += self.requests[core].ready.eq(order.grants[core] & room)
            with m.If(order.grants[core]):
                m.d.comb += [chosen.eq(self.requests[core].payload), number.eq(core)]

        # The oldest row gets the words. It stays in the queue until it is complete, so that the next one follows
        # without a pause.
        head, exists = incomplete.o.payload, incomplete.o.valid
        arrived = Signal(length_bits)
        takes, completes = Signal(), Signal()
        m.d.comb += [
            self.words.ready.eq(takes),
            completes.eq(self.words.valid & takes & (arrived == head.length)),
            incomplete.o.ready.eq(completes),
        ]
        with m.If(completes):
            m.d.sync += arrived.eq(0)
        with m.Elif(self.words.valid & takes):
            m.d.sync += arrived.eq(arrived + 1)
        for core in cores:
            mine, sink = Signal(name=f"head_is_{core}"), self.weights[core]
            m.d.comb += [
                mine.eq(exists & (head.core == Const(core, p.core_bits))),
                sink.payload.eq(self.words.payload),
                sink.valid.eq(self.words.valid & mine & ~dropping[core]),
            ]
            with m.If(mine):
                m.d.comb += takes.eq(dropping[core] | sink.ready)
            # Rows of the core that are not complete: with them alone it is known when the last forgotten one has come.
            rows = Signal(range(INCOMPLETE_ROWS + 1), name=f"rows_{core}")
            m.d.sync += rows.eq(rows + self.requests[core].ready - (completes & mine))
            with m.If(self.restarted[core]):
                m.d.sync += dropping[core].eq(1)
            with m.Elif(rows == 0):
                m.d.sync += dropping[core].eq(0)
        return m
