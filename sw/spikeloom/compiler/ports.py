"""Ports of a program to chips other than the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Port"]


@dataclass(frozen=True, kw_only=True)
class Port:
    """Tile that supplies the input of the network, or takes its output.

    Parameters
    ----------
    tile
        Number of the tile.
    """

    tile: int

    what: ClassVar[str]
    """Kind of tile in words, for messages: *an AER input*."""
