"""Networks from the NIR files that `spikeloom.frontends.saving` writes, equal in every field.

The weights come from the nodes, everything else from the groups ``exact`` of the metadata. If the nodes differ from
those that would be written for this network, the file was changed after it was saved, and its two halves contradict
each other: it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.encoder_settings import encoder_settings
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import scalar, text, whole
from spikeloom.frontends.saving import EXACT, graph_of
from spikeloom.frontends.tensors import content_of
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.lib.files import FileError, shown
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.projection import Convolution, Pooling
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["saved_network"]


def saved_network(content: Mapping[str, Any]) -> Network | None:
    """Return the network in the nested dictionaries of a saved graph; None if it is another graph.

    Raises `LoadError` if the file was changed after it was saved, or is of a newer version.
    """
    group = _group(content.get("metadata"), "spikeloom")
    if EXACT not in group:
        return None
    try:
        NIR_METADATA.check(group)
    except FileError as error:
        raise LoadError(str(error)) from None
    try:
        network = _Reader(content, group).network()
        again = content_of(graph_of(network))
    except LoadError:
        raise
    except (TypeError, ValueError) as error:
        raise LoadError(f"metadata 'exact' of the graph describes no network: {shown(error, 200)}") from error
    changed = _difference(again, content)
    if changed:
        raise LoadError(
            f"{changed} is not what its metadata 'exact' says, because the file was changed after it was saved; remove "
            "the groups 'exact' from the metadata of the graph and of its nodes to load it as any other NIR file"
        )
    return network


class _Reader:
    """Network of a saved graph, whose structure `check_content` has checked."""

    def __init__(self, content: Mapping[str, Any], group: Mapping[str, Any]) -> None:
        nodes = content.get("nodes")
        if not isinstance(nodes, Mapping):
            raise LoadError("the graph has no nodes")
        self._nodes, self._settings, self._exact = nodes, group, _group(group, EXACT)
        self._encoder = encoder_settings(content["metadata"])

    def network(self) -> Network:
        where = "metadata of the graph: "
        return Network(
            name=text(self._exact.get("name", "")),
            input_shape=_extents("shape of the Input", self._node(INPUT).get("shape")),
            populations=tuple(_population(name, self._exact_of(name)) for name in self._texts("populations")),
            connections=self._connections(),
            attentions=tuple(self._attention(name) for name in self._texts("attentions")),
            output=text(self._exact.get("output", "")),
            time_step_s=scalar(f"{where}time_step_s", self._settings.get("time_step_s")),
            notes=tuple(self._texts("notes")),
            encoder=self._encoder,
            seed=whole(f"{where}seed", self._settings.get("seed")),
            input_value_width=whole(f"{where}input_value_width", self._settings.get("input_value_width")),
        )

    def _texts(self, key: str) -> list[str]:
        return [text(one) for one in np.asarray(self._exact.get(key, [])).reshape(-1)]

    def _node(self, name: str) -> Mapping[str, Any]:
        node = self._nodes.get(name)
        if not isinstance(node, Mapping):
            raise LoadError(f"metadata 'exact' of the graph names {shown(name)}, which is not a node")
        return node

    def _exact_of(self, name: str) -> Mapping[str, Any]:
        return _group(_group(self._node(name).get("metadata"), "spikeloom"), EXACT)

    def _connections(self) -> tuple[Connection, ...]:
        found: dict[int, Connection] = {}
        for name, node in self._nodes.items():
            exact = self._exact_of(name)
            if "number" in exact:
                number = whole(f"number of node {name!r}", exact["number"])
                if number in found:
                    raise LoadError(f"number of node {name!r} must be its own, not {number} as another node")
                found[number] = _connection(name, node, exact)
        count = whole("connections in the metadata 'exact' of the graph", self._exact.get("connections"))
        if count != len(found) or any(number not in range(count) for number in found):
            raise LoadError(f"the graph must have {count:,} connections, numbered from 0, not {len(found):,}")
        return tuple(found[number] for number in range(count))

    def _attention(self, name: str) -> QuantisedAttention:
        node, exact = self._node(name), self._exact_of(name)
        numbers = {key: whole(f"{key} of node {name!r}", exact.get(key)) for key in ("tokens", "features", "rows")}
        heads, seed, causal = (
            _integer(f"{key} of node {name!r}", node.get(key)) for key in ("heads", "seed", "causal")
        )
        query, key, value = (text(node.get(role, "")) for role in ("query", "key", "value"))
        return QuantisedAttention(
            name=name,
            query=query,
            key=key,
            value=value,
            parameters=AttentionParameters(heads=heads, **numbers),
            seed=seed,
            causal=bool(causal),
        )


def _population(name: str, exact: Mapping[str, Any]) -> Population:
    """Return a population from its fields. A field that is absent is None or has its default."""
    kinds = {field.name for field in fields(Population)} - {"name"}
    example = Population(name="example", shape=(1,))
    values: dict[str, Any] = {}
    for key, value in exact.items():
        where = f"{key} in the metadata 'exact' of node {name!r}"
        if key not in kinds:
            raise LoadError(f"{where} is unknown to this version; update spikeloom")
        default = getattr(example, key)
        if isinstance(default, Enum):
            try:
                values[key] = type(default)(text(value))
            except ValueError:
                raise LoadError(f"{where} must be one of the values of {key}, not {shown(text(value))}") from None
        elif isinstance(default, bool):
            values[key] = bool(whole(where, value))
        elif isinstance(default, int) or key == "weight_bits":
            values[key] = whole(where, value)
        elif isinstance(default, float) or key == "value_limit":
            values[key] = scalar(where, value)
        elif key == "shape":
            values[key] = _extents(where, value)
        else:
            values[key] = _numbers(where, value)
    if "shape" not in values:
        raise LoadError(f"the metadata 'exact' of node {name!r} must have a shape")
    return Population(name=name, **values)


def _connection(name: str, node: Mapping[str, Any], exact: Mapping[str, Any]) -> Connection:
    """Return the connection whose weights a node holds."""

    def pair(key: str, given: Any) -> tuple[int, int]:
        first, second = _extents(f"{key} of node {name!r}", given, 2)
        return first, second

    def image(key: str) -> tuple[int, int, int]:
        channels, height, width = _extents(f"{key} of node {name!r}", exact.get(key), 3)
        return channels, height, width

    pooling = convolution = None
    if "pooling_input" in exact:
        window = pair("pooling_window", exact.get("pooling_window"))
        pooling = Pooling(input_shape=image("pooling_input"), window=window)
    weight = node.get("weight")
    if "input" in exact:
        weight = _numbers(f"weight of node {name!r}", weight)
        geometry = exact if "stride" in exact else node  # a Conv1d node holds one of the two dimensions
        if weight.ndim == 3:
            weight = weight[:, :, None, :]
        if weight.ndim != 4:
            raise LoadError(f"weight of node {name!r} must have 4 dimensions, not {weight.ndim}")
        convolution = Convolution(
            input_shape=image("input"),
            output_channels=len(weight),
            kernel=(weight.shape[2], weight.shape[3]),
            stride=pair("stride", geometry.get("stride")),
            padding=pair("padding", geometry.get("padding")),
            dilation=pair("dilation", geometry.get("dilation")),
            groups=whole(f"groups of node {name!r}", node.get("groups")),
        )
    elif whole(f"sparse of node {name!r}", exact.get("sparse")):
        if not isinstance(weight, SparseMatrix):
            weight = _numbers(f"weight of node {name!r}", weight)
            if weight.ndim != 2:
                raise LoadError(f"weight of node {name!r} must have two dimensions, not {weight.ndim}")
            weight = SparseMatrix.from_dense(weight)
    else:
        weight = weight.dense() if isinstance(weight, SparseMatrix) else _numbers(f"weight of node {name!r}", weight)
    return Connection(
        source=text(exact.get("source", "")),
        target=text(exact.get("target", "")),
        weight=weight,
        convolution=convolution,
        pooling=pooling,
        delay=whole(f"delay of node {name!r}", exact.get("delay")),
    )


def _group(content: Any, key: str) -> Mapping[str, Any]:
    """Return a group of ``content``; empty if there is none."""
    group = content.get(key) if isinstance(content, Mapping) else None
    return group if isinstance(group, Mapping) else {}


def _numbers(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise LoadError(f"{name} must be numbers, not {shown(value)}")
    return array


def _integer(name: str, value: Any) -> int:
    """Return an integer of up to 64 bits, which a float does not hold."""
    array = np.asarray(value)
    if array.dtype.kind not in "iub" or array.size != 1:
        raise LoadError(f"{name} must be an integer, not {shown(value)}")
    return int(array.reshape(()))


def _extents(name: str, value: Any, count: int = 0) -> tuple[int, ...]:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != 1 or (count and array.size != count):
        raise LoadError(f"{name} must be {count or 'one or more'} integers, not {shown(value)}")
    return tuple(array.tolist())


def _difference(expected: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Describe how a graph differs from the ``expected`` one; empty if it does not."""
    nodes = content["nodes"]
    for name in (*expected["nodes"], *nodes):
        if name not in nodes or name not in expected["nodes"]:
            return f"node {name!r}"
    for name, node in expected["nodes"].items():
        # The weights of a connection are in its node only.
        passed = ("weight",) if "number" in _group(_group(node.get("metadata"), "spikeloom"), EXACT) else ()
        key = _first_difference(node, nodes[name], passed)
        if key:
            return f"{key} of node {name!r}"
    if _pairs(expected["edges"]) != _pairs(content.get("edges", ())):
        return "the edges of the graph"
    key = _first_difference(expected["metadata"]["spikeloom"], content["metadata"]["spikeloom"], ())
    return f"{key} in the metadata of the graph" if key else ""


