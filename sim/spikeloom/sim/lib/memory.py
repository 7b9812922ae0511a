"""Declaration of a memory that the host loads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Memory"]


@dataclass(frozen=True)
class Memory:
    """A memory that the host loads: its number on the configuration port, its depth and its width in bits.

    ``words`` are the initial contents from index 0 on; the others are 0. Raises ``ValueError`` if there are too many
    words or one is too wide.
    """

    name: str
    number: int
    depth: int
    width: int
    words: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.words) > self.depth:
            raise ValueError(f"words of {self.name} must be at most {self.depth:,}, not {len(self.words):,}")
        # Words are bit patterns: negative numbers must be encoded before.
        if any(not 0 <= word < 1 << self.width for word in self.words):
            raise ValueError(f"words of {self.name} must have {self.width} bits each")

    @property
    def planes(self) -> int:
        """Number of byte lanes of a word."""
        return -(-self.width // 8)
