"""Structural checks of the nested dictionaries of a NIR graph, before any other code walks through them.

`spikeloom.frontends.nir_graph` interprets the entries. This module only ensures that a type is text, metadata a group,
and edges pairs of text, whether they come from a file or a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spikeloom.frontends.errors import LoadError
from spikeloom.sim.lib.files import shown

__all__ = ["MOST_EDGES", "MOST_NODES", "check_content"]

MOST_NODES = 1024
"""Maximum number of nodes, including nested graphs: the time of later passes grows with their square."""

MOST_EDGES = 8192
"""Maximum number of edges, for the same reason."""

_LONGEST_TYPE = 64


def check_content(content: Mapping[str, Any]) -> None:
    """Check a graph and the nodes in it. Raises `LoadError` with one sentence."""
    nodes, edges = _check(content, "")
    if nodes > MOST_NODES or edges > MOST_EDGES:
        raise LoadError(
            f"a graph must have at most {MOST_NODES:,} nodes and {MOST_EDGES:,} edges, not {nodes:,} and {edges:,}"
        )


def _check(content: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Check a node and, if it is a graph, the nodes in it; return the number of nodes and edges in it."""
    where = f"node {name!r}" if name else "the graph"
    kind = content.get("type", "")
    if not _is_text(kind) or not _as_text(kind).isprintable() or len(kind) > _LONGEST_TYPE:
        raise LoadError(f"type of {where} must be the name of a kind of node, not {_shown(kind)}")
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise LoadError(f"metadata of {where} must be a group of keys, not {_shown(metadata)}")
    nodes, edges, children = 1, 0, content.get("nodes")
    if "edges" in content:
        _check_edges(content["edges"], where)
        edges += len(content["edges"])
    if isinstance(children, Mapping):
        for key, child in children.items():
            if isinstance(child, Mapping):
                inner, between = _check(child, f"{name}.{key}" if name else str(key))
                nodes, edges = nodes + inner, edges + between
    return nodes, edges


def _check_edges(edges: Any, where: str) -> None:
    if not isinstance(edges, list | tuple | set | np.ndarray) or (isinstance(edges, np.ndarray) and not edges.ndim):
        raise LoadError(f"edges of {where} must be pairs of names of nodes, not {_shown(edges)}")
    for edge in edges:
        if not isinstance(edge, list | tuple | np.ndarray) or len(edge) != 2 or not all(map(_is_text, edge)):
            raise LoadError(f"edges of {where} must be pairs of names of nodes, not {_shown(edge)}")


def _is_text(value: Any) -> bool:
    if isinstance(value, bytes):
        try:
            value.decode("utf8")
        except UnicodeDecodeError:
            return False
    return isinstance(value, str | bytes)


def _as_text(value: str | bytes) -> str:
    return value.decode("utf8") if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    """Format a value for a message: on one line and not long."""
    return "a group" if isinstance(value, Mapping) else shown(value)
