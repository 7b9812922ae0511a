"""Attention in a quantised network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.attention.attention import AttentionParameters, Words, attend, draw, register_seeds
from spikeloom.sim.network.population import QuantisedPopulation
from spikeloom.sim.network.unit import QuantisedUnit, UnitStep

__all__ = ["QuantisedAttention"]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedAttention(QuantisedUnit):
    """Stochastic attention (`spikeloom.sim.attention.attention`) as a unit of a network.

    ``query``, ``key`` and ``value`` are populations of ``heads * tokens * features`` neurons in the order ``(heads,
    features, tokens)``, that of the channels of a convolution with tokens as positions. The output spikes have the same
    order and belong to the same step: there is no delay. Every sample starts from ``seed``.
    """

    name: str
    query: str
    key: str
    value: str
    parameters: AttentionParameters
    seed: int = 0
    causal: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, AttentionParameters):
            raise TypeError(f"parameters of {self.name!r} must be AttentionParameters, not {self.parameters!r}")
        if not isinstance(self.causal, bool):
            raise TypeError(f"causal of {self.name!r} must be True or False, not {self.causal!r}")
        register_seeds(self.seed)

    @property
    def size(self) -> int:
        """Maximum number of spikes per step, and number of neurons of each of its three sources."""
        return self.parameters.heads * self.parameters.tokens * self.parameters.features

    @property
    def sources(self) -> tuple[str, str, str]:
        """Names of the populations of query, key and value."""
        return self.query, self.key, self.value

    @property
    def needs(self) -> str:
        """The required tile."""
        shape = self.parameters
        return (
            f"an attention tile of its own for {shape.heads} heads, {shape.tokens} tokens and {shape.features} features"
        )

    def last_source(self, order: Sequence[str]) -> int:
        """Index in ``order`` of the last of the three sources, which the attention follows in the same step."""
        return max(order.index(source) for source in self.sources)

    def check(self, populations: Mapping[str, QuantisedPopulation], inputs: int) -> None:
        """Raise ``ValueError`` unless its sources are spiking populations of `size` neurons."""
        for role in ("query", "key", "value"):
            source = populations.get(getattr(self, role))
            if source is None:
                raise ValueError(
                    f"{role} of {self.name!r} must be one of {list(populations)!r}, not {getattr(self, role)!r}"
                )
            if source.size != self.size:
                raise ValueError(
                    f"{role} of {self.name!r} must have {self.size:,} neurons, but {source.name!r} has {source.size:,}"
                )
            # Samples count ones of binary words; a membrane or a value has no meaning there.
            if not source.parameters.spiking or source.parameters.graded:
                raise ValueError(f"{role} of {self.name!r} must be neurons with plain spikes, unlike {source.name!r}")

    def begin(self, steps: int, samples: int) -> UnitStep:
        """Begin a run, in which step *t* of every sample uses the same random words."""
        words = draw(self.parameters, steps, seed=self.seed)
        # Steps are numbered by the calls. All samples share the words, as on the hardware, which restarts with each
        # sample.
        count = itertools.count()
        return lambda fired: self.samples(fired, words.step(next(count)))[1]

    def samples(
        self, fired: Mapping[str, NDArray[np.bool_]], words: Words
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """S ``(B, heads, tokens, tokens)`` and the spikes ``(B, n)`` of a step, from the spikes of its sources
        ``(B, n)`` and the random ``words`` of the step."""
        shape = self.parameters
        q, k, v = (
            # The populations have tokens innermost, the recurrence features.
            fired[name].reshape(-1, shape.heads, shape.features, shape.tokens).swapaxes(2, 3).astype(np.int64)
            for name in self.sources
        )
        scores, outputs = attend(shape, q, k, v, words, causal=self.causal)
        return scores, outputs.swapaxes(2, 3).reshape(len(outputs), -1)
