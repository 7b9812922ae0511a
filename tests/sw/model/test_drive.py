"""Largest membranes that inputs can cause, against the float step itself."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.model.drive import drives
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Reset


def network_of(weight, **fields):
    weight = np.asarray(weight, float)
    population = Population(name="a", shape=(len(weight),), **{"threshold": np.array(1.0), **fields})
    return Network(
        name="n",
        input_shape=(weight.shape[1],),
        populations=[population],
        connections=[Connection(source="input", target="a", weight=weight)],
        output="a",
        time_step_s=1e-3,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"beta": 0.875},
        {"beta": 1.0},
        {"beta": 0.5, "alpha": 0.75},
        {"beta": 0.9, "bias": -0.25},
        {"beta": 0.5, "alpha": 0.75, "alpha_function": True, "reset_delay": 1},
    ],
)
def test_the_drive_of_few_inputs_is_the_membrane_without_a_reset(fields):
    weight = rng_of(f"test_drive {fields}").normal(0, 1, (6, 5))
    network = network_of(np.maximum(weight, 0), reset=Reset.NONE, **fields)
    result = network.run(np.ones((100, 1, 5), bool), record_membranes=["a"])
    drive = drives(network_of(weight, **fields))["a"]
    assert drive.membrane == pytest.approx(result.membranes["a"].max())
    assert drive.can_fire == bool(result.spikes["a"].any())


def test_a_quarter_of_many_inputs_counts():
    weight = np.array([[0.25] * 16, [-1.0] * 16])
    drive = drives(network_of(weight, beta=0.0))["a"]
    assert (drive.membrane, drive.threshold, drive.can_fire) == (1.0, 1.0, False)
    assert drives(network_of(weight, beta=0.5))["a"].can_fire


def test_noise_helps_and_delay_lines_have_no_drive():
    assert drives(network_of([[0.5]], noise=0.75))["a"].can_fire
    assert not drives(network_of([[0.5]], noise=0.25))["a"].can_fire
    assert drives(network_of(np.eye(2), delay=np.array([1, 2]), reset=Reset.NONE)) == {}


def test_values_multiply_weights():
    network = network_of([[0.25]])
    values = Network(
        name="n",
        input_shape=(1,),
        populations=network.populations,
        connections=network.connections,
        output="a",
        time_step_s=1e-3,
        input_value_width=4,
    )
    assert drives(values)["a"].membrane == pytest.approx(7 * 0.25)
    chain = Network(
        name="n",
        input_shape=(1,),
        populations=[
            Population(name="a", shape=(1,), threshold=np.array(0.1), value_limit=3.0),
            Population(name="b", shape=(1,), threshold=np.array(2.0)),
        ],
        connections=[
            Connection(source="input", target="a", weight=np.ones((1, 1))),
            Connection(source="a", target="b", weight=np.ones((1, 1))),
        ],
        output="b",
        time_step_s=1e-3,
    )
    assert drives(chain)["b"].membrane == 3.0
