"""Arrays from the tensors of frameworks, which are recognised by their methods, so that no framework is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["as_array", "content_of"]


def as_array(value: Any) -> Any:
    """Return a tensor as an array, on any device, with a gradient or not; anything else unchanged.

    NumPy has no bfloat16, so such a tensor becomes single precision, which holds all its values.
    """
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        return np.asarray(tensor.float().numpy())


def content_of(node: Any) -> dict[str, Any]:
    """Return a ``nir.NIRNode`` as the nested dictionaries that its ``to_dict`` gives, with arrays for tensors.

    NIR copies every parameter first, which fails for a tensor that is the result of a computation with gradients.
    """
    if hasattr(node, "nodes"):
        content: dict[str, Any] = {
            "type": type(node).__name__,
            "edges": list(node.edges),
            "metadata": node.metadata,
            "nodes": {name: content_of(child) for name, child in node.nodes.items()},
        }
        return content
    plain = object.__new__(type(node))
    for name, value in vars(node).items():
        arrays = {key: as_array(one) for key, one in value.items()} if isinstance(value, Mapping) else as_array(value)
        object.__setattr__(plain, name, arrays)
    return dict(plain.to_dict())
