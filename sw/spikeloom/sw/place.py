"""Placement: a quantised network onto a fabric, as memory images.

All populations lie in one core, each from a word of its own, in the network's order. Rows lie in the order input lines,
then neurons; a source that reaches several populations has as many rows in sequence, and its axon is the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.network import INPUT, QuantisedConnection, QuantisedNetwork
from spikeloom.sim.neuron import signed_range
from spikeloom.sim.rule import parameter_values, rule_values
from spikeloom.sim.words import Field, WordLayout, pack_lanes
from spikeloom.sw.program import CORE_TILE, MemoryImage, Program, Use

__all__ = ["PlaceError", "place"]


class PlaceError(ValueError):
    """A network that the fabric cannot run. The message is one sentence that names what is short."""


def place(network: QuantisedNetwork, fabric: FabricConfig, *, observe: Collection[str] = ()) -> Program:
    """Lay ``network`` out on ``fabric``. Raises `PlaceError` if a resource or a feature is missing.

    Besides the output's, the spikes of the populations in ``observe`` leave the fabric too.
    """
    core = fabric.core
    if not _connections_of(network)[INPUT]:
        raise PlaceError(f"network {network.name} must have a connection from its input")
    _check_features(network, core)
    _check_accumulators(network, core)
    uses = _uses(network, core)
    _check_uses(network, fabric, uses)
    first_words = _first_words(network, core.lanes)
    axon_of = _number_axons(network)
    images = {
        "weights": _weights(network, core),
        "rows": _rows(network, core, first_words),
        **({"neurons": _neurons(network, core)} if core.neuron_layout.width else {}),
        "routes": _routes(network, core, first_words, axon_of, {network.output, *observe}),
        "populations": _populations(network, core, first_words),
    }
    observed = [network.output, *(p.name for p in network.populations if p.name in observe)]
    observed = list(dict.fromkeys(observed))
    slots = [first_words[name] * core.lanes + np.arange(network.size(name)) for name in observed]
    return Program(
        network=network.name,
        fabric=fabric,
        memories=tuple(
            MemoryImage(tile=CORE_TILE, memory=core.memories[name].number, name=name, words=words)
            for name, words in images.items()
        ),
        registers=(
            (CORE_TILE, "sources", 1),
            (CORE_TILE, "sinks", 1),
            (CORE_TILE, "populations", len(network.populations)),
        ),
        input_axons=axon_of[INPUT],
        observed=tuple((name, network.size(name)) for name in observed),
        output_slots=np.concatenate(slots),
        membranes=not network.population(network.output).parameters.spiking,
        uses=uses,
    )


def _words(count: int, lanes: int) -> int:
    return -(-count // lanes)


def _first_words(network: QuantisedNetwork, lanes: int) -> dict[str, int]:
    """The accumulator word at which each population begins."""
    first, result = 0, {}
    for population in network.populations:
        result[population.name] = first
        first += _words(population.size, lanes)
    return result


def _connections_of(network: QuantisedNetwork) -> dict[str, list[QuantisedConnection]]:
    """The connections of the input and of each population, in the order of their rows."""
    names = [INPUT, *(p.name for p in network.populations)]
    return {name: [c for c in network.connections if c.source == name] for name in names}


def _number_axons(network: QuantisedNetwork) -> dict[str, NDArray[np.int64]]:
    """The axon of each neuron of each source that has connections: the address of the first of its rows."""
    first, result = 0, {}
    for name, chain in _connections_of(network).items():
        if chain:
            result[name] = first + np.arange(network.size(name)) * len(chain)
            first += network.size(name) * len(chain)
    return result


def _weight_words(connection: QuantisedConnection, core: CoreParameters) -> int:
    targets, sources = connection.weight.shape
    return sources * _words(targets, core.lanes)


def _uses(network: QuantisedNetwork, core: CoreParameters) -> tuple[Use, ...]:
    slots = sum(_words(p.size, core.lanes) for p in network.populations) * core.lanes
    rows = sum(c.weight.shape[1] for c in network.connections)
    weight_words = sum(_weight_words(c, core) for c in network.connections)
    return (
        Use(resource="neurons", used=slots, available=core.neurons),
        Use(resource="rows", used=rows, available=core.axons),
        Use(resource=f"weight words of {core.lanes} weights", used=weight_words, available=core.weight_words),
        Use(resource="populations", used=len(network.populations), available=core.populations),
    )


def _check_uses(network: QuantisedNetwork, fabric: FabricConfig, uses: Iterable[Use]) -> None:
    short = [f"{use.used} {use.resource}, there are {use.available}" for use in uses if use.used > use.available]
    if short:
        raise PlaceError(f"network {network.name} does not fit the fabric {fabric.name}: it needs {'; '.join(short)}")


def _check_features(network: QuantisedNetwork, core: CoreParameters) -> None:
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


def _weights(network: QuantisedNetwork, core: CoreParameters) -> NDArray[np.uint8]:
    """Row after row: for each connection and source neuron, its weights to the target, padded to whole words."""
    layout = WordLayout((Field("weight", core.weight_width, signed=True),))
    images = []
    for connection in network.connections:
        targets, sources = connection.weight.shape
        rows = np.zeros((sources, _words(targets, core.lanes) * core.lanes), np.int64)
        rows[:, :targets] = connection.weight.T
        images.append(pack_lanes(layout.bits({"weight": rows.ravel()}, rows.size), core.lanes))
    return np.concatenate(images) if images else np.zeros((0, core.memories["weights"].planes), np.uint8)


def _rows(network: QuantisedNetwork, core: CoreParameters, first_words: dict[str, int]) -> NDArray[np.uint8]:
    """The row memory: for each axon, a row for each connection of its source."""
    first_weight = np.cumsum([0, *(_weight_words(c, core) for c in network.connections)])
    parts: dict[str, list[NDArray[np.int64]]] = {field.name: [] for field in core.row_layout.fields}
    for chain in _connections_of(network).values():
        if not chain:
            continue
        shape = (chain[0].weight.shape[1], len(chain))  # (axons, rows of an axon)
        lengths = np.array([_words(c.weight.shape[0], core.lanes) for c in chain])
        first = np.array([first_weight[network.connections.index(c)] for c in chain])
        values = {
            "weight_address": first + np.arange(shape[0])[:, None] * lengths,
            "target": np.array([first_words[c.target] for c in chain]),
            "length": lengths - 1,
            "delay": np.array([c.delay for c in chain]),
            "more": np.arange(len(chain)) < len(chain) - 1,
        }
        for name, array in values.items():
            parts[name].append(np.broadcast_to(array, shape).ravel().astype(np.int64))
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return pack_lanes(core.row_layout.bits(columns, len(columns["target"])), 1)


def _neurons(network: QuantisedNetwork, core: CoreParameters) -> NDArray[np.uint8]:
    """The parameters of every slot. A slot that pads a word may fire; its route leads nowhere."""
    words = []
    for population in network.populations:
        bits = core.neuron_layout.bits(parameter_values(core, population.parameters), population.size)
        words.append(np.pad(bits, ((0, -population.size % core.lanes), (0, 0))))
    return pack_lanes(np.concatenate(words), core.lanes)


def _routes(
    network: QuantisedNetwork,
    core: CoreParameters,
    first_words: dict[str, int],
    axon_of: dict[str, NDArray[np.int64]],
    observed: Collection[str],
) -> NDArray[np.uint8]:
    """Where each slot's spikes go."""
    slots = sum(_words(p.size, core.lanes) for p in network.populations) * core.lanes
    fields = {field.name: np.zeros(slots, np.int64) for field in core.route_layout.fields}
    for population in network.populations:
        first = first_words[population.name] * core.lanes
        here = slice(first, first + population.size)
        if population.name in observed:
            fields["send"][here] = 1
        if population.name == network.output:
            fields["membrane"][here] = int(not population.parameters.spiking)
        if population.name in axon_of:
            fields["local"][here] = 1
            fields["axon"][here] = axon_of[population.name]
    return pack_lanes(core.route_layout.bits(fields, slots), 1)


def _populations(network: QuantisedNetwork, core: CoreParameters, first_words: dict[str, int]) -> NDArray[np.uint8]:
    """The words and the rule of every population."""
    words = []
    for population in network.populations:
        parameters = population.parameters
        readout = not parameters.spiking and population.name == network.output
        first = first_words[population.name]
        values = {
            "first": first,
            "last": first + _words(population.size, core.lanes) - 1,
            **parameter_values(core, parameters),
            **rule_values(core, parameters, readout=readout),
        }
        words.append(core.population_layout.bits(values, 1))
    return pack_lanes(np.concatenate(words), 1)
