"""The spiking transformer as integers: its accuracy, and networks with attention that make no sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.sim.attention import simulate as attention
from spikeloom.sim.lfsr import Lfsr
from spikeloom.sim.network import QuantisedNetwork
from spikeloom.sim.reference import simulate
from spikeloom.sw.data import load_digits
from spikeloom.sw.encode import RateEncoder
from spikeloom.sw.readout import accuracy
from spikeloom.sw.transformer import transformer

MODEL = Path(__file__).resolve().parents[2] / "models" / "digits-transformer.npz"
ENCODER = RateEncoder(steps=8, bits=4, lfsr=Lfsr(width=4, seed=1))


def network(seed: int = 0) -> QuantisedNetwork:
    with np.load(MODEL) as integers:
        return transformer(dict(integers), seed=seed)


def test_the_mean_over_five_seeds_is_96_percent_or_more() -> None:
    _, held_out = load_digits()
    spikes = ENCODER.encode(held_out.images)
    scores = [accuracy(simulate(network(seed), spikes).spikes["readout"], held_out.labels) for seed in range(5)]
    assert len(set(scores)) > 1  # the seed matters
    assert np.mean(scores) >= 0.96


def test_attention_in_a_network_is_that_of_the_reference() -> None:
    _, held_out = load_digits()
    result = simulate(network(3), ENCODER.encode(held_out.images[:2]))
    parts = [result.spikes[name][:, 1].reshape(8, 2, 16, 16).swapaxes(2, 3) for name in ("query", "key", "value")]
    parameters = network().attentions[0].parameters
    expected = attention(parameters, *parts, seed=3).outputs
    assert expected.any()
    assert np.array_equal(result.spikes["attention"][:, 1].reshape(8, 2, 16, 16).swapaxes(2, 3), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "nobody"}, "query of 'attention' must be one of"),
        ({"value": "readout"}, "value of 'attention' must have 512 neurons, not 10 as 'readout'"),
        ({"name": "patch"}, "population names must be unique"),
        ({"key": "readout"}, "key of 'attention' must have 512 neurons, not 10"),
        ({"value": "contract"}, "must lead to a later population, not from 'attention' to 'projection'"),
    ],
)
def test_attention_that_makes_no_sense_is_refused(change: dict[str, str], message: str) -> None:
    good = network()
    with pytest.raises(ValueError, match=message):
        replace(good, attentions=(replace(good.attentions[0], **change),))
