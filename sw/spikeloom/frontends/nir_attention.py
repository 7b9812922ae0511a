"""Stochastic attention in NIR graphs: the one node that is not part of NIR, see docs/nir-attention.md.

`SpikeloomAttention` is used in a ``nir.NIRGraph`` like any other node, and ``nir.write`` writes it. ``nir.read``
refuses such a file, because the type is unknown to it: a tool without attention gets no network rather than a wrong
one. Use `read` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.nir_file import read_tree
from spikeloom.frontends.nir_graph import ATTENTION, text

__all__ = ["SpikeloomAttention", "read"]


@dataclass(eq=False)
class SpikeloomAttention(nir.NIRNode):
    """Stochastic attention of the spikes of three nodes, each with an edge to this node.

    Parameters
    ----------
    shape
        Shape of each source and of the output: ``(heads * features, ...)``. The remaining extents number the tokens in
        C order. The features per head and the tokens must be powers of two from 2 to 256.
    heads
        Number of heads, 1 to 16.
    query, key, value
        Names of the sources in the same graph.
    seed
        Start of the random numbers of each sample, 0 to ``2**64 - 1`` (`spikeloom.sim.attention.attention`).
    causal
        Whether a token attends only to itself and the tokens before it.
    """

    shape: NDArray[np.int64]
    heads: int
    query: str
    key: str
    value: str
    seed: int = 0
    causal: bool = False

    def __post_init__(self) -> None:
        self.shape = np.asarray(self.shape, np.int64)
        self.input_type = {"input": self.shape}
        self.output_type = {"output": self.shape}


def read(path: str | PathLike[str]) -> nir.NIRGraph:
    """Read any NIR file, including those with `SpikeloomAttention` nodes, as a graph; use it in place of
    ``nir.read``."""
    return _node(read_tree(path))


def _node(content: Mapping[str, Any]) -> Any:
    if content["type"] == "NIRGraph":
        return nir.NIRGraph(
            nodes={name: _node(node) for name, node in content["nodes"].items()},
            edges=[(text(a), text(b)) for a, b in content["edges"]],
            metadata=content.get("metadata", {}),
        )
    if content["type"] == ATTENTION:
        return SpikeloomAttention(**{key: value for key, value in content.items() if key != "type"})
    return nir.dict2NIRNode(content)
