"""The interface of all kinds of tiles, through which the rest of the project handles them.

A kind of tile is a frozen dataclass that derives from `TileParameters` and names its ``kind``::

    @dataclass(frozen=True, kw_only=True)
    class DelayTileParameters(TileParameters, kind="delay", register_map=DELAY):
        ...

This makes it available to fabrics, ``fabric.json``, the register page, the driver and bitstreams. Its hardware is
registered with `spikeloom.hdl.noc.tile`, its placement with `spikeloom.compiler.tiles.registry`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self, cast

from spikeloom.sim.lib.contents import Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import REGISTER_SPACE, RegisterMap
from spikeloom.sim.lib.words import bits_for

__all__ = ["Capacity", "Pin", "TileParameters", "Widths", "tile_kinds"]

_KINDS: dict[str, type[TileParameters]] = {}


class Widths(NamedTuple):
    """Widths of the axon and of the value of a packet."""

    axon: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A port of ``width`` wires between a tile and an external chip, driven by the tile if ``output``.

    ``idle`` is the inactive value.
    """

    width: int = 1
    output: bool = False
    idle: int = 0


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Contribution of a tile to its fabric: neurons, weights, and maximum number of weights added per cycle."""

    neurons: int = 0
    synapses: int = 0
    operations_per_cycle: int = 0


class TileParameters(abc.ABC):
    """Parameters of a tile.

    Every kind has the fields ``contents``, the initial contents of memories and registers, and ``destinations``, the
    number of tiles of its mesh (the width of a destination set; 0 without a mesh).
    """

    kind: ClassVar[str]
    """Name of the kind, in ``fabric.json`` and for the tile's module in the hardware."""

    register_map: ClassVar[RegisterMap]
    """The registers and memories that the host can address."""

    destinations: int
    contents: Contents

    read_back: bool = False
    """Whether the host can read the memories back. Kinds that support this have a field of this name."""

    def __init_subclass__(cls, *, kind: str | None = None, register_map: RegisterMap | None = None) -> None:
        super().__init_subclass__()
        # An abstract subclass, or one that changes a kind without declaring a new one.
        if kind is None or register_map is None:
            return
        # The same class may be defined again, for example when its module is loaded twice.
        known = _KINDS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"kind of a tile must be unique, but {kind!r} is that of {known.__qualname__} already")
        cls.kind, cls.register_map = kind, register_map
        _KINDS[kind] = cls

    @property
    @abc.abstractmethod
    def packets(self) -> Widths:
        """Widths of the packets that it accepts and sends."""

    @property
    def asks(self) -> Widths:
        """Minimum widths of the fabric's packets; the fabric uses the maximum over all of its tiles."""
        return Widths(0, 0)

    @abc.abstractmethod
    def fitted(self, *, tiles: int, packets: Widths) -> Self:
        """The same tile on a mesh with this number of ``tiles`` and these ``packets``; 0 tiles for no mesh.

        Raises ``ValueError`` if the tile does not support them.
        """

    def holding(self, contents: Contents) -> Self:
        """The same tile with these initial ``contents``."""
        # Every kind is a dataclass, which the type of this base class does not say.
        changed: Self = replace(cast(Any, self), contents=contents)
        return changed

    def with_read_back(self) -> Self:
        """The same tile with memories that the host can read back. Raises ``ValueError`` for a kind without this."""
        if "read_back" not in {field.name for field in fields(cast(Any, self))}:
            raise ValueError(f"read_back must be False with tiles of kind {self.kind}, which have no such option")
        changed: Self = replace(cast(Any, self), read_back=True)
        return changed

    @property
    def left_to_host(self) -> frozenset[str]:
        """Registers that are written by the host even if the program is part of the bitstream."""
        return frozenset()

    @property
    @abc.abstractmethod
    def memories(self) -> Mapping[str, Memory]:
        """The memories that the host loads, by name."""

    @property
    def index_width(self) -> int:
        """Width of the index of a word: that of the deepest memory, or of the registers."""
        return bits_for(max([REGISTER_SPACE, *(memory.depth for memory in self.memories.values())]))

    @property
    def plane_width(self) -> int:
        """Width of the number of a byte within a word, for the widest memory."""
        return bits_for(max([1, *(memory.planes for memory in self.memories.values())]))

    @property
    def pins(self) -> Mapping[str, Pin]:
        """The ports to an external chip, by name."""
        return {}

    @property
    def sends_values(self) -> bool:
        """Whether its spikes can have values other than 1."""
        return False

    @property
    def input_value_width(self) -> int:
        """Width of the spike values that it accepts, two's complement; 0 if each spike counts as 1."""
        return 0

    @property
    def capacity(self) -> Capacity:
        """Its contribution to the fabric."""
        return Capacity()

    @property
    def cost(self) -> Mapping[str, float]:
        """Size of its logic: the terms to which it is proportional, by name.

        `spikeloom.boards.sizing.estimate` has the lookup tables and flip-flops per term. A kind without an entry there
        returns them itself, as the terms ``lut`` and ``ff``; without terms only its memories are counted.
        """
        return {}

    @property
    def buffers(self) -> tuple[tuple[int, int], ...]:
        """Width and depth of each block memory other than `memories`."""
        return ()

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of its counters, which a clear resets: all read-only registers except ``status``."""
        return self.register_map.counters


def tile_kinds() -> Mapping[str, type[TileParameters]]:
    """The kinds of tiles by name, in order of declaration."""
    return dict(_KINDS)
