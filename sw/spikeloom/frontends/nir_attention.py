"""Stochastic attention in NIR graphs: the one node that is not NIR's own, docs/nir-attention.md.

`SpikeloomAttention` goes into a ``nir.NIRGraph`` as any node and ``nir.write`` writes it. ``nir.read`` refuses the
file, because it knows no such type: whoever does not know attention gets no network, instead of a wrong one. `read`
reads it.
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
    """Stochastic attention of the spikes of three nodes, each of which has an edge to this one.

    Parameters
    ----------
    shape
        Of each source and of the output: ``(heads * features, ...)``, where the extents after the first number the
        tokens in C order. Features of a head and tokens are powers of two from 2 to 256.
    heads
        From 1 to 16.
    query, key, value
        Names of the sources in the same graph.
    seed
        From 0 to ``2**64 - 1``: where the random numbers of each sample begin (`spikeloom.sim.attention.attention`).
    causal
        Whether a token attends to itself and those before it alone.
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
    """The graph of a NIR file, with `SpikeloomAttention` nodes where it has some: ``nir.read`` for all such files."""
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
