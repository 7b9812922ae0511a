"""Float network to integers: the only place where floats become integers.

The weights into a population share one scale, a power of two: an integer is ``round(value * 2**exponent)``. Threshold,
bias and reset value use the scale of their population, so that one step in integers is the float step in other units
and only rounding is lost. With one bit a weight is its sign times the scale, -1 or 1; two bits give ternary weights
(and -2). A leak that is exactly ``1 - 2**-k`` becomes a shift, any other a product with a fixed-point
beta. Everything that does not fit is an error or a note, never a silent clamp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.network import INPUT, QuantisedConnection, QuantisedNetwork, QuantisedPopulation
from spikeloom.sim.neuron import Leak, NeuronParameters, Rounding, signed_range
from spikeloom.sim.words import weight_range
from spikeloom.sw.network import Network, Population

__all__ = ["Quantisation", "QuantiseError", "quantise"]


class QuantiseError(ValueError):
    """A network that has no faithful integer form at the widths asked for. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """Widths of the integers.

    ``weight_width`` from 1 to 16 and ``v_width`` from 8 to 24 bits; ``beta_fraction`` fractional bits of a leak that is
    no shift, rounded as ``rounding`` says.
    """

    weight_width: int = 8
    v_width: int = 16
    beta_fraction: int = 14
    rounding: Rounding = Rounding.NEAREST

    def __post_init__(self) -> None:
        for name, low, high in (("weight_width", 1, 16), ("v_width", 8, 24), ("beta_fraction", 1, 16)):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


def quantise(network: Network, quantisation: Quantisation | None = None) -> QuantisedNetwork:
    """The integer form of ``network``. Raises `QuantiseError` where a value cannot be held."""
    options = quantisation or Quantisation()
    notes: list[str] = []
    exponents = {p.name: _exponent(network, p, options, notes) for p in network.populations}
    connections = tuple(
        QuantisedConnection(
            source=INPUT if c.source == "input" else c.source,
            target=c.target,
            weight=_to_weights(c.weight, exponents[c.target], options),
            convolution=c.convolution,
            pooling=c.pooling,
            delay=c.delay,
        )
        for c in network.connections
    )
    populations = tuple(
        QuantisedPopulation(name=p.name, parameters=_neuron_parameters(p, exponents[p.name], options, notes))
        for p in network.populations
    )
    return QuantisedNetwork(
        name=network.name,
        inputs=int(np.prod(network.input_shape)),
        populations=populations,
        connections=connections,
        output=network.output,
        weight_width=options.weight_width,
        notes=network.notes + tuple(notes),
    )


def _to_weights(weight: NDArray[np.float64], exponent: int, options: Quantisation) -> NDArray[np.int64]:
    if options.weight_width == 1:
        return np.where(weight < 0, -1, 1)
    low, high = weight_range(options.weight_width)
    return np.clip(np.rint(np.ldexp(weight, exponent)), low, high).astype(np.int64)


def _exponent(network: Network, population: Population, options: Quantisation, notes: list[str]) -> int:
    """The power of two that scales the population: the one with the least squared error of its weights.

    Clipping a few large weights can cost less than coarser steps for all, the more so the fewer the bits; where it
    does, a note says how many.
    """
    parts = [c.weight.ravel() for c in network.connections if c.target == population.name]
    weights = np.concatenate(parts) if parts else np.zeros(0)
    if options.weight_width == 1 and np.any(weights == 0.0):
        raise QuantiseError(
            f"population {population.name}: its weights must not be 0 at 1 bit, and {int(np.sum(weights == 0.0))} are; "
            "use 2 bits"
        )
    _, high = weight_range(options.weight_width)
    largest = float(np.abs(weights).max(initial=0.0))
    if largest == 0.0:
        largest = float(np.abs(population.threshold).max())
    _, exponent_of_largest = np.frexp(high / largest)
    fits = int(exponent_of_largest) - 1  # the finest scale at which nothing is clipped
    room = _largest_exponent(population, options)
    best, least = None, np.inf
    for exponent in range(fits, fits + 8):
        if exponent > room:
            break
        error = float(np.sum((_to_weights(weights, exponent, options) / 2.0**exponent - weights) ** 2))
        if error < least:
            best, least = exponent, error
    if best is None:
        best = room
        notes.append(
            f"population {population.name}: its scale is 2**{room}, not 2**{fits}, so that thresholds and biases fit "
            f"{options.v_width} bits"
        )
    clipped = int(np.sum(np.rint(np.ldexp(weights, best)) != _to_weights(weights, best, options)))
    if clipped and options.weight_width > 1:
        notes.append(f"population {population.name}: {clipped} of {weights.size} weights are clipped")
    return best


def _largest_exponent(population: Population, options: Quantisation) -> int:
    """The finest scale at which the population's own constants fit the membrane, with a bit to spare above them."""
    constants = [population.threshold, population.bias, population.reset_value]
    if not population.spiking:
        constants = constants[1:]
    largest = max(float(np.abs(values).max(initial=0.0)) for values in constants)
    if largest == 0.0:
        return 64
    _, exponent = np.frexp(signed_range(options.v_width - 1)[1] / largest)
    return int(exponent) - 1


def _neuron_parameters(
    population: Population, exponent: int, options: Quantisation, notes: list[str]
) -> NeuronParameters:
    def scaled(values: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.rint(np.ldexp(values, exponent)).astype(np.int64)

    threshold = scaled(population.threshold)
    if population.spiking and np.any((threshold == 0) & (population.threshold != 0)):
        raise QuantiseError(
            f"population {population.name}: its threshold must be at least half of the weights' step at "
            f"{options.weight_width} bits, so that it does not become 0; use wider weights"
        )
    leak, factor = _leak(population, options, notes)
    return NeuronParameters(
        size=population.size,
        v_width=options.v_width,
        threshold=threshold if population.spiking else 0,
        bias=scaled(population.bias),
        leak=leak,
        leak_factor=factor,
        beta_fraction=options.beta_fraction,
        rounding=options.rounding,
        compare=population.compare,
        reset=population.reset,
        reset_value=scaled(population.reset_value),
        reset_delay=population.reset_delay,
        refractory=population.refractory,
        spiking=population.spiking,
    )


def _leak(population: Population, options: Quantisation, notes: list[str]) -> tuple[Leak, NDArray[np.int64]]:
    beta = np.asarray(population.beta, np.float64)
    if np.all(beta == 1.0):
        return Leak.NONE, np.zeros(population.size, np.int64)
    with np.errstate(divide="ignore"):
        shift = -np.log2(1.0 - beta)
    if np.all(np.isfinite(shift)):
        k = np.rint(shift)
        # Exporters store tau as 32-bit floats, so an exact power of two comes back with their rounding.
        if np.all((k >= 1) & (k < min(options.v_width, options.beta_fraction + 1)) & (np.abs(shift - k) < 1e-3)):
            return Leak.SHIFT, k.astype(np.int64)
    factor = np.rint(np.ldexp(beta, options.beta_fraction)).astype(np.int64)
    lost = float(np.abs(factor / 2.0**options.beta_fraction - beta).max())
    notes.append(f"population {population.name}: beta is off by {lost:.1e} at most")
    return Leak.MULTIPLY, factor
