"""Parameters of an attention tile, an attention unit with packet ports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.attention.attention import RESULT_PASSES, AttentionParameters
from spikeloom.sim.attention.registers import ATTENTION
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import TileParameters, Widths
from spikeloom.sim.lib.words import Field, WordLayout, pack_lanes

__all__ = ["AttentionTileParameters"]


@dataclass(frozen=True, kw_only=True)
class AttentionTileParameters(TileParameters, kind="attention", register_map=ATTENTION):
    """An attention unit as a tile of a fabric.

    An axon consists of a *page* and the index of a spike: ``page << index_bits | (head d + feature) N + token``. Q, K
    and V each have a page, which the host writes to a register. Events of other pages are ignored. The memory
    ``routes`` holds the axon of each output spike.

    Parameters
    ----------
    attention
        Sizes of the unit.
    axon_width, value_width
        Widths in the packets of the fabric. An axon must have room for at least four pages.
    destinations
        Number of tiles of the mesh, which is the width of a destination set; 0 without a mesh.
    read_back
        Whether the host can read the memories back.
    contents
        Initial contents of memories and registers; ignored when tiles are compared.
    """

    attention: AttentionParameters
    axon_width: int = 16
    value_width: int = 16
    destinations: int = 0
    read_back: bool = False
    contents: Contents = field(default=NOTHING, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.attention, AttentionParameters):
            raise TypeError(f"attention must be AttentionParameters, not {self.attention!r}")
        if not isinstance(self.read_back, bool):
            raise TypeError(f"read_back must be a bool, not {self.read_back!r}")
        for name, low, high in (
            # Two bits of page: Q, K and V need three different ones.
            ("axon_width", self.index_bits + 2, 32),
            ("value_width", 2, 32),
            ("destinations", 0, 64),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        self.contents.check({memory.number for memory in self.memories.values()})

    @property
    def packets(self) -> Widths:
        """Widths of the packets of the fabric."""
        return Widths(self.axon_width, self.value_width)

    @property
    def asks(self) -> Widths:
        """Minimum widths of the fabric: its axon width; spikes have no values."""
        return Widths(self.axon_width, 0)

    def fitted(self, *, tiles: int, packets: Widths) -> AttentionTileParameters:
        """The tile with the packet widths of the fabric."""
        return replace(self, destinations=tiles, axon_width=packets.axon, value_width=packets.value)

    @property
    def index_bits(self) -> int:
        """Width of the index of a spike."""
        shape = self.attention
        return (shape.heads * shape.tokens * shape.features - 1).bit_length()

    @property
    def page_bits(self) -> int:
        """Width of a page, at most 16 bits."""
        # The registers of the pages have 16 bits.
        return min(16, self.axon_width - self.index_bits)

    def axons(self, page: int) -> NDArray[np.int64]:
        """The axons ``(heads, N, d)`` of a page; ``ValueError`` for a page of more than `page_bits` bits."""
        if not 0 <= page < 1 << self.page_bits:
            raise ValueError(f"page must be from 0 to {(1 << self.page_bits) - 1}, not {page!r}")
        # Numbered like the channels of a convolution with tokens as positions, then swapped to the order of the
        # attention.
        shape = (self.attention.heads, self.attention.features, self.attention.tokens)
        return (page << self.index_bits) + np.arange(prod(shape)).reshape(shape).swapaxes(1, 2)

    @property
    def memories(self) -> dict[str, Memory]:
        """The memory that the host loads: the axon of each output spike, at ``(head N + token) d + feature``."""
        words = self.contents.memories.get(1, ())
        return {"routes": Memory("routes", 1, 1 << self.index_bits, self.axon_width, words)}

    @property
    def cost(self) -> dict[str, float]:
        """Logic: a constant, and the mean width of the words (features and tokens), alone and times the rows."""
        bits = (self.attention.tokens + self.attention.features) / 2
        return {"attention": 1, "attention, bits": bits, "attention, rows": bits * self.attention.rows}

    @property
    def buffers(self) -> tuple[tuple[int, int], ...]:
        """Q, K and V for each parity, and the result queue."""
        shape = self.attention
        matrices = ((shape.features, shape.heads * shape.tokens),) * 2 + ((shape.tokens, shape.heads * shape.features),)
        return (*matrices * 2, (shape.rows, RESULT_PASSES * shape.features))

    def routes(self, axons: ArrayLike) -> NDArray[np.uint8]:
        """The memory ``routes`` for the axons ``(heads, N, d)`` of the spikes, as bytes ``(depth, planes)``."""
        shape = (self.attention.heads, self.attention.tokens, self.attention.features)
        # The memory covers all indexes, a power of two; those beyond the last head never occur.
        flat = np.zeros(1 << self.index_bits, np.int64)
        flat[: prod(shape)] = np.broadcast_to(np.asarray(axons, np.int64), shape).reshape(-1)
        layout = WordLayout((Field("axon", self.axon_width),))
        return pack_lanes(layout.bits({"axon": flat}, len(flat)), 1)
