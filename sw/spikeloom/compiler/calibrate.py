"""Calibration: the activity of a float network on given inputs, from which the quantiser chooses scales.

Without it, each scale is the one with the least squared error of the weights, as if all sources fired at the same
rate. With it, each error is weighted by the activity of its source, and recorded membranes do not saturate. The sums of
a step are not calibrated: accumulators hold the worst case of the weights in any case.

Use training data. Data on which the accuracy is measured afterwards must not choose the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Activity of a float network on its calibration inputs.

    ``power`` has the mean square ``(n,)`` of what each neuron or line of a source brings in a step: for spikes without
    values, their rate. ``largest`` has for each neuron ``(n,)`` of a population the percentile of the magnitude of its
    membrane, in its units. Both are by name.
    """

    power: Mapping[str, NDArray[np.float64]]
    largest: Mapping[str, NDArray[np.float64]]

    def importance(self, connection: Connection) -> NDArray[np.float64]:
        """Return the factor ``(k,)`` with which the squared error of each weight adds to that of a sum, in the order of
        the ``k`` numbers stored in ``connection.weight``."""
        power, shape = self.power[connection.source], connection.source_shape
        if shape is not None:
            # All positions of a channel share their weights, so its mean counts; a window sums its inputs.
            window = 1 if connection.pooling is None else prod(connection.pooling.window)
            channels = power.reshape(shape[0], -1).mean(axis=1) * window
            if connection.convolution is not None:
                kernel, groups = connection.kernel, connection.convolution.groups
                each = channels.reshape(groups, -1)[np.arange(len(kernel)) // (len(kernel) // groups)]
                return np.broadcast_to(each[:, :, None, None], kernel.shape).reshape(-1)
            power = np.repeat(channels, connection.weight.shape[1] // shape[0])
        if isinstance(connection.weight, SparseMatrix):
            return power[connection.weight.columns]
        return np.broadcast_to(power, connection.weight.shape).reshape(-1)


def calibrate(network: Network, inputs: ArrayLike, *, percentile: float = 100.0) -> Calibration:
    """Run ``inputs`` ``(T, B, inputs)`` through ``network`` and return its activity.

    ``percentile``, above 0 to 100, is that of the membranes: with less than 100, rare peaks may saturate. Raises
    ``ValueError`` for another percentile or inputs of another shape.
    """
    if not 0.0 < percentile <= 100.0:
        raise ValueError(f"percentile must be above 0 and at most 100, not {percentile!r}")
    result = network.run(inputs, record_membranes=[p.name for p in network.populations if p.delay is None])
    brought = {INPUT: np.asarray(inputs)} | result.spikes | result.values
    return Calibration(
        power={
            name: np.square(values.astype(np.float64)).reshape(-1, values.shape[-1]).mean(axis=0)
            for name, values in brought.items()
        },
        largest={
            name: np.percentile(np.abs(v).reshape(-1, v.shape[-1]), percentile, axis=0)
            for name, v in result.membranes.items()
        },
    )
