"""What every kind of tile tells about itself: the contract between a kind and all that handles tiles of any kind.

A kind of tile is a frozen dataclass that derives from `TileParameters` and names its ``kind``::

    @dataclass(frozen=True, kw_only=True)
    class DelayTileParameters(TileParameters, kind="delay", register_map=DELAY):
        ...

That alone makes fabrics, ``fabric.json``, the register page, the driver and bitstreams take it. Its hardware registers
with `spikeloom.hdl.noc.tile`, and what placement writes into it with `spikeloom.compiler.tiles.registry`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self, cast

from spikeloom.sim.lib.contents import Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import RegisterMap

__all__ = ["Capacity", "Pin", "TileParameters", "Widths", "tile_kinds"]

_KINDS: dict[str, type[TileParameters]] = {}


class Widths(NamedTuple):
    """Bits of the axon and of the value of a packet."""

    axon: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Wires between a tile and a chip beside the FPGA: ``width`` of them, driven by the tile if ``output``.

    ``idle`` is what they are while nothing happens.
    """

    width: int = 1
    output: bool = False
    idle: int = 0


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a tile adds to its fabric: neurons, weights, and weights that are added per cycle at most."""

    neurons: int = 0
    synapses: int = 0
    operations_per_cycle: int = 0


class TileParameters(abc.ABC):
    """What a tile is built as.

    Every kind has the fields ``contents``, what is in memories and registers from power-up, and ``destinations``, the
    tiles of the mesh that it stands on (the bits of a destination set; 0 without a mesh).
    """

    kind: ClassVar[str]
    """The name of the kind: in ``fabric.json``, and of the tile's module in the hardware."""

    register_map: ClassVar[RegisterMap]
    """The registers and memories that the host can address."""

    destinations: int
    contents: Contents

    def __init_subclass__(cls, *, kind: str | None = None, register_map: RegisterMap | None = None) -> None:
        super().__init_subclass__()
        if kind is None or register_map is None:
            return
        known = _KINDS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"kind of a tile must be new, not {kind!r}, which {known.__qualname__} has")
        cls.kind, cls.register_map = kind, register_map
        _KINDS[kind] = cls

    @property
    @abc.abstractmethod
    def packets(self) -> Widths:
        """Of the packets that it takes and sends."""

    @property
    def asks(self) -> Widths:
        """What it needs the packets of its fabric to have; the fabric takes the most that any of its tiles asks."""
        return Widths(0, 0)

    @abc.abstractmethod
    def fitted(self, *, tiles: int, packets: Widths) -> Self:
        """The same tile on a mesh of so many ``tiles`` whose packets are these; 0 tiles are none, and no mesh.

        Raises ``ValueError`` where it cannot stand there.
        """

    def holding(self, contents: Contents) -> Self:
        """The same tile with these ``contents`` from power-up."""
        changed: Self = replace(cast(Any, self), contents=contents)
        return changed

    @property
    def left_to_host(self) -> frozenset[str]:
        """Registers that only the host writes, even where a bitstream brings a program."""
        return frozenset()

    @property
    @abc.abstractmethod
    def memories(self) -> Mapping[str, Memory]:
        """The memories that the host loads, by name."""

    @property
    def pins(self) -> Mapping[str, Pin]:
        """The wires between the tile and a chip, by name."""
        return {}

    @property
    def sends_values(self) -> bool:
        """Whether its spikes can bring values other than 1."""
        return False

    @property
    def capacity(self) -> Capacity:
        """What it adds to its fabric."""
        return Capacity()

    @property
    def counters(self) -> tuple[str, ...]:
        """The registers that count since the tile was cleared: all that the host can only read but ``status``."""
        return self.register_map.counters


def tile_kinds() -> Mapping[str, type[TileParameters]]:
    """The kinds of tiles by name, in the order in which they were declared."""
    return dict(_KINDS)
