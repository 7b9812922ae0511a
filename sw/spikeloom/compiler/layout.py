"""Slots of the neurons of a population: in C order, or position by position for the target of a convolution.

A convolution adds to all output channels of a position at once, so they are adjacent along the lanes. With
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
    """Populations without a valid layout. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Layout of one population: ``words`` words from ``first_word`` on.

    ``offsets`` ``(n,)`` are the slots of its neurons relative to its first slot; ``shape`` is the output shape of its
    input convolutions, None without any.
    """

    first_word: int
    words: int
    lanes: int
    offsets: NDArray[np.int64]
    shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, size: int, convolutions: Iterable[Convolution | None], lanes: int, first_word: int = 0) -> Layout:
        """Return the layout of ``size`` neurons with the given input ``convolutions``; None stands for a matrix.

        Raises `LayoutError` for convolutions of different output shapes.
        """
        shapes = {convolution.output_shape for convolution in convolutions if convolution is not None}
        if len(shapes) > 1:
            raise LayoutError(
                f"its input convolutions must have the same output shape, not {' and '.join(map(str, sorted(shapes)))}"
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
        """Slot ``(n,)`` of each neuron."""
        return self.first_word * self.lanes + self.offsets

    @property
    def words_per_position(self) -> int:
        """Number of words for all channels at one position."""
        return self.words if self.shape is None else self.words // prod(self.shape[1:])


def layouts(network: QuantisedNetwork, lanes: int, names: Collection[str] | None = None) -> dict[str, Layout]:
    """Return the layouts of the populations ``names`` (default: all), one after the other in a core.

    Raises `LayoutError` for convolutions of different output shapes.
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
