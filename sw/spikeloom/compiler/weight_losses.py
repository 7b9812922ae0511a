"""Losses of the conversion to integers: the weights and the threshold of each population."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.quantise import Quantisation, exponent_of_weights, scale_exponents
from spikeloom.model.network import Network
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.sparse import Matrix, SparseMatrix, numbers_of

__all__ = ["WeightLosses", "weight_losses"]


@dataclass(frozen=True, kw_only=True)
class WeightLosses:
    """The weights of a population.

    ``weights`` counts them, those of a kernel once. ``low`` and ``high`` bound them as floats, after the gain of the
    neuron; ``step`` is one unit of the integers on this scale, the largest one where neurons have scales of their own.
    ``threshold_low`` and ``threshold_high`` bound the thresholds in steps; both are None for neurons that never spike.
    ``zeroed`` counts weights that became 0, ``clipped`` those beyond the range of the integers of ``bits`` bits.
    """

    population: str
    bits: int
    weights: int
    low: float
    high: float
    step: float
    threshold_low: int | None
    threshold_high: int | None
    zeroed: int
    clipped: int

    @property
    def threshold_text(self) -> str:
        """The threshold, such as ``threshold is 40 weight steps``; empty for neurons that never spike."""
        if self.threshold_low is None:
            return ""
        if self.threshold_low == self.threshold_high:
            return f"threshold is {self.threshold_low:,} weight steps"
        return f"threshold is {self.threshold_low:,} to {self.threshold_high:,} weight steps"


def weight_losses(
    network: Network, quantised: QuantisedNetwork, quantisation: Quantisation
) -> tuple[WeightLosses, ...]:
    """Return the losses of each population of ``network`` that has weights, in its order.

    ``quantised`` is the network that ``quantise`` gave for ``quantisation``.
    """
    exponents, values = scale_exponents(network, quantisation)
    found = []
    for population in network.populations:
        floats, units, integers = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.int64)]
        empty = 0  # entries of sparse matrices that are not stored are 0 in both
        for connection, exact in zip(network.connections, quantised.connections, strict=True):
            if connection.target != population.name:
                continue
            weights = numbers_of(connection.weight).reshape(-1)
            floats.append(weights)
            exponent = exponent_of_weights(connection, exponents[population.name], values.get(connection.source, 0))
            # Keep the dimensions, so that the exponents of the rows broadcast over them.
            stored = weights if isinstance(connection.weight, SparseMatrix) else connection.kernel
            units.append(np.ldexp(stored, exponent).reshape(-1))
            integers.append(_integers(connection.weight, exact.weight))
            if isinstance(connection.weight, SparseMatrix):
                empty += prod(connection.weight.shape) - connection.weight.count
        floating, scaled, whole = np.concatenate(floats), np.concatenate(units), np.concatenate(integers)
        if not len(floating):
            continue
        parameters = quantised.population(population.name).parameters
        spiking = parameters.spiking and not parameters.delay_line
        threshold = np.asarray(parameters.threshold)
        rounded = np.rint(scaled)
        found.append(
            WeightLosses(
                population=population.name,
                bits=quantisation.width_of(population),
                weights=len(floating),
                low=float(min(floating.min(), 0.0) if empty else floating.min()),
                high=float(max(floating.max(), 0.0) if empty else floating.max()),
                step=float(np.ldexp(1.0, -np.min(exponents[population.name]))),
                threshold_low=int(threshold.min()) if spiking else None,
                threshold_high=int(threshold.max()) if spiking else None,
                zeroed=int(np.count_nonzero((floating != 0.0) & (whole == 0))),
                clipped=int(np.count_nonzero(rounded != whole)) if quantisation.width_of(population) > 1 else 0,
            )
        )
    return tuple(found)


def _integers(weight: Matrix, exact: Matrix) -> NDArray[np.int64]:
    """Return the integers ``(n,)`` of the weights that ``numbers_of(weight)`` lists. Small ones became 0, and a sparse
    matrix no longer stores them."""
    if isinstance(weight, SparseMatrix):
        if isinstance(exact, SparseMatrix):
            return exact.at(weight.rows, weight.columns)
        return exact[weight.rows, weight.columns]
    return (exact.dense() if isinstance(exact, SparseMatrix) else exact).reshape(-1)
