"""The encoders against a recording of snnTorch's spikegen; see record_spikegen.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from spikeloom.datasets.encoders import DeltaEncoder, LatencyEncoder, RateEncoder
from spikeloom.datasets.encoders.interface import signed_counts
from spikeloom.sim.lib.lfsr import Lfsr

RECORDED = json.loads(Path(__file__).with_name("spikegen.json").read_text())
VALUES = np.arange(RECORDED["full"] + 1)[None]
BITS = 4


@pytest.mark.parametrize("case", RECORDED["delta"], ids=lambda c: f"{c['values']}-{c['threshold']}-{c['padding']}")
def test_delta(case):
    """The comparison is ``>=``; without padding the first reference is 0, with padding the first sample."""
    series = np.array(RECORDED[case["values"]]).reshape(len(case["spikes"]), -1, 1)
    encoder = DeltaEncoder(threshold=case["threshold"], first="sample" if case["padding"] else "zero")
    expected = np.array(case["spikes"]).reshape(series.shape)
    assert set(np.unique(expected)) == {-1, 0, 1}
    assert np.array_equal(signed_counts(encoder.encode_series(series)), expected)
    other = DeltaEncoder(threshold=case["threshold"], first=encoder.first, compare=">")
    assert not np.array_equal(signed_counts(other.encode_series(series)), expected)


@pytest.mark.parametrize("case", RECORDED["latency"], ids=lambda c: f"{c['steps']}-{c['clip']}")
def test_latency(case):
    """Linear and normalised: full scale in step 0, and 0 in the last step, or never with clip."""
    dark = "silent" if case["clip"] else "last"
    encoder = LatencyEncoder(steps=case["steps"], bits=BITS, curve="nearest", dark=dark)
    assert np.array_equal(encoder.encode(VALUES)[:, 0], np.array(case["spikes"], bool))


@pytest.mark.parametrize("case", RECORDED["charging"], ids=lambda c: f"{c['steps']}-{c['tau']}-{c['threshold']}")
def test_charging(case):
    """A value at the threshold never reaches it; spikegen, which moves it by 1e-7, fires late or not at all."""
    encoder = LatencyEncoder(
        steps=case["steps"], bits=BITS, curve="charging", tau=case["tau"], threshold=case["threshold"]
    )
    spikes, expected = encoder.encode(VALUES)[:, 0], np.array(case["spikes"], bool)
    others = np.arange(len(VALUES[0])) != case["threshold"]
    assert np.array_equal(spikes[:, others], expected[:, others])
    assert spikes.any()


def test_rate():
    """Both are Bernoulli draws with the same probabilities: counts are within five standard deviations of each
    other."""
    draws, counts = RECORDED["rate"]["draws"], np.array(RECORDED["rate"]["counts"])
    encoder = RateEncoder(steps=draws, bits=BITS, lfsr=Lfsr(width=32))
    ours = encoder.encode(VALUES)[:, 0].sum(axis=0)
    chance = VALUES[0] / RECORDED["full"]
    deviation = np.sqrt(2 * draws * chance * (1 - chance))
    assert (np.abs(ours - counts) <= 5 * deviation).all()
    assert ours[0] == counts[0] == 0
    assert ours[-1] == counts[-1] == draws
