"""Chains of layers pass through the quantiser and give the same integers; see tests/training for PyTorch."""

import dataclasses
import json
import re

import numpy as np
import pytest
from harness.recordings import load_recordings

from spikeloom.cli.app import main
from spikeloom.compiler.quantise import quantise
from spikeloom.frontends.nir import load
from spikeloom.frontends.saving import save
from spikeloom.runners.runner import ReferenceRunner
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.network.reference import simulate
from spikeloom.train.integers import float_network

RECORDED = load_recordings()


def exported(recording, layers=None):
    shape = (2, 5, 3) if recording.facts["convolution"] else recording.inputs.shape[2:]
    return float_network(
        recording.layers() if layers is None else layers,
        name="recorded",
        input_shape=shape,
        quantisation=recording.quantisation,
        time_step_s=1e-3,
        input_value_width=recording.facts["input_value_width"],
    )


def test_recordings_have_every_parameter_of_a_neuron():
    # `make train` compares the recordings with the layers; this tells without PyTorch that they must be made again.
    names = {field.name for field in dataclasses.fields(NeuronParameters)}
    assert all(set(plain) == names for r in RECORDED.values() for plain in r.facts["parameters"])


@pytest.mark.parametrize("name", RECORDED)
def test_what_was_trained_is_what_runs(name):
    recording = RECORDED[name]
    network = quantise(exported(recording), recording.quantisation)
    found = simulate(network, recording.inputs)
    for number, layer in enumerate(recording.layers()):
        computed = found.spikes[layer.name] if layer.parameters.spiking else found.states[layer.name].v
        assert np.array_equal(computed, recording.outputs(number))


def test_a_saved_network_is_checked_and_placed_as_it_was_trained(tmp_path, capsys):
    recording = next(r for r in RECORDED.values() if not r.facts["input_value_width"])
    save(exported(recording), tmp_path / "net.nir")
    main(["check", str(tmp_path / "net.nir"), "--board", "ulx3s-85f", "--json"])
    said = json.loads(capsys.readouterr().out)
    bits = recording.facts["weight_width"]
    assert bits != 8, "the width of a file that has none"
    assert said["weight_bits"] == {name: {"bits": bits, "stored": bits} for name in ("first", "last")}
    network = quantise(load(tmp_path / "net.nir"), recording.quantisation)
    expected = quantise(exported(recording), recording.quantisation)
    for connection, other in zip(network.connections, expected.connections, strict=True):
        assert np.array_equal(connection.kernel, other.kernel)
    output = ReferenceRunner(network).run(recording.inputs).output
    assert np.array_equal(output, recording.outputs(1))


def test_weights_of_another_scale_are_refused():
    recording = RECORDED["8 bits, 1"]
    first, last = recording.layers()
    small = dataclasses.replace(first, weight=first.weight // 16)
    message = (
        "layer first: its weights must be of the scale that the quantiser chooses at 8 bits; call rescale() before"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        exported(recording, [small, last])


def test_a_leak_that_does_not_survive_is_refused():
    recording = RECORDED["8 bits, 1"]
    first, last = recording.layers()
    fields = {f.name: getattr(first.parameters, f.name) for f in dataclasses.fields(NeuronParameters)}
    # A product with exactly 7/8, which the quantiser turns into a shift.
    fields |= {"leak": Leak.MULTIPLY, "leak_factor": 14336}
    other = dataclasses.replace(first, parameters=NeuronParameters(**fields))
    with pytest.raises(ValueError, match=r"^layer first: its leak must survive the quantiser, but .* became .*SHIFT"):
        exported(recording, [other, last])
