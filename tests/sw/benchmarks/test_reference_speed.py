"""Speed of the reference: the float loop computes the same, and the counts do not depend on the machine."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.benchmarks import reference_speed
from spikeloom.benchmarks.reference_speed import SIZES, ReferenceSpeed, float_loop, measure, network_of


def test_the_loop_is_the_float_model(request, monkeypatch):
    """With weights and a decay that 32-bit floats hold exactly, every spike is equal."""
    rng = rng_of(request.node.name)
    random = rng.normal

    class Rounded:
        @staticmethod
        def normal(*arguments):
            return np.round(random(*arguments) * 64) / 64

    network, weights = network_of(Rounded())
    assert [weight.shape for weight in weights] == [(SIZES[1], SIZES[0]), (SIZES[2], SIZES[1])]
    spikes = rng.random((3, 20, SIZES[0])) < 0.1
    expected = network.run(spikes).spikes["output"]
    assert np.array_equal(float_loop(weights, spikes), expected)
    assert 0 < expected.sum() < expected.size


@pytest.mark.parametrize("batch", [1, 3])
def test_a_measurement(batch, monkeypatch):
    monkeypatch.setattr(reference_speed, "_RUNS", 1)
    first, second = measure(batch, steps=4), measure(batch, steps=4)
    assert (first.batch, first.spikes, first.operations) == (batch, second.spikes, second.operations)
    assert 0 < first.spikes < 4 * batch * sum(SIZES[1:])
    # A spike of an input is added to every hidden neuron.
    assert first.operations > 4 * batch * SIZES[1]
    assert min(first.reference_per_s, first.numpy_per_s) > 0
    assert first.of_numpy == pytest.approx(first.reference_per_s / first.numpy_per_s, rel=0.1, abs=0.01)


def test_the_command_writes_a_file(tmp_path, monkeypatch, capsys):
    def measured(batch):
        return ReferenceSpeed(
            batch=batch,
            reference_per_s=1000.0,
            numpy_per_s=2000.0,
            snntorch_per_s=None if batch == 1 else 800.0,
            of_numpy=0.5,
            of_snntorch=None if batch == 1 else 1.25,
            spikes=7,
            operations=9,
        )

    monkeypatch.setattr(reference_speed, "measure_all", lambda: list(map(measured, reference_speed.BATCHES)))
    monkeypatch.chdir(tmp_path)
    reference_speed.main()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "reference,     1 together     1,000 samples/s, 0.50 of a float loop's"
    assert shown[1] == "reference, 1,000 together     1,000 samples/s, 0.50 of a float loop's, 1.25 of snnTorch's"
    kept = json.loads((tmp_path / "build/bench/reference.json").read_text())
    assert kept == [{"format": 1, **asdict(measured(batch))} for batch in reference_speed.BATCHES]
