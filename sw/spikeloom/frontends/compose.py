"""Paths between the neurons of a NIR graph, each composed to one affine map.

Everything between neurons (Linear, Affine, convolutions, pooling, Flatten, the Input and Output of nested graphs) is
reduced exactly to paths from neuron to neuron and one bias per neuron. Attention (`spikeloom.frontends.nir_attention`)
is also a source of paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from spikeloom.frontends.affine import Path, times, total_of
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import (
    ATTENTION,
    CONVOLUTIONS,
    MATRICES,
    NEURONS,
    POOLINGS,
    ROLES,
    SCALE,
    SOURCES,
    Graph,
    Node,
)
from spikeloom.frontends.order import first_appearance
from spikeloom.frontends.shapes import (
    check_edges,
    find_shapes,
    finite_array,
    geometry_at,
    kernel_of,
    scale_of,
    weight_of,
)
from spikeloom.model.population import INPUT, FloatArray

__all__ = ["Arrival", "Composition", "compose", "merged"]

_MOST_PATHS = 64


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Affine map of spikes: the paths from each source, which are summed, and a bias ``(n,)``."""

    paths: dict[str, tuple[Path, ...]]
    bias: FloatArray


def _added(arrivals: list[Arrival], size: int) -> Arrival:
    paths: dict[str, tuple[Path, ...]] = {}
    bias = np.zeros(size)
    for arrival in arrivals:
        bias = bias + arrival.bias
        for source, more in arrival.paths.items():
            paths[source] = merged((*paths.get(source, ()), *more), size)
    return Arrival(paths=paths, bias=bias)


