"""Connections of a program to other chips: input from one AER tile, output to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.ports import Port

__all__ = ["AerInput", "AerOutput"]


@dataclass(frozen=True, kw_only=True)
class AerInput(Port):
    """Network input from another chip rather than from the host.

    Parameters
    ----------
    tile
        Number of the AER input tile.
    addresses
        Address of each input line; default: the number of the line. Other addresses are dropped.
    step_cycles
        Clock cycles per step; 0: one step per TICK of the host, without delay.
    patience
        Handshake timeout in clock cycles after which the chip is reported as stalled; 0: never.
    """

    what: ClassVar[str] = "an AER input"

    addresses: tuple[int, ...] | None = None
    step_cycles: int = 0
    patience: int = 0


@dataclass(frozen=True, kw_only=True)
class AerOutput(Port):
    """Spikes of the output population to another chip, in addition to the host.

    Parameters
    ----------
    tile
        Number of the AER output tile.
    addresses
        Address of each neuron; default: the number of the neuron.
    patience
        Handshake timeout, see `AerInput`.
    """

    what: ClassVar[str] = "an AER output"

    addresses: tuple[int, ...] | None = None
    patience: int = 0
