"""Output shapes of the nodes of a NIR graph, and the arrays of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.affine import geometry_of
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_child import LARGE, SPARSE
from spikeloom.frontends.nir_graph import (
    ATTENTION,
    CONVOLUTIONS,
    MATRICES,
    MOST_VALUES,
    NEURON_ARRAYS,
    NEURONS,
    POOLINGS,
    Graph,
    Node,
    text,
    whole,
)
from spikeloom.model.population import FloatArray
from spikeloom.sim.lib.files import shown
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.sparse import Matrix, SparseMatrix

__all__ = [
    "array_of",
    "check_edges",
    "find_shapes",
    "finite_array",
    "flattened",
    "geometry_at",
    "keep_large_weights_sparse",
    "kernel_of",
    "own_shape",
    "scale_of",
    "weight_of",
]


def find_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the output shape of every node, without a batch dimension.

    A neuron with only scalar parameters takes the shape of a neighbour, hence the repeated passes. Raises `LoadError`
    if a shape is contradictory, too large or unknown.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    stuck = False
    while len(shapes) < len(graph.nodes):
        known = len(shapes)
        for name, node in graph.nodes.items():
            if name not in shapes:
                shape = _shape(graph, name, node, shapes, stuck=stuck)
                if shape is not None:
                    if prod(shape) > MOST_VALUES:
                        raise LoadError(f"node {name!r} must have at most {MOST_VALUES:,} values, not {prod(shape):,}")
                    shapes[name] = shape
        if len(shapes) > known:
            stuck = False
        elif not stuck:
            stuck = True
        else:
            name = next(name for name in graph.nodes if name not in shapes)
            raise LoadError(f"node {name!r} has unknown size: neither its parameters nor its neighbours determine it")
    return shapes


def _shape(
    graph: Graph, name: str, node: Node, shapes: Mapping[str, tuple[int, ...]], *, stuck: bool
) -> tuple[int, ...] | None:
    """Return the output shape of a node, or None if it depends on shapes that are still unknown.

    ``stuck`` means that no further shape will be found without the parameters of a neuron alone.
    """
    if node.kind in MATRICES:
        return (weight_of(name, node).shape[0],)
    if node.kind == "Input":
        return _without_batch(graph, name, _extents(name, node.parameters.get("shape")))
    if node.kind == ATTENTION:
        return _extents(name, node.parameters.get("shape"))
    if node.kind in NEURONS:
        own = own_shape(name, node)
        if prod(own) > 1:
            own = own[1:] if len(own) == 4 and own[0] == 1 else own  # a batch of one sample
            known = [shapes[source] for source in graph.before(name) if source in shapes]
            if 1 in own and len(known) < len(graph.before(name)) and not stuck:
                return None
            return next((shape for shape in known if _spreads(own, shape)), own)
    for before in graph.before(name):
        if before in shapes:
            return _onward(name, node, shapes[before])
    if node.kind in NEURONS:
        for after in graph.after(name):
            if graph.nodes[after].kind in MATRICES:
                return (weight_of(after, graph.nodes[after]).shape[1],)
    return None


def _spreads(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether parameters of shape ``own`` hold for channels, rows or columns of neurons of a larger ``shape``."""
    return len(own) == len(shape) and all(a in (1, b) for a, b in zip(own, shape, strict=True))


