"""A network cut into parts behaves as before: every spike, every membrane, every word of noise."""

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest
from harness.cores import EXACT_MODELS
from harness.mutations import mutated
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.parts import random_cuts

from spikeloom.compiler import partition as split_module
from spikeloom.compiler.partition import SplitError, bands, neurons_per_channel, split
from spikeloom.sim.core.neuron import NeuronParameters, NeuronState
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.reference import simulate

CORE = EXACT_MODELS
STATE = [field.name for field in dataclasses.fields(NeuronState)]


def random_case(rng, spatial):
    own = CORE.per_neuron | {"lower_bound"}
    core = dataclasses.replace(CORE, weight_width=int(rng.choice([1, 3, 8])), per_neuron=own)
    if spatial:
        network = random_spatial_network(rng, core, readout=bool(rng.integers(2)))
    else:
        sizes = tuple(int(size) for size in rng.integers(1, 12, int(rng.integers(2, 5))))
        network = random_network(rng, core, sizes=sizes, readout=bool(rng.integers(2)))
    return network, random_spikes(rng, 8, 2, network.inputs)


def assert_equal(parts, network, spikes):
    """Assert that everything that the reference computes is equal; return the spikes of each population."""
    names = [population.name for population in network.populations]
    whole = simulate(network, spikes, record=names)
    pieces = simulate(parts.network, spikes, record=[part.name for part in parts.parts])
    for name in names:
        assert np.array_equal(parts.join(pieces.spikes, name), whole.spikes[name]), name
        if name in whole.values:
            assert np.array_equal(parts.join(pieces.values, name), whole.values[name]), name
        for field in STATE:
            states = {part.name: getattr(pieces.states[part.name], field) for part in parts.parts}
            assert np.array_equal(parts.join(states, name), getattr(whole.states[name], field)), (name, field)
    return whole.spikes


def interesting(network, fired):
    """Whether neurons spiked in some steps and not in others, and whether neurons with feedback spiked."""
    counted = [fired[population.name] for population in network.populations if population.parameters.spiking]
    loops = [fired[c.source][:-1].any() for c in network.connections if c.delay]
    return bool(any(0 < spikes.sum() < spikes.size for spikes in counted)), any(loops)


def test_random_cuts_of_random_networks():
    counts = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        network, spikes = random_case(rng, spatial=seed % 2 == 1)
        cuts = random_cuts(rng, network)
        parts = split(network, *cuts)
        assert sum(part.size for part in parts.parts) == network.neurons, seed
        spiked, looped = interesting(network, assert_equal(parts, network, spikes))
        counts.update(cases=1, spiked=spiked, looped=looped, banded=any(cuts[1].values()))
        counts.update(cut=len(parts.parts) > len(network.populations))
        whole = [population.parameters for population in network.populations]
        counts.update(bounded=any(p.lower_bound is not None and len(set(p.lower_bound)) > 1 for p in whole))
        counts.update(several=any(p.max_spikes > 1 for p in whole))
    assert min(counts["spiked"], counts["cut"]) > counts["cases"] * 3 // 4
    assert min(counts["looped"], counts["bounded"], counts["several"]) > counts["cases"] // 2
    assert counts["banded"] > counts["cases"] // 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "part_of(connection.weight, target.neurons, columns)",
            "part_of(connection.weight, slice(-target.size, None), columns)",
        ),
        ("[part.neurons] for name, v", "[: part.size] for name, v"),
        ("columns = grid[channels, lines].reshape(-1)", "columns = grid[channels, lines].reshape(-1)[::-1]"),
        ("lines = slice(0, pooling.output_shape[1]) if whole else inside", "lines = inside if whole else lines"),
        ("kernels = weight[outputs][:, within]", "kernels = weight[: len(group_of_output)][:, within]"),
        ("group_of_output[:, None] == group_of_input", "group_of_output[:, None] >= group_of_input"),
        ("for source in parts[connection.source]", "for source in parts[connection.source][:2]"),
        ("not rest and not more and outputs == slice", "not rest and not more and outputs.start == 0 and slice"),
        ("+ lines.start - rows.start", "- rows.start"),
        ("- rows.start * convolution.stride[0]", "- rows.start"),
        ("axis=-1)[..., order]", "axis=-1)"),
    ],
)
def test_a_planted_bug_is_seen(request, old, new):
    wrong = mutated(split_module, old, new)
    rng = rng_of(request.node.name)
    for case in range(60):
        network, spikes = random_case(rng, spatial=case % 2 == 0)
        cuts = random_cuts(rng, network)
        try:
            assert_equal(wrong.split(network, *cuts), network, spikes)
        except (AssertionError, ValueError):
            return
    raise AssertionError("no network tells")


