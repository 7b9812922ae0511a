"""Several signals assigned at once in a testbench of Amaranth's simulator.

The simulator settles the whole design after each assignment of a testbench. In a large design, a bench that assigns
its signals one by one would spend most of its time there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Cat, Value

__all__ = ["assign"]


def assign(ctx: Any, values: Iterable[tuple[Any, int]]) -> None:
    """Assign to each signal the integer beside it; the design settles once."""
    signals, bits, place = [], 0, 0
    for signal, value in values:
        width = len(Value.cast(signal))
        bits |= (int(value) & (1 << width) - 1) << place
        place += width
        signals.append(signal)
    ctx.set(Cat(signals), bits)