def _without_batch(graph: Graph, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an Input without the batch of one sample that some exporters put in front."""
    for after in graph.after(name):
        kind = graph.nodes[after].kind
        if kind in (*CONVOLUTIONS, *POOLINGS):
            dimensions = 2 if kind == "Conv1d" else 3
            return shape[1:] if len(shape) == dimensions + 1 and shape[0] == 1 else shape
    return shape


def _onward(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape of a node without neurons for the input ``shape``."""
    if node.kind == "Flatten":
        return _flattened(name, node, shape)
    if node.kind in (*CONVOLUTIONS, *POOLINGS):
        channels, height, width = geometry_at(name, node, shape).output_shape
        return (channels, width) if node.kind == "Conv1d" else (channels, height, width)
    return shape


def _extents(name: str, shape: Any) -> tuple[int, ...]:
    array = np.asarray(shape) if shape is not None else np.zeros(0)
    if array.dtype.kind not in "iu" or not array.size or array.min() < 1:
        raise LoadError(f"node {name!r} must have a shape of positive integers")
    return tuple(int(extent) for extent in array.reshape(-1))


def _flattened(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    start, end = (whole(f"{key} of node {name!r}", node.parameters.get(key)) for key in ("start_dim", "end_dim"))
    return flattened(f"node {name!r}", shape, start, end)


def flattened(where: str, shape: tuple[int, ...], start: int, end: int) -> tuple[int, ...]:
    """Merge dimensions ``start`` to ``end`` of a shape: inclusive, negative from the back, without a batch.

    Raises `LoadError` if the shape does not have these dimensions.
    """
    first, last = (dimension + len(shape) if dimension < 0 else dimension for dimension in (start, end))
    if not 0 <= first <= last < len(shape):
        raise LoadError(
            f"{where} must flatten dimensions of a value of shape {shape}, not {start} to {end}; a batch dimension "
            "does not count"
        )
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])


