"""NIR graphs as spikeloom sees them: neurons, attention, and affine maps of spikes between them.

`unfold` takes the nested dictionaries that a NIR file holds and refuses by name what is not supported. `compose` gives
every node a shape and reduces all that lies between neurons (Linear, Affine, convolutions, pooling, Flatten, the
borders of nested graphs) to paths from neuron to neuron and one bias for each neuron, exactly. Attention
(`spikeloom.frontends.nir_attention`) is a source of paths too. `closing_pairs` and `in_order` find the recurrent
connections and the order of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.affine import Path, geometry_of
from spikeloom.frontends.errors import LoadError
from spikeloom.model.population import INPUT
from spikeloom.sim.network.projection import Convolution

__all__ = [
    "ATTENTION",
    "MOST_VALUES",
    "NEURONS",
    "ROLES",
    "Arrival",
    "Composition",
    "Graph",
    "Node",
    "array_of",
    "closing_pairs",
    "compose",
    "flattened",
    "in_order",
    "own_shape",
    "scalar",
    "text",
    "unfold",
]

FloatArray = NDArray[np.float64]

NEURONS = ("LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold", "Delay")
"""The kinds of node that become populations."""

ATTENTION = "SpikeloomAttention"
"""The kind of node that is not NIR's own: stochastic attention, docs/nir-attention.md."""

ROLES = ("query", "key", "value")
"""What an attention is given; parameters of that name hold the name of the node that gives it."""

_SOURCES = (*NEURONS, ATTENTION)  # what spikes, and so ends every path

_OF_NEURONS = (
    "tau", "tau_mem", "tau_syn", "w_in", "r", "v_leak", "v_threshold", "v_reset", "threshold", "delay",
)  # fmt: skip
_MATRICES = ("Linear", "Affine")
_CONVOLUTIONS = ("Conv1d", "Conv2d")
_POOLINGS = ("SumPool2d", "AvgPool2d")
_SUPPORTED = ("Input", "Output", *_MATRICES, *NEURONS, *_CONVOLUTIONS, *_POOLINGS, "Flatten")
_REASONS = {
    "Scale": "scaling of single lines is not supported yet",
}

MOST_VALUES = 1 << 20
"""Of the output of a node: far more than fits any board."""

_MOST_PATHS = 64
_IDENTITY = "identity"  # what the Input and Output of a nested graph become


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as the file has it: its NIR type, its parameters and its metadata."""

    kind: str
    parameters: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A flat graph; ``notes`` are sentences about what unfolding left out."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    metadata: Mapping[str, Any]
    notes: list[str]

    # Indexed once the graph is whole: files from strangers have a thousand nodes in the worst order.
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
        """Nodes with an edge to ``name``."""
        return self._before[name]

    def after(self, name: str) -> list[str]:
        """Nodes with an edge from ``name``."""
        return self._after[name]

    def only(self, kind: str) -> str:
        """The one node of a kind. Raises `LoadError` if there is none or several."""
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
    """A string, whether it comes from a graph or from an HDF5 file."""
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def scalar(name: str, value: Any) -> float:
    """One finite number out of whatever holds it; ``name`` is what messages call it."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.size != 1 or not np.isfinite(array).all():
        raise LoadError(f"{name} must be a finite number, not {value!r}")
    return float(array.reshape(()))


def unfold(content: Mapping[str, Any]) -> Graph:
    """The graph of nested dictionaries, flat: node ``lif`` of the nested graph ``1`` becomes ``1.lif``.

    Raises `LoadError` for a node that is not supported and for edges that lead nowhere.
    """
    kind = text(content.get("type", "nothing that NIR knows"))
    if kind != "NIRGraph":
        raise LoadError(f"a network must be a NIRGraph, not {kind}")
    graph = Graph(nodes={}, edges=[], metadata=content.get("metadata") or {}, notes=[])
    _unfold(content, "", graph)
    for name, node in graph.nodes.items():
        if node.kind not in (*_SUPPORTED, ATTENTION, _IDENTITY):
            reason = _REASONS.get(node.kind, "this kind of node is unknown")
            supported = f"{', '.join(_SUPPORTED[:-1])} and {_SUPPORTED[-1]}"
            raise LoadError(f"node {name!r} is a {node.kind}: {reason}; supported are {supported}")
        if name == INPUT and node.kind in _SOURCES:
            raise LoadError(
                f"node {name!r} is a {node.kind} and must have another name, because connections call the network's "
                "input so"
            )
    for a, b in graph.edges:
        if b == graph.input or a == graph.output:
            raise LoadError(f"the edge from {a!r} to {b!r} leads into the graph's Input or out of its Output")
    for name, node in graph.nodes.items():
        if node.kind not in ("Input", *NEURONS) and not graph.before(name):
            raise LoadError(f"node {name!r} has no edge that leads to it")
    _refuse_cycle_without_neuron(graph)
    return graph


