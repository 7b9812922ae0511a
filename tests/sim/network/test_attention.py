"""Attention in a network: the order of its neurons, its random words, and its permitted sources."""

import numpy as np
import pytest
from harness.chains import connection, graded, network
from harness.networks import rng_of

from spikeloom.sim.attention.attention import AttentionParameters, attend, draw
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.population import INPUT, QuantisedPopulation

SHAPE = AttentionParameters(tokens=4, features=2, heads=2)
ROLES = ("query", "key", "value")


def attention(**changes):
    return QuantisedAttention(
        **({"name": "attention", "parameters": SHAPE, "seed": 5} | {role: role for role in ROLES} | changes)
    )


def populations(**changes):
    """Q, K and V with as many spiking neurons as attention reads; ``changes`` are given by role."""
    return {
        role: QuantisedPopulation(name=role, parameters=NeuronParameters(**({"size": 16} | changes.get(role, {}))))
        for role in ROLES
    }


def place(head, feature, token):
    """The number of a neuron, in the order of the channels of a convolution whose positions are the tokens."""
    return (head * SHAPE.features + feature) * SHAPE.tokens + token


@pytest.mark.parametrize("causal", [False, True])
def test_neurons_are_channels_of_tokens(request, causal):
    rng = rng_of(request.node.name)
    unit, steps, samples = attention(causal=causal), 6, 3
    words = draw(SHAPE, steps, seed=unit.seed)
    step = unit.begin(steps, samples)
    fired_ever = 0
    for number in range(steps):
        fired = {role: rng.random((samples, 16)) < 0.7 for role in ROLES}
        found = step(fired)
        assert found.shape == (samples, 16)
        ordered = {role: np.zeros((samples, 2, 4, 2), np.int64) for role in ROLES}
        for head, feature, token in np.ndindex(2, 2, 4):
            for role in ROLES:
                ordered[role][:, head, token, feature] = fired[role][:, place(head, feature, token)]
        _, expected = attend(SHAPE, *ordered.values(), words.step(number), causal=causal)
        for head, feature, token in np.ndindex(2, 2, 4):
            assert np.array_equal(found[:, place(head, feature, token)], expected[:, head, token, feature])
        fired_ever += int(found.sum())
    assert 0 < fired_ever < steps * samples * 16


def test_every_run_draws_the_same_words_and_another_seed_draws_others():
    fired = {role: np.ones((1, 16), bool) for role in ("query", "key")} | {"value": np.arange(16)[None] % 3 > 0}

    def run(seed):
        step = attention(seed=seed).begin(8, 1)
        return np.stack([step(fired) for _ in range(8)])

    assert np.array_equal(run(5), run(5))
    assert not np.array_equal(run(5), run(6))
    assert not np.array_equal(run(5)[0], run(5)[1]), "the steps draw one after the other"


def test_what_it_says_of_itself():
    unit = attention()
    assert (unit.size, unit.sources) == (16, ROLES)
    assert unit.needs == "an attention tile of its own for 2 heads, 4 tokens and 2 features"
    assert unit.last_source(["key", "x", "query", "value", "y"]) == 3


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 15}, "must have 16 neurons, but '{role}' has 15"),
        ({"spiking": False}, "must be neurons with plain spikes, unlike '{role}'"),
        ({"graded": True}, "must be neurons with plain spikes, unlike '{role}'"),
    ],
)
def test_sources_must_be_what_it_can_read(role, change, message):
    attention().check(populations(), 1)
    with pytest.raises(ValueError, match=f"^{role} of 'attention' {message.format(role=role)}$"):
        attention().check(populations(**{role: change}), 1)


def test_the_input_is_no_source():
    with pytest.raises(
        ValueError, match=r"^key of 'attention' must be one of \['query', 'key', 'value'\], not 'input'$"
    ):
        attention(key=INPUT).check(populations(), 16)
    with pytest.raises(ValueError, match=r"^query of 'attention' must be one of \['a'\], not 'query'$"):
        network([graded("a")], [connection(INPUT, "a")], units=(attention(),))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"parameters": (4, 2)}, TypeError, r"^parameters of 'attention' must be AttentionParameters, not \(4, 2\)$"),
        ({"causal": 1}, TypeError, r"^causal of 'attention' must be True or False, not 1$"),
        ({"seed": -1}, ValueError, r"^seed must be "),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        attention(**change)
