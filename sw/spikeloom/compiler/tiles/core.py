"""What placement writes into the memories of a core, and what it takes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.layout import Layout
from spikeloom.compiler.program import Use
from spikeloom.compiler.synapses import Rows
from spikeloom.compiler.tiles.tokens import set_of
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import pack_lanes
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["neuron_words", "population_words", "route_words", "uses_of"]


def neuron_words(network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout]) -> NDArray[np.uint8]:
    """The parameters of every slot. A slot that pads a word may fire; its route leads nowhere."""
    words = []
    for name, layout in layout_of.items():
        population = network.population(name)
        bits = core.neuron_layout.bits(parameter_values(core, population.parameters), population.size)
        slots = np.zeros((layout.words * core.lanes, bits.shape[1]), np.uint8)
        slots[layout.offsets] = bits
        words.append(slots)
    return pack_lanes(np.concatenate(words), core.lanes)


def route_words(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    axons: Mapping[str, NDArray[np.int64]],
    local: Mapping[str, NDArray[np.bool_]],
    sent: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Where the spikes of each slot go: back into the core, out, or both."""
    slots = sum(layout.words for layout in layout_of.values()) * core.lanes
    fields = {field.name: np.zeros(slots, np.int64) for field in core.route_layout.fields}
    for name, layout in layout_of.items():
        here = layout.slots
        fields["axon"][here] = axons.get(name, 0)
        fields["local"][here] = local.get(name, 0)
        fields["send"][here] = sent[name]
        fields["membrane"][here] = sent[name] & (not network.population(name).parameters.spiking)
    return pack_lanes(core.route_layout.bits(fields, slots), 1)


def population_words(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    destinations: Mapping[str, Collection[int]],
    read: Collection[str],
) -> NDArray[np.uint8]:
    """The words, the rule and the destinations of every population; the membranes of those to be ``read`` are sent."""
    words = []
    for name, layout in layout_of.items():
        parameters = network.population(name).parameters
        values = {
            "first": layout.first_word,
            "last": layout.first_word + layout.words - 1,
            "destinations": set_of(destinations.get(name, ())),
            **parameter_values(core, parameters),
            **rule_values(core, parameters, readout=not parameters.spiking and name in read),
        }
        words.append(core.population_layout.bits(values, 1))
    return pack_lanes(np.concatenate(words), 1)


def uses_of(
    tile: int, core: CoreParameters, held: Collection[str], layout_of: Mapping[str, Layout], rows: Rows
) -> list[Use]:
    words = sum(layout.words for layout in layout_of.values())
    counts = {
        "neurons": (words * core.lanes, core.neurons),
        "rows": (rows.rows, core.axons),
        f"weight words of {core.lanes} weights": (rows.weight_words, core.weight_words),
        "populations": (len(held), core.populations),
    }
    if core.coordinate_width:
        counts["geometries"] = rows.geometries, core.geometries
    return [
        Use(tile=tile, resource=resource, used=used, available=available)
        for resource, (used, available) in counts.items()
    ]
