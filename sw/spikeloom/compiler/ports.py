"""Where a program meets other chips than the host's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Port"]


@dataclass(frozen=True, kw_only=True)
class Port:
    """A tile that brings the network's input, or takes its output.

    Parameters
    ----------
    tile
        Its number.
    """

    tile: int

    what: ClassVar[str]
    """The tile that is meant, in words: *an AER input*."""
