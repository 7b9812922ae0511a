"""Model of the row reader: expands an event into weight words and their target accumulator words.

An event reads the row of its axon and the continuations of this row. A plain row has ``length + 1`` consecutive weight
words for as many consecutive accumulator words; the weight words of a sparse row have explicit targets. With
coordinates a row covers all positions of a channel, and two tables supply the entries of the position::

    weight, target = row + column + line               first words
    for each tap in y:
        for each tap in x:
            for each word of a position:               weight += 1, target += 1
            before the next tap:                       target += next_target - 1
        before the next line:                          weight += line_weight - 1, target += line_target - 1

The weights of the taps of a line are contiguous, so that they have no increment of their own. The words of a streamed
row lie in SDRAM; it is a plain row, also where other rows have coordinates.

`RowTables.words` executes this loop on memory images. The RTL produces the same words in the same order.

A core that adds several words per cycle takes up to ``words_per_cycle`` consecutive words of a tap at once, and the
words of a sparse row one by one. `RowTables.groups` yields what it adds in each cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import Field, WordLayout, bits_for, unpack_lanes

__all__ = ["Group", "RowTables", "Word"]


@dataclass(frozen=True)
class Word:
    """A word of weights to add to the accumulator word ``target``, of the next step if ``delay`` is 1. In a core with
    both kinds of weights, it lies in SDRAM if ``streamed`` is 1."""

    weight_address: int
    target: int
    delay: int
    streamed: int = 0


@dataclass(frozen=True)
class Group:
    """Words added in the same cycle: ``first``, and ``others`` words that follow it at consecutive addresses."""

    first: Word
    others: int


class RowTables:
    """The memories of the row reader, from the images ``(n_words, planes)`` of a program, by name."""

    def __init__(self, core: CoreParameters, images: Mapping[str, NDArray[np.uint8]]) -> None:
        self.core = core
        layouts = {
            "rows": core.row_layout,
            "columns": core.column_layout,
            "lines": core.line_layout,
            "targets": WordLayout((Field("target", bits_for(core.words)),)),
        }
        self._tables = {
            name: layout.values(unpack_lanes(images[name], 1, layout.width))
            for name, layout in layouts.items()
            if name in images
        }

    def _entry(self, table: str, index: int) -> dict[str, int]:
        return {name: int(values[index]) for name, values in self._tables[table].items()}

    def words(self, axon: int) -> Iterator[Word]:
        """The words of an event, in the order of the hardware."""
        weights, targets = 1 << bits_for(self.core.weight_words), 1 << bits_for(self.core.words)
        for group in self.groups(axon):
            first = group.first
            yield first
            for number in range(1, group.others + 1):
                yield Word((first.weight_address + number) % weights, (first.target + number) % targets, first.delay)

    def groups(self, axon: int) -> Iterator[Group]:
        """The words of an event as they are added, one group per cycle, in the order of the hardware."""
        bits = self.core.coordinate_width
        x, y = axon & ((1 << bits) - 1), axon >> bits & ((1 << bits) - 1)
        # The first row is always read; its `more` bit decides about the next one.
        number, more = axon >> 2 * bits, 1
        while more:
            row = self._entry("rows", number)
            number, more = number + 1, row["more"]
            # An empty row adds nothing, but its continuation is still read.
            if not row["empty"]:
                yield from self._row(row, x, y)

    def _row(self, row: dict[str, int], x: int, y: int) -> Iterator[Group]:
        core = self.core
        weight, target = row["weight_address"], row["target"]
        if row["streamed"]:
            weights, targets = 1 << bits_for(core.streamed_words), 1 << bits_for(core.words)
            for number in range(row["length"] + 1):
                yield Group(Word((weight + number) % weights, (target + number) % targets, row["delay"], 1), 0)
            return
        # Without coordinates there is one tap in each direction.
        column = line = {"taps": 0}
        if core.coordinate_width:
            first = row["geometry"] << core.coordinate_width
            column, line = self._entry("columns", first + x), self._entry("lines", first + y)
            # The position reaches no output, for example between the strides.
            if column["skip"] or line["skip"]:
                return
            weight += column["weight"] + line["weight"]
            target += column["target"] + line["target"]
        # The RTL's address counters wrap around at powers of two, and negative offsets rely on that.
        weights, targets = 1 << bits_for(core.weight_words), 1 << bits_for(core.words)
        # Words of a sparse row have targets of their own, so each takes a cycle.
        step = 1 if row["sparse"] else core.words_per_cycle
        for tap_y in range(line["taps"] + 1):
            for tap_x in range(column["taps"] + 1):
                for number in range(0, row["length"] + 1, step):
                    others = min(step - 1, row["length"] - number)
                    if row["sparse"]:
                        # The target of a sparse word is stored at the address of its weights.
                        own = int(self._tables["targets"]["target"][weight % weights])
                        yield Group(Word(weight % weights, own, row["delay"]), 0)
                    else:
                        yield Group(Word(weight % weights, target % targets, row["delay"]), others)
                    # To the next group or, in the last one, to the last word: the increments between taps start there.
                    move = step if number + others < row["length"] else others
                    weight, target = weight + move, target + move
                if tap_x < column["taps"]:
                    weight, target = weight + 1, target + column["next_target"]
            if tap_y < line["taps"]:
                weight, target = weight + column["line_weight"], target + column["line_target"]
