"""NIR graphs as spikeloom represents them: neurons, attention, and affine maps of spikes between them.

`unfold` flattens the nested dictionaries of a NIR file and refuses unsupported nodes by name. Based on its graph,
`spikeloom.frontends.shapes` finds the output shape of each node, `spikeloom.frontends.compose` the paths between
neurons, and `spikeloom.frontends.order` the order of a step and the recurrent connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spikeloom.frontends.errors import LoadError
from spikeloom.model.population import INPUT
from spikeloom.sim.lib.files import shown

__all__ = [
    "ATTENTION",
    "CONVOLUTIONS",
    "MATRICES",
    "MOST_VALUES",
    "NEURONS",
    "NEURON_ARRAYS",
    "POOLINGS",
    "ROLES",
    "RULE_KEYS",
    "SCALE",
    "SOURCES",
    "Graph",
    "Node",
    "scalar",
    "text",
    "unfold",
    "whole",
]

NEURONS = ("LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold", "Delay")
"""Kinds of node that become populations."""

ATTENTION = "SpikeloomAttention"
"""Kind of node that is not part of NIR: stochastic attention, see docs/nir-attention.md."""

ROLES = ("query", "key", "value")
"""Inputs of an attention; each parameter of this name holds the name of the source node."""

SOURCES = (*NEURONS, ATTENTION)
"""Kinds of node that spike and therefore end every path."""

NEURON_ARRAYS = (
    "tau", "tau_mem", "tau_syn", "w_in", "r", "v_leak", "v_threshold", "v_reset", "threshold", "delay",
)  # fmt: skip
"""Parameters of neurons that are arrays with one value per neuron."""

MATRICES = ("Linear", "Affine")
CONVOLUTIONS = ("Conv1d", "Conv2d")
POOLINGS = ("SumPool2d", "AvgPool2d")
SCALE = "Scale"
_SUPPORTED = ("Input", "Output", *MATRICES, *NEURONS, *CONVOLUTIONS, *POOLINGS, SCALE, "Flatten")

RULE_KEYS = ("compare", "reset", "reset_delay", "refractory", "max_spikes", "lower_bound", "norm_input")
"""Keys under ``metadata["spikeloom"]`` of a neuron node, in addition to `spikeloom.sim.core.features.MODEL_KEYS`. A
nested graph may have them for all its neurons."""

MOST_VALUES = 1 << 20
"""Maximum number of output values of a node: far more than fits any board."""


_IDENTITY = "identity"  # kind of the Input and Output of a nested graph after unfolding


@dataclass(frozen=True, kw_only=True)
class Node:
    """Node as in the file: its NIR type, its parameters and its metadata."""

    kind: str
    parameters: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Flat graph; ``notes`` holds sentences about anything dropped by unfolding."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    metadata: Mapping[str, Any]
    notes: list[str]

    # Indexed once the graph is complete: hostile files have a thousand nodes in the worst order.
    @cached_property
    def _before(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            found[b].append(a)
        return found

    @cached_property
    def _after(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            found[a].append(b)
        return found

    def before(self, name: str) -> list[str]:
        """Return the nodes with an edge to ``name``."""
        return self._before[name]

    def after(self, name: str) -> list[str]:
        """Return the nodes with an edge from ``name``."""
        return self._after[name]

    def only(self, kind: str) -> str:
        """Return the only node of a kind. Raises `LoadError` if there is none or several."""
        found = [name for name, node in self.nodes.items() if node.kind == kind]
        if len(found) != 1:
            raise LoadError(f"a graph must have one {kind} node, not {len(found)}")
        return found[0]

    @cached_property
    def input(self) -> str:
        """Name of the Input node."""
        return self.only("Input")

    @cached_property
    def output(self) -> str:
        """Name of the Output node."""
        return self.only("Output")


def text(value: Any) -> str:
    """Return a string from a graph or from an HDF5 file as ``str``."""
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def scalar(name: str, value: Any) -> float:
    """Return one finite number from any container. Raises `LoadError`, with ``name``, for anything else."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.size != 1 or not np.isfinite(array).all():
        raise LoadError(f"{name} must be a finite number, not {shown(value)}")
    return float(array.reshape(()))


def whole(name: str, value: Any) -> int:
    """Return one integer from any container, also from a whole float. Raises `LoadError`, with ``name``, otherwise."""
    number = scalar(name, value)
    if not number.is_integer():
        raise LoadError(f"{name} must be an integer, not {number:g}")
    return int(number)


def unfold(content: Mapping[str, Any]) -> Graph:
    """Flatten nested dictionaries to a graph: node ``lif`` of the nested graph ``1`` becomes ``1.lif``.

    Raises `LoadError` for unsupported nodes and dangling edges.
    """
    kind = text(content.get("type", "content without a type"))
    if kind != "NIRGraph":
        raise LoadError(f"a network must be a NIRGraph, not {kind}")
    graph = Graph(nodes={}, edges=[], metadata=content.get("metadata") or {}, notes=[])
    _unfold(content, "", graph, {})
    for name, node in graph.nodes.items():
        if node.kind not in (*_SUPPORTED, ATTENTION, _IDENTITY):
            supported = f"{', '.join(_SUPPORTED[:-1])} and {_SUPPORTED[-1]}"
            raise LoadError(f"node {name!r} is a {node.kind}: this kind of node is unknown; supported are {supported}")
        if name == INPUT and node.kind in SOURCES:
            raise LoadError(
                f"node {name!r} is a {node.kind} and must have another name; this one is reserved for the input "
                "of the network"
            )
    for a, b in graph.edges:
        if b == graph.input or a == graph.output:
            raise LoadError(f"the edge from {a!r} to {b!r} leads into the graph's Input or out of its Output")
    for name, node in graph.nodes.items():
        if node.kind not in ("Input", *NEURONS) and not graph.before(name):
            raise LoadError(f"node {name!r} has no edge that leads to it")
    _refuse_cycle_without_neuron(graph)
    return graph


