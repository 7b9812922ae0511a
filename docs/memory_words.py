"""The tables of ``docs/memory-words.md``: ``python docs/memory_words.py`` writes them anew.

The order of the fields comes from the layouts that the hardware uses. What a field means, and its width in terms of the
parameters, is said here; a test evaluates every width on random parameters and compares it with the layout.
"""

import re
from pathlib import Path

from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import PER_NEURON, CoreParameters
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.words import Field, WordLayout, bits_for

PAGE = Path(__file__).with_name("memory-words.md")

ROW = {
    "weight_address": ("bits(max(weight_words, streamed_words))", "first weight word of the row"),
    "target": ("bits(words)", "first accumulator word that it is added to"),
    "length": ("bits(words)", "weight words of the row (of one tap, with coordinates), less one"),
    "geometry": ("bits(geometries) if coordinate_width", "entry of the columns and lines tables"),
    "sparse": ("1 if sparse", "1: each weight word has its accumulator word in the targets memory"),
    "empty": ("1 if sparse", "1: the row adds nothing; `more` still counts"),
    "streamed": ("1 if mixed", "1: the weight words lie in SDRAM, without coordinates and explicit targets"),
    "delay": ("1", "1: the row is added to the next step instead of this one"),
    "more": ("1", "1: the row at the next address belongs to the same axon"),
}
LINE = {
    "weight": ("bits(weight_words)", "offset of the first tap's weights, in words"),
    "target": ("bits(words)", "offset of the first tap's accumulators, in words; modulo the field"),
    "taps": ("coordinate_width or 1", "taps in this direction, less one"),
    "skip": ("1", "1: this coordinate meets no tap at all"),
}
COLUMN = LINE | {
    "next_target": ("bits(words)", "from the last accumulator word of a tap to the first of the next"),
    "line_weight": ("bits(weight_words)", "from the last weight word of a line of taps to the first of the next line"),
    "line_target": ("bits(words)", "the same for the accumulator words"),
}
PARAMETERS = {
    "threshold": ("v_width", "threshold"),
    "bias": ("v_width if bias", "added in every step"),
    "leak_factor": (
        "leak_width",
        "leak of the membrane. With a multiplier: beta, in units of 2^-`beta_fraction`; negative: "
        "minus beta, product rounded up. Without: unsigned; 0 is no leak, n the n-th of `shifts`",
    ),
    "reset_value": ("v_width if reset_value", "value that `reset` 3 sets"),
    "current_leak_factor": ("leak_width if synaptic_current", "leak of the synaptic current, coded as `leak_factor`"),
    "adaptation_leak_factor": ("leak_width if adaptation", "leak of the adaptation, coded as `leak_factor`"),
    "adaptation_step": ("v_width if adaptation", "added to the adaptation by each spike"),
    "seed": ("16 if noise_bits", "first state of the neuron's shift register, not 0"),
    "delay": ("bits(v_width) if delay_line", "steps by which a delay line delays"),
    "lower_bound": ("v_width if lower_bound", "smallest membrane; the most negative number for none"),
}
POPULATION = {
    "first": ("bits(words)", "first word of the population"),
    "last": ("bits(words)", "last word"),
    "destinations": ("destinations", "tiles that its packets go to, bit t for tile t; only on a mesh"),
    **PARAMETERS,
    "nearest": ("1 if multiplier", "1: products of leaks are rounded to the nearest, 0: down"),
    "greater_equal": ("1", "1: a neuron fires at `u >= threshold`, 0: at `u > threshold`"),
    "reset": ("2", "0 none, 1 to zero, 2 subtract the threshold, 3 to `reset_value`"),
    "reset_delay": ("1 if reset_delay", "1: the reset is applied in the next step"),
    "refractory": ("refractory_width", "steps for which a neuron is refractory after a spike"),
    "spiking": ("1", "1: neurons fire; 0: integrators, which never fire"),
    "readout": ("1 if readout", "1: every neuron emits in each step, whether it fires or not: for membranes"),
    "current": ("1 if synaptic_current", "1: neurons have a synaptic current"),
    "noise": ("noise_bits", "mask of the noise: its lowest n bits are set for n bits of noise"),
    "graded": ("1 if value_width", "1: spikes carry values"),
    "graded_shift": ("bits(v_width) if value_width", "bits by which `u` is shifted right to give the value"),
    "delay_line": ("1 if delay_line", "1: neurons are delay lines"),
    "max_spikes": ("count_width", "most spikes of a neuron per step; above 1, they are one event with their number"),
    "second_threshold": ("1 if second_threshold", "1: a membrane above the threshold fires above twice the threshold"),
}
ROUTE = {
    "send": ("1", "1: what the neuron emits leaves as a packet"),
    "local": ("1", "1: it is an event of this core as well, for `axon`"),
    "membrane": ("1 if readout", "1: the packet is a MEMBRANE with the membrane as its value; 0: a SPIKE"),
    "axon": ("axon_width", "axon that its packets carry, the same for every receiver"),
}
TARGET = {"target": ("bits(words)", "accumulator word of the weight word at the same address")}
ATTENTION_ROUTE = {"axon": ("axon_width", "the axon of the spike")}
AER_TABLE = {
    "known": ("1", "1: the address (input) or the axon (output) is for this tile"),
    "value": ("axon_width if is_input else address_width", "the translation: an axon (input) or an address (output)"),
}