def _unfold(content: Mapping[str, Any], prefix: str, graph: Graph) -> None:
    children = content.get("nodes")
    if not isinstance(children, Mapping) or not children:
        raise LoadError(f"the graph {prefix[:-1]!r} has no nodes" if prefix else "the graph has no nodes")
    entry: dict[str, str] = {}  # the name under which an edge reaches a child
    leave: dict[str, str] = {}
    for key in children:
        child, name = children[key], f"{prefix}{key}"
        kind = text(child.get("type", "")) if isinstance(child, Mapping) else ""
        if not kind:
            raise LoadError(f"node {name!r} has no type")
        if kind == "NIRGraph":
            if child.get("metadata"):
                graph.notes.append(f"metadata of the nested graph {name!r} is not used")
            _unfold(child, f"{name}.", graph)
            entry[key] = _border(child, name, "Input")
            leave[key] = _border(child, name, "Output")
            continue
        if name in graph.nodes:
            raise LoadError(f"node {name!r} exists twice once nested graphs are unfolded")
        entry[key] = leave[key] = name
        if prefix and kind in ("Input", "Output"):
            kind = _IDENTITY
        parameters = {k: v for k, v in child.items() if k not in ("type", "metadata")}
        graph.nodes[name] = Node(kind=kind, parameters=parameters, metadata=child.get("metadata") or {})
    for key in children:
        if f"{prefix}{key}" in graph.nodes and graph.nodes[f"{prefix}{key}"].kind == ATTENTION:
            _name_roles(graph, f"{prefix}{key}", leave)
    known = set(graph.edges)
    for edge in content.get("edges", ()):
        a, b = text(edge[0]), text(edge[1])
        for end in (a, b):
            if end not in children:
                raise LoadError(
                    f"the edge from {prefix + a!r} to {prefix + b!r} names {prefix + end!r}, which is no node"
                )
        if (leave[a], entry[b]) in known:
            raise LoadError(f"the edge from {prefix + a!r} to {prefix + b!r} is listed twice")
        known.add((leave[a], entry[b]))
        graph.edges.append((leave[a], entry[b]))


def _name_roles(graph: Graph, name: str, leave: Mapping[str, str]) -> None:
    """Give query, key and value of an attention the names that their nodes have once the graph is flat."""
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
    """Nodes that hold no state must not form a cycle: such a graph has no delay and so no step."""
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


# Shapes


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shape of every node's output, without a batch dimension.

    A neuron whose parameters are all one number takes the shape of a neighbour, hence the repeated passes.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    while len(shapes) < len(graph.nodes):
        known = len(shapes)
        for name, node in graph.nodes.items():
            if name not in shapes:
                shape = _shape(graph, name, node, shapes)
                if shape is not None:
                    if prod(shape) > MOST_VALUES:
                        raise LoadError(f"node {name!r} must have at most {MOST_VALUES:,} values, not {prod(shape):,}")
                    shapes[name] = shape
        if len(shapes) == known:
            name = next(name for name in graph.nodes if name not in shapes)
            raise LoadError(f"node {name!r} has no size: neither its parameters nor its neighbours tell it")
    return shapes


