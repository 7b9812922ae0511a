"""Classification by the output, identical for the float model, the integers and the hardware."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Decision", "accuracy", "classify"]


class Decision(Enum):
    """Rule by which the output neurons of a sample become one answer. The first two need spikes, the others membranes.

    The readout on the board (`spikeloom.sim.host.readout`) has the same rules, in this order.
    """

    MOST_SPIKES = "most-spikes"
    """The neuron that fired most often."""
    FIRST_TO_SPIKE = "first-to-spike"
    """The neuron that fired first."""
    LAST_MEMBRANE = "last-membrane"
    """The neuron with the largest membrane in the last step."""
    LARGEST_MEMBRANE = "largest-membrane"
    """The neuron with the largest membrane of all steps."""
    SUM_OF_MEMBRANES = "sum-of-membranes"
    """The neuron with the largest sum of its membranes over the steps."""

    @property
    def by_spikes(self) -> bool:
        """Whether the rule takes spikes rather than membranes."""
        return self in (Decision.MOST_SPIKES, Decision.FIRST_TO_SPIKE)

    @property
    def words(self) -> str:
        """Property of the answering neuron in words, for messages."""
        return {
            Decision.MOST_SPIKES: "most spikes",
            Decision.FIRST_TO_SPIKE: "the first spike",
            Decision.LAST_MEMBRANE: "the largest membrane in the last step",
            Decision.LARGEST_MEMBRANE: "the largest membrane of all steps",
            Decision.SUM_OF_MEMBRANES: "the largest sum of membranes",
        }[self]

    @classmethod
    def usual(cls, *, spiking: bool) -> Decision:
        """Return the default rule for outputs that spike, or for outputs that do not."""
        return cls.MOST_SPIKES if spiking else cls.SUM_OF_MEMBRANES


def classify(spikes: ArrayLike, decision: Decision | None = None) -> NDArray[np.int64]:
    """Return the answer ``(B,)`` for each sample of output spikes, or of membranes, ``(T, B, n)``.

    With ``decision`` None, spikes are decided by the most spikes, membranes by the largest sum. Ties, including
    no spikes at all, go to the lowest neuron. Spikes are booleans, or numbers of spikes as unsigned integers; anything
    else is membranes. Raises ``ValueError`` for spikes where membranes are needed, and the reverse.
    """
    array = np.asarray(spikes)
    if array.ndim != 3 or array.shape[2] == 0:
        raise ValueError(f"spikes must have shape (T, B, n), not {array.shape}")
    if decision is not None and decision.by_spikes != (array.dtype.kind in "bu"):
        needed, found = ("spikes", "membranes") if decision.by_spikes else ("membranes", "spikes")
        raise ValueError(f"the output must give {needed} for the decision {decision.value}, not {found}")
    if decision is Decision.FIRST_TO_SPIKE:
        # Earlier is better, and any step is better than no spike.
        fired = array != 0
        score = np.where(fired.any(axis=0), len(fired) - fired.argmax(axis=0), 0)
    elif decision is Decision.LAST_MEMBRANE:
        score = array[-1]
    elif decision is Decision.LARGEST_MEMBRANE:
        score = array.max(axis=0)
    else:
        kind = np.int64 if array.dtype.kind in "biu" else np.float64  # float membranes are not truncated
        score = array.sum(axis=0, dtype=kind)
    return np.argmax(score, axis=1).astype(np.int64)


def accuracy(spikes: ArrayLike, labels: ArrayLike, decision: Decision | None = None) -> float:
    """Return the share, 0 to 1, of samples of ``spikes`` ``(T, B, n)`` for which `classify` gives their label.

    Raises ``ValueError`` as `classify` does, and if ``labels`` does not have shape ``(B,)``.
    """
    answers, wanted = classify(spikes, decision), np.asarray(labels)
    if wanted.shape != answers.shape or not len(answers):
        raise ValueError(f"labels must have shape {answers.shape} and not be empty, not {wanted.shape}")
    return float(np.mean(answers == wanted))
