"""Placement: a quantised network onto a fabric, as memory images.

All populations lie in one core, each from a word of its own, in the network's order (`spikeloom.sw.layout`). Rows lie
in the order input, then populations; a source that reaches several populations has as many rows in sequence, and its
axon is the first (`spikeloom.sw.rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core import COMPARE_CODES, RESET_CODES, CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.messages import LARGEST_AXON
from spikeloom.sim.network import INPUT, QuantisedNetwork
from spikeloom.sim.neuron import Reset, signed_range
from spikeloom.sim.words import pack_lanes
from spikeloom.sw.layout import Layout, LayoutError, layouts
from spikeloom.sw.program import CORE_TILE, MemoryImage, Program, Use
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
    images = {
        **rows.images,
        "neurons": _neurons(network, core, layout_of),
        "routes": _routes(network, core, layout_of, rows.axons, {network.output, *observe}),
        "populations": _populations(network, core, layout_of),
    }
    observed = [network.output, *(p.name for p in network.populations if p.name in observe)]
    observed = list(dict.fromkeys(observed))
    slots = [layout_of[name].slots for name in observed]
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
        output_slots=np.concatenate(slots),
        membranes=not network.population(network.output).parameters.spiking,
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
        name, parameters = population.name, population.parameters
        if parameters.v_width != core.v_width:
            raise PlaceError(
                f"population {name}: v_width must be {core.v_width} on this fabric, not {parameters.v_width}"
            )
        if parameters.reset is Reset.VALUE and not core.reset_value:
            raise PlaceError(f"population {name}: a reset to a value must be built into the fabric, and is not")
        if parameters.reset_delay and not core.reset_delay:
            raise PlaceError(f"population {name}: a reset delay must be built into the fabric, and is not")
        if parameters.refractory >= 1 << core.refractory_width:
            raise PlaceError(
                f"population {name}: refractory must be at most {(1 << core.refractory_width) - 1} steps on this "
                f"fabric, not {parameters.refractory}"
            )
        if not parameters.spiking and not core.readout:
            raise PlaceError(f"population {name}: the readout of membranes must be built into the fabric, and is not")
        try:
            core.leak_fields(parameters)
        except ValueError as error:
            raise PlaceError(f"population {name}: {error}") from error


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
    """The parameters of every slot. A slot that pads a word neither spikes nor is read out."""
    words = []
    for population in network.populations:
        p = population.parameters
        fields: dict[str, ArrayLike] = {
            "threshold": p.threshold,
            "bias": p.bias,
            **core.leak_fields(p),
            "compare": COMPARE_CODES[p.compare],
            "reset": RESET_CODES[p.reset],
            "reset_value": p.reset_value if p.reset is Reset.VALUE else 0,
            "reset_delay": p.reset_delay,
            "refractory": p.refractory,
            "spiking": int(p.spiking),
            "readout": int(not p.spiking and population.name == network.output),
        }
        bits = core.neuron_layout.bits(fields, p.size)
        layout = layout_of[population.name]
        slots = np.zeros((layout.words * core.lanes, bits.shape[1]), np.uint8)
        slots[layout.offsets] = bits
        words.append(slots)
    return pack_lanes(np.concatenate(words), core.lanes)


def _routes(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    axon_of: Mapping[str, NDArray[np.int64]],
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
        if population.name in axon_of:
            fields["local"][here] = 1
            fields["axon"][here] = axon_of[population.name]
    return pack_lanes(core.route_layout.bits(fields, slots), 1)


def _populations(network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout]) -> NDArray[np.uint8]:
    first = np.array([layout_of[p.name].first_word for p in network.populations])
    last = first + np.array([layout_of[p.name].words for p in network.populations]) - 1
    return pack_lanes(core.population_layout.bits({"first": first, "last": last}, len(first)), 1)
