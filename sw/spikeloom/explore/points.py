"""Points of a design space: what is varied, and the grid of all combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from spikeloom.datasets.encoders import Encoder

__all__ = ["Behaviour", "Grid", "Point", "WeightBits", "weight_bits_text"]

WeightBits = int | tuple[tuple[str, int], ...]
"""Bits per weight: of all weights, or pairs of a population and the bits of the weights into it."""

MOST_LANES = 256
MOST_STEPS = 1 << 16


def weight_bits_text(bits: WeightBits) -> str:
    """Return ``bits`` in words: ``8``, or ``hidden=4,class=8``."""
    return str(bits) if isinstance(bits, int) else ",".join(f"{name}={width}" for name, width in bits)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Parameters that determine the spikes of a network: one run scores all points with the same behaviour.

    Parameters
    ----------
    weight_bits
        Bits per weight.
    encoder
        Encoder of images or series; None for spikes.
    steps
        Steps per value of a level code, or steps of spikes, of which the first ones are used; None: as they are.
    multiplier
        Whether the FPGA has multipliers, see `spikeloom.compiler.quantise.Quantisation`.
    """

    weight_bits: WeightBits
    encoder: Encoder | None
    steps: int | None
    multiplier: bool


@dataclass(frozen=True, kw_only=True)
class Point:
    """One design: bits per weight, encoder and steps as in `Behaviour`, lanes (None: the fastest core that fits) and
    the name of the board."""

    weight_bits: WeightBits
    encoder: Encoder | None
    steps: int | None
    lanes: int | None
    board: str

    def content(self) -> dict[str, Any]:
        """Return the point as plain values, for JSON and for the key of a result."""
        bits = self.weight_bits
        return {
            "weight_bits": bits if isinstance(bits, int) else dict(bits),
            "encoder": None if self.encoder is None else _plain(self.encoder.settings()),
            "steps": self.steps,
            "lanes": self.lanes,
            "board": self.board,
        }


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of the given values. Fields as in `Point`.

    Raises ``ValueError`` for values that no network and no board can have.
    """

    weight_bits: tuple[WeightBits, ...] = (8, 6, 4, 3, 2)
    encoders: tuple[Encoder | None, ...] = (None,)
    steps: tuple[int | None, ...] = (None,)
    lanes: tuple[int | None, ...] = (None, 1)
    boards: tuple[str, ...] = ("icebreaker", "tang-nano-9k", "ulx3s-85f")

    def __post_init__(self) -> None:
        for name in ("weight_bits", "encoders", "steps", "lanes", "boards"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"{name} must have at least one value, not none")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} must have each value once, not {', '.join(map(str, values))}")
        for bits in self.weight_bits:
            for width in (bits,) if isinstance(bits, int) else [width for _, width in bits]:
                if not 1 <= width <= 16:
                    raise ValueError(f"weight_bits must be from 1 to 16, not {width}")
        for steps in self.steps:
            if steps is not None and not 1 <= steps <= MOST_STEPS:
                raise ValueError(f"steps must be from 1 to {MOST_STEPS}, not {steps}")
        for lanes in self.lanes:
            if lanes is not None and (not 1 <= lanes <= MOST_LANES or lanes & (lanes - 1)):
                raise ValueError(f"lanes must be a power of two from 1 to {MOST_LANES}, not {lanes}")

    def __len__(self) -> int:
        return len(self.weight_bits) * len(self.encoders) * len(self.steps) * len(self.lanes) * len(self.boards)

    def points(self) -> Iterator[Point]:
        """Yield all points. The encoder varies slowest, then steps, weight bits, lanes and board."""
        for encoder, steps, bits, lanes, board in product(
            self.encoders, self.steps, self.weight_bits, self.lanes, self.boards
        ):
            yield Point(weight_bits=bits, encoder=encoder, steps=steps, lanes=lanes, board=board)
