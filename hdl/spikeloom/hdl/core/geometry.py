"""Rows with coordinates: the weight words of a matrix, convolution or pooling for an event at one position.

::

    row, x, y ─▶ tables of columns and lines ─▶ first words ─▶ taps in y ⊃ taps in x ⊃ words of a tap ──▶ word

Two tables hold the offsets of the outputs that a position reaches (`spikeloom.sim.core.row_reader` has the loop), so
the hardware needs only two additions and three nested counters for any stride, dilation, padding or window. It produces
one word per cycle, also across events; a row without words is dropped and costs no cycle at the output.

In a core that adds several words per cycle, the innermost counter takes groups of them, the last of which may be
smaller. The steps at the end of a tap lead from its last word, while the addresses are still those of the first word of
its last group, so the words between them are added to the steps when the row starts.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import value_shape
from spikeloom.hdl.core.words import word_layout
from spikeloom.hdl.lib.memory import LoadedMemory, LoadFan, LoadPort
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.ecp5_carry import Operand, add
from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["GeometrySequencer", "positioned_row_layout"]


def positioned_row_layout(parameters: CoreParameters) -> data.StructLayout:
    """A row with the coordinates of its event and the other fields of `spikeloom.hdl.core.row_reader.event_layout`."""
    return data.StructLayout(
        {
            "row": struct_layout(parameters.row_layout),
            "x": parameters.coordinate_width,
            "y": parameters.coordinate_width,
            "parity": 1,
            "other": int(parameters.destinations > 0),
            "last": 1,
            "value": value_shape(parameters),
        }
    )


class GeometrySequencer(wiring.Component):
    """The words of rows with coordinates, one per cycle.

    Parameters
    ----------
    parameters
        Sizes and features of the core.

    Members
    -------
    i : Stream(positioned_row_layout(parameters)), in
        Rows, accepted while the first stage is free.
    word : word_layout(parameters), out
    sparse : Signal, out
        The word of this cycle, which must be accepted, and whether its row is sparse.
    busy : Signal(2), out
        One bit per parity: the sequencer holds rows of a step with this parity, ``word`` included.
    load : LoadPort, in
        Write port of the tables for the host.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "i": In(stream.Signature(positioned_row_layout(parameters))),
                "word": Out(word_layout(parameters)),
                "sparse": Out(1),
                "busy": Out(2),
                "load": In(LoadPort(read_back=parameters.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.columns = columns = LoadedMemory(p.memories["columns"], read_back=p.read_back)
        m.submodules.lines = lines = LoadedMemory(p.memories["lines"], read_back=p.read_back)
        loads = LoadFan(m, self.load)
        for memory in (columns, lines):
            loads.connect(memory.load)
        loads.finish()

        # The tables are read in two stages: `reading` is the row in the memories' read stage, `found` the row in their
        # output registers, and `start` the row with the table entries added.
        given = self.i.payload
        row_fields = struct_layout(p.row_layout).members
        kept = {
            name: shape for name, shape in row_fields.items() if name not in ("geometry", "more", "empty", "streamed")
        }
        kept |= {"valid": 1, "parity": 1, "other": len(given.other), "value": value_shape(p)}
        reading, found = (Signal(data.StructLayout(kept), name=name) for name in ("reading", "found"))
        column = data.View(struct_layout(p.column_layout), columns.data)
        line = data.View(struct_layout(p.line_layout), lines.data)
        steps = ("next_target", "line_weight", "line_target")
        group_bits = p.words_per_cycle.bit_length() - 1
        grouped = {"rest": group_bits, "to_tap": group_bits + 1} if group_bits else {}
        start_layout = data.StructLayout(
            kept
            | grouped
            | {name: column.shape()[name].shape for name in steps}
            | {"columns": len(column.taps), "lines": len(line.taps)}
        )
        start = Signal(start_layout)
        take = Signal()  # the counters take the row in `start`
        space = [Signal(name=f"space_in_{name}") for name in ("reading", "found", "start")]
        # A delayed row adds to the next step, which does not exist after the last step of a sample.
        dropped = given.row.delay & given.last
        if p.sparse:
            dropped |= given.row.empty
        m.d.comb += [
            space[2].eq(~start.valid | take),
            space[1].eq(~found.valid | space[2]),
            space[0].eq(~reading.valid | space[1]),
            self.i.ready.eq(space[0]),
        ]
        for memory, coordinate in ((columns, given.x), (lines, given.y)):
            m.d.comb += [
                memory.address.eq(Cat(coordinate, given.row.geometry)),
                memory.enable.eq(space[0]),
                memory.output_enable.eq(space[1]),
            ]
        with m.If(space[0]):
            m.d.sync += [getattr(reading, name).eq(getattr(given.row, name)) for name in kept if name in row_fields]
            m.d.sync += [reading.valid.eq(self.i.valid & ~dropped), reading.parity.eq(given.parity)]
            m.d.sync += reading.other.eq(given.other)
            m.d.sync += reading.value.eq(given.value)
        with m.If(space[1]):
            m.d.sync += found.eq(reading)
        with m.If(space[2]):
            m.d.sync += [getattr(start, name).eq(getattr(found, name)) for name in kept]
            m.d.sync += [
                # The counters produce at least one word per row, so a position that reaches no output must end here.
                start.valid.eq(found.valid & ~column.skip & ~line.skip),
                start.weight_address.eq(found.weight_address + column.weight + line.weight),
                start.target.eq(found.target + column.target + line.target),
                start.columns.eq(column.taps),
                start.lines.eq(line.taps),
            ]
            if group_bits:
                rest = self._rest(found)
                m.d.sync += [getattr(start, name).eq(getattr(column, name) + rest) for name in steps]
                m.d.sync += [
                    start.length.eq(Mux(self._is_sparse(found), found.length, found.length >> group_bits)),
                    start.rest.eq(rest),
                    # The weights of a line are contiguous.
                    start.to_tap.eq(rest + 1),
                ]
            else:
                m.d.sync += [getattr(start, name).eq(getattr(column, name)) for name in steps]

        # Three nested counters. Each holds the number of remaining iterations minus one, so that its sign bit marks the
        # last iteration without a comparison. An outer counter advances when all inner ones are at their last.
        word = Signal(word_layout(p)) if group_bits else self.word
        # The row being sequenced. The counters reload from it, because `start` already holds the next row.
        held = Signal(start_layout)
        with m.If(take):
            m.d.sync += held.eq(start)
        ends: list[Value] = []  # last word of a tap, last tap of a line, last line
        for name in ("length", "columns", "lines"):
            first, again = getattr(start, name), getattr(held, name)
            left = Signal(len(first) + 1, name=f"{name}_left")
            enclosed = Cat(ends).all() if ends else Const(1)
            ends.append(left[-1])
            chosen = Cat(Mux(take, first, again), 0)
            ones = Signal(len(left), init=-1)
            with m.If(take | enclosed):
                m.d.sync += left.eq(add(m, platform, ones, Operand.CHOOSE, take | left[-1], chosen, left))
        # The next row is taken together with the last word of the current one, so no cycle is lost between rows.
        tap_ends, line_ends, row_ends = ends[0], ends[0] & ends[1], Cat(ends).all()
        m.d.comb += take.eq(start.valid & (~word.valid | row_ends))
        weight, target = word.weight_address, word.target
        # Within a tap both addresses increase by one, through the carry input of the adders. At the end of a tap the
        # target jumps to the next one; the weights of a line are contiguous and jump only at its end.
        step_target = Mux(ends[1], held.line_target, held.next_target)
        if group_bits:
            full = Mux(self._is_sparse(held), 0, p.words_per_cycle - 1)
            next_weight = weight + Mux(line_ends, held.line_weight, Mux(tap_ends, held.to_tap, full + 1))
            next_target = target + Mux(tap_ends, step_target, full + 1)
            m.d.comb += [self.word.eq(word), self.word.others.eq(Mux(tap_ends, held.rest, full))]
        else:
            next_weight = add(m, platform, weight, Operand.GATE, line_ends, held.line_weight, carry=~line_ends)
            next_target = add(m, platform, target, Operand.GATE, tap_ends, step_target, carry=~tap_ends)
        m.d.sync += [
            weight.eq(Mux(take, start.weight_address, next_weight)),
            target.eq(Mux(take, start.target, next_target)),
        ]
        with m.If(take):
            m.d.sync += [
                word.valid.eq(1),
                word.parity.eq(start.parity),
                word.bank.eq(start.parity ^ start.other ^ start.delay),
                word.value.eq(start.value),
            ]
        with m.Elif(row_ends):
            m.d.sync += word.valid.eq(0)
        if p.sparse:
            m.d.comb += self.sparse.eq(held.sparse)

        m.d.comb += [
            self.busy[number].eq(
                Cat(stage.valid & (stage.parity == number) for stage in (reading, found, start, word)).any()
            )
            for number in range(2)
        ]
        return m

    def _is_sparse(self, row: data.View) -> Value:
        return row.sparse if self.parameters.sparse else Const(0)

    def _rest(self, row: data.View) -> Value:
        """Number of words that follow the first one in the last group of a tap. Words of a sparse row have none."""
        group_bits = self.parameters.words_per_cycle.bit_length() - 1
        return Mux(self._is_sparse(row), 0, row.length[:group_bits])
