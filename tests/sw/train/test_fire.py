"""Every spike and membrane of recorded PyTorch runs equals the integer model; tests/training runs PyTorch."""

import numpy as np
import pytest
from harness.recordings import load_recordings

from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.network.reference import simulate
from spikeloom.train.integers import quantised_network

RECORDED = load_recordings()


def replayed(recording):
    layers = recording.layers()
    network = quantised_network(
        layers,
        name="recorded",
        inputs=recording.inputs.shape[2],
        quantisation=recording.quantisation,
        input_value_width=recording.facts["input_value_width"],
    )
    return simulate(network, recording.inputs, record=[layer.name for layer in layers])


@pytest.mark.parametrize("name", RECORDED)
def test_every_cell_of_a_recording(name):
    recording = RECORDED[name]
    found = replayed(recording)
    for number, layer in enumerate(recording.layers()):
        spiking = layer.parameters.spiking
        computed = found.spikes[layer.name] if spiking else found.states[layer.name].v
        assert np.array_equal(computed, recording.outputs(number))


def test_the_recordings_are_interesting():
    fired = saturated = 0
    facts = [recording.facts for recording in RECORDED.values()]
    for recording in RECORDED.values():
        fired += bool(0 < recording.outputs(0).mean() < 1)
        membranes = np.concatenate([state.v.ravel() for state in replayed(recording).states.values()])
        saturated += bool(np.isin(membranes, signed_range(recording.quantisation.v_width)).any())
    assert fired > 0.8 * len(RECORDED)
    assert saturated >= 2
    assert {fact["weight_width"] for fact in facts} == {1, 2, 3, 4, 8}
    parameters = [p for fact in facts for p in fact["parameters"]]
    assert len({p["leak"] for p in parameters}) == 4
    assert len({p["reset"] for p in parameters}) == 4
    for field in ("refractory", "reset_delay", "current_leak"):
        assert {bool(p[field]) for p in parameters} == {False, True}
    assert {fact["convolution"] for fact in facts} == {False, True}
    assert any("0 recurrent" in recording.arrays for recording in RECORDED.values())