def _pairs(edges: Iterable[Any]) -> list[tuple[str, str]]:
    return sorted((text(edge[0]), text(edge[1])) for edge in edges)


def _first_difference(expected: Mapping[str, Any], content: Mapping[str, Any], passed: tuple[str, ...]) -> str:
    """Return the first key at which two groups differ, except the keys ``passed``; empty if there is none."""
    for key in (*expected, *content):
        if key in passed:
            continue
        if key not in expected or key not in content:
            # NIR writes no empty metadata.
            if key == "metadata" and not expected.get(key) and not content.get(key):
                continue
            return key
        one, other = expected[key], content[key]
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            if not isinstance(one, Mapping) or not isinstance(other, Mapping) or _first_difference(one, other, ()):
                return key
        elif not _equal(one, other):
            return key
    return ""


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal; a file may hold arrays for tuples, and bytes for text."""
    if isinstance(one, SparseMatrix) or isinstance(other, SparseMatrix):
        return False  # only weights are sparse, and they are not compared
    first, second = np.asarray(one), np.asarray(other)
    if first.dtype.kind in "OUS" or second.dtype.kind in "OUS":
        return [text(each) for each in first.reshape(-1)] == [text(each) for each in second.reshape(-1)]
    return bool(np.array_equal(first, second))
