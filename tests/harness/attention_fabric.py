"""A mesh with an attention tile among its cores, and random networks with attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.fabric import SMALL
from harness.networks import random_parameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.noc.mesh import MeshParameters

SOURCES = ("query", "key", "value")
NAME, ANOTHER = "attention", "another"
CORE = replace(SMALL, neurons=128, axons=512)


def fabric_of(
    shape: AttentionParameters, *, units: tuple[int, ...] = (2,), columns: int = 2, queue_depth: int = 2
) -> FabricConfig:
    """A mesh of two rows: the host, cores, and attention tiles of this shape at the tile numbers ``units``."""
    attention = AttentionTileParameters(attention=shape, axon_width=9)
    mesh = MeshParameters(columns=columns, rows=2, queue_depth=queue_depth)
    tiles = (None, *(attention if number in units else CORE for number in range(1, mesh.tiles)))
    return FabricConfig(name="attention", tiles=tiles, mesh=mesh)


def random_attention_network(
    rng: np.random.Generator, shape: AttentionParameters, *, count: int = 1
) -> QuantisedNetwork:
    """Input, populations for Q, K and V, attention and an output population, with random skip connections and loops.

    With ``count`` 2, a second attention reads the same populations in other roles.
    """
    size, outputs = shape.heads * shape.tokens * shape.features, int(rng.integers(3, 12))
    size_of = {INPUT: size, **dict.fromkeys((*SOURCES, NAME, ANOTHER), size), "output": outputs}

    def connect(source: str, target: str, delay: int = 0) -> QuantisedConnection:
        weight = rng.integers(-50, 100, (size_of[target], size_of[source])) * (
            rng.random((size_of[target], size_of[source])) < 0.5
        )
        return QuantisedConnection(source=source, target=target, weight=weight, delay=delay)

    connections = [connect(INPUT, name) for name in SOURCES] + [connect(NAME, "output")]
    if count > 1:
        connections.append(connect(ANOTHER, "output"))
    for source, target, delay in (
        (INPUT, "output", 0),
        ("query", "output", 0),
        ("query", "key", 0),
        ("value", "value", 1),
        (NAME, "query", 1),
        ("output", "key", 1),
    ):
        if rng.random() < 0.5:
            connections.append(connect(source, target, delay))
    return QuantisedNetwork(
        name="random with attention",
        inputs=size,
        populations=tuple(
            QuantisedPopulation(name=name, parameters=random_parameters(rng, size_of[name], CORE))
            for name in (*SOURCES, "output")
        ),
        connections=tuple(connections),
        output="output",
        units=tuple(
            QuantisedAttention(
                name=name,
                query=query,
                key=key,
                value=value,
                parameters=shape,
                seed=int(rng.integers(1 << 32)),
                causal=bool(rng.integers(2)),
            )
            for name, (query, key, value) in zip((NAME, ANOTHER)[:count], (SOURCES, SOURCES[::-1]), strict=False)
        ),
    )
