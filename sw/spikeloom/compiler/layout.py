"""Where the neurons of a population lie: in C order, or position by position where a convolution leads to them.

A convolution adds to all output channels of a position at once, so they lie side by side along the lanes. With
``words_per_position = ceil(channels / lanes)``, the neuron ``(channel, y, x)`` of a population ``(channels, height,
width)`` has the slot::

    first_slot + (y * width + x) * words_per_position * lanes + channel
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.projection import Convolution

__all__ = ["Layout", "LayoutError", "layouts"]


class LayoutError(ValueError):
    """Populations that cannot be laid out. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The place of one population: ``words`` words from ``first_word``.

    ``offsets`` ``(n,)`` are the slots of its neurons, counted from its first; ``shape`` is that of the convolution that
    leads to it, None if none does.
    """

    first_word: int
    words: int
    lanes: int
    offsets: NDArray[np.int64]
    shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, size: int, convolutions: Iterable[Convolution | None], lanes: int, first_word: int = 0) -> Layout:
        """The layout of ``size`` neurons to which ``convolutions`` lead, and matrices where one is None.

        Raises `LayoutError` where convolutions disagree.
        """
        shapes = {convolution.output_shape for convolution in convolutions if convolution is not None}
        if len(shapes) > 1:
            raise LayoutError(
                f"the convolutions that lead to it must give one shape, not {' and '.join(map(str, sorted(shapes)))}"
            )
        shape = next(iter(shapes), None)
        if shape is None:
            words, offsets = -(-size // lanes), np.arange(size)
        else:
            channels, height, width = shape
            pitch = -(-channels // lanes) * lanes
            words = pitch // lanes * height * width
            offsets = (np.arange(channels)[:, None] + np.arange(height * width) * pitch).reshape(-1)
        return cls(first_word=first_word, words=words, lanes=lanes, offsets=offsets, shape=shape)

    @property
    def slots(self) -> NDArray[np.int64]:
        """The slot ``(n,)`` of each neuron."""
        return self.first_word * self.lanes + self.offsets

    @property
    def words_per_position(self) -> int:
        """Words of all channels at one position."""
        return self.words if self.shape is None else self.words // prod(self.shape[1:])


def layouts(network: QuantisedNetwork, lanes: int, names: Collection[str] | None = None) -> dict[str, Layout]:
    """The layout of each population of ``names`` (of all), one after the other in a core.

    Raises `LayoutError` where convolutions disagree.
    """
    first, result = 0, {}
    for population in network.populations:
        if names is not None and population.name not in names:
            continue
        convolutions = [c.convolution for c in network.connections_to(population.name)]
        try:
            layout = Layout.of(population.size, convolutions, lanes, first)
        except LayoutError as error:
            raise LayoutError(f"population {population.name}: {error}") from None
        result[population.name] = layout
        first += layout.words
    return result
