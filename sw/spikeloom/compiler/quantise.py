"""Quantisation of a float network: the only place where floats become integers.

The weights into a population share one scale, a power of two: an integer is ``round(value * 2**exponent)``. With
`Scales.NEURON` each neuron has a scale of its own, so that neurons with small weights keep their precision beside
neurons with large ones; the hardware stores thresholds and biases per neuron in either case. The weights into each
population can have a width of their own. Threshold, bias and reset value use the scale of their neuron, so that one
step in integers is the float step in other units, and differs by rounding only. At one bit, a weight is its sign times
the scale, -1 or 1; two bits give ternary weights (and -2). A leak of exactly ``1 - 2**-k`` becomes a shift, any other a
product with a fixed-point beta. The same holds for the factors of synaptic currents and adaptations, which share the
scale of their population's membrane. Values of graded spikes have a scale of their own, as fine as their limit allows;
the weights they meet compensate for it. The noise amplitude is a power of two. Attention operates on spikes only and is
unchanged. A value that does not fit gives an error or a note, never silent clamping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.calibrate import Calibration
from spikeloom.model.network import Network
from spikeloom.model.population import Population
from spikeloom.sim.core.features import COPIED, LEAKS, NEVER_ZERO, SCALED
from spikeloom.sim.core.neuron import RANDOM_WIDTH, Leak, NeuronParameters, Rounding, signed_range
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Projection
from spikeloom.sim.network.sparse import Matrix, SparseMatrix, numbers_of

__all__ = [
    "Exponent",
    "Quantisation",
    "QuantiseError",
    "Scales",
    "exponent_of_weights",
    "leak_of",
    "quantise",
    "scale_exponents",
]


_NO_CONSTANTS = 1 << 12
"""Replaces the largest exponent of a scale for a population without constants that must fit its membrane."""


class QuantiseError(ValueError):
    """The network has no faithful integer form at the given widths. The message is one sentence."""


class Scales(Enum):
    """Neurons that share a scale.

    With ``NEURON``, the neurons of a channel still share a scale, because they share their weights. So do the neurons
    of the output, whose membranes are compared with each other; of a population with noise, which has a single width;
    and of a population that sends membranes as graded spikes, which meet the same weights.
    """

    POPULATION = "population"
    NEURON = "neuron"


Exponent = int | NDArray[np.int64]
"""The exponent of the scale of a population, or ``(n,)`` of its neurons."""


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """Widths of the integers.

    ``weight_width`` is 1 to 16 bits, ``v_width`` 8 to 24 bits, ``value_width`` (value of a graded spike) 2 to 16 bits;
    ``weight_widths`` maps names of populations to the width of the weights into them, where it differs.
    ``beta_fraction`` is the number of fractional bits of a leak that is not a shift, rounded as in ``rounding``.
    ``calibration`` is the activity by which scales are chosen (`spikeloom.compiler.calibrate`).
    ``multiplier`` tells whether the fabric has one. If so, factors of currents and adaptations are products even where
    a shift would do, because a shift decays more and more slowly near 0, and the sum of these errors in the current
    drives the membrane. ``scales`` tells what shares a scale.
    """

    weight_width: int = 8
    v_width: int = 16
    beta_fraction: int = 14
    rounding: Rounding = Rounding.NEAREST
    value_width: int = 8
    multiplier: bool = True
    scales: Scales = Scales.POPULATION
    weight_widths: Mapping[str, int] = field(default_factory=dict, hash=False)
    calibration: Calibration | None = None

    @classmethod
    def for_core(
        cls,
        core: CoreParameters,
        *,
        weight_width: int,
        scales: Scales = Scales.POPULATION,
        weight_widths: Mapping[str, int] = MappingProxyType({}),
        calibration: Calibration | None = None,
    ) -> Quantisation:
        """Return the widths of the core of a fabric."""
        value_width = core.value_width or cls.value_width
        return cls(
            weight_width=weight_width,
            v_width=core.v_width,
            beta_fraction=core.beta_fraction,
            value_width=value_width,
            multiplier=core.multiplier,
            scales=scales,
            weight_widths=weight_widths,
            calibration=calibration,
        )

    def __post_init__(self) -> None:
        for name, low, high in (
            ("weight_width", 1, 16),
            ("v_width", 8, 24),
            ("beta_fraction", 1, 20),
            ("value_width", 2, 16),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        for name, width in self.weight_widths.items():
            if not isinstance(width, int) or not 1 <= width <= 16:
                raise ValueError(f"weight_widths of {name!r} must be an integer from 1 to 16, not {width!r}")
        object.__setattr__(self, "weight_widths", dict(self.weight_widths))  # a copy of its own
        if not isinstance(self.scales, Scales):
            raise TypeError(f"scales must be a Scales, not {self.scales!r}")

    def width_of(self, population: Population) -> int:
        """Return the width in bits of the weights into ``population``: from ``weight_widths``, else the one that the
        population asks for (`Population.weight_bits`), else ``weight_width``."""
        asked = self.weight_width if population.weight_bits is None else population.weight_bits
        return self.weight_widths.get(population.name, asked)

    def for_layer(self, name: str) -> Quantisation:
        """Return the quantisation of the population ``name`` alone: ``weight_width`` is that of its weights."""
        return replace(self, weight_width=self.weight_widths.get(name, self.weight_width), weight_widths={})


def quantise(network: Network, quantisation: Quantisation | None = None) -> QuantisedNetwork:
    """Return the integer form of ``network``. Raises `QuantiseError` if a value cannot be represented."""
    options = quantisation or Quantisation()
    _refuse_alpha_functions(network)
    widths = _widths(network, options)
    widest = max(widths.values())
    notes: list[str] = []
    exponents, value_exponents = _exponents(network, options, notes)
    connections = tuple(
        QuantisedConnection(
            source=INPUT if c.source == "input" else c.source,
            target=c.target,
            weight=_to_integers(
                c.weight,
                exponent_of_weights(c, exponents[c.target], value_exponents.get(c.source, 0)),
                widths[c.target],
            ),
            convolution=c.convolution,
            pooling=c.pooling,
            delay=c.delay,
        )
        for c in network.connections
    )
    populations = tuple(
        QuantisedPopulation(
            name=p.name,
            parameters=_neuron_parameters(network, p, exponents[p.name], options, notes),
            weight_width=None if widths[p.name] == widest else widths[p.name],
        )
        for p in network.populations
    )
    return QuantisedNetwork(
        name=network.name,
        inputs=int(np.prod(network.input_shape)),
        populations=populations,
        connections=connections,
        output=network.output,
        weight_width=widest,
        input_value_width=network.input_value_width,
        notes=network.notes + tuple(notes),
        units=network.attentions,
    )


def _refuse_alpha_functions(network: Network) -> None:
    for population in network.populations:
        if population.alpha_function:
            factor = population.synaptic_gain
            low, high = f"{factor.min():.6g}", f"{factor.max():.6g}"
            raise QuantiseError(
                f"population {population.name!r} consists of Alpha neurons, which run in the float model only; train "
                f"it with Synaptic neurons of the same alpha and beta and input weights times "
                f"{low if low == high else f'{low} to {high}'}, which respond to input alike, one step earlier"
            )


def _widths(network: Network, options: Quantisation) -> dict[str, int]:
    """Return the width of the weights into each population, by name."""
    names = [population.name for population in network.populations]
    unknown = sorted(set(options.weight_widths) - set(names))
    if unknown:
        raise QuantiseError(
            f"weight widths must be of populations of network {network.name}, which are {', '.join(names)}, not of "
            f"{', '.join(unknown)}"
        )
    return {population.name: options.width_of(population) for population in network.populations}


def scale_exponents(network: Network, quantisation: Quantisation) -> tuple[dict[str, Exponent], dict[str, int]]:
    """Return the exponent ``e`` of the scale of each population, and of the values of each graded one, by name.

    It is ``(n,)`` where the neurons of a population have scales of their own.

    An integer ``k`` of the population stands for ``k 2**-e``; an integer weight for ``k 2**-(e - f)``, where ``f`` is
    the exponent of the values of its source, 0 for spikes without values.
    """
    return _exponents(network, quantisation, [])


def exponent_of_weights(connection: Projection, exponent: Exponent, of_values: int) -> Exponent:
    """Return the exponent of the weights of ``connection``: one, or an array that broadcasts to their numbers.

    ``exponent`` is that of the target and ``of_values`` that of the values of the source.
    """
    if isinstance(exponent, int):
        return exponent - of_values
    if isinstance(connection.weight, SparseMatrix):
        return exponent[connection.weight.rows] - of_values
    rows = len(connection.kernel)
    # The neurons of a channel are next to each other, and share their exponent.
    return exponent[:: len(exponent) // rows].reshape(-1, *[1] * (connection.kernel.ndim - 1)) - of_values


def _to_integers(weight: Matrix, exponent: Exponent, width: int) -> Matrix:
    if isinstance(weight, SparseMatrix):
        return weight.map(lambda values: _to_weights(values, exponent, width))
    return _to_weights(weight, exponent, width)


def _to_weights(weight: NDArray[np.float64], exponent: Exponent, width: int) -> NDArray[np.int64]:
    if width == 1:
        return np.where(weight < 0, -1, 1)
    low, high = weight_range(width)
    return np.clip(np.rint(np.ldexp(weight, exponent)), low, high).astype(np.int64)


def _exponents(network: Network, options: Quantisation, notes: list[str]) -> tuple[dict[str, Exponent], dict[str, int]]:
    """Return the scale of each population, and of the values of each graded one.

    A value is never finer than the membrane it comes from, whose scale depends on the values that reach it: hence the
    iteration, which takes two rounds except for graded spikes in loops.
    """
    graded = [population for population in network.populations if population.graded]
    own = {p.name for p in network.populations if options.scales is Scales.NEURON and _may_differ(network, p)}
    values = {population.name: _value_exponent(population, options) for population in graded}
    for _ in range(len(graded) + 8):
        found: list[str] = []
        # Populations whose neurons have scales of their own get their notes from `_own_exponents` below.
        exponents = {
            p.name: _exponent(network, p, values, options, [] if p.name in own else found) for p in network.populations
        }
        before = values
        values = {p.name: _exponent_of_values(p, exponents[p.name], options) for p in graded}
        if values == before:
            each = {
                p.name: _own_exponents(network, p, values, options, found) for p in network.populations if p.name in own
            }
            notes.extend(found)
            notes.extend(_sharing(network, values, options))
            return {**exponents, **each}, values
    raise QuantiseError(
        f"the values of {' and '.join(p.name for p in graded)} must not grow from step to step: make the weights of "
        "their loops smaller"
    )


def _exponent_of_values(population: Population, exponent: int, options: Quantisation) -> int:
    # The number of spikes is an integer already.
    return 0 if population.max_spikes > 1 else exponent - _graded_shift(population, exponent, options)


def _value_exponent(population: Population, options: Quantisation) -> int:
    """Return the finest scale at which the largest value is at most ``2**(value_width - 1)``; 0 for numbers of
    spikes."""
    if population.max_spikes > 1:
        return 0
    fraction, exponent = np.frexp(population.value_limit or 1.0)
    return options.value_width - 1 - int(exponent) + int(fraction == 0.5)


def _graded_shift(population: Population, exponent: int, options: Quantisation) -> int:
    if population.value_limit is None:
        return 0
    return min(max(exponent - _value_exponent(population, options), 0), options.v_width - 1)


def _exponent(
    network: Network, population: Population, values: Mapping[str, int], options: Quantisation, notes: list[str]
) -> int:
    """Return the exponent of the scale of the population with the least squared error of its weights.

    Clipping a few large weights can cost less than coarser steps for all, especially at few bits; a note gives the
    number of clipped weights.
    """
    with np.errstate(over="ignore"):
        parts = [
            np.ldexp(numbers_of(c.weight), -values.get(c.source, 0))
            for c in network.connections
            if c.target == population.name
        ]
    weights = np.concatenate(parts) if parts else np.zeros(0)
    importance = _importance(network, population, values, options)
    if not np.isfinite(weights).all():
        raise QuantiseError(
            f"population {population.name}: its weights times the largest values that reach it must be finite"
        )
    into = [c.weight for c in network.connections if c.target == population.name]
    zeros = int(np.sum(weights == 0.0)) + sum(prod(w.shape) - w.count for w in into if isinstance(w, SparseMatrix))
    width = options.width_of(population)
    if width == 1 and zeros:
        raise QuantiseError(
            f"population {population.name}: its weights must not be 0 at 1 bit, but {zeros:,} are; use 2 bits"
        )
    _, high = weight_range(width)
    largest = float(np.abs(weights).max(initial=0.0))
    if largest == 0.0 and population.spiking:
        largest = float(np.abs(population.threshold).max())
    room = _largest_exponent(population, options)
    if largest == 0.0:
        return room if room < _NO_CONSTANTS else 0  # no input: any scale will do
    fits = _power_below(high, largest)  # finest scale without clipping
    best, least = None, np.inf
    for exponent in range(fits, min(fits + 8, room + 1)):
        # In units of ``2**-fits``, so that the square of a weight neither overflows nor underflows.
        kept = np.ldexp(_to_weights(weights, exponent, width).astype(np.float64), fits - exponent)
        error = float(np.sum(importance * (kept - np.ldexp(weights, fits)) ** 2))
        if error < least:
            best, least = exponent, error
    forced = best is None
    if best is None:
        best = room
        notes.append(
            f"population {population.name}: its scale is 2**{room}, not 2**{fits}, so that {_kept_of(options)} fit "
            f"{options.v_width} bits"
        )
    if width == 1:
        return best
    integers = _to_weights(weights, best, width)
    clipped = int(np.sum(np.rint(np.ldexp(weights, best)) != integers))
    if clipped:
        notes.append(f"population {population.name}: {clipped:,} of {weights.size:,} weights are clipped")
    present = np.count_nonzero(weights)
    lost = int(present - np.count_nonzero(integers))
    # At few bits many weights become 0 by design; 2 bits are ternary weights.
    if lost and (forced or (2 * lost > present and width > 2)):
        notes.append(
            f"population {population.name}: {lost:,} of {present:,} weights become 0, because its largest weight or "
            "its threshold is so much larger; use wider weights and membranes"
        )
    return best


def _sharing(network: Network, values: Mapping[str, int], options: Quantisation) -> list[str]:
    """Return a note for each population whose neurons would gain from scales of their own but must share one."""
    found = []
    for p in network.populations if options.scales is Scales.NEURON else ():
        why = "its noise has one amplitude for all of them" if p.noise else "their values meet the same weights"
        if (
            p.name == network.output
            or not (p.noise or p.value_limit is not None)
            or len(_channel_sizes(network, p)) != 1
        ):
            continue
        if len(np.unique(_own_exponents(network, p, values, options, []))) > 1:
            found.append(f"population {p.name}: its neurons share a scale, because {why}")
    return found


def _kept_of(options: Quantisation) -> str:
    """Return what bounds a scale, for a sentence."""
    return "thresholds and biases" if options.calibration is None else "thresholds, biases and recorded membranes"


def _importance(
    network: Network, population: Population, values: Mapping[str, int], options: Quantisation
) -> NDArray[np.float64] | float:
    """Return how much the square of the error of each weight into ``population`` counts; 1 without a calibration, or if
    nothing fires."""
    into = [c for c in network.connections if c.target == population.name]
    if options.calibration is None or not into:
        return 1.0
    # An integer value stands for less, the finer its scale.
    found = [np.ldexp(options.calibration.importance(c), 2 * values.get(c.source, 0)) for c in into]
    together = np.concatenate(found)
    return together if together.any() else 1.0


def _room_of_membranes(population: Population, options: Quantisation, together: int) -> NDArray[np.int64]:
    """Return the exponents of the finest scales at which recorded membranes fit, one for each ``together`` neurons."""
    calibration, count = options.calibration, population.size // together
    if calibration is None or population.name not in calibration.largest:
        return np.full(count, _NO_CONSTANTS)
    largest = calibration.largest[population.name].reshape(count, together).max(axis=1)
    _, most = signed_range(options.v_width)
    return np.array([_power_below(most, value) if value else _NO_CONSTANTS for value in largest], np.int64)


def _may_differ(network: Network, population: Population) -> bool:
    """Whether the neurons of ``population`` may have scales of their own; see `Scales`."""
    shared = population.name == network.output or population.noise or population.value_limit is not None
    shared = shared or population.delay is not None
    return not shared and len(_channel_sizes(network, population)) == 1


def _channel_sizes(network: Network, population: Population) -> set[int]:
    """Return how many neurons share weights in each of the convolutions into ``population``; 1 without any."""
    into = [c.convolution for c in network.connections if c.target == population.name]
    return {population.size // convolution.output_channels for convolution in into if convolution is not None} or {1}


def _own_exponents(
    network: Network, population: Population, values: Mapping[str, int], options: Quantisation, notes: list[str]
) -> NDArray[np.int64]:
    """Return the exponents ``(n,)`` of the neurons of ``population``, by the rule of `_exponent` for each channel, or
    for each neuron without channels."""
    (together,) = _channel_sizes(network, population)
    count = population.size // together

    def largest_of(fields: list[str]) -> NDArray[np.float64]:
        found = [np.abs(array) for name in fields if (array := getattr(population, name)) is not None]
        return np.max([np.zeros(population.size), *found], axis=0).reshape(count, together).max(axis=1)

    weights, owners = [np.zeros(0)], [np.zeros(0, np.int64)]
    for connection in network.connections:
        if connection.target != population.name:
            continue
        numbers = np.ldexp(numbers_of(connection.weight), -values.get(connection.source, 0)).reshape(-1)
        if isinstance(connection.weight, SparseMatrix):
            rows = connection.weight.rows
        else:
            rows = np.repeat(np.arange(len(connection.kernel)), len(numbers) // len(connection.kernel))
        # A kernel has a row per channel, a matrix one per neuron.
        owners.append(rows if connection.convolution is not None else rows // together)
        weights.append(numbers)
    weight, owner = np.concatenate(weights), np.concatenate(owners)
    largest = np.zeros(count)
    np.maximum.at(largest, owner, np.abs(weight))
    # Without weights the threshold decides, as for a whole population; without either, any scale will do.
    largest = np.where(largest > 0.0, largest, largest_of(["threshold"] if population.spiking else []))
    constants = largest_of([name for name in SCALED if population.spiking or name != "threshold"])
    width = options.width_of(population)
    _, high = weight_range(width)
    _, most = signed_range(options.v_width - 1)
    room = np.array([_power_below(most, value) if value else _NO_CONSTANTS for value in constants], np.int64)
    room = np.minimum(room, _room_of_membranes(population, options, together))
    importance = _importance(network, population, values, options)
    unknown = np.where(room < _NO_CONSTANTS, room, 0)
    fits = np.array(
        [_power_below(high, value) if value else other for value, other in zip(largest, unknown, strict=True)], np.int64
    )
    best, least = np.minimum(fits, room), np.full(count, np.inf)
    for further in range(8):
        # In units of the finest step without clipping, so that squares neither overflow nor underflow.
        kept = np.ldexp(_to_weights(weight, fits[owner] + further, width).astype(np.float64), -further)
        error = np.bincount(owner, importance * (kept - np.ldexp(weight, fits[owner])) ** 2, count)
        better = (error < least) & (fits + further <= room)
        best, least = np.where(better, fits + further, best), np.where(better, error, least)
    coarser = int(np.count_nonzero(best < fits))
    if coarser:
        what = "channels" if together > 1 else "neurons"
        notes.append(
            f"population {population.name}: the scales of {coarser:,} of {count:,} {what} are coarser than their "
            f"weights need, so that {_kept_of(options)} fit {options.v_width} bits"
        )
    return np.repeat(best, together)


def _power_below(bound: int, value: float) -> int:
    """Return the largest ``k`` for which ``value * 2**k`` is at most ``bound``, up to the rounding of a division."""
    # Use the mantissa, because a quotient near the ends of the float range overflows or underflows.
    mantissa, exponent = np.frexp(value)
    return int(np.frexp(bound / mantissa)[1]) - 1 - int(exponent)


def _largest_exponent(population: Population, options: Quantisation) -> int:
    """Return the finest scale at which the constants of the population fit the membrane with one bit of headroom."""
    # The threshold of neurons that never spike is not stored.
    names = [name for name in SCALED if population.spiking or name != "threshold"]
    constants = [values for name in names if (values := getattr(population, name)) is not None]
    if population.delay is not None:
        return _NO_CONSTANTS
    largest = max(float(np.abs(values).max(initial=0.0)) for values in constants)
    room = _power_below(signed_range(options.v_width - 1)[1], largest) if largest else _NO_CONSTANTS
    return min(room, int(_room_of_membranes(population, options, population.size)[0]))


def _remedy_for(network: Network, population: Population, value: float, exponent: int, options: Quantisation) -> str:
    """Return the remedy, as part of a sentence, for a constant ``value`` that is rounded to 0 at ``2**exponent``."""
    mantissa, place = np.frexp(value)
    missing = -int(place) - exponent + int(mantissa == 0.5)  # more bits until the value is above one half
    if exponent >= _largest_exponent(population, options):
        what, bits, most = "membranes", options.v_width + missing, 24
    else:
        what, bits, most = "weights", options.width_of(population) + missing, 16
    wider = f"{what} of at least {bits} bits"
    if _kept_by_own_scales(network, population, options):
        return "use a scale per neuron (--scales neuron)" + f" or {wider}" * (bits <= most)
    if bits <= most:
        return f"use {wider}"
    factor = f"{2.0 ** min(bits - most, 1000):.0e}"
    larger = "largest weight" if what == "weights" else "other constants"
    return f"{most} bits are too few as well: its {larger} must be {factor} times smaller"


def _kept_by_own_scales(network: Network, population: Population, options: Quantisation) -> bool:
    """Whether scales per neuron would keep all constants of ``population`` that must not become 0."""
    if options.scales is Scales.NEURON or not _may_differ(network, population):
        return False
    exponents = _exponents(network, replace(options, scales=Scales.NEURON), [])[0][population.name]
    fields = [values for name in NEVER_ZERO if (values := getattr(population, name)) is not None]
    return all(bool(np.all((np.rint(np.ldexp(values, exponents)) != 0) | (values == 0))) for values in fields)


def _neuron_parameters(
    network: Network, population: Population, exponent: Exponent, options: Quantisation, notes: list[str]
) -> NeuronParameters:
    if population.delay is not None:
        return _delay_line(population, options)

    fields: dict[str, Any] = {name: getattr(population, name) for name in COPIED}
    for name in SCALED:
        values = getattr(population, name)
        if values is None:
            continue
        fields[name] = np.rint(np.ldexp(values, exponent)).astype(np.int64)
        lost = (fields[name] == 0) & (values != 0)
        if name in NEVER_ZERO and population.spiking and np.any(lost):
            worst = int(np.argmin(np.where(lost, np.abs(values), np.inf)))
            smallest = float(np.abs(values)[worst])
            of_worst = exponent if isinstance(exponent, int) else int(exponent[worst])
            raise QuantiseError(
                f"population {population.name}: its {name.replace('_', ' ')} must be at least half of the weights' "
                f"step at {options.width_of(population)} bits, so that it does not become 0; "
                + _remedy_for(network, population, smallest, of_worst, options)
            )
    for leaking in LEAKS:
        factors = getattr(population, leaking.factor)
        if factors is not None:
            kind, factor = _leak(population, leaking.factor.replace("_", " "), factors, options, notes)
            fields |= {leaking.leak: kind, f"{leaking.leak}_factor": factor}
    if np.all(population.beta == 0.0):
        fields["leak"] = Leak.CLEAR
    if population.alpha is not None and not np.any(population.alpha):
        fields["current_leak"] = None  # a current that lasts one step equals the input itself
    if not population.spiking:
        fields["threshold"] = 0
    if population.max_spikes > signed_range(options.value_width)[1]:
        raise QuantiseError(
            f"population {population.name}: its {population.max_spikes} spikes per step must fit value_width, which "
            f"must be at least {population.max_spikes.bit_length() + 1} bits, not {options.value_width}"
        )
    # Populations with noise or with values of their membranes have one scale.
    shared = exponent if isinstance(exponent, int) else 0
    noise_bits = _noise_bits(population, shared, options, notes)
    return NeuronParameters(
        size=population.size,
        v_width=options.v_width,
        beta_fraction=options.beta_fraction,
        rounding=options.rounding,
        noise_bits=noise_bits,
        seed=network.seeds[population.name] if noise_bits else 1,
        graded=population.graded,
        graded_shift=_graded_shift(population, shared, options),
        value_width=options.value_width,
        **fields,
    )


def _delay_line(population: Population, options: Quantisation) -> NeuronParameters:
    longest = int(np.asarray(population.delay).max())
    if longest >= options.v_width:
        raise QuantiseError(
            f"population {population.name}: its delays must be at most {options.v_width - 1} steps where membranes "
            f"have {options.v_width} bits, not {longest}; use wider membranes or a longer time step"
        )
    return NeuronParameters(
        size=population.size,
        v_width=options.v_width,
        beta_fraction=options.beta_fraction,
        rounding=options.rounding,
        delay_line=True,
        delay=np.asarray(population.delay),
    )


def _noise_bits(population: Population, exponent: int, options: Quantisation, notes: list[str]) -> int:
    """Return the bits of the noise: ``-2**(bits - 1)`` to ``2**(bits - 1) - 1`` steps, the nearest power of two."""
    if not population.noise:
        return 0
    bits = int(np.rint(np.log2(population.noise))) + exponent + 1
    if bits > RANDOM_WIDTH:
        raise QuantiseError(
            f"population {population.name}: its noise must be at most {2.0 ** (RANDOM_WIDTH - 1 - exponent):g}, not "
            f"{population.noise:g}, at {options.width_of(population)} bits per weight; use fewer"
        )
    kept = 2.0 ** (bits - 1 - exponent)
    if bits < 1:
        notes.append(f"population {population.name}: its noise is less than a step of its membrane and is dropped")
    elif kept != population.noise:
        notes.append(f"population {population.name}: its noise is {kept:g}, not {population.noise:g}")
    return max(bits, 0)


def _leak(
    population: Population, name: str, factors: NDArray[np.float64], options: Quantisation, notes: list[str]
) -> tuple[Leak, NDArray[np.int64]]:
    """Return the leak ``name`` that multiplies by ``factors`` ``(n,)``: none, a shift, or a product."""
    kind, fixed = leak_of(factors, options, membrane=name == "beta")
    if kind is Leak.SHIFT and name != "beta":
        notes.append(f"population {population.name}: {name} is a shift, which is less exact than a product")
    if kind is Leak.MULTIPLY:
        lost = float(np.abs(fixed / 2.0**options.beta_fraction - factors).max())
        if lost:
            notes.append(f"population {population.name}: {name} is off by at most {lost:.1e}")
    return kind, fixed


def leak_of(
    factors: NDArray[np.float64], options: Quantisation, *, membrane: bool = True
) -> tuple[Leak, NDArray[np.int64]]:
    """Return the leak that multiplies by ``factors`` ``(n,)``, 0 to 1, in integers: none, a shift, or a product.

    ``membrane`` is False for the factors of currents and adaptations, which become shifts only without a multiplier.
    """
    if np.all(factors == 1.0):
        return Leak.NONE, np.zeros(factors.shape, np.int64)
    with np.errstate(divide="ignore"):
        shift = -np.log2(1.0 - factors)
    if (membrane or not options.multiplier) and np.all(np.isfinite(shift)):
        k = np.rint(shift)
        # Exporters store tau as 32-bit floats, so an exact power of two comes back with rounding errors.
        if np.all((k >= 1) & (k < min(options.v_width, options.beta_fraction + 1)) & (np.abs(shift - k) < 1e-3)):
            return Leak.SHIFT, k.astype(np.int64)
    return Leak.MULTIPLY, np.rint(np.ldexp(factors, options.beta_fraction)).astype(np.int64)