def _unfold(content: Mapping[str, Any], prefix: str, graph: Graph, rule: Mapping[str, Any]) -> None:
    """Add the nodes of ``content`` to ``graph``; ``rule`` holds what the graphs around them say about their firing."""
    children = content.get("nodes")
    if not isinstance(children, Mapping) or not children:
        raise LoadError(f"the graph {prefix[:-1]!r} has no nodes" if prefix else "the graph has no nodes")
    entry: dict[str, str] = {}  # name by which an edge reaches a child
    leave: dict[str, str] = {}
    for key in children:
        child, name = children[key], f"{prefix}{key}"
        kind = text(child.get("type", "")) if isinstance(child, Mapping) else ""
        if not kind:
            raise LoadError(f"node {name!r} has no type")
        if kind == "NIRGraph":
            _unfold(child, f"{name}.", graph, {**rule, **_rule_of(child, name, graph.notes)})
            entry[key] = _border(child, name, "Input")
            leave[key] = _border(child, name, "Output")
            continue
        if name in graph.nodes:
            raise LoadError(f"node {name!r} exists twice once nested graphs are unfolded")
        entry[key] = leave[key] = name
        if prefix and kind in ("Input", "Output"):
            kind = _IDENTITY
        parameters = {k: v for k, v in child.items() if k not in ("type", "metadata")}
        metadata = child.get("metadata") or {}
        if rule and kind in NEURONS and isinstance(metadata.get("spikeloom", {}), Mapping):
            metadata = {**metadata, "spikeloom": {**rule, **metadata.get("spikeloom", {})}}
        graph.nodes[name] = Node(kind=kind, parameters=parameters, metadata=metadata)
    for key in children:
        if f"{prefix}{key}" in graph.nodes and graph.nodes[f"{prefix}{key}"].kind == ATTENTION:
            _name_roles(graph, f"{prefix}{key}", leave)
    known = set(graph.edges)
    for edge in content.get("edges", ()):
        a, b = text(edge[0]), text(edge[1])
        for end in (a, b):
            if end not in children:
                raise LoadError(
                    f"the edge from {prefix + a!r} to {prefix + b!r} names {prefix + end!r}, which is not a node"
                )
        if (leave[a], entry[b]) in known:
            raise LoadError(f"the edge from {prefix + a!r} to {prefix + b!r} is listed twice")
        known.add((leave[a], entry[b]))
        graph.edges.append((leave[a], entry[b]))


def _rule_of(content: Mapping[str, Any], name: str, notes: list[str]) -> dict[str, Any]:
    """Return the firing rule in the metadata of a nested graph, which holds for its neurons; note unused keys."""
    metadata = content.get("metadata") or {}
    hints = metadata.get("spikeloom", {})
    if not isinstance(hints, Mapping):
        raise LoadError(
            f"metadata 'spikeloom' of the nested graph {name!r} must be a group of keys, not {shown(hints)}"
        )
    unused = [key for key in metadata if key != "spikeloom"] + [key for key in hints if key not in RULE_KEYS]
    if unused:
        notes.append(f"metadata {', '.join(map(repr, unused))} of the nested graph {name!r} is not used")
    return {key: value for key, value in hints.items() if key in RULE_KEYS}


def _name_roles(graph: Graph, name: str, leave: Mapping[str, str]) -> None:
    """Replace the names of query, key and value of an attention by those of the flat graph."""
    node = graph.nodes[name]
    named = {}
    for role in ROLES:
        if role not in node.parameters:
            raise LoadError(f"node {name!r} is a {ATTENTION} and must have {role}")
        source = text(node.parameters[role])
        named[role] = leave.get(source, source)
    graph.nodes[name] = Node(kind=node.kind, parameters={**node.parameters, **named}, metadata=node.metadata)


def _border(content: Mapping[str, Any], name: str, kind: str) -> str:
    found = [key for key, child in content["nodes"].items() if text(child.get("type", "")) == kind]
    if len(found) != 1:
        raise LoadError(f"the nested graph {name!r} must have one {kind} node, not {len(found)}")
    return f"{name}.{found[0]}"


def _refuse_cycle_without_neuron(graph: Graph) -> None:
    """Refuse a cycle of nodes without state: such a graph has no delay and therefore no defined step."""
    passing = {name for name, node in graph.nodes.items() if node.kind not in ("Input", *NEURONS)}
    left = set(passing)
    while True:
        ready = {name for name in left if not any(before in left for before in graph.before(name))}
        if not ready:
            break
        left -= ready
    if not left:
        return
    path = [next(name for name in graph.nodes if name in left)]
    while path[-1] not in path[:-1]:
        path.append(next(before for before in graph.before(path[-1]) if before in left))
    cycle = path[path.index(path[-1]) :][::-1]
    raise LoadError(f"the nodes {' -> '.join(map(repr, cycle))} form a cycle without delay, because none is a neuron")
