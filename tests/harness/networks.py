"""Seeded random networks that reach every enumeration of the neuron and every kind of connection."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import replace
from math import prod

import numpy as np

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.network import INPUT, QuantisedConnection, QuantisedNetwork, QuantisedPopulation
from spikeloom.sim.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.projection import Convolution, Pooling
from spikeloom.sim.words import weight_range


def rng_of(name: str) -> np.random.Generator:
    """A generator seeded by a test's own id."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def random_convolution(
    rng: np.random.Generator, shape: tuple[int, int, int] | None = None, *, channels: int = 6
) -> Convolution:
    """A small convolution with random stride, padding, dilation and groups, each direction on its own."""
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


def random_parameters(
    rng: np.random.Generator, size: int, core: CoreParameters, *, spiking: bool = True
) -> NeuronParameters:
    """Neurons with random rules that ``core`` can do, and thresholds that small weights reach."""
    leaks = [Leak.NONE]
    if core.multiplier:
        leaks += [Leak.SHIFT, Leak.MULTIPLY]
    elif core.shifts:
        leaks += [Leak.SHIFT]
    leak = Leak(rng.choice([kind.value for kind in leaks]))
    if leak is Leak.SHIFT:
        factor = rng.choice(core.shifts or np.arange(1, min(core.beta_fraction + 1, core.v_width)), size)
    else:
        factor = rng.integers(0, (1 << core.beta_fraction) + 1, size)
    resets = [kind for kind in Reset if core.reset_value or kind is not Reset.VALUE]
    return NeuronParameters(
        size=size,
        v_width=core.v_width,
        threshold=rng.integers(-5, 120, size),
        bias=rng.integers(-20, 40, size),
        leak=leak,
        leak_factor=factor,
        beta_fraction=core.beta_fraction,
        rounding=Rounding(rng.choice([kind.value for kind in Rounding])),
        compare=Compare(rng.choice([kind.value for kind in Compare])),
        reset=resets[rng.integers(len(resets))],
        reset_value=rng.integers(-50, 50, size),
        reset_delay=int(rng.integers(2)) if core.reset_delay else 0,
        refractory=int(rng.integers(1 << min(core.refractory_width, 2))),
        spiking=spiking,
    )


FEATURES = ("current", "adaptation", "noise", "graded", "delay_line")
"""What `with_features` can add to a neuron."""


def with_features(
    rng: np.random.Generator, parameters: NeuronParameters, features: Collection[str], *, value_width: int = 8
) -> NeuronParameters:
    """The neurons ``parameters`` with the named ones of `FEATURES`, at random values that small weights make count.

    A delay line has none of the others; what never spikes has only a current; an adaptive threshold that is subtracted
    later is subtracted at once instead.
    """
    size, one = parameters.size, 1 << parameters.beta_fraction
    if "delay_line" in features and parameters.spiking:
        line = NeuronParameters(size=size, v_width=parameters.v_width, beta_fraction=parameters.beta_fraction)
        return replace(line, delay_line=True, delay=rng.integers(0, parameters.v_width, size))

    def leak_of() -> dict[str, object]:
        kind = [Leak.NONE, Leak.SHIFT, Leak.MULTIPLY][rng.choice(3, p=[0.1, 0.45, 0.45])]
        shifts = rng.integers(1, min(parameters.beta_fraction, parameters.v_width - 1) + 1, size)
        return {"leak": kind, "leak_factor": shifts if kind is Leak.SHIFT else rng.integers(0, one + 1, size)}

    changes: dict[str, object] = {}
    if "current" in features:
        changes |= {f"current_{name}": value for name, value in leak_of().items()}
    if "adaptation" in features and parameters.spiking:
        changes |= {f"adaptation_{name}": value for name, value in leak_of().items()}
        changes |= {"adaptation_step": rng.integers(-20, 60, size)}
        if parameters.reset is Reset.SUBTRACT:
            changes |= {"reset_delay": 0}
    if "noise" in features and parameters.spiking:
        changes |= {"noise_bits": int(rng.integers(1, 9)), "seed": rng.integers(1, 1 << 16, size)}
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
    """A chain of populations with skips, loops to themselves and feedback, all at random.

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
    """Convolutions, poolings, matrices and pruned matrices, forward and back, all at random.

    ``map0`` and ``map1`` are convolutional, ``pool`` sums windows of ``map0``, ``flat`` is reached by matrices from the
    maps, ``out`` by one from ``flat`` of which most weights are 0.
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
        """Neither trivial nor large, and without parts of words at one bit."""
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
