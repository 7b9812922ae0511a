"""Declarations of registers and memories, made once per kind of tile.

The hardware's register banks (:mod:`spikeloom.hdl.lib.registers`), the driver's addresses and ``docs/registers.md``
(`spikeloom.sim.fabric.register_maps`) are derived from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

__all__ = [
    "BRIDGE_TILE",
    "CORE_TILE",
    "DELAYED_COUNTS",
    "INDEX_WIDTH",
    "MOST_MEMORIES",
    "PLANE_WIDTH",
    "READ_BACK_CYCLES",
    "REGISTER_MEMORY",
    "REGISTER_SPACE",
    "TOKEN_DESTINATIONS",
    "Access",
    "MemoryRegion",
    "Register",
    "RegisterMap",
    "tile_set",
]

Access = Literal["read", "write", "read-write", "pulse"]
"""Access of the host: ``read`` only, ``write`` only, ``read-write``, or ``pulse``, a write that acts for one cycle."""

REGISTER_MEMORY = 0
"""The memory number of the registers of every tile."""

MOST_MEMORIES = 16
"""Number of memories that a tile can have, its registers included; their numbers are below this."""

INDEX_WIDTH = 18
"""Usual width of the index at the configuration port of a tile; memories of more words need a wider one."""

READ_BACK_CYCLES = 16
"""Cycles from the address of a memory at the configuration port of a tile to its byte: enough for the widest core,
whose banks are several registers away."""

PLANE_WIDTH = 10
"""Width of the byte lane at the configuration port of a tile."""

BRIDGE_TILE = 0
CORE_TILE = 1
"""The only core of a fabric without a mesh."""

REGISTER_SPACE = 64
"""Size of the register space of a tile in bytes."""

WIDEST_REGISTER = 64
"""Width of a destination set of the largest mesh."""


def _check_name(value: object) -> None:
    # A register's name becomes that of a port of the register bank.
    if not isinstance(value, str) or not value.isidentifier() or value != value.lower():
        raise ValueError(f"name must be an identifier in lower case, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register of ``width_bits`` (1 to 64) at byte ``offset``, lowest byte first.

    ``reset`` is its value at the start of a session. ``flags`` names its bits, from the lowest on, for registers whose
    bits software queries by name.
    """

    name: str
    offset: int
    width_bits: int
    access: Access
    description: str
    reset: int = 0
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 1 <= self.width_bits <= WIDEST_REGISTER:
            raise ValueError(f"width_bits must be from 1 to {WIDEST_REGISTER}, not {self.width_bits!r}")
        # A register must not reach beyond the space that the RTL decodes.
        if not 0 <= self.offset <= REGISTER_SPACE - self.size:
            raise ValueError(f"offset must be from 0 to {REGISTER_SPACE - self.size}, not {self.offset!r}")
        if self.access not in get_args(Access):
            raise ValueError(f"access must be one of {', '.join(get_args(Access))}, not {self.access!r}")
        if not 0 <= self.reset < 1 << self.width_bits:
            raise ValueError(f"reset must be from 0 to {(1 << self.width_bits) - 1}, not {self.reset!r}")

    @property
    def size(self) -> int:
        """Size in bytes."""
        return -(-self.width_bits // 8)

    @property
    def readable(self) -> bool:
        """Whether the host can read it."""
        return self.access in ("read", "read-write")

    @property
    def writable(self) -> bool:
        """Whether the host can write it."""
        return self.access != "read"

    def encode(self, value: int) -> bytes:
        """The bytes of ``value``; ``ValueError`` if it does not fit, or if the register is read-only."""
        if not self.writable:
            raise ValueError(f"register {self.name} must be writable, not {self.access}")
        high = (1 << self.width_bits) - 1
        if not 0 <= value <= high:
            raise ValueError(f"{self.name} must be from 0 to {high}, not {value!r}")
        # `int`, because NumPy's integers have no `to_bytes`.
        return int(value).to_bytes(self.size, "little")


@dataclass(frozen=True, kw_only=True)
class MemoryRegion:
    """A memory of a tile, which the host loads."""

    name: str
    number: int
    description: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        # Number 0 is that of the registers.
        if not 1 <= self.number < MOST_MEMORIES:
            raise ValueError(f"number must be from 1 to {MOST_MEMORIES - 1}, not {self.number!r}")


@dataclass(frozen=True, kw_only=True)
class RegisterMap:
    """The registers and memories of one kind of tile; ``where`` describes the tiles.

    The registers form the memory with the number ``register_memory``.
    """

    name: str
    where: str
    registers: tuple[Register, ...]
    memories: tuple[MemoryRegion, ...] = ()
    register_memory: int = REGISTER_MEMORY

    def __post_init__(self) -> None:
        _check_name(self.name)
        names = [register.name for register in self.registers]
        if len(set(names)) != len(names):
            raise ValueError(f"register names must be unique, not {names!r}")
        taken: dict[int, str] = {}
        for register in self.registers:
            # Every byte has one register, because the host addresses single bytes.
            for byte in range(register.offset, register.offset + register.size):
                if byte in taken:
                    raise ValueError(f"register {register.name} must not overlap register {taken[byte]}")
                taken[byte] = register.name
        numbers = [memory.number for memory in self.memories]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"memory numbers must be unique, not {numbers!r}")

    @cached_property
    def _by_name(self) -> dict[str, Register]:
        return {register.name: register for register in self.registers}

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """Names of the counters, which a clear resets: all read-only registers except ``status``."""
        return tuple(r.name for r in self.registers if r.access == "read" and r.name != "status")

    def register(self, name: str) -> Register:
        """The register called ``name``; ``ValueError`` if there is none."""
        if name not in self._by_name:
            raise ValueError(f"register of {self.name} must be one of {', '.join(self._by_name)}, not {name!r}")
        return self._by_name[name]

    def flag(self, register: str, name: str) -> int | None:
        """The bit called ``name`` of a register; None if there is none."""
        found = self._by_name.get(register)
        return found.flags.index(name) if found is not None and name in found.flags else None

    def memory(self, name: str) -> MemoryRegion:
        """The memory called ``name``; ``ValueError`` if there is none."""
        for memory in self.memories:
            if memory.name == name:
                return memory
        names = ", ".join(memory.name for memory in self.memories)
        raise ValueError(f"memory of {self.name} must be one of {names or 'none'}, not {name!r}")

    def to_markdown(self) -> str:
        """This map's section of ``docs/registers.md``."""
        lines = [f"## {self.where}: {self.name}", ""]
        lines += ["| register | offset | bits | access | reset | meaning |", "|---|---|---|---|---|---|"]
        lines += [
            f"| `{r.name}` | {r.offset} | {r.width_bits} | {r.access} | {r.reset} | {r.description} |"
            for r in sorted(self.registers, key=lambda register: register.offset)
        ]
        if self.memories:
            lines += ["", "| memory | number | meaning |", "|---|---|---|"]
            lines += [f"| `{m.name}` | {m.number} | {m.description} |" for m in self.memories]
        return "\n".join(lines) + "\n"


DELAYED_COUNTS = tuple(
    Register(
        name=f"delayed_{peers}",
        offset=offset,
        width_bits=8,
        access="write",
        description=f"number of {peers} with delay 1 (with a mesh only).",
    )
    for offset, peers in ((5, "sources"), (6, "sinks"))
)
"""The registers with the numbers of delayed sources and sinks, for every kind of tile that supports these."""


def tile_set(name: str, offset: int, description: str) -> Register:
    """A register with a destination set, in which bit t is tile t."""
    return Register(name=name, offset=offset, width_bits=WIDEST_REGISTER, access="write", description=description)


TOKEN_DESTINATIONS = (
    tile_set("tick_destinations", 32, "set of direct sinks (with a mesh only)."),
    tile_set("delayed_tick_destinations", 40, "set of sinks with delay 1 (with a mesh only)."),
    tile_set("ack_destinations", 48, "set of direct sources (with a mesh only)."),
    tile_set("delayed_ack_destinations", 56, "set of sources with delay 1 (with a mesh only)."),
)
"""The registers with the destination sets of tokens, for every kind of tile that supports delayed dependencies."""
