"""Programs for a mesh with one attention tile, made by hand: placement does not know attention.

A population of as many neurons stands in for the attention: the rest of the network is laid out around it in a fabric
of cores alone. So the spikes that lead to it and come from it have blocks of axons, which are pages of the attention
tile because all blocks are of the same size. Then registers take the place of the stand-in's memories. The neurons of
Q, K, V and A are numbered as the tile does it, ``(heads, tokens, features)``; the network has tokens last.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.fabric import SMALL
from harness.networks import random_parameters
from spikeloom.sim.attention import AttentionParameters, AttentionTileParameters, register_seeds
from spikeloom.sim.core import PER_NEURON
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.mesh import MeshParameters
from spikeloom.sim.network import (
    INPUT,
    QuantisedAttention,
    QuantisedConnection,
    QuantisedNetwork,
    QuantisedPopulation,
)
from spikeloom.sim.words import unpack_lanes
from spikeloom.sw.assign import Assignment
from spikeloom.sw.layout import layouts
from spikeloom.sw.place import place_assigned
from spikeloom.sw.program import Program
from spikeloom.sw.split import split

SOURCES = ("query", "key", "value")
NAME = "attention"
CORE = replace(SMALL, neurons=128, axons=512)


def fabric_of(shape: AttentionParameters, *, tile: int = 2, queue_depth: int = 2) -> FabricConfig:
    """A mesh of 2 x 2: the host, cores, and an attention tile of this shape as tile number ``tile``."""
    attention = AttentionTileParameters(attention=shape, axon_width=9)
    tiles = (None, *(attention if number == tile else CORE for number in (1, 2, 3)))
    return FabricConfig(name="attention", tiles=tiles, mesh=MeshParameters(columns=2, rows=2, queue_depth=queue_depth))


def random_attention_network(rng: np.random.Generator, shape: AttentionParameters) -> QuantisedNetwork:
    """Input, populations for Q, K and V, attention and an output population; skips and loops at random."""
    size, outputs = shape.heads * shape.tokens * shape.features, int(rng.integers(3, 12))
    size_of = {INPUT: size, **dict.fromkeys((*SOURCES, NAME), size), "output": outputs}

    def connect(source: str, target: str, delay: int = 0) -> QuantisedConnection:
        weight = rng.integers(-50, 100, (size_of[target], size_of[source])) * (
            rng.random((size_of[target], size_of[source])) < 0.5
        )
        return QuantisedConnection(source=source, target=target, weight=weight, delay=delay)

    connections = [connect(INPUT, name) for name in SOURCES] + [connect(NAME, "output")]
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
        attentions=(
            QuantisedAttention(
                name=NAME,
                query="query",
                key="key",
                value="value",
                parameters=shape,
                seed=int(rng.integers(1 << 32)),
                causal=bool(rng.integers(2)),
            ),
        ),
    )


def _axons(program: Program, network: QuantisedNetwork, name: str) -> np.ndarray:
    """The axons ``(n,)`` of a population, as its routes have them."""
    tile_of = program.assignment.tile_of
    tile = tile_of[name]
    core = program.fabric.cores[tile]
    (words,) = (image.words for image in program.memories if (image.tile, image.name) == (tile, "routes"))
    routes = core.route_layout.values(unpack_lanes(words, 1, core.route_layout.width))
    held = [p.name for p in network.populations if tile_of[p.name] == tile]
    return routes["axon"].reshape(-1)[layouts(network, core.lanes, held)[name].slots]


def program_of(network: QuantisedNetwork, fabric: FabricConfig, observe: tuple[str, ...]) -> Program:
    """``network`` on ``fabric``, Q, K and V in its first core, the output in its second; ``observe`` as in `place`.

    Attention can be observed too.
    """
    ((tile, parameters),) = fabric.attentions.items()
    first, second = fabric.cores
    (attention,) = network.attentions
    shape = parameters.attention
    order = np.arange(attention.size).reshape(shape.heads, shape.features, shape.tokens).swapaxes(1, 2).reshape(-1)
    renumbered = (*SOURCES, NAME)

    def population(old: QuantisedPopulation) -> QuantisedPopulation:
        own = {name: np.asarray(getattr(old.parameters, name))[order] for name in PER_NEURON}
        return QuantisedPopulation(name=old.name, parameters=replace(old.parameters, **own))

    def connection(old: QuantisedConnection) -> QuantisedConnection:
        weight = old.weight[order] if old.target in renumbered else old.weight
        return replace(old, weight=weight[:, order] if old.source in renumbered else weight)

    *sources, output = network.populations
    sources = [population(source) for source in sources]
    stand_in = replace(
        network,
        populations=(*sources, replace(sources[0], name=NAME), output),
        connections=(
            *map(connection, network.connections),
            *(
                QuantisedConnection(source=source, target=NAME, weight=np.eye(attention.size, dtype=np.int64))
                for source in SOURCES
            ),
        ),
        attentions=(),
    )
    # The stand-in takes more weights than a core of the fabric has.
    cores = [replace(CORE, weight_words=1 << 13) if number == tile else CORE for number in (1, 2, 3)]
    plain = FabricConfig(tiles=(None, *cores), mesh=fabric.mesh)
    assert plain.axon_width == fabric.axon_width
    tile_of = dict.fromkeys(SOURCES, first) | {NAME: tile, "output": second}
    assignment = Assignment(parts=split(stand_in, {}), tile_of=tile_of)
    placed = place_assigned(assignment, plain, observe=observe)
    axons = {name: _axons(placed, stand_in, name) for name in renumbered}
    registers = {name: value for number, name, value in placed.registers if number == tile}
    del registers["populations"]
    score_seed, output_seed = register_seeds(attention.seed)
    for role, name in (*zip(SOURCES, SOURCES, strict=True), ("output", NAME)):
        page, rest = divmod(int(axons[name][0]), 1 << parameters.index_bits)
        assert not rest
        assert np.array_equal(axons[name], parameters.axons(page).reshape(-1))
        registers[f"{role}_page"] = page
    registers |= {
        "spike_destinations": registers["tick_destinations"] | registers["delayed_tick_destinations"],
        "score_seed": score_seed,
        "output_seed": output_seed,
        "causal": int(attention.causal),
    }
    output_axons, start = placed.output_axons.copy(), 0
    for name, size in placed.observed:
        if name in renumbered:
            output_axons[start + order] = placed.output_axons[start : start + size]
        start += size
    return replace(
        placed,
        fabric=fabric,
        memories=tuple(image for image in placed.memories if image.tile != tile),
        registers=(
            *(register for register in placed.registers if register[0] != tile),
            *((tile, name, value) for name, value in registers.items()),
        ),
        output_axons=output_axons,
    )
