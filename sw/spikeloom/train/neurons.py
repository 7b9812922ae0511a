"""The neurons of a trained layer: their rule, and the parameters that training starts from."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.core.neuron import Compare, Reset

__all__ = ["LEARNED", "Neurons"]

LEARNED = ("threshold", "bias", "beta", "alpha")
"""Parameters of neurons that can be trained."""


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """Neurons of a layer, in units of the float network; `spikeloom.model.population` gives their step.

    Parameters
    ----------
    beta
        Decay factor of the membrane per step, 0 to 1.
    alpha
        Decay factor of the synaptic current per step, above 0 and below 1; None for neurons without one.
    threshold, reset_value, bias
        In units of the membrane; the threshold is positive.
    compare, reset, reset_delay, refractory
        Firing rule, as in `spikeloom.sim.core.neuron`.
    spiking
        False for neurons that never spike and return their membranes.
    learned
        Which of `LEARNED` are trained, one number per neuron each; the others stay as they are.
    """

    beta: float = 1.0
    alpha: float | None = None
    threshold: float = 1.0
    reset_value: float = 0.0
    bias: float = 0.0
    compare: Compare = Compare.GREATER
    reset: Reset = Reset.SUBTRACT
    reset_delay: int = 0
    refractory: int = 0
    spiking: bool = True
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("compare", Compare), ("reset", Reset), ("spiking", bool)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        if not 0.0 <= self.beta <= 1.0:
            raise ValueError(f"beta must be from 0 to 1, not {self.beta!r}")
        # A current that decays to 0 within a step is the input itself, which is the rule without a current.
        if self.alpha is not None and not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha must be between 0 and 1, or None, not {self.alpha!r}")
        if not self.threshold > 0.0:
            raise ValueError(f"threshold must be positive, not {self.threshold!r}")
        for name, high in (("reset_delay", 1), ("refractory", 255)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= high:
                raise ValueError(f"{name} must be an integer from 0 to {high}, not {value!r}")
        object.__setattr__(self, "learned", tuple(self.learned))
        allowed = [name for name in LEARNED if name != "alpha" or self.alpha is not None]
        unknown = [name for name in self.learned if name not in allowed]
        if unknown:
            raise ValueError(f"learned must be some of {', '.join(allowed)}, not {unknown[0]!r}")
