"""Classification by output spikes, identical for the float model, the integers and the hardware."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["accuracy", "classify"]


def classify(spikes: ArrayLike) -> NDArray[np.int64]:
    """Return the label ``(B,)`` of each sample of output spikes ``(T, B, n)``: the neuron that fired most often.

    Membranes take the place of spikes for an output that does not fire: the neuron with the largest sum.

    Ties, including no spikes at all, go to the lowest neuron.
    """
    array = np.asarray(spikes)
    if array.ndim != 3 or array.shape[2] == 0:
        raise ValueError(f"spikes must have shape (T, B, n), not {array.shape}")
    kind = np.int64 if array.dtype.kind in "biu" else np.float64  # float membranes are not truncated
    return np.argmax(array.sum(axis=0, dtype=kind), axis=1).astype(np.int64)


def accuracy(spikes: ArrayLike, labels: ArrayLike) -> float:
    """Return the share, 0 to 1, of samples of ``spikes`` ``(T, B, n)`` for which `classify` gives their label
    ``(B,)``."""
    answers, wanted = classify(spikes), np.asarray(labels)
    if wanted.shape != answers.shape or not len(answers):
        raise ValueError(f"labels must have shape {answers.shape} and not be empty, not {wanted.shape}")
    return float(np.mean(answers == wanted))