def exactly(message):
    return f"^{re.escape(message)}$"


def dense(size=6):
    return QuantisedNetwork(
        name="net",
        inputs=3,
        populations=(QuantisedPopulation(name="a", parameters=NeuronParameters(size=size)),),
        connections=(
            QuantisedConnection(source=INPUT, target="a", weight=np.arange(3 * size).reshape(size, 3) + 1),
            QuantisedConnection(source="a", target="a", weight=np.eye(size, dtype=int), delay=1),
        ),
        output="a",
    )


def test_parts_by_hand():
    parts = split(dense(), {"a": [2]})
    assert [(part.name, part.first, part.stop) for part in parts.parts] == [("a[0:2]", 0, 2), ("a[2:6]", 2, 6)]
    assert parts.network.output == "a[0:2]"
    # The matrix to itself is diagonal: no connection leads from one part to the other.
    assert [(c.source, c.target, c.delay, c.weight.shape) for c in parts.network.connections] == [
        (INPUT, "a[0:2]", 0, (2, 3)),
        (INPUT, "a[2:6]", 0, (4, 3)),
        ("a[0:2]", "a[0:2]", 1, (2, 2)),
        ("a[2:6]", "a[2:6]", 1, (4, 4)),
    ]
    assert parts.part("a[2:6]").size == 4
    assert split(dense(), {}).network.populations[0].name == "a"


def convolutional(groups=2, weight_width=8):
    convolution = Convolution(input_shape=(2, 4, 4), output_channels=4, kernel=(3, 3), padding=(1, 1), groups=groups)
    return QuantisedNetwork(
        name="net",
        inputs=32,
        populations=(QuantisedPopulation(name="a", parameters=NeuronParameters(size=64)),),
        connections=(
            QuantisedConnection(
                source=INPUT, target="a", weight=np.ones(convolution.weight_shape, int), convolution=convolution
            ),
        ),
        output="a",
        weight_width=weight_width,
    )


def test_channels_of_a_convolution():
    parts = split(convolutional(), {"a": [16, 48]})
    assert neurons_per_channel(convolutional(), "a") == 16
    assert [c.convolution.output_shape for c in parts.network.connections] == [(1, 4, 4), (2, 4, 4), (1, 4, 4)]
    assert [c.convolution.groups for c in parts.network.connections] == [1, 1, 1]


def test_bands_of_a_convolution():
    parts = split(convolutional(), {}, {"a": [1]})
    assert [(part.name, part.size) for part in parts.parts] == [("a[:, 0:1]", 16), ("a[:, 1:4]", 48)]
    assert parts.parts[0].neurons.tolist() == [0, 1, 2, 3, 16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51]
    first, second = (c.convolution for c in parts.network.connections)
    assert (first.padding, first.output_shape, first.groups) == ((1, 1), (4, 1, 4), 2)
    assert (second.padding, second.output_shape, second.groups) == ((0, 1), (4, 3, 4), 2)
    assert bands(dense(), "a") is None


@pytest.mark.parametrize(
    ("cuts", "band_cuts", "message"),
    [
        ({}, {"b": [1]}, "cuts must be of populations of network net, not of 'b'"),
        ({"a": [16]}, {"a": [1]}, "cuts of population a must be between channels or between lines, not both"),
        ({}, {"a": [4]}, "cuts of population a must be ascending numbers from 1 to 3, not [4]"),
    ],
)
def test_bands_that_cannot_be_cut(cuts, band_cuts, message):
    with pytest.raises(SplitError, match=exactly(message)):
        split(convolutional(), cuts, band_cuts)
    with pytest.raises(SplitError, match=exactly("population a must be seen as one shape to be cut into bands")):
        split(dense(), {}, {"a": [1]})


@pytest.mark.parametrize(
    ("network", "cuts", "message"),
    [
        (dense(), {"b": [1]}, "cuts must be of populations of network net, not of 'b'"),
        (dense(), {"a": [0]}, "cuts of population a must be ascending numbers from 1 to 5, not [0]"),
        (dense(), {"a": [6]}, "cuts of population a must be ascending numbers from 1 to 5, not [6]"),
        (dense(), {"a": [3, 3]}, "cuts of population a must be ascending numbers from 1 to 5, not [3, 3]"),
        (convolutional(), {"a": [8]}, "cuts of population a must be multiples of 16, the neurons of a channel, not 8"),
        (
            convolutional(weight_width=1),
            {"a": [16]},
            "cuts of population a must be multiples of 64, the neurons of a channel, not 16",
        ),
    ],
)
def test_cuts_that_cannot_be_made(network, cuts, message):
    with pytest.raises(SplitError, match=exactly(message)):
        split(network, cuts)
