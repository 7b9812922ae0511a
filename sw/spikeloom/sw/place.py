"""Placement: a quantised network onto a fabric, as memory images.

All populations lie in one core, each from a word of its own, in the network's order (`spikeloom.sw.layout`). Rows lie
in the order input, then populations; a source that reaches several populations has as many rows in sequence, and its
axon is the first (`spikeloom.sw.rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.messages import LARGEST_AXON
from spikeloom.sim.network import INPUT, QuantisedNetwork
from spikeloom.sim.neuron import signed_range
from spikeloom.sim.registers import CORE_TILE
from spikeloom.sim.rule import parameter_values, rule_values
from spikeloom.sim.words import pack_lanes
from spikeloom.sw.layout import Layout, LayoutError, layouts
from spikeloom.sw.program import MemoryImage, Program, Use
from spikeloom.sw.rows import RowError, Rows, rows_of

__all__ = ["PlaceError", "place"]


class PlaceError(ValueError):
    """A network that the fabric cannot run. The message is one sentence that names what is short."""


def place(network: QuantisedNetwork, fabric: FabricConfig, *, observe: Collection[str] = ()) -> Program:
    """Lay ``network`` out on ``fabric``. Raises `PlaceError` if a resource or a feature is missing.

    Besides the output's, the spikes of the populations in ``observe`` leave the fabric too.
    """
    core = fabric.core
    if not any(connection.source == INPUT for connection in network.connections):
        raise PlaceError(f"network {network.name} must have a connection from its input")
    if network.input_value_width:
        raise PlaceError(
            f"network {network.name}: the input must be spikes, not values of {network.input_value_width} bits, which "
            f"the host link does not carry"
        )
    _check_features(network, core)
    _check_accumulators(network, core)
    try:
        layout_of = layouts(network, core.lanes)
        rows = rows_of(network, core, layout_of)
    except (LayoutError, RowError) as error:
        raise PlaceError(str(error)) from error
    uses = _uses(network, core, layout_of, rows)
    _check_uses(network, fabric, uses)
    if rows.axons[INPUT].max() > LARGEST_AXON:
        raise PlaceError(
            f"network {network.name}: the axons of the input must be at most {LARGEST_AXON}, not "
            f"{rows.axons[INPUT].max()}; its coordinates take too many bits"
        )
    observed = [network.output, *(p.name for p in network.populations if p.name in observe)]
    observed = list(dict.fromkeys(observed))
    axons = _axons(network, core, rows, observed)
    if max(int(axons[name].max()) for name in observed) > LARGEST_AXON:
        raise PlaceError(
            f"network {network.name}: the axons of what is observed must be at most {LARGEST_AXON}; its coordinates "
            "take too many bits"
        )
    images = {
        **rows.images,
        **({"neurons": _neurons(network, core, layout_of)} if core.neuron_layout.width else {}),
        "routes": _routes(network, core, layout_of, rows, axons, observed),
        "populations": _populations(network, core, layout_of),
    }
    return Program(
        network=network.name,
        fabric=fabric,
        memories=tuple(
            MemoryImage(tile=CORE_TILE, memory=core.memories[name].number, name=name, words=words)
            for name in core.memories
            for words in (images[name],)
        ),
        registers=(
            (CORE_TILE, "sources", 1),
            (CORE_TILE, "sinks", 1),
            (CORE_TILE, "populations", len(network.populations)),
        ),
        input_axons=rows.axons[INPUT],
        observed=tuple((name, network.size(name)) for name in observed),
        output_axons=np.concatenate([axons[name] for name in observed]),
        membranes=not network.population(network.output).parameters.spiking,
        graded=tuple(name for name in observed if network.population(name).parameters.graded),
        uses=uses,
    )


def _uses(
    network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout], rows: Rows
) -> tuple[Use, ...]:
    uses = [
        Use(
            resource="neurons",
            used=sum(layout.words for layout in layout_of.values()) * core.lanes,
            available=core.neurons,
        ),
        Use(resource="rows", used=rows.rows, available=core.axons),
        Use(resource=f"weight words of {core.lanes} weights", used=rows.weight_words, available=core.weight_words),
        Use(resource="populations", used=len(network.populations), available=core.populations),
    ]
    if core.coordinate_width:
        uses.append(Use(resource="geometries", used=rows.geometries, available=core.geometries))
    return tuple(uses)


def _check_uses(network: QuantisedNetwork, fabric: FabricConfig, uses: Iterable[Use]) -> None:
    short = [f"{use.used} {use.resource}, there are {use.available}" for use in uses if use.used > use.available]
    if short:
        raise PlaceError(f"network {network.name} does not fit the fabric {fabric.name}: it needs {'; '.join(short)}")


def _check_features(network: QuantisedNetwork, core: CoreParameters) -> None:
    if core.weight_width == 1 and network.weight_width != 1:
        raise PlaceError(
            f"weights must be of 1 bit, -1 or 1, on this fabric, network {network.name} has {network.weight_width}"
        )
    if network.weight_width > core.weight_width:
        raise PlaceError(
            f"weights must have at most {core.weight_width} bits on this fabric, network {network.name} has "
            f"{network.weight_width}"
        )
    for population in network.populations:
        try:
            rule_values(core, population.parameters)
            parameter_values(core, population.parameters)
        except ValueError as error:
            raise PlaceError(f"population {population.name}: {error}") from error


def _check_accumulators(network: QuantisedNetwork, core: CoreParameters) -> None:
    low, high = signed_range(core.accumulator_width)
    for population in network.populations:
        least, greatest = network.current_bounds(population.name)
        if least < low or greatest > high:
            needed = max(greatest.bit_length(), (-least - 1).bit_length() if least < 0 else 0) + 1
            raise PlaceError(
                f"population {population.name}: its weights could overflow the accumulator, their sum needs {needed} "
                f"bits, there are {core.accumulator_width}"
            )


def _neurons(network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout]) -> NDArray[np.uint8]:
    """The parameters of every slot. A slot that pads a word may fire; its route leads nowhere."""
    words = []
    for population in network.populations:
        bits = core.neuron_layout.bits(parameter_values(core, population.parameters), population.size)
        layout = layout_of[population.name]
        slots = np.zeros((layout.words * core.lanes, bits.shape[1]), np.uint8)
        slots[layout.offsets] = bits
        words.append(slots)
    return pack_lanes(np.concatenate(words), core.lanes)


def _axons(
    network: QuantisedNetwork, core: CoreParameters, rows: Rows, observed: Collection[str]
) -> dict[str, NDArray[np.int64]]:
    """The axons of each population's neurons: its rows', or numbers that nobody else sends to the host."""
    axons = {name: numbers for name, numbers in rows.axons.items() if name != INPUT}
    free = np.ones(1 << core.axon_width, bool)
    for name in observed:
        if name in axons:
            free[axons[name]] = False
    for name in observed:
        if name not in axons:
            axons[name] = np.flatnonzero(free)[: network.size(name)]
            free[axons[name]] = False
    return axons


def _routes(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    rows: Rows,
    axons: Mapping[str, NDArray[np.int64]],
    observed: Collection[str],
) -> NDArray[np.uint8]:
    """Where each slot's spikes go."""
    slots = sum(layout.words for layout in layout_of.values()) * core.lanes
    fields = {field.name: np.zeros(slots, np.int64) for field in core.route_layout.fields}
    for population in network.populations:
        here = layout_of[population.name].slots
        if population.name in observed:
            fields["send"][here] = 1
        if population.name == network.output:
            fields["membrane"][here] = int(not population.parameters.spiking)
        if population.name in rows.axons:
            fields["local"][here] = rows.reaches[population.name]
        if population.name in axons:
            fields["axon"][here] = axons[population.name]
    return pack_lanes(core.route_layout.bits(fields, slots), 1)


def _populations(network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout]) -> NDArray[np.uint8]:
    """The words and the rule of every population."""
    words = []
    for population in network.populations:
        parameters, layout = population.parameters, layout_of[population.name]
        readout = not parameters.spiking and population.name == network.output
        values = {
            "first": layout.first_word,
            "last": layout.first_word + layout.words - 1,
            **parameter_values(core, parameters),
            **rule_values(core, parameters, readout=readout),
        }
        words.append(core.population_layout.bits(values, 1))
    return pack_lanes(np.concatenate(words), 1)
