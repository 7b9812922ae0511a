"""Common behaviour of runners: tasks, results by population, and the reference as a runner."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from harness.chains import chain, graded, network
from harness.networks import rng_of

from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.host.results import BoardResult
from spikeloom.runners.runner import ReferenceRunner, RunResult, Task, by_population
from spikeloom.sim.core.neuron import Leak, Reset
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate

OBSERVED = (("out", 2), ("a", 3), ("b", 1))


def results_of(rng, *, membranes=False, values=False):
    """The results of a run in two pieces, of two samples and of one."""
    return [
        BoardResult(
            spikes=rng.random((4, samples, 6)) < 0.5,
            membranes=rng.integers(-9, 9, (4, samples, 2)) if membranes else None,
            values=rng.integers(-9, 9, (4, samples, 6)) if values else None,
        )
        for samples in (2, 1)
    ]


def test_columns_belong_to_populations_in_order(request):
    results = results_of(rng_of(request.node.name))
    found = by_population(SimpleNamespace(observed=OBSERVED, membranes=False, graded=(), counted=()), results)
    whole = np.concatenate([result.spikes for result in results], axis=1)
    assert found["output_name"] == "out"
    assert list(found["spikes"]) == ["out", "a", "b"]
    assert np.array_equal(found["spikes"]["out"], whole[..., :2])
    assert np.array_equal(found["spikes"]["a"], whole[..., 2:5])
    assert np.array_equal(found["spikes"]["b"], whole[..., 5:])
    assert (found["values"], found["membranes"]) == ({}, {})
    assert RunResult(**found).output is found["spikes"]["out"]


def test_an_output_of_membranes_has_no_spikes(request):
    results = results_of(rng_of(request.node.name), membranes=True)
    found = by_population(SimpleNamespace(observed=OBSERVED, membranes=True, graded=(), counted=()), results)
    assert list(found["spikes"]) == ["a", "b"]
    assert np.array_equal(found["membranes"]["out"], np.concatenate([r.membranes for r in results], axis=1))
    assert RunResult(**found).output is found["membranes"]["out"]


def test_values_are_of_graded_populations_only(request):
    results = results_of(rng_of(request.node.name), values=True)
    program = SimpleNamespace(observed=OBSERVED, membranes=False, graded=("a",), counted=("a",))
    found = by_population(program, results)
    assert list(found["values"]) == ["a"]
    assert np.array_equal(found["values"]["a"], np.concatenate([r.values for r in results], axis=1)[..., 2:5])


def test_samples_of_spikes_and_of_images():
    assert Task(inputs=np.zeros((5, 3, 7))).samples == 3
    assert Task(inputs=np.zeros((4, 7), int), encoder=LatencyEncoder(steps=5, bits=2)).samples == 4


def test_the_reference_runs_spikes(request):
    net = chain(3, 4)
    spikes = rng_of(request.node.name).random((5, 2, 3)) < 0.4
    result = ReferenceRunner(net).run(spikes)
    expected = simulate(net, spikes).spikes["a"]
    assert 0 < expected.sum() < expected.size
    assert (result.output_name, list(result.spikes), result.membranes, result.values) == ("a", ["a"], {}, {})
    assert np.array_equal(result.output, expected)


def test_the_reference_has_membranes_where_nothing_spikes():
    net = chain(3, 4, spiking=False)
    result = ReferenceRunner(net).run(np.ones((2, 1, 3)))
    assert result.spikes == {}
    assert result.output[:, 0].tolist() == [[3] * 4, [6] * 4]


def test_the_reference_has_values_of_graded_spikes():
    weight = np.array([[5]])
    net = network([graded("a")], [QuantisedConnection(source=INPUT, target="a", weight=weight)])
    assert ReferenceRunner(net).run(np.array([1, 0])[:, None, None]).values["a"][:, 0, 0].tolist() == [5, 0]


def test_the_output_is_the_number_of_spikes():
    """The answer counts all spikes: 10 in four steps win against 5 in five steps."""
    firing = replace(graded("a", 2).parameters, leak=Leak.NONE, max_spikes=3, reset=Reset.SUBTRACT, threshold=2)
    net = network(
        [QuantisedPopulation(name="a", parameters=firing)],
        [QuantisedConnection(source=INPUT, target="a", weight=np.array([[0, 2], [7, 0]]))],
        inputs=2,
    )
    spikes = np.array([[1, 1], [0, 1], [1, 1], [1, 1], [0, 1], [0, 1]])[:, None]
    result = ReferenceRunner(net).run(spikes)
    assert result.counted == ("a",)
    assert np.array_equal(result.output, simulate(net, spikes).fired("a"))
    assert result.output.dtype == np.uint8
    # Neuron 1 has 7, 1, 8, 9, 3 and 1 before the threshold is subtracted.
    assert result.output[:, 0].T.tolist() == [[0, 1, 1, 1, 1, 1], [3, 0, 3, 3, 1, 0]]
    assert ReferenceRunner(net).do(Task(inputs=spikes, mode=ReadoutMode.COUNT)).classes.tolist() == [1]
    assert ReferenceRunner(net).do(Task(inputs=spikes, mode=ReadoutMode.FIRST)).classes.tolist() == [1]


@pytest.mark.parametrize(
    ("spiking", "mode", "sent"),
    [(True, ReadoutMode.SUM, ("membranes", "spikes")), (False, ReadoutMode.COUNT, ("spikes", "membranes"))],
)
def test_the_reference_refuses_what_a_board_refuses(spiking, mode, sent):
    wants, has = sent
    message = f"^readout {mode.name} needs an output population that sends {wants}, but this one sends {has}$"
    with pytest.raises(ValueError, match=message):
        ReferenceRunner(chain(3, 4, spiking=spiking)).do(Task(inputs=np.ones((2, 1, 3)), mode=mode))


@pytest.mark.parametrize("mode", [ReadoutMode.OFF, ReadoutMode.COUNT])
def test_the_reference_does_tasks(mode):
    """Images are encoded as on a board; classes are returned instead of arrays."""
    net = chain(3, 4, threshold=[9, 0, 9, 9])
    images, encoder = np.array([[4, 0, 2], [1, 3, 4]]), LatencyEncoder(steps=5, bits=2)
    result = ReferenceRunner(net).do(Task(inputs=images, encoder=encoder, mode=mode))
    spikes = ReferenceRunner(net).do(Task(inputs=encoder.encode(images), mode=mode))
    if mode is ReadoutMode.OFF:
        assert result.classes is None
        assert np.array_equal(result.output, spikes.output)
        assert result.output.any()
    else:
        assert result.classes.tolist() == spikes.classes.tolist() == [1, 1], "the neuron with the lowest threshold"
        assert (result.spikes, result.membranes) == ({}, {})
