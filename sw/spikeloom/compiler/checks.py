"""Checks of a network against a fabric before and after placement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.ports import Port
from spikeloom.compiler.program import Use
from spikeloom.compiler.tiles.registry import compiler_of
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.messages import LARGEST_AXON
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT

__all__ = [
    "PlaceError",
    "check_accumulators",
    "check_axons",
    "check_network",
    "check_ports",
    "check_uses",
    "check_weights",
]


class PlaceError(ValueError):
    """The fabric cannot run the network. The message is one sentence that names the missing resource or feature."""


def check_network(network: QuantisedNetwork, cores: Iterable[CoreParameters]) -> None:
    """Raise `PlaceError` unless ``cores`` have the features and weight widths that ``network`` needs."""
    if not network.sinks(INPUT):
        raise PlaceError(f"network {network.name} must have a connection from its input")
    kinds = tuple(dict.fromkeys(cores))
    widest = max(core.weight_width for core in kinds)
    for population in network.populations:
        # Tiles can have different widths: each population needs one that is wide enough.
        if not any(core.holds_weights(network.width_of(population.name)) for core in kinds):
            has = f"network {network.name} has {network.weight_width}"
            if population.weight_width is not None:
                has = f"population {population.name} has {population.weight_width}"
            what = "be of 1 bit, -1 or 1," if widest == 1 else f"have at most {widest} bits"
            raise PlaceError(f"weights must {what} on this fabric, but {has} bits")
    for core in kinds:
        _check_features(network, core)


def _check_features(network: QuantisedNetwork, core: CoreParameters) -> None:
    if network.input_value_width > core.input_value_width:
        takes = f"values of at most {core.input_value_width} bits" if core.input_value_width else "only spikes"
        raise PlaceError(
            f"network {network.name} has an input of {network.input_value_width}-bit values, but this fabric takes "
            f"{takes}: build its cores with value_width={network.input_value_width}"
        )
    for population in network.populations:
        try:
            rule_values(core, population.parameters)
            parameter_values(core, population.parameters)
        except ValueError as error:
            raise PlaceError(f"population {population.name}: {error}") from error


def check_ports(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    input_from: Port | None,
    output_to: Port | None,
    observe: Collection[str],
) -> None:
    """Raise `PlaceError` unless the ports are tiles of ``fabric`` that can carry input and output of ``network``."""
    if INPUT in observe and input_from is None:
        raise PlaceError("the input can be observed only if it comes from a tile, such as an AER tile")
    if network.input_value_width and input_from is not None:
        raise PlaceError(
            f"network {network.name}: the input must come from the host, not from tile {input_from.tile}, because it "
            "has values, which only the host sends"
        )
    for port, brings_input in ((input_from, True), (output_to, False)):
        if port is None:
            continue
        tile = fabric.numbered.get(port.tile)
        if tile is None or not compiler_of(tile).is_port(tile, port, brings_input=brings_input):
            raise PlaceError(f"tile {port.tile} must be {port.what} of the fabric {fabric.name}")
        compiler_of(tile).check_port(tile, port, network, brings_input=brings_input)


def check_axons(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    input_axons: NDArray[np.int64],
    output_axons: NDArray[np.int64],
) -> None:
    """Raise `PlaceError` if an axon of the inputs or outputs, each ``(n,)``, is too large for packets or the host."""
    most = min(LARGEST_AXON, (1 << fabric.axon_width) - 1)
    for whose, axons in (("input", input_axons), ("output", output_axons)):
        if axons.max() > most:
            raise PlaceError(
                f"network {network.name}: the axons of the {whose} must be at most {most}, not {axons.max()}; its "
                "coordinates take too many bits"
            )


def check_uses(network: QuantisedNetwork, fabric: FabricConfig, uses: Iterable[Use]) -> None:
    """Raise `PlaceError` with the missing resources of the first tile that is overfull."""
    short: dict[int, list[str]] = {}
    for use in uses:
        if use.used > use.available:
            short.setdefault(use.tile, []).append(f"{use.used:,} {use.resource} ({use.available:,} available)")
    if short:
        tile, missing = next(iter(short.items()))
        where = "" if len(fabric.cores) == 1 else f" in tile {tile}"
        raise PlaceError(
            f"network {network.name} does not fit the fabric {fabric.name}: it needs {'; '.join(missing)}{where}"
        )


def check_weights(network: QuantisedNetwork, cores: Mapping[str, CoreParameters]) -> None:
    """Raise `PlaceError` unless the core of each population stores weights of their width."""
    for population in network.populations:
        width, core = network.width_of(population.name), cores[population.name]
        if not core.holds_weights(width):
            what = "1 bit, -1 or 1" if core.weight_width == 1 else f"at most {core.weight_width} bits"
            raise PlaceError(f"population {population.name}: its weights must have {what} in its tile, not {width}")


def check_accumulators(network: QuantisedNetwork, cores: Mapping[str, CoreParameters]) -> None:
    """Raise `PlaceError` if the sum of a step could overflow the accumulator in the core of a population."""
    for population in network.populations:
        core = cores[population.name]
        low, high = signed_range(core.accumulator_width)
        least, greatest = network.current_bounds(population.name)
        if least < low or greatest > high:
            needed = max(greatest.bit_length(), (-least - 1).bit_length() if least < 0 else 0) + 1
            raise PlaceError(
                f"population {population.name}: its weights could overflow the accumulator, their sum needs {needed} "
                f"bits, but it has {core.accumulator_width}"
            )