EXAMPLE = CoreParameters(
    lanes=4,
    neurons=64,
    axons=128,
    weight_words=1024,
    coordinate_width=3,
    sparse=True,
    streamed_words=4096,
    destinations=4,
    synaptic_current=True,
    adaptation=True,
    delay_line=True,
    second_threshold=True,
    count_width=4,
    lower_bound=True,
    noise_bits=8,
    value_width=8,
)
"""A core that has every field."""

ATTENTION = AttentionTileParameters(attention=AttentionParameters(tokens=8, features=8, heads=1, rows=1))
AER = AerTileParameters(direction=AerDirection.INPUT)


def tables() -> dict[str, tuple[WordLayout, dict[str, tuple[str, str]]]]:
    """The tables by name: the layout of the example, and width and meaning of each field."""
    core = EXAMPLE
    return {
        "rows": (core.row_layout, ROW),
        "neurons": (core.neuron_layout, {name: PARAMETERS[name] for name in PER_NEURON if name in core.per_neuron}),
        "routes": (core.route_layout, ROUTE),
        "populations": (core.population_layout, POPULATION),
        "columns": (core.column_layout, COLUMN),
        "lines": (core.line_layout, LINE),
        "targets": (WordLayout((Field("target", bits_for(core.words)),)), TARGET),
        "attention-routes": (WordLayout((Field("axon", ATTENTION.axon_width),)), ATTENTION_ROUTE),
        "aer-table": (AER.table_layout, AER_TABLE),
    }


def table(layout: WordLayout, texts: dict[str, tuple[str, str]]) -> str:
    """One table: a row for each field, lowest bits first."""
    lines = ["| field | width in bits | sign | meaning |", "|---|---|---|---|"]
    for field in layout.fields:
        width, meaning = texts[field.name]
        lines.append(f"| `{field.name}` | `{width}` | {'signed' if field.signed else ''} | {meaning} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with every table between its marks made anew."""
    for name, (layout, texts) in tables().items():
        mark = re.compile(rf"(<!-- words: {name} -->\n).*?(\n<!-- end of words -->)", re.DOTALL)
        if len(mark.findall(page)) != 1:
            raise ValueError(f"page must have the marks '<!-- words: {name} -->' and '<!-- end of words -->' once")
        made = "\n" + table(layout, texts) + "\n"
        page = mark.sub(lambda match, made=made: match[1] + made + match[2], page)
    return page


if __name__ == "__main__":
    write_whole(PAGE, with_tables(PAGE.read_text()))
