"""What a fabric holds from power-up, where its program is part of the bitstream.

The words go to the memories, and the values become what the registers have whenever a session begins. The host can
still load another program over it; the bridge's register ``program`` says whether what was baked in is still there.
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
    """The words ``(n, planes)`` of a memory from index 0."""

    @property
    def tile(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def words(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What one tile holds from power-up.

    Parameters
    ----------
    memories
        By number, the words of a memory from index 0 on; what is not named is 0.
    registers
        By name, the value that a register has when a session begins instead of its usual one.
    """

    memories: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    registers: Mapping[str, int] = field(default_factory=dict)

    def check(self, numbers: Collection[int]) -> None:
        """Raise ``ValueError`` unless ``memories`` are of a tile whose memories have these ``numbers``."""
        for number in self.memories:
            if number not in numbers:
                there = ", ".join(map(str, sorted(numbers)))
                raise ValueError(f"contents must be of the memories {there}, not of {number!r}")


NOTHING = Contents()
"""Of a tile without a program."""


def program_digest(memories: Iterable[MemoryWords], registers: Iterable[tuple[int, str, int]]) -> int:
    """A number of 32 bits that tells a program from others, and is never 0; ``registers`` are (tile, name, value)."""
    digest = hashlib.sha256()
    for image in memories:
        digest.update(f"memory {image.tile} {image.memory} {image.words.shape} ".encode() + image.words.tobytes())
    for tile, name, value in registers:
        digest.update(f"register {tile} {name} {value} ".encode())
    return int.from_bytes(digest.digest()[:4], "little") or 1
