"""Slots of neurons: in order, or channel by channel at each position, one population after the other."""

from dataclasses import replace

import numpy as np
import pytest
from harness.chains import network
from harness.cores import EXACT_MAPS
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.compiler.layout import Layout, LayoutError, layouts
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution

CORE = EXACT_MAPS


def convolution(channels, height, width):
    """A convolution into a population of this shape."""
    return Convolution(input_shape=(1, height, width), output_channels=channels, kernel=(1, 1))


@pytest.mark.parametrize(("size", "lanes", "words"), [(1, 1, 1), (8, 4, 2), (9, 4, 3), (5, 8, 1)])
def test_neurons_in_order(size, lanes, words):
    layout = Layout.of(size, [None, None], lanes, first_word=3)
    assert (layout.words, layout.words_per_position, layout.shape) == (words, words, None)
    assert layout.slots.tolist() == [3 * lanes + neuron for neuron in range(size)]


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_channels_lie_side_by_side(channels):
    height, width, lanes, first = 2, 3, 4, 7
    layout = Layout.of(channels * 6, [None, convolution(channels, height, width)], lanes, first_word=first)
    a_position = -(-channels // lanes)
    assert (layout.words_per_position, layout.words) == (a_position, 6 * a_position)
    neurons = np.arange(channels * 6).reshape(channels, height, width)
    for channel, y, x in np.ndindex(neurons.shape):
        slot = first * lanes + (y * width + x) * a_position * lanes + channel
        assert layout.slots[neurons[channel, y, x]] == slot


def test_convolutions_must_give_one_shape():
    same = Layout.of(12, [convolution(3, 2, 2), convolution(3, 2, 2)], 4)
    assert same.shape == (3, 2, 2)
    message = r"^its input convolutions must have the same output shape, not \(3, 2, 2\) and \(3, 4, 1\)$"
    with pytest.raises(LayoutError, match=message):
        Layout.of(12, [convolution(3, 4, 1), None, convolution(3, 2, 2)], 4)


def test_the_population_of_convolutions_that_disagree_is_named():
    size = 4
    weight = np.ones((1, 1, 1, 1), int)
    net = network(
        [QuantisedPopulation(name="a", parameters=NeuronParameters(size=size))],
        [
            QuantisedConnection(source=INPUT, target="a", weight=weight, convolution=convolution(1, *shape))
            for shape in ((2, 2), (1, 4))
        ],
        inputs=size,
    )
    with pytest.raises(LayoutError, match=r"^population a: its input convolutions must have the same output shape, "):
        layouts(net, 2)


@pytest.mark.parametrize("lanes", [1, 2, 8])
@pytest.mark.parametrize("spatial", [False, True])
def test_every_neuron_has_a_slot_of_its_own(request, spatial, lanes):
    rng = rng_of(request.node.name)
    make = random_spatial_network if spatial else random_network
    net = make(rng, replace(CORE, lanes=lanes))
    found = layouts(net, lanes)
    assert list(found) == [population.name for population in net.populations]
    slots = np.concatenate([layout.slots for layout in found.values()])
    assert len(set(slots.tolist())) == net.neurons
    first = 0
    for population in net.populations:
        layout = found[population.name]
        assert layout.first_word == first, "each right behind the one before"
        assert layout.slots.min() == first * lanes
        first += layout.words
        assert first * lanes > layout.slots.max() >= (first - 1) * lanes, "no word is unused at the end"
    assert any(layout.shape for layout in found.values()) == spatial


def test_some_populations_as_if_they_were_alone(request):
    net = random_network(rng_of(request.node.name), CORE, sizes=(7, 5, 4))
    found = layouts(net, 4, {"layer0", "layer2"})
    assert {name: layout.first_word for name, layout in found.items()} == {"layer0": 0, "layer2": 2}
