"""``docs/memory-words.md`` agrees with the layouts: every field, and its width for any parameters."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from harness.networks import rng_of

from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.core.parameters import PER_NEURON, CoreParameters
from spikeloom.sim.lib.words import bits_for

SPEC = importlib.util.spec_from_file_location("memory_words", Path(__file__).parents[2] / "docs" / "memory_words.py")
memory_words = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(memory_words)


def test_the_tables_are_those_of_the_code():
    page = memory_words.PAGE.read_text()
    assert memory_words.with_tables(page) == page, "python docs/memory_words.py writes them"


def width(expression, parameters):
    """The width given on the page, with the text after ``if`` as its condition."""
    names = {name: getattr(parameters, name) for name in dir(parameters) if not name.startswith("_")}
    expression += "" if " else " in expression or " if " not in expression else " else 0"
    return int(eval(expression, {"bits": bits_for, "max": max, **names}))


def check(layout, texts, parameters):
    assert {field.name for field in layout.fields} <= set(texts)
    for field in layout.fields:
        assert width(texts[field.name][0], parameters) == field.width, field.name


def random_core(rng):
    lanes = 2 ** int(rng.integers(0, 5))
    flags = ("sparse", "multiplier", "reset_value", "reset_delay", "readout", "bias", "synaptic_current", "adaptation")
    chosen = {name: bool(rng.integers(2)) for name in (*flags, "delay_line", "second_threshold", "lower_bound")}
    value_width = int(rng.choice([0, 2, 16]))
    return CoreParameters(
        lanes=lanes,
        neurons=lanes * int(rng.integers(1, 40)),
        axons=int(rng.integers(1, 3000)),
        weight_words=int(rng.integers(1, 5000)),
        streamed_words=int(rng.choice([0, 100, 9000])),
        coordinate_width=int(rng.integers(0, 6)),
        geometries=int(rng.integers(1, 20)),
        v_width=int(rng.integers(16, 25)),
        beta_fraction=int(rng.integers(1, 17)),
        shifts=() if chosen["multiplier"] else tuple(range(1, int(rng.integers(2, 9)))),
        refractory_width=int(rng.integers(0, 9)),
        noise_bits=int(rng.choice([0, 5, 16])),
        value_width=value_width,
        count_width=int(rng.choice([0, 2, 4])) if value_width == 16 else 0,
        destinations=int(rng.choice([0, 4, 64])),
        sent_axon_width=int(rng.choice([0, 20])),
        per_neuron=frozenset(name for name in PER_NEURON if rng.integers(2)),
        **chosen,
    )


def test_widths_of_random_cores(request):
    rng = rng_of(request.node.name)
    seen = set()
    for _ in range(200):
        core = random_core(rng)
        for layout, texts in (
            (core.row_layout, memory_words.ROW),
            (core.line_layout, memory_words.LINE),
            (core.column_layout, memory_words.COLUMN),
            (core.neuron_layout, memory_words.PARAMETERS),
            (core.population_layout, memory_words.POPULATION),
            (core.route_layout, memory_words.ROUTE),
        ):
            check(layout, texts, core)
            seen |= {(field.name, field.width > 0) for field in layout.fields}
    described = memory_words.ROW | memory_words.COLUMN | memory_words.POPULATION | memory_words.ROUTE
    assert {name for name, present in seen if present} == set(described)
    absent = {
        name
        for name, (text, _) in described.items()
        if " if " in text or text in ("destinations", "noise_bits", "count_width")
    }
    assert {name for name, present in seen if not present} == absent | {"refractory"}


@pytest.mark.parametrize("direction", AerDirection)
def test_widths_of_aer_tables(direction):
    tile = AerTileParameters(direction=direction, address_width=5, axon_width=9)
    check(tile.table_layout, memory_words.AER_TABLE, tile)


def test_a_wrong_width_is_seen():
    core = CoreParameters()
    texts = memory_words.ROW | {"target": ("bits(neurons)", "")}
    with pytest.raises(AssertionError):
        check(replace(core, lanes=2, neurons=64).row_layout, texts, replace(core, lanes=2, neurons=64))
