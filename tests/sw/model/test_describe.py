"""A network as rows: one per population, with its sources, equation and losses."""

from harness.floats import join, network, population

from spikeloom.model.describe import describe


def test_describe_has_a_row_for_each_population():
    model = network(
        [population("first", 3), population("second", 2)],
        [join("input", "first", (3, 1)), join("first", "second", (2, 3)), join("second", "second", (2, 2), 1)],
        notes=("whole network", "second: reset assumed"),
    )
    first, second = describe(model)
    assert (first.name, first.neurons, first.synapses, first.sources, first.notes) == ("first", 3, 3, ("input",), ())
    assert second.sources == ("first", "second (delay 1)")
    assert second.synapses == 10
    assert second.notes == ("reset assumed",)
    assert second.equation == model.populations[1].equation
    assert (model.neurons, model.synapses, model.inputs) == (5, 13, 1)
