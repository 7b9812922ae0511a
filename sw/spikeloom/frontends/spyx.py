"""Repairs of the graphs that Spyx exports, which do not describe what it computes.

* A recurrent layer is written as a nested graph in which the input goes through the recurrent weights,
  ``input -> w_rec -> lif``. Spyx adds the input to the output of these weights: ``input -> lif``.
* Spyx holds images channels-last and flattens them in the order (height, width, channels). Nodes of NIR are
  channels-first, so the columns of the weights behind a Flatten are reordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import MATRICES, NEURONS, Graph
from spikeloom.frontends.shapes import array_of
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["repaired"]


def repaired(graph: Graph, notes: list[str]) -> Graph:
    """Return the graph as Spyx computes it; changes are appended to ``notes``.

    Raises `LoadError` if what follows a Flatten cannot be reordered.
    """
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for position, (source, weights) in enumerate(graph.edges):
        if nodes[weights].kind in MATRICES and nodes[source].kind not in NEURONS:
            loops = [name for name in graph.after(weights) if name in graph.before(weights)]
            if len(loops) == 1:
                edges[position] = (source, loops[0])
                notes.append(f"{loops[0]}: its input does not go through the recurrent weights, as in Spyx")
    for name, node in graph.nodes.items():
        shape = _flattened(node.parameters.get("input_type")) if node.kind == "Flatten" else ()
        if len(shape) != 3:
            continue
        for follower in graph.after(name):
            if nodes[follower].kind not in MATRICES:
                raise LoadError(
                    f"node {name!r} is a Flatten of Spyx and must lead to a Linear or Affine, whose weights can be "
                    f"reordered, not to {follower!r}"
                )
            weight = _channels_first(follower, graph, shape)
            nodes[follower] = replace(nodes[follower], parameters={**nodes[follower].parameters, "weight": weight})
            notes.append(f"the weights of {follower} are reordered, because Spyx flattens channels-last")
    return replace(graph, nodes=nodes, edges=edges)


def _flattened(kind: Any) -> tuple[int, ...]:
    """Return the shape of the input of a Flatten, (channels, height, width); empty if the file does not hold it."""
    array = np.asarray(kind.get("input") if isinstance(kind, Mapping) else kind)
    return tuple(map(int, array.reshape(-1))) if array.dtype.kind in "iu" else ()


def _channels_first(name: str, graph: Graph, shape: tuple[int, ...]) -> SparseMatrix | NDArray[Any]:
    channels, height, width = shape
    weight = graph.nodes[name].parameters.get("weight")
    if not isinstance(weight, SparseMatrix):
        weight = array_of(name, graph.nodes[name], "weight")
    if weight.ndim != 2 or weight.shape[1] != prod(shape):
        raise LoadError(f"weight of node {name!r} must have {prod(shape)} columns for {shape}, not {weight.shape}")
    # Position in the order of Spyx of each value in the order of NIR.
    order = np.arange(prod(shape)).reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    if isinstance(weight, SparseMatrix):
        return SparseMatrix.of(weight.shape, weight.rows, np.argsort(order)[weight.columns], weight.values)
    return weight[:, order]
