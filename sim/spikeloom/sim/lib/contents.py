"""Initial contents of a fabric whose program is part of the bitstream.

The words initialise the memories, and the values replace the reset values of the registers. The host can still load
another program; the bridge's register ``program`` tells whether the built-in one is intact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "Contents", "MemoryWords", "program_digest"]


class MemoryWords(Protocol):
    """The ``words`` ``(n, planes)`` of ``memory``, a number, of ``tile``, from index 0 on."""

    @property
    def tile(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def words(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Initial contents of one tile.

    Parameters
    ----------
    memories
        Words of each memory by its number, from index 0 on; all others are 0.
    registers
        Reset values by register name, in place of the declared ones.
    """

    memories: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    registers: Mapping[str, int] = field(default_factory=dict)

    def check(self, numbers: Collection[int]) -> None:
        """Raise ``ValueError`` if ``memories`` has a number that is not among ``numbers``, those of the tile."""
        for number in self.memories:
            if number not in numbers:
                there = ", ".join(map(str, sorted(numbers)))
                raise ValueError(f"contents must be of the memories {there}, not of {number!r}")


NOTHING = Contents()
"""Contents of a tile without a built-in program."""


def program_digest(memories: Iterable[MemoryWords], registers: Iterable[tuple[int, str, int]]) -> int:
    """A nonzero 32-bit digest that identifies a program; ``registers`` are (tile, name, value)."""
    digest = hashlib.sha256()
    for image in memories:
        # The shape is included, so that equal bytes in words of another width are another program.
        digest.update(f"memory {image.tile} {image.memory} {image.words.shape} ".encode() + image.words.tobytes())
    for tile, name, value in registers:
        digest.update(f"register {tile} {name} {value} ".encode())
    # 0 means "no program" in the register `program`.
    return int.from_bytes(digest.digest()[:4], "little") or 1
