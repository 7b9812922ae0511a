"""Seeded random float networks with every feature of `Network`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from harness.networks import random_convolution
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, LONGEST_DELAY, Population
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.projection import Pooling
from spikeloom.sim.network.sparse import SparseMatrix


def random_population(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], *, spiking: bool = True
) -> Population:
    """A population with a random reset rule and random features, as far as its checks allow."""
    size = int(np.prod(shape))

    def values(low: float, high: float) -> Any:
        return rng.uniform(low, high, size if rng.random() < 0.7 else ())

    def factor() -> Any:
        return [values(0.0, 1.0), np.zeros(()), np.ones(()), np.full((), 0.875)][rng.integers(4)]

    if spiking and rng.random() < 0.1:
        return Population(name=name, shape=shape, delay=rng.integers(0, LONGEST_DELAY + 1, size), reset=Reset.NONE)
    while True:
        options: dict[str, Any] = {
            "beta": factor(),
            "threshold": values(0.1, 1.5),
            "bias": values(-0.2, 0.4) if rng.random() < 0.6 else np.zeros(()),
            "reset_value": values(-0.5, 0.2) if rng.random() < 0.5 else np.zeros(()),
            "spiking": spiking,
            "compare": list(Compare)[rng.integers(len(Compare))],
            "reset": list(Reset)[rng.integers(len(Reset))] if spiking else Reset.NONE,
            "reset_delay": int(rng.integers(2)),
            "refractory": int(rng.integers(3)),
            "alpha": factor() if rng.random() < 0.3 else None,
        }
        if spiking and rng.random() < 0.3:
            options |= {"adaptation_factor": factor(), "adaptation_step": values(0.0, 0.5)}
        if spiking and rng.random() < 0.3:
            options["noise"] = float(rng.uniform(0.0, 0.5))
        if spiking and rng.random() < 0.2:
            options["value_limit"] = float(rng.uniform(1.0, 4.0))
        if spiking and rng.random() < 0.2:
            options |= {"second_threshold": True}
        if spiking and rng.random() < 0.2:
            options |= {"max_spikes": int(rng.integers(2, 16))}
        if spiking and rng.random() < 0.3:
            options |= {"lower_bound": values(-1.0, 0.2)}
        try:
            return Population(name=name, shape=shape, **options)
        except ValueError:  # features that exclude each other
            continue


def random_float_network(rng: np.random.Generator) -> Network:
    """Up to six populations, joined by matrices (dense and sparse), convolutions and poolings of every kind, with
    delays that close cycles and delays that do not, several connections between the same two, and perhaps attention."""
    line = (int(rng.choice([1, 2])), 1, int(rng.integers(3, 8)))
    convolution = random_convolution(rng, line if rng.random() < 0.3 else None)
    populations = [random_population(rng, "conv.1", convolution.output_shape)]
    kernel = rng.normal(0.0, 1.0, convolution.weight_shape)
    connections = [Connection(source=INPUT, target="conv.1", weight=kernel, convolution=convolution)]
    input_shape: tuple[int, ...] = convolution.input_shape
    if input_shape[1] == 1 and rng.random() < 0.5:
        input_shape = (input_shape[0], input_shape[2])
    if rng.random() < 0.3:
        input_shape = (int(np.prod(input_shape)),)
    for number in range(int(rng.integers(1, 4))):
        name, size = f"dense{number}", int(rng.integers(1, 9))
        last = populations[-1]
        populations.append(random_population(rng, name, (size,)))
        # A delay line stores no values.
        sources = [population for population in populations[:-1] if rng.random() < 0.4 or population is last]
        sources = [source for source in sources if not (source.graded and populations[-1].delay is not None)]
        for source in sources:
            weight: Any = rng.normal(0.0, 1.0, (size, source.size))
            pooling = None
            if source.name == "conv.1" and min(convolution.output_shape[1:]) > 1 and rng.random() < 0.5:
                pooling = Pooling(input_shape=convolution.output_shape, window=(2, 1))
                weight = weight[:, : int(np.prod(pooling.output_shape))]
            elif rng.random() < 0.3:
                weight = SparseMatrix.from_dense(weight * (rng.random(weight.shape) < 0.5))
            delay = int(rng.random() < 0.3)
            connections.append(Connection(source=source.name, target=name, weight=weight, pooling=pooling, delay=delay))
        if rng.random() < 0.2:
            connections.append(connections[-1])
        if rng.random() < 0.5:
            weight = rng.normal(0.0, 0.3, (size, size))
            connections.append(Connection(source=name, target=name, weight=weight, delay=1))
        if rng.random() < 0.3:
            connections.append(
                Connection(source=INPUT, target=name, weight=rng.normal(0, 1, (size, np.prod(input_shape))))
            )
    attentions: tuple[QuantisedAttention, ...] = ()
    if rng.random() < 0.3:
        parameters = AttentionParameters(tokens=4, features=2, heads=int(rng.integers(1, 3)), rows=2)
        shape = (parameters.heads * 2, 4) if rng.random() < 0.5 else (parameters.heads * 8,)
        for role in "qkv":
            plain = Population(name=role, shape=shape, beta=0.5, threshold=0.3)
            populations.append(plain)
            weight = rng.normal(0.0, 1.0, (plain.size, int(np.prod(input_shape))))
            connections.append(Connection(source=INPUT, target=role, weight=weight))
        seed, causal = int(rng.integers(1 << 63, dtype=np.uint64)) * 2 + 1, bool(rng.random() < 0.5)
        attentions = (
            QuantisedAttention(
                name="attention", query="q", key="k", value="v", parameters=parameters, seed=seed, causal=causal
            ),
        )
        populations.append(random_population(rng, "after", (3,)))
        weight = rng.normal(0.0, 1.0, (3, attentions[0].size))
        connections.append(Connection(source="attention", target="after", weight=weight))
    if rng.random() < 0.4:
        last = populations[-1]
        populations.append(random_population(rng, "readout", (4,), spiking=False))
        connections.append(Connection(source=last.name, target="readout", weight=rng.normal(0, 1, (4, last.size))))
    order = rng.permutation(len(connections))
    encoder = {"kind": "rate", "steps": 12, "gain": 0.3, "channels": (1, 2, 3)} if rng.random() < 0.3 else None
    return Network(
        name="random network",
        input_shape=input_shape,
        populations=tuple(populations),
        connections=tuple(connections[k] for k in order),
        attentions=attentions,
        output=populations[-1].name,
        time_step_s=float(rng.choice([1e-3, 1e-4, 0.123])),
        notes=("dense0: a note", "another") if rng.random() < 0.5 else (),
        encoder=encoder,
        seed=int(rng.integers(1, 1 << 32)),
        input_value_width=int(rng.choice([0, 0, 4])) if all(p.delay is None for p in populations) else 0,
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in every field, including each number of each array, and have the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return bool(one == other)
