"""Where a program meets other chips: its input from one AER tile, its output to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.ports import Port

__all__ = ["AerInput", "AerOutput"]


@dataclass(frozen=True, kw_only=True)
class AerInput(Port):
    """The network's input comes from a chip, and not from the host.

    Parameters
    ----------
    tile
        The AER tile, an input.
    addresses
        The address of each input line; its number if they are not given. Other addresses are dropped.
    step_cycles
        Clock cycles of a step; 0: a step for each of the host's TICKs, as fast as they come.
    patience
        Clock cycles after which a chip that does not go on with its handshake is reported; 0: never.
    """

    what: ClassVar[str] = "an AER input"

    addresses: tuple[int, ...] | None = None
    step_cycles: int = 0
    patience: int = 0


@dataclass(frozen=True, kw_only=True)
class AerOutput(Port):
    """The spikes of the output population go to a chip too.

    Parameters
    ----------
    tile
        The AER tile, an output.
    addresses
        The address of each neuron; its number if they are not given.
    patience
        As of `AerInput`.
    """

    what: ClassVar[str] = "an AER output"

    addresses: tuple[int, ...] | None = None
    patience: int = 0
