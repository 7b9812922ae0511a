"""What the compiler does for a tile of any kind, and which class does it for each kind.

A kind is declared by its parameters (`spikeloom.sim.lib.tile`). Its compiler registers itself here, once::

    @register_compiler(DelayTileParameters)
    class DelayCompiler(TileCompiler):
        ...
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.dependencies import Rates
from spikeloom.compiler.ports import Port
from spikeloom.compiler.work import TileWork
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.tile import TileParameters
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.unit import QuantisedUnit

if TYPE_CHECKING:
    from spikeloom.compiler.placement import Placement

__all__ = ["TileCompiler", "compiler_of", "register_compiler", "tiles_for"]

Compiler = TypeVar("Compiler", bound="type[TileCompiler]")

_COMPILERS: dict[type[TileParameters], type[TileCompiler]] = {}


class TileCompiler(abc.ABC):
    """One tile of a program. A tile holds populations, or a unit of the network, or is a port to another chip."""

    is_unit: ClassVar[bool] = False
    """Whether tiles of this kind hold units, each one at most."""

    def __init__(self, placement: Placement, number: int) -> None:
        self.placement = placement
        self.number = number

    @classmethod
    def holds(cls, tile: Any, unit: QuantisedUnit) -> bool:
        """Whether ``tile`` can do what ``unit`` asks."""
        return False

    @classmethod
    def page_axons(cls, tile: Any) -> int:
        """The axons of a source that ``tile`` reads begin at a multiple of this and follow each other."""
        return 1

    @classmethod
    def is_port(cls, tile: Any, port: Port, *, brings_input: bool) -> bool:
        """Whether ``tile`` is what ``port`` means: one that brings the input, or one that takes the output."""
        return False

    @classmethod
    def check_port(cls, tile: Any, port: Port, network: QuantisedNetwork, *, brings_input: bool) -> None:
        """Raise `spikeloom.compiler.checks.PlaceError` if what ``network`` has cannot go through ``port``."""
        return

    @property
    def uses(self) -> Sequence[tuple[str, int, int]]:
        """What it takes of its tile: each resource by name, how much is used, and how much there is."""
        return ()

    def memories(self) -> Mapping[str, NDArray[np.uint8]]:
        """The words of its memories by name, as bytes ``(n, planes)``."""
        return {}

    @abc.abstractmethod
    def registers(self) -> Iterable[tuple[str, int]]:
        """The registers to write, in this order, and their values."""

    @abc.abstractmethod
    def work(self, rates: Rates) -> TileWork | None:
        """What a step costs at these spikes per step of the neurons of the original network; None if it is nothing."""


def register_compiler(kind: type[TileParameters]) -> Callable[[Compiler], Compiler]:
    """Make the decorated class the compiler of tiles of ``kind``. Raises ``ValueError`` for a kind that has one."""

    def register(compiler: Compiler) -> Compiler:
        if kind in _COMPILERS:
            raise ValueError(f"compiler of tiles of kind {kind.kind} must be registered once")
        _COMPILERS[kind] = compiler
        return compiler

    return register


def tiles_for(unit: QuantisedUnit, fabric: FabricConfig) -> list[int]:
    """The tiles of ``fabric`` that can hold ``unit``."""
    return [number for number, tile in fabric.numbered.items() if compiler_of(tile).holds(tile, unit)]


def compiler_of(tile: TileParameters) -> type[TileCompiler]:
    """The compiler of the kind of ``tile``. Raises ``ValueError`` if none is registered."""
    # The kinds that come with spikeloom register themselves when they are imported; they import this module.
    from spikeloom.compiler.tiles import aer, attention, core  # noqa: F401

    if type(tile) not in _COMPILERS:
        known = ", ".join(kind.kind for kind in _COMPILERS)
        raise ValueError(f"kind of a tile must be one that has a compiler ({known}), not {tile.kind}")
    return _COMPILERS[type(tile)]