def check_edges(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `LoadError` if a node gets another number of values than it takes; ``shapes`` are the output shapes."""
    for a, b in graph.edges:
        node = graph.nodes[b]
        if node.kind in MATRICES:
            takes = weight_of(b, node).shape[1]
            # Extents of 1 may be anywhere, because frameworks differ in where they keep them.
            if sum(extent > 1 for extent in shapes[a]) > 1:
                raise LoadError(
                    f"node {b!r} must get values of one dimension, not of shape {shapes[a]} from {a!r}; put a Flatten "
                    "between them, with dimensions counted without the batch"
                )
        elif node.kind in (*CONVOLUTIONS, *POOLINGS):
            takes = prod(geometry_at(b, node, shapes[a]).input_shape)
        elif node.kind == "Output" and node.parameters.get("shape") is not None:
            takes = prod(_extents(b, node.parameters["shape"]))
        else:
            takes = prod(shapes[b])
        if prod(shapes[a]) != takes:
            raise LoadError(f"node {b!r} must get {takes:,} values, not {prod(shapes[a]):,} from {a!r}")


def array_of(name: str, node: Node, key: str) -> NDArray[Any]:
    """Return a parameter as an array of numbers. Raises `LoadError` if the node lacks it or holds something else."""
    if key not in node.parameters:
        raise LoadError(f"node {name!r} is a {node.kind} and must have {key}")
    array = np.asarray(node.parameters[key])
    if array.dtype.kind not in "fiub":
        raise LoadError(f"{key} of node {name!r} must be numbers, not {array.dtype}")
    return array


def finite_array(name: str, node: Node, key: str) -> FloatArray:
    """Return a parameter as `array_of` does, in double precision. Raises `LoadError` also if a number is not finite."""
    array = array_of(name, node, key).astype(np.float64)
    if not np.isfinite(array).all():
        raise LoadError(f"{key} of node {name!r} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    return array


def weight_of(name: str, node: Node) -> Matrix:
    """Return the weights ``(n_out, n_in)`` of a Linear or Affine node. Raises `LoadError` for another shape."""
    own = node.parameters.get("weight")
    weight = own if isinstance(own, SparseMatrix) else finite_array(name, node, "weight")
    if weight.ndim != 2 or 0 in weight.shape:
        raise LoadError(f"weight of node {name!r} must have two dimensions, not shape {weight.shape}")
    return weight


def keep_large_weights_sparse(graph: Graph) -> None:
    """Replace large weights of Linear and Affine nodes by sparse matrices if few entries are nonzero.

    NIR only has dense arrays, and every later step would allocate another array of the same size. Raises `LoadError`
    if a weight is not finite.
    """
    for name, node in graph.nodes.items():
        if node.kind in MATRICES and "weight" in node.parameters:
            weight = node.parameters["weight"]
            if not isinstance(weight, SparseMatrix):
                weight = array_of(name, node, "weight")
                if weight.ndim != 2 or weight.size < LARGE or SPARSE * np.count_nonzero(weight) > weight.size:
                    continue
                weight = SparseMatrix.from_dense(weight)
            weight = weight.map(lambda values: values.astype(np.float64))
            if not np.isfinite(weight.values).all():
                worst = weight.values[~np.isfinite(weight.values)][0]
                raise LoadError(f"weight of node {name!r} must be finite, not {worst}")
            graph.nodes[name] = replace(node, parameters={**node.parameters, "weight": weight})


def geometry_at(name: str, node: Node, shape: tuple[int, ...]) -> Convolution:
    """Return the geometry of a convolution, or of a pooling with one group per channel, for values of ``shape``.

    NIR's own shape rules are not used; the extent of the input comes from the preceding node. Raises `LoadError` if the
    parameters and ``shape`` do not match.
    """
    where, one_dimensional = f"node {name!r}", node.kind == "Conv1d"
    if len(shape) != (2 if one_dimensional else 3):
        expected = "(channels, length)" if one_dimensional else "(channels, height, width)"
        raise LoadError(f"{where} is a {node.kind} and must get values of shape {expected}, not {shape}")
    channels, height, width = (shape[0], 1, shape[1]) if one_dimensional else shape
    padding = node.parameters.get("padding")
    padding = text(padding) if isinstance(padding, str | bytes) else array_of(name, node, "padding")
    stride = array_of(name, node, "stride")
    if node.kind in POOLINGS:
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
    weight, dilation = kernel_of(name, node), array_of(name, node, "dilation")
    groups = whole(f"groups of {where}", node.parameters.get("groups", 1))
    if weight.shape[1] * groups != channels:
        raise LoadError(f"{where} must get values of {weight.shape[1] * groups:,} channels, not {channels:,}")
    own = np.asarray(node.parameters.get("input_shape"))
    extents = shape[1:]
    if own.dtype.kind in "iu" and tuple(own.reshape(-1).tolist()) != extents:
        raise LoadError(f"{where} must get values of extent {shown(own.tolist())}, not {extents}")
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


def scale_of(name: str, node: Node, shape: tuple[int, ...]) -> FloatArray:
    """Return the factors ``(n,)`` of a Scale node for values of ``shape``. Raises `LoadError` if they do not match."""
    scale = finite_array(name, node, "scale")
    if scale.size in (1, prod(shape)):
        return np.broadcast_to(scale.reshape(-1), (prod(shape),))
    try:
        return np.broadcast_to(scale, shape).reshape(-1)
    except ValueError:
        raise LoadError(f"scale of node {name!r} must have 1 or {prod(shape):,} values, not {scale.size:,}") from None


def kernel_of(name: str, node: Node) -> FloatArray:
    """Return the kernel of a convolution, ``(out, in per group, height, width)``; in one dimension the height is 1.

    Raises `LoadError` for another number of dimensions.
    """
    weight = finite_array(name, node, "weight")
    dimensions = 3 if node.kind == "Conv1d" else 4
    if weight.ndim != dimensions or 0 in weight.shape:
        raise LoadError(f"weight of node {name!r} must have {dimensions} dimensions, not shape {weight.shape}")
    return weight[:, :, None, :] if node.kind == "Conv1d" else weight


def own_shape(name: str, node: Node) -> tuple[int, ...]:
    """Return the common shape of the parameters of a neuron node. Raises `LoadError` if they have none."""
    keys = [key for key in NEURON_ARRAYS if key in node.parameters]
    shapes = [array_of(name, node, key).shape for key in keys]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise LoadError(f"parameters of node {name!r} must have one shape, not {sorted(set(shapes))}") from None