def merged(paths: tuple[Path, ...], size: int) -> tuple[Path, ...]:
    """Return the ``paths`` to ``size`` values with all matrices merged into one by addition.

    A single identity stays an identity. Raises `LoadError` for too many paths.
    """
    if len(paths) > _MOST_PATHS:  # each pair of parallel poolings in series doubles the number of paths
        raise LoadError(f"the spikes of a node must reach another by at most {_MOST_PATHS:,} paths, not {len(paths):,}")
    plain = [path for path in paths if path.is_matrix or path.is_identity]
    if len(plain) < 2:
        return paths
    total = total_of([path.weight for path in plain], size)
    return (Path(weight=total), *(path for path in paths if path not in plain))


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Graph reduced to neurons and attention.

    ``shapes`` of all nodes; ``neurons`` and ``attentions`` in order of appearance, the latter with the neurons of their
    query, key and value; the ``arrivals`` at each neuron; and the ``output`` neuron.
    """

    shapes: Mapping[str, tuple[int, ...]]
    neurons: list[str]
    attentions: Mapping[str, tuple[str, ...]]
    arrivals: Mapping[str, Arrival]
    output: str


def compose(graph: Graph) -> Composition:
    """Reduce the nodes between neurons to affine maps of the spikes of the input and the neurons.

    Raises `LoadError` for mismatched sizes, or if the Output does not get the value of a neuron.
    """
    shapes = find_shapes(graph)
    check_edges(graph, shapes)
    leaves: dict[str, Arrival] = {}  # output of each node
    for name, node in graph.nodes.items():
        if node.kind == "Input" or node.kind in SOURCES:
            source = INPUT if node.kind == "Input" else name
            leaves[name] = Arrival(paths={source: (Path(),)}, bias=np.zeros(prod(shapes[name])))
    waiting = [name for name in graph.nodes if name not in leaves]
    while waiting:
        for name in waiting:
            if all(other in leaves for other in graph.before(name)):
                before = graph.before(name)
                arrivals = [leaves[other] for other in before]
                leaves[name] = _through(name, graph.nodes[name], shapes[before[0]], arrivals)
        waiting = [name for name in waiting if name not in leaves]
    appearance = first_appearance(graph)
    neurons = [name for name in appearance if graph.nodes[name].kind in NEURONS]
    return Composition(
        shapes=shapes,
        neurons=neurons,
        attentions={
            name: _roles(graph, name, shapes, leaves) for name in appearance if graph.nodes[name].kind == ATTENTION
        },
        arrivals={
            name: _added([leaves[before] for before in graph.before(name)], prod(shapes[name])) for name in neurons
        },
        output=_output(graph, leaves[graph.output]),
    )


def _roles(
    graph: Graph, name: str, shapes: Mapping[str, tuple[int, ...]], leaves: Mapping[str, Arrival]
) -> tuple[str, ...]:
    """Return the neurons of query, key and value of an attention: each with its own edge and unmodified spikes."""
    node, found = graph.nodes[name], []
    before = graph.before(name)
    for role in ROLES:
        source = node.parameters[role]
        if source not in before:
            raise LoadError(f"{role} of node {name!r} must be a node with an edge to it, not {source!r}")
        arrival = leaves[source]
        (neuron, paths), *others = arrival.paths.items()
        spikes = neuron != INPUT and not others and len(paths) == 1 and paths[0].is_identity and not arrival.bias.any()
        if not spikes:
            raise LoadError(f"{role} of node {name!r} must be the unmodified spikes of neurons, not {source!r}")
        if shapes[source] != shapes[name]:
            raise LoadError(f"{role} of node {name!r} must have shape {shapes[name]}, not {shapes[source]}")
        found.append(neuron)
    for source in before:
        if source not in (node.parameters[role] for role in ROLES):
            raise LoadError(f"node {name!r} must have edges from its query, key and value alone, not from {source!r}")
    return tuple(found)


def _through(name: str, node: Node, shape: tuple[int, ...], arrivals: list[Arrival]) -> Arrival:
    """Return the result of a node for the sum of ``arrivals`` of the given shape."""
    total = _added(arrivals, arrivals[0].bias.size)
    where = f"node {name!r}"
    if node.kind in MATRICES:
        matrix = weight_of(name, node)
        bias = times(matrix, total.bias)
        if node.kind == "Affine":
            own = finite_array(name, node, "bias").reshape(-1)
            if own.size not in (1, bias.size):
                raise LoadError(f"bias of {where} must have {bias.size:,} values, not {own.size:,}")
            bias = bias + own

        def step(path: Path) -> Path:
            return path.through_matrix(where, matrix)

    elif node.kind in CONVOLUTIONS:
        geometry, kernel = geometry_at(name, node, shape), kernel_of(name, node)
        own = finite_array(name, node, "bias").reshape(-1)
        if own.size not in (1, geometry.output_channels):
            raise LoadError(f"bias of {where} must have {geometry.output_channels:,} values, not {own.size:,}")
        by_channel = geometry.sum(kernel, total.bias[None]).reshape(geometry.output_channels, -1) + own[:, None]
        bias = by_channel.reshape(-1)

        def step(path: Path) -> Path:
            return path.through_convolution(where, geometry, kernel)

    elif node.kind == SCALE:
        factors = scale_of(name, node, shape)
        bias = total.bias * factors

        def step(path: Path) -> Path:
            return path.through_scale(where, factors, shape)

    elif node.kind in POOLINGS:
        geometry = geometry_at(name, node, shape)
        scale = 1.0 if node.kind == "SumPool2d" else 1.0 / prod(geometry.kernel)
        bias = geometry.sum(np.full(geometry.weight_shape, scale), total.bias[None])[0]

        def step(path: Path) -> Path:
            return path.through_pooling(where, geometry, scale)

    else:
        return total
    paths = {source: tuple(step(path) for path in several) for source, several in total.paths.items()}
    return Arrival(paths={source: merged(several, bias.size) for source, several in paths.items()}, bias=bias)


def _output(graph: Graph, arrival: Arrival) -> str:
    if len(arrival.paths) == 1:
        (source, (path, *others)), *_ = arrival.paths.items()
        spikes = source != INPUT and graph.nodes[source].kind in NEURONS
        if spikes and path.is_identity and not others and not arrival.bias.any():
            return source
    before, *more = graph.before(graph.output)
    if more:
        raise LoadError("the Output must get the value of one node, not a sum of several")
    raise LoadError(f"node {before!r} leads to the Output without a neuron; end the network with a LIF, IF or LI")