def _shape(graph: Graph, name: str, node: Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    if node.kind in _MATRICES:
        return (_weight(name, node).shape[0],)
    if node.kind in ("Input", ATTENTION):
        return _extents(name, node.parameters.get("shape"))
    if node.kind in NEURONS:
        own = own_shape(name, node)
        if prod(own) > 1:
            return own
    for before in graph.before(name):
        if before in shapes:
            return _onward(name, node, shapes[before])
    if node.kind in NEURONS:
        for after in graph.after(name):
            if graph.nodes[after].kind in _MATRICES:
                return (_weight(after, graph.nodes[after]).shape[1],)
    return None


def _onward(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a node without neurons makes of ``shape``."""
    if node.kind == "Flatten":
        return _flattened(name, node, shape)
    if node.kind in (*_CONVOLUTIONS, *_POOLINGS):
        channels, height, width = _geometry(name, node, shape).output_shape
        return (channels, width) if node.kind == "Conv1d" else (channels, height, width)
    return shape


def _extents(name: str, shape: Any) -> tuple[int, ...]:
    array = np.asarray(shape) if shape is not None else np.zeros(0)
    if array.dtype.kind not in "iu" or not array.size or array.min() < 1:
        raise LoadError(f"node {name!r} must have a shape of positive integers")
    return tuple(int(extent) for extent in array.reshape(-1))


def _flattened(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    start, end = (int(scalar(f"{key} of node {name!r}", node.parameters.get(key))) for key in ("start_dim", "end_dim"))
    return flattened(f"node {name!r}", shape, start, end)


def flattened(where: str, shape: tuple[int, ...], start: int, end: int) -> tuple[int, ...]:
    """Shape after dimensions ``start`` to ``end`` became one: inclusive, negative from the back, without a batch."""
    first, last = (dimension + len(shape) if dimension < 0 else dimension for dimension in (start, end))
    if not 0 <= first <= last < len(shape):
        raise LoadError(
            f"{where} must flatten dimensions of a value of shape {shape}, not {start} to {end}; a batch dimension "
            "does not count"
        )
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])


def _check_edges(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for a, b in graph.edges:
        node = graph.nodes[b]
        if node.kind in _MATRICES:
            takes = _weight(b, node).shape[1]
            if sum(extent > 1 for extent in shapes[a]) > 1:
                raise LoadError(
                    f"node {b!r} must get values of one dimension, not of shape {shapes[a]} from {a!r}; put a Flatten "
                    "between them, with dimensions counted without the batch"
                )
        elif node.kind in (*_CONVOLUTIONS, *_POOLINGS):
            takes = prod(_geometry(b, node, shapes[a]).input_shape)
        elif node.kind == "Output" and node.parameters.get("shape") is not None:
            takes = prod(_extents(b, node.parameters["shape"]))
        else:
            takes = prod(shapes[b])
        if prod(shapes[a]) != takes:
            raise LoadError(f"node {b!r} must get {takes} values, not {prod(shapes[a])} from {a!r}")


def array_of(name: str, node: Node, key: str) -> NDArray[Any]:
    """A parameter as an array of numbers. Raises `LoadError` if the node lacks it."""
    if key not in node.parameters:
        raise LoadError(f"node {name!r} is a {node.kind} and must have {key}")
    array = np.asarray(node.parameters[key])
    if array.dtype.kind not in "fiub":
        raise LoadError(f"{key} of node {name!r} must be numbers, not {array.dtype}")
    return array


def _finite(name: str, node: Node, key: str) -> FloatArray:
    array = array_of(name, node, key).astype(np.float64)
    if not np.isfinite(array).all():
        raise LoadError(f"{key} of node {name!r} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    return array


def _weight(name: str, node: Node) -> FloatArray:
    weight = _finite(name, node, "weight")
    if weight.ndim != 2 or 0 in weight.shape:
        raise LoadError(f"weight of node {name!r} must have two dimensions, not shape {weight.shape}")
    return weight


def _geometry(name: str, node: Node, shape: tuple[int, ...]) -> Convolution:
    """The geometry of a convolution or a pooling (each channel a group of its own) of values of ``shape``.

    NIR's own rules for shapes are not used; the input's extent comes from what leads to the node.
    """
    where, one_dimensional = f"node {name!r}", node.kind == "Conv1d"
    if len(shape) != (2 if one_dimensional else 3):
        expected = "(channels, length)" if one_dimensional else "(channels, height, width)"
        raise LoadError(f"{where} is a {node.kind} and must get values of shape {expected}, not {shape}")
    channels, height, width = (shape[0], 1, shape[1]) if one_dimensional else shape
    padding = node.parameters.get("padding")
    padding = text(padding) if isinstance(padding, str | bytes) else array_of(name, node, "padding")
    stride = array_of(name, node, "stride")
    if node.kind in _POOLINGS:
        kernel = array_of(name, node, "kernel_size")
        return geometry_of(
            where,
            (channels, height, width),
            outputs=channels,
            kernel=kernel,
            stride=stride,
            padding=padding,
            groups=channels,
        )
    weight, dilation = _kernel(name, node), array_of(name, node, "dilation")
    groups = int(scalar(f"groups of {where}", node.parameters.get("groups", 1)))
    if weight.shape[1] * groups != channels:
        raise LoadError(f"{where} must get values of {weight.shape[1] * groups} channels, not {channels}")
    own = np.asarray(node.parameters.get("input_shape"))
    extents = shape[1:]
    if own.dtype.kind in "iu" and tuple(own.reshape(-1).tolist()) != extents:
        raise LoadError(f"{where} must get values of extent {own.tolist()}, not {extents} as it does")
    if one_dimensional:
        stride, dilation = (np.array([1, *np.ravel(value)[-1:]]) for value in (stride, dilation))
        padding = padding if isinstance(padding, str) else np.array([0, *np.ravel(padding)[-1:]])
    return geometry_of(
        where,
        (channels, height, width),
        outputs=weight.shape[0],
        kernel=weight.shape[2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def _kernel(name: str, node: Node) -> FloatArray:
    """The kernel of a convolution, ``(out, in of a group, height, width)``; in one dimension the height is 1."""
    weight = _finite(name, node, "weight")
    dimensions = 3 if node.kind == "Conv1d" else 4
    if weight.ndim != dimensions or 0 in weight.shape:
        raise LoadError(f"weight of node {name!r} must have {dimensions} dimensions, not shape {weight.shape}")
    return weight[:, :, None, :] if node.kind == "Conv1d" else weight


def own_shape(name: str, node: Node) -> tuple[int, ...]:
    """The shape that the parameters of a neuron node have together."""
    keys = [key for key in _OF_NEURONS if key in node.parameters]
    shapes = [array_of(name, node, key).shape for key in keys]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise LoadError(f"parameters of node {name!r} must have one shape, not {sorted(set(shapes))}") from None


# Composition of what lies between neurons


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An affine map of spikes: the paths from each source, whose sums add up, and a bias ``(n,)``."""

    paths: dict[str, tuple[Path, ...]]
    bias: FloatArray


def _added(arrivals: list[Arrival], size: int) -> Arrival:
    paths: dict[str, tuple[Path, ...]] = {}
    bias = np.zeros(size)
    for arrival in arrivals:
        bias = bias + arrival.bias
        for source, more in arrival.paths.items():
            paths[source] = _merged((*paths.get(source, ()), *more), size)
    return Arrival(paths=paths, bias=bias)


def _merged(paths: tuple[Path, ...], size: int) -> tuple[Path, ...]:
    """The same paths with all that are matrices, or nothing at all, added up in one; nothing alone stays nothing."""
    if len(paths) > _MOST_PATHS:  # poolings side by side, one pair after the other, double them each time
        raise LoadError(f"the spikes of a node must reach another by at most {_MOST_PATHS} paths, not {len(paths):,}")
    plain = [path for path in paths if path.is_matrix or path.is_identity]
    if len(plain) < 2:
        return paths
    total = sum(np.eye(size) if path.weight is None else path.weight for path in plain)
    return (Path(weight=np.asarray(total)), *(path for path in paths if path not in plain))


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A graph with nothing but neurons and attention left.

    ``shapes`` of all nodes, ``neurons`` and ``attentions`` in order of appearance, the latter with the neurons of their
    query, key and value, what ``arrivals`` bring each neuron, and the neuron that is the ``output``.
    """

    shapes: Mapping[str, tuple[int, ...]]
    neurons: list[str]
    attentions: Mapping[str, tuple[str, ...]]
    arrivals: Mapping[str, Arrival]
    output: str


def compose(graph: Graph) -> Composition:
    """Reduce what lies between neurons to affine maps of the spikes of the input and the neurons.

    Raises `LoadError` where sizes do not fit or the Output does not get the value of a neuron.
    """
    shapes = _shapes(graph)
    _check_edges(graph, shapes)
    leaves: dict[str, Arrival] = {}  # what comes out of each node
    for name, node in graph.nodes.items():
        if node.kind == "Input" or node.kind in _SOURCES:
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
    appearance = _first_appearance(graph)
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
    """The neurons that are the query, key and value of an attention: spikes as they are, each by an edge of its own."""
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
            raise LoadError(f"{role} of node {name!r} must be the spikes of neurons as they are, not as {source!r}")
        if shapes[source] != shapes[name]:
            raise LoadError(f"{role} of node {name!r} must have shape {shapes[name]}, not {shapes[source]}")
        found.append(neuron)
    for source in before:
        if source not in (node.parameters[role] for role in ROLES):
            raise LoadError(f"node {name!r} must have edges from its query, key and value alone, not from {source!r}")
    return tuple(found)


def _through(name: str, node: Node, shape: tuple[int, ...], arrivals: list[Arrival]) -> Arrival:
    """What a node makes of the sum of ``arrivals``, which have the given shape."""
    total = _added(arrivals, arrivals[0].bias.size)
    where = f"node {name!r}"
    if node.kind in _MATRICES:
        matrix = _weight(name, node)
        bias = matrix @ total.bias
        if node.kind == "Affine":
            own = _finite(name, node, "bias").reshape(-1)
            if own.size not in (1, bias.size):
                raise LoadError(f"bias of {where} must have {bias.size} values, not {own.size}")
            bias = bias + own

        def step(path: Path) -> Path:
            return path.through_matrix(where, matrix)

    elif node.kind in _CONVOLUTIONS:
        geometry, kernel = _geometry(name, node, shape), _kernel(name, node)
        own = _finite(name, node, "bias").reshape(-1)
        if own.size not in (1, geometry.output_channels):
            raise LoadError(f"bias of {where} must have {geometry.output_channels} values, not {own.size}")
        by_channel = geometry.sum(kernel, total.bias[None]).reshape(geometry.output_channels, -1) + own[:, None]
        bias = by_channel.reshape(-1)

        def step(path: Path) -> Path:
            return path.through_convolution(where, geometry, kernel)

    elif node.kind in _POOLINGS:
        geometry = _geometry(name, node, shape)
        scale = 1.0 if node.kind == "SumPool2d" else 1.0 / prod(geometry.kernel)
        bias = geometry.sum(np.full(geometry.weight_shape, scale), total.bias[None])[0]

        def step(path: Path) -> Path:
            return path.through_pooling(where, geometry, scale)

    else:
        return total
    paths = {source: tuple(step(path) for path in several) for source, several in total.paths.items()}
    return Arrival(paths={source: _merged(several, bias.size) for source, several in paths.items()}, bias=bias)


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


# Order and delays


def _first_appearance(graph: Graph) -> list[str]:
    """Nodes in the order in which a walk along the edges, nearest first, meets them from the input."""
    seen = [graph.input]
    for name in seen:
        seen.extend(after for after in dict.fromkeys(graph.after(name)) if after not in seen)
    seen.extend(name for name in sorted(graph.nodes) if name not in seen)
    return seen


def closing_pairs(order: Iterable[str], pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs (source, target) of populations that close a cycle: their spikes arrive one step later.

    A walk goes from the input from population to population, deepest first and otherwise in ``order``; a pair that
    leads back to a population on the walk's present path, or to itself, closes a cycle. What is left has no cycle. A
    loop that can be entered at one population only is closed at that one, whatever the order.
    """
    order, pairs = list(order), list(pairs)
    after: dict[str, list[str]] = {name: [] for name in (INPUT, *order)}
    for name in order:
        for source, target in pairs:
            if target == name:
                after[source].append(target)
    closing: set[tuple[str, str]] = set()
    done: set[str] = set()
    for root in (INPUT, *order):
        if root in done:
            continue
        path, branches = [root], [iter(after[root])]
        while path:
            onward = next(branches[-1], None)
            if onward is None:
                done.add(path.pop())
                branches.pop()
            elif onward in path:
                closing.add((path[-1], onward))
            elif onward not in done:
                path.append(onward)
                branches.append(iter(after[onward]))
    return closing


def in_order(order: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """``order`` with every pair's source before its target, and otherwise as it was; the pairs have no cycle."""
    left = dict.fromkeys(order)
    before: dict[str, list[str]] = {name: [] for name in left}
    for source, target in pairs:
        before[target].append(source)
    result: list[str] = []
    while left:
        ready = next(name for name in left if not any(source in left for source in before[name]))
        del left[ready]
        result.append(ready)
    return result
