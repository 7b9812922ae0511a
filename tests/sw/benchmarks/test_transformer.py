"""The spiking transformer in integers: structure, accuracy, the contribution of attention, and its run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from spikeloom.benchmarks.transformer import (
    MODEL,
    attention_map,
    run_transformer,
    with_seed,
    without_attention,
    write_attention,
)
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import Runner, RunResult
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.attention import simulate as attend
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate

STEPS, HEADS, TOKENS, FEATURES = 16, 4, 8, 16


@cache
def network() -> QuantisedNetwork:
    return quantise(load(shipped(MODEL)))


def held_out_spikes(count: int | None = None):
    digits = load_digits()[1].first(count)
    encoder = load(shipped(MODEL)).encoder
    assert encoder is not None
    return encoder_from(encoder).encode(digits.images), digits.labels


def score(of: QuantisedNetwork) -> float:
    spikes, labels = held_out_spikes()
    return accuracy(simulate(of, spikes).spikes[of.output], labels)


def test_the_file_is_kept_exactly() -> None:
    """Its weights are multiples of the scales that the quantiser picks, including residuals and biases."""
    floats = load(shipped(MODEL))
    assert network().notes == floats.notes == ()
    assert network().units[0].parameters == AttentionParameters(tokens=TOKENS, features=FEATURES, heads=HEADS)
    for exact, integer in zip(floats.connections, network().connections, strict=True):
        (threshold,) = np.unique(network().population(integer.target).parameters.threshold)
        assert np.array_equal(exact.weight * threshold, integer.weight), integer.target
    for exact, integer in zip(floats.populations, network().populations, strict=True):
        assert np.array_equal(exact.bias * integer.parameters.threshold, integer.parameters.bias), integer.name
    for source, target in (("patch", "projection"), ("projection", "contract")):
        (residual,) = (c for c in network().connections if (c.source, c.target) == (source, target))
        thresholds = network().population(target).parameters.threshold
        assert np.array_equal(np.unique(residual.weight), np.unique(thresholds))


def test_attention_earns_its_accuracy() -> None:
    """The mean over five seeds is at least 96 %, and the same weights lose far more than 5 points without attention."""
    scores = [score(with_seed(network(), seed)) for seed in range(5)]
    assert len(set(scores)) > 1  # the seed matters
    assert np.mean(scores) >= 0.96
    assert score(without_attention(network())) < np.mean(scores) - 0.2


def test_attention_in_the_network_is_that_of_the_reference() -> None:
    spikes, _ = held_out_spikes(2)
    result = simulate(with_seed(network(), 3), spikes)
    shape = network().units[0].parameters
    parts = [
        result.spikes[name][:, 1].reshape(STEPS, HEADS, FEATURES, TOKENS).swapaxes(2, 3)
        for name in ("query", "key", "value", "attention")
    ]
    expected = attend(shape, *parts[:3], seed=3)
    assert expected.outputs.any()
    assert np.array_equal(parts[3], expected.outputs)
    shares = attention_map(with_seed(network(), 3), spikes)
    assert np.array_equal(shares[1], expected.scores.mean(axis=0))


class Hardware(Runner):
    """The reference in place of the hardware, with a wrong spike if the network's seed is ``wrong``."""

    def __init__(self, network: QuantisedNetwork, wrong: int | None) -> None:
        self.network, self.wrong = network, wrong

    def run(self, spikes, *, progress=None):
        fired = simulate(self.network, spikes).spikes
        if self.network.units[0].seed == self.wrong:
            fired["expand"][3, 1, 7] ^= True
        return RunResult(output_name="readout", spikes=fired, membranes={}, cycles=100 * spikes.shape[1])


@pytest.mark.parametrize("wrong", [None, 1])
def test_every_spike_of_every_layer_is_compared(wrong) -> None:
    said: list[str] = []
    digits = load_digits()[1].first(5)
    summary = run_transformer(
        load(shipped(MODEL)),
        digits,
        seeds=(0, 1),
        make_runner=lambda quantised: Hardware(quantised, wrong),
        widths=Quantisation(),
        announce=said.append,
    )
    spikes, _ = held_out_spikes(5)
    of_seeds = [simulate(with_seed(network(), seed), spikes).spikes.values() for seed in (0, 1)]
    assert summary.spikes_compared == sum(int(fired.sum()) for layers in of_seeds for fired in layers)
    assert (summary.mismatches, summary.images, summary.seeds) == (int(wrong is not None), 5, [0, 1])
    assert (summary.accuracy_reference, summary.cycles_per_image) == (summary.accuracy_rtl, 100.0)
    assert said[1].endswith(f"{summary.mismatches} places differ")


def test_the_picture_is_drawn(tmp_path) -> None:
    images = load_digits()[1].images[:2]
    shares = np.random.default_rng(0).random((2, HEADS, TOKENS, TOKENS))
    write_attention(tmp_path / "attention.png", images, shares, (4, 2), ("a 1", "a 2"))
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "nobody"}, "query of 'attention' must be one of"),
        ({"value": "readout"}, "value of 'attention' must have 512 neurons, but 'readout' has 10"),
        ({"name": "patch"}, "population names must be unique"),
        ({"key": "readout"}, "key of 'attention' must have 512 neurons, but 'readout' has 10"),
        ({"value": "contract"}, "must lead to a later population, not from 'attention' to 'projection'"),
    ],
)
def test_attention_that_makes_no_sense_is_refused(change: dict[str, str], message: str) -> None:
    good = network()
    with pytest.raises(ValueError, match=message):
        replace(good, units=(replace(good.units[0], **change),))
