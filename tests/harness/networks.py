"""Seeded random networks with every enumeration member of the neuron and every kind of connection."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from math import prod
from typing import TypeVar

import numpy as np

from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution, Pooling

T = TypeVar("T")


def rng_of(name: str) -> np.random.Generator:
    """A generator seeded by the id of the test."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def random_convolution(
    rng: np.random.Generator, shape: tuple[int, int, int] | None = None, *, channels: int = 6
) -> Convolution:
    """A small convolution with random stride, padding, dilation and groups, each direction separately."""
    shape = shape or (int(rng.choice([1, 2, 4])), int(rng.integers(3, 8)), int(rng.integers(3, 8)))
    groups = int(rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
    while True:
        try:
            return Convolution(
                input_shape=shape,
                output_channels=groups * int(rng.integers(1, channels // groups + 2)),
                kernel=tuple(int(k) for k in rng.integers(1, 5, 2)),
                stride=tuple(int(k) for k in rng.integers(1, 4, 2)),
                padding=tuple(int(k) for k in rng.integers(0, 4, 2)),
                dilation=tuple(int(k) for k in rng.integers(1, 4, 2)),
                groups=groups,
            )
        except ValueError:  # the kernel does not fit
            continue


def with_widths(network: QuantisedNetwork, widths: dict[str, int]) -> QuantisedNetwork:
    """The network with these weight widths, in bits, into some populations; weights are clipped to their range, without
    1 bit."""
    connections = []
    for connection in network.connections:
        width = widths.get(connection.target, network.weight_width)
        low, high = weight_range(width)
        connections.append(replace(connection, weight=np.clip(connection.kernel, low, high)))
    populations = tuple(replace(p, weight_width=widths.get(p.name)) for p in network.populations)
    return replace(network, populations=populations, connections=tuple(connections))


def random_parameters(
    rng: np.random.Generator, size: int, core: CoreParameters, *, spiking: bool = True
) -> NeuronParameters:
    """Neurons with random rules and models that ``core`` supports, and thresholds that small weights reach."""
    resets = [kind for kind in Reset if core.reset_value or kind is not Reset.VALUE]
    parameters = NeuronParameters(
        size=size,
        v_width=core.v_width,
        threshold=rng.integers(-5, 120, size),
        bias=rng.integers(-20, 40, size) if core.bias else 0,
        **random_leak(rng, size, core, clear=True),
        beta_fraction=core.beta_fraction,
        rounding=Rounding(rng.choice([kind.value for kind in Rounding])),
        compare=Compare(rng.choice([kind.value for kind in Compare])),
        reset=resets[rng.integers(len(resets))],
        reset_value=rng.integers(-50, 50, size),
        reset_delay=int(rng.integers(2)) if core.reset_delay else 0,
        refractory=int(rng.integers(1 << min(core.refractory_width, 2))),
        spiking=spiking,
    )
    exists = {
        "current": core.synaptic_current,
        "adaptation": core.adaptation,
        "noise": core.noise_bits > 0,
        "graded": core.value_width > 0,
        "delay_line": core.delay_line,
    }
    chance = {name: 0.25 if name == "delay_line" else 0.6 for name in FEATURES}
    chosen = [name for name in FEATURES if exists[name] and rng.random() < chance[name]]
    if chosen:
        parameters = with_features(rng, parameters, chosen, value_width=core.value_width or 8, core=core)
    if core.second_threshold and can_have_second_threshold(parameters) and rng.random() < 0.4:
        parameters = replace(parameters, reset=Reset.SUBTRACT, reset_delay=0, second_threshold=True)
    if core.count_width and can_fire_several_times(parameters) and rng.random() < 0.8:
        parameters = firing_several_times(
            rng, parameters, most=(1 << core.count_width) - 1, value_width=core.value_width
        )
    if core.lower_bound and can_have_lower_bound(parameters) and rng.random() < 0.6:
        parameters = replace(parameters, lower_bound=rng.integers(-120, 10, size))
    return as_built(parameters, core)


def random_leak(rng: np.random.Generator, size: int, core: CoreParameters, *, clear: bool = False) -> dict[str, object]:
    """A random ``leak`` and ``leak_factor`` that ``core`` supports; with ``clear``, possibly one that clears."""
    leaks, shifts = [Leak.NONE], [shift for shift in core.shifts if shift]
    if core.multiplier:
        leaks += [Leak.SHIFT, Leak.MULTIPLY]
        shifts = list(range(1, min(core.beta_fraction + 1, core.v_width)))
    elif shifts:
        leaks += [Leak.SHIFT]
    if clear and (core.multiplier or 0 in core.shifts):
        leaks += [Leak.CLEAR]
    leak = leaks[rng.choice(len(leaks))]
    factors = {Leak.SHIFT: shifts, Leak.MULTIPLY: np.arange((1 << core.beta_fraction) + 1)}
    return {"leak": leak, "leak_factor": rng.choice(factors[leak], size) if leak in factors else 0}


def can_have_second_threshold(parameters: NeuronParameters) -> bool:
    """Whether the neurons can have it, once their reset is by subtraction."""
    return parameters.spiking and not parameters.delay_line and parameters.adaptation_leak is None


def can_have_lower_bound(parameters: NeuronParameters) -> bool:
    """Whether the neurons can."""
    return parameters.spiking and not parameters.delay_line


def can_fire_several_times(parameters: NeuronParameters) -> bool:
    """Whether the neurons can, once they have no feature that excludes it."""
    return parameters.spiking and not parameters.delay_line


def firing_several_times(
    rng: np.random.Generator, parameters: NeuronParameters, *, most: int = 15, value_width: int = 8
) -> NeuronParameters:
    """The neurons, with up to ``most`` spikes per step and without the features that exclude this."""
    return replace(
        parameters,
        max_spikes=int(rng.integers(2, most + 1)),
        threshold=rng.integers(1, 60, parameters.size),
        reset=Reset.SUBTRACT if rng.random() < 0.7 else parameters.reset,
        reset_delay=0,
        adaptation_leak=None,
        noise_bits=0,
        second_threshold=False,
        graded=True,
        graded_shift=0,
        value_width=value_width,
    )


def as_built(parameters: NeuronParameters, core: CoreParameters) -> NeuronParameters:
    """The parameters, made equal for all neurons where ``core`` has one value per population."""
    shared = {name: getattr(parameters, name) for name in PER_NEURON if name not in core.per_neuron}
    return replace(parameters, **{name: int(array[0]) for name, array in shared.items() if array is not None})


FEATURES = ("current", "adaptation", "noise", "graded", "delay_line")
"""What `with_features` can add to a neuron."""


def with_features(
    rng: np.random.Generator,
    parameters: NeuronParameters,
    features: Collection[str],
    *,
    value_width: int = 8,
    core: CoreParameters | None = None,
) -> NeuronParameters:
    """The neurons ``parameters`` with the named ones of `FEATURES`, at random values on which small weights have an
    effect.

    A delay line has none of the others; neurons that never spike have only a current; a delayed subtraction of an
    adaptive threshold becomes an immediate one. With ``core``, they are neurons that it supports.
    """
    size = parameters.size
    core = core or CoreParameters(
        v_width=parameters.v_width, beta_fraction=parameters.beta_fraction, synaptic_current=True, noise_bits=8
    )
    if "delay_line" in features and parameters.spiking:
        line = NeuronParameters(size=size, v_width=parameters.v_width, beta_fraction=parameters.beta_fraction)
        return replace(line, delay_line=True, delay=rng.integers(0, parameters.v_width, size))

    changes: dict[str, object] = {}
    if "current" in features:
        changes |= {f"current_{name}": value for name, value in random_leak(rng, size, core).items()}
    if "adaptation" in features and parameters.spiking:
        changes |= {f"adaptation_{name}": value for name, value in random_leak(rng, size, core).items()}
        changes |= {"adaptation_step": rng.integers(-20, 60, size)}
        if parameters.reset is Reset.SUBTRACT:
            changes |= {"reset_delay": 0}
    if "noise" in features and parameters.spiking:
        changes |= {"noise_bits": int(rng.integers(1, core.noise_bits + 1)), "seed": rng.integers(1, 1 << 16, size)}
    if "graded" in features and parameters.spiking:
        changes |= {"graded": True, "graded_shift": int(rng.integers(0, 4)), "value_width": value_width}
    return replace(parameters, **changes)


def random_network(
    rng: np.random.Generator,
    core: CoreParameters,
    *,
    inputs: int = 9,
    sizes: tuple[int, ...] = (7, 5, 4),
    readout: bool = False,
) -> QuantisedNetwork:
    """A chain of populations with random skip connections, loops to themselves and feedback.

    The last population is the output; with ``readout`` it does not spike.
    """
    names = [f"layer{number}" for number in range(len(sizes))]
    low, high = weight_range(core.weight_width)
    populations = tuple(
        QuantisedPopulation(
            name=name,
            parameters=random_parameters(rng, size, core, spiking=not (readout and name == names[-1])),
        )
        for name, size in zip(names, sizes, strict=True)
    )
    size_of = {INPUT: inputs} | dict(zip(names, sizes, strict=True))
    spiking = [p.name for p in populations if p.parameters.spiking]

    def connect(source: str, target: str, delay: int) -> QuantisedConnection:
        shape = (size_of[target], size_of[source])
        if core.weight_width == 1:
            return QuantisedConnection(source=source, target=target, weight=rng.choice([-1, 1], shape), delay=delay)
        weight = rng.integers(low, high + 1, shape) * (rng.random(shape) < 0.8)
        return QuantisedConnection(source=source, target=target, weight=weight, delay=delay)

    connections = [connect(source, target, 0) for source, target in zip([INPUT, *names], names, strict=False)]
    connections = [c for c in connections if c.source == INPUT or c.source in spiking]
    for index, source in enumerate([INPUT, *names]):
        for target_index, target in enumerate(names):
            if source not in (INPUT, *spiking) or rng.random() > 0.4:
                continue
            if target_index > index:
                connections.append(connect(source, target, 0))
            elif source != INPUT and target_index <= index - 1:
                connections.append(connect(source, target, 1))
    return QuantisedNetwork(
        name="random",
        inputs=inputs,
        populations=populations,
        connections=tuple(connections),
        output=names[-1],
        weight_width=core.weight_width,
    )


def random_spikes(rng: np.random.Generator, steps: int, batch: int, inputs: int) -> np.ndarray:
    """Spikes ``(T, B, inputs)`` whose density differs from step to step, from none to all."""
    density = rng.choice([0.0, 0.1, 0.4, 1.0], (steps, batch, 1), p=[0.1, 0.4, 0.4, 0.1])
    return rng.random((steps, batch, inputs)) < density


def random_spatial_network(
    rng: np.random.Generator, core: CoreParameters, *, extent: int = 7, readout: bool = False
) -> QuantisedNetwork:
    """Random convolutions, poolings, matrices and pruned matrices, forward and back.

    ``map0`` and ``map1`` are convolutional, ``pool`` sums windows of ``map0``, ``flat`` is reached by matrices from the
    maps, and ``out`` by a matrix from ``flat`` whose weights are mostly 0.
    """
    low, high = weight_range(core.weight_width)

    def weights(shape: tuple[int, ...], density: float = 0.8) -> np.ndarray:
        if core.weight_width == 1:
            return rng.choice([-1, 1], shape)
        return rng.integers(low, high + 1, shape) * (rng.random(shape) < density)

    def pooled(shape: tuple[int, int, int]) -> Pooling | None:
        if rng.random() < 0.4:
            return None
        return Pooling(input_shape=shape, window=tuple(int(rng.integers(1, min(e, 3) + 1)) for e in shape[1:]))

    def fits(convolution: Convolution) -> bool:
        """Whether the map is neither trivial nor large, and has no partial words at one bit."""
        per_group = convolution.output_channels // convolution.groups
        whole = convolution.groups == 1 or per_group % core.lanes == 0
        small = max(convolution.output_shape[1:]) <= 1 << core.coordinate_width
        return small and 4 <= prod(convolution.output_shape[1:]) <= 25 and (whole or core.weight_width > 1)

    connections: list[QuantisedConnection] = []
    shapes: dict[str, tuple[int, int, int]] = {
        INPUT: (int(rng.integers(1, 4)), *(int(rng.integers(extent - 2, extent + 1)) for _ in range(2)))
    }

    def connect(source: str, target: str, weight: np.ndarray, delay: int = 0, **options: object) -> None:
        connections.append(QuantisedConnection(source=source, target=target, weight=weight, delay=delay, **options))

    for source, target in ((INPUT, "map0"), ("map0", "map1")):
        while True:
            pooling = pooled(shapes[source])
            convolution = random_convolution(rng, pooling.output_shape if pooling else shapes[source], channels=5)
            if fits(convolution):
                break
        connect(source, target, weights(convolution.weight_shape), convolution=convolution, pooling=pooling)
        shapes[target] = convolution.output_shape
    channels, height, width = shapes["map0"]
    around = Convolution(input_shape=shapes["map0"], output_channels=channels, kernel=(3, 3), padding=(1, 1))
    connect("map0", "map0", weights(around.weight_shape), delay=1, convolution=around)
    window = (min(2, height), min(2, width))
    sums = Convolution(
        input_shape=shapes["map0"], output_channels=channels, kernel=window, stride=(1, 1), groups=channels
    )
    maps = ["map0", "map1"]
    if fits(sums):
        connect("map0", "pool", np.ones(sums.weight_shape, np.int64), convolution=sums)
        shapes["pool"] = sums.output_shape
        maps.append("pool")
    shapes |= {"flat": (int(rng.integers(5, 10)), 1, 1), "out": (int(rng.integers(3, 9)), 1, 1)}
    for source in maps:
        pooling = pooled(shapes[source])
        size = prod(pooling.output_shape if pooling else shapes[source])
        connect(source, "flat", weights((prod(shapes["flat"]), size)), pooling=pooling)
    connect("flat", "out", weights((prod(shapes["out"]), prod(shapes["flat"])), 0.15))
    connect("flat", "map0", weights((prod(shapes["map0"]), prod(shapes["flat"])), 0.1), delay=1)
    populations = tuple(
        QuantisedPopulation(
            name=name,
            parameters=random_parameters(rng, prod(shapes[name]), core, spiking=not (readout and name == "out")),
        )
        for name in (*maps, "flat", "out")
    )
    return QuantisedNetwork(
        name="spatial",
        inputs=prod(shapes[INPUT]),
        populations=populations,
        connections=tuple(connections),
        output="out",
        weight_width=core.weight_width,
    )


def any_of(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of ``choices``, with its own type."""
    return choices[int(rng.integers(len(choices)))]


def random_core(rng: np.random.Generator, *, maps: bool = False) -> CoreParameters:
    """A core with any widths, models and memories, mostly with a number of words that is not a power of two.

    With ``maps`` it has coordinates, and room for a `random_spatial_network`.
    """

    def integer(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def is_set() -> bool:
        return integer(0, 1) == 1

    lanes = any_of(rng, [1, 2, 4, 8, 16])
    words = integer(300, 500) if maps else integer(18, 40)
    weight_width = integer(1, 16)
    value_width = any_of(rng, [0, 0, *range(2, 9)])
    multiplier = is_set()
    shifts = () if multiplier else tuple(map(int, rng.permutation(8)[: integer(0, 4)]))
    flags = ("reset_delay", "bias", "adaptation", "second_threshold", "lower_bound")
    # What only few of the networks of such a core show.
    often = ("delay_line", "reset_value", "readout", "synaptic_current")
    return CoreParameters(
        lanes=lanes,
        lane_banks=2 if lanes == 16 else 1,
        neurons=lanes * words,
        axons=integer(100, 300),
        weight_words=8192 if maps else 1024,
        populations=8,
        weight_width=weight_width,
        coordinate_width=3 if maps else any_of(rng, [0, 0, 1, 3]),
        geometries=32,
        sparse=weight_width > 1 and is_set(),
        v_width=integer(8, 24),
        accumulator_width=min(32, weight_width + max(1, value_width) + 9),
        multiplier=multiplier,
        shifts=shifts,
        beta_fraction=integer(4, 20),
        refractory_width=integer(0, 4),
        noise_bits=any_of(rng, [0, 1, 7, 16]),
        value_width=value_width,
        # A number of spikes is a value.
        count_width=any_of(rng, [0, *range(2, min(value_width, 5))]),
        state_memory=any_of(rng, ["block", "distributed"]),
        accumulator_memory=any_of(rng, ["block", "distributed"]),
        per_neuron=frozenset(name for name in sorted(PER_NEURON) if is_set()),
        **{name: is_set() for name in flags},
        **{name: any_of(rng, [False, True, True]) for name in often},
    )


def with_several_words(rng: np.random.Generator, core: CoreParameters) -> CoreParameters:
    """A `random_core`, changed to add several words per cycle, without the features that exclude it."""
    lanes = min(core.lanes, 4)
    return replace(
        core,
        lanes=lanes,
        lane_banks=1,
        words_per_cycle=any_of(rng, [2, 4, 8]),
        neurons=lanes * max(core.words, 60),
        weight_words=8192,
        accumulator_memory="distributed",
        value_width=0,
        count_width=0,
    )


def traits(network: QuantisedNetwork, core: CoreParameters) -> set[str]:
    """The features of a network and its core, for tests that must have seen each of them."""
    words = core.words
    banks = f", {core.lane_banks} banks" if core.lane_banks > 1 else ""
    found = {
        f"{core.lanes} lanes{banks}",
        f"accumulators in {core.accumulator_memory}",
        f"states in {core.state_memory}",
    }
    found |= {"words: a power of two" if words & (words - 1) == 0 else "words: no power of two"}
    found |= {"multiplier" if core.multiplier else "shifts" if core.shifts else "no leaks"}
    found |= {"weights of 1 bit" if core.weight_width == 1 else "narrow" if core.weight_width < 8 else "wide weights"}
    for population in network.populations:
        p = population.parameters
        if p.delay_line:
            found |= {"delay line"}
            continue
        found |= {p.leak, p.rounding, p.compare, p.reset, f"reset delay {p.reset_delay}"}
        features = {
            "refractory": p.refractory,
            "bias": p.bias.any(),
            "current": p.current_leak is not None,
            "adaptation": p.adaptation_leak is not None,
            "noise": p.noise_bits,
            "graded": p.graded,
            "second threshold": p.second_threshold,
            "several spikes": p.max_spikes > 1,
            "lower bound": p.lower_bound is not None,
            "readout": not p.spiking,
            "CubaLI": not p.spiking and p.current_leak is not None,
        }
        found |= {name for name, has in features.items() if has}
    for connection in network.connections:
        found |= {f"delay {connection.delay}", "convolution" if connection.convolution else "matrix"}
        found |= {"pooling"} if connection.pooling else set()
        found |= {"list"} if core.sparse and (connection.weight == 0).mean() > 0.5 else set()
    return {str(name) for name in found}


TRAITS = (
    *(str(kind) for kinds in (Leak, Rounding, Compare, Reset) for kind in kinds),
    *("1 lanes", "2 lanes", "4 lanes", "8 lanes", "16 lanes, 2 banks"),
    *("accumulators in block", "accumulators in distributed", "states in block", "states in distributed"),
    *("words: no power of two", "multiplier", "shifts", "narrow", "wide weights"),
    *("reset delay 0", "reset delay 1", "delay line", "refractory", "bias", "current", "adaptation", "noise"),
    *("second threshold", "several spikes", "lower bound"),
    *("graded", "readout", "CubaLI", "delay 0", "delay 1", "convolution", "matrix", "pooling", "list"),
)
"""All `traits` that random networks of both kinds must have shown."""
