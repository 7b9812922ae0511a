"""Compiler interface of a tile, and the registry of compilers by kind of tile.

The parameters (`spikeloom.sim.lib.tile`) declare a kind. Its compiler registers itself here, once::

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
    """Whether tiles of this kind hold units, at most one each."""

    def __init__(self, placement: Placement, number: int) -> None:
        self.placement = placement
        self.number = number

    @classmethod
    def holds(cls, tile: Any, unit: QuantisedUnit) -> bool:
        """Whether ``tile`` can implement ``unit``."""
        return False

    @classmethod
    def page_axons(cls, tile: Any) -> int:
        """Return the page size: the axons of a source that ``tile`` reads are consecutive and start at a multiple of
        it."""
        return 1

    @classmethod
    def is_port(cls, tile: Any, port: Port, *, brings_input: bool) -> bool:
        """Whether ``tile`` matches ``port``: it supplies the input, or takes the output."""
        return False

    @classmethod
    def check_port(cls, tile: Any, port: Port, network: QuantisedNetwork, *, brings_input: bool) -> None:
        """Raise `spikeloom.compiler.checks.PlaceError` if ``port`` cannot carry the spikes of ``network``."""
        return

    @property
    def uses(self) -> Sequence[tuple[str, int, int]]:
        """Return the resource use of the tile: name, used and available amount of each resource."""
        return ()

    def memories(self) -> Mapping[str, NDArray[np.uint8]]:
        """Return the words of its memories by name, as bytes ``(n, planes)``."""
        return {}

    @abc.abstractmethod
    def registers(self) -> Iterable[tuple[str, int]]:
        """Return the registers to write, in this order, and their values."""

    @abc.abstractmethod
    def work(self, rates: Rates) -> TileWork | None:
        """Return the work of a step for ``rates`` of the neurons of the original network, or None."""


def register_compiler(kind: type[TileParameters]) -> Callable[[Compiler], Compiler]:
    """Register the decorated class as the compiler of tiles of ``kind``. Raises ``ValueError`` if there is one
    already."""

    def register(compiler: Compiler) -> Compiler:
        if kind in _COMPILERS:
            raise ValueError(f"the compiler for tiles of kind {kind.kind} is already registered")
        _COMPILERS[kind] = compiler
        return compiler

    return register


def tiles_for(unit: QuantisedUnit, fabric: FabricConfig) -> list[int]:
    """Return the tiles of ``fabric`` that can hold ``unit``."""
    return [number for number, tile in fabric.numbered.items() if compiler_of(tile).holds(tile, unit)]


def compiler_of(tile: TileParameters) -> type[TileCompiler]:
    """Return the compiler of the kind of ``tile``. Raises ``ValueError`` if none is registered."""
    # The built-in kinds register themselves when they are imported. They import this module, so the import is local.
    from spikeloom.compiler.tiles import aer, attention, core  # noqa: F401

    if type(tile) not in _COMPILERS:
        known = ", ".join(kind.kind for kind in _COMPILERS)
        raise ValueError(f"kind of a tile must have a registered compiler ({known}), not {tile.kind}")
    return _COMPILERS[type(tile)]
