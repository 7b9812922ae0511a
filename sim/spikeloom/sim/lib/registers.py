"""Every register and memory of the fabric, declared once.

The hardware's register banks (:mod:`spikeloom.hdl.lib.registers`), the driver's addresses and ``docs/registers.md`` are
all derived from `REGISTER_MAPS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from spikeloom.sim.noc.mesh import Link

__all__ = [
    "AER",
    "ATTENTION",
    "BRIDGE",
    "BRIDGE_TILE",
    "CORE",
    "CORE_TILE",
    "COUNTERS",
    "REGISTER_MAPS",
    "REGISTER_MEMORY",
    "REGISTER_SPACE",
    "ROUTER",
    "ROUTER_MEMORY",
    "Access",
    "MemoryRegion",
    "Register",
    "RegisterMap",
    "counter_names",
    "register_map",
    "to_markdown",
]

Access = Literal["read", "write", "read-write", "pulse"]
"""What the host can do: ``read`` only, ``write`` only, both, or ``pulse``: write, and what is written acts once."""

REGISTER_MEMORY = 0
"""The memory number of the registers of every tile."""

BRIDGE_TILE = 0
CORE_TILE = 1
"""The only core of a fabric without a mesh."""

REGISTER_SPACE = 64
"""Bytes that a tile has for registers."""

WIDEST_REGISTER = 64
"""Bits: a destination set of the largest mesh."""


def _check_name(value: object) -> None:
    if not isinstance(value, str) or not value.isidentifier() or value != value.lower():
        raise ValueError(f"name must be an identifier in lower case, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register: ``width_bits`` (1 to 64) from byte ``offset`` on, the lowest byte first.

    ``reset`` is its value when a session begins.
    """

    name: str
    offset: int
    width_bits: int
    access: Access
    description: str
    reset: int = 0

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 1 <= self.width_bits <= WIDEST_REGISTER:
            raise ValueError(f"width_bits must be from 1 to {WIDEST_REGISTER}, not {self.width_bits!r}")
        if not 0 <= self.offset <= REGISTER_SPACE - self.size:
            raise ValueError(f"offset must be from 0 to {REGISTER_SPACE - self.size}, not {self.offset!r}")
        if self.access not in get_args(Access):
            raise ValueError(f"access must be one of {', '.join(get_args(Access))}, not {self.access!r}")
        if not 0 <= self.reset < 1 << self.width_bits:
            raise ValueError(f"reset must be from 0 to {(1 << self.width_bits) - 1}, not {self.reset!r}")

    @property
    def size(self) -> int:
        """Bytes."""
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
        """The bytes of ``value``; ``ValueError`` if it does not fit, or if nobody may write it."""
        if not self.writable:
            raise ValueError(f"register {self.name} must be writable, not {self.access}")
        high = (1 << self.width_bits) - 1
        if not 0 <= value <= high:
            raise ValueError(f"{self.name} must be from 0 to {high}, not {value!r}")
        return int(value).to_bytes(self.size, "little")


@dataclass(frozen=True, kw_only=True)
class MemoryRegion:
    """A memory of a tile, written word by word in planes of bytes; it cannot be read back."""

    name: str
    number: int
    description: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 1 <= self.number <= 15:
            raise ValueError(f"number must be from 1 to 15, not {self.number!r}")


@dataclass(frozen=True, kw_only=True)
class RegisterMap:
    """What the host can address in tiles of one kind; ``where`` says which those are.

    The registers are together the tile's memory number ``register_memory``.
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

    def register(self, name: str) -> Register:
        """The register called ``name``; ``ValueError`` if there is none."""
        if name not in self._by_name:
            raise ValueError(f"register of {self.name} must be one of {', '.join(self._by_name)}, not {name!r}")
        return self._by_name[name]

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


def _tile_set(name: str, offset: int, description: str) -> Register:
    """A destination set: bit t is tile t."""
    return Register(name=name, offset=offset, width_bits=WIDEST_REGISTER, access="write", description=description)


BRIDGE = RegisterMap(
    name="bridge",
    where="Tile 0",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the whole fabric at once: what is on its way, states, accumulators, tokens, "
            "counters and errors. Memories and all other registers stay.",
        ),
        Register(
            name="error",
            offset=1,
            width_bits=2,
            access="read",
            description="bit 0: an unknown message was skipped. Bit 1: a spike of an axon that does not exist was "
            "dropped. Stays until the bridge is cleared.",
        ),
        Register(
            name="sources",
            offset=2,
            width_bits=8,
            access="write",
            reset=1,
            description="tiles that send a TICK to the host each step.",
        ),
        Register(
            name="sinks",
            offset=3,
            width_bits=8,
            access="write",
            reset=1,
            description="tiles that acknowledge a TICK of the host each step.",
        ),
        Register(
            name="scratch",
            offset=4,
            width_bits=8,
            access="read-write",
            description="does nothing; reads as it was written.",
        ),
        Register(
            name="events_in",
            offset=8,
            width_bits=32,
            access="read",
            description="spikes given to the fabric, modulo 2^32.",
        ),
        Register(
            name="events_out",
            offset=12,
            width_bits=32,
            access="read",
            description="spikes and membranes from the fabric, modulo 2^32.",
        ),
        _tile_set("spike_destinations", 16, "tiles that get the host's spikes (with a mesh only)."),
        _tile_set("tick_destinations", 24, "tiles that get the host's TICKs, its sinks (with a mesh only)."),
        _tile_set("ack_destinations", 32, "tiles that get the host's ACKs, its sources (with a mesh only)."),
        Register(
            name="units",
            offset=5,
            width_bits=2,
            access="read",
            description="bit 0: there is an encoder. Bit 1: there is a readout.",
        ),
        Register(
            name="program",
            offset=60,
            width_bits=32,
            access="read",
            description="which program the bitstream has brought: a number that `program_digest` of "
            "`spikeloom.sim.lib.contents` gives. 0 if none, or once the host has written to a memory.",
        ),
        *(
            Register(
                name=name,
                offset=offset,
                width_bits=width,
                access="write",
                reset=reset,
                description=f"{description} (with {unit} only).",
            )
            for unit, name, offset, width, reset, description in (
                (
                    "an encoder",
                    "encoder_mode",
                    40,
                    2,
                    0,
                    "what the host's spikes are: 0 spikes, or levels of an image "
                    "that is encoded, 1 by rate, 2 by latency",
                ),
                ("an encoder", "encoder_stride", 41, 8, 1, "from one level to the next"),
                ("an encoder", "encoder_pixels", 42, 16, 0, "pixels of an image, less one"),
                ("an encoder", "encoder_steps", 44, 16, 0, "steps of an image, less one"),
                ("an encoder", "encoder_advance", 46, 24, 1, "the stride times the steps"),
                (
                    "a readout",
                    "readout_mode",
                    49,
                    3,
                    0,
                    "0: all goes to the host. Otherwise only the answer of each "
                    "sample, by 1 the count of spikes, 2 the first spike, 3 the last, 4 the largest, 5 the sum of the "
                    "membranes",
                ),
                ("a readout", "readout_vector", 50, 1, 0, "the score of each output goes before the answer"),
                ("an encoder", "encoder_seed", 52, 32, 1, "what the shift register starts each image at, not 0"),
                ("a readout", "readout_outputs", 56, 16, 0, "outputs, less one"),
                ("a readout", "readout_first", 58, 16, 0, "axon of the first output"),
            )
        ),
    ),
)

CORE = RegisterMap(
    name="core",
    where="Cores",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the core alone: state, accumulators, tokens and counters; memories and the other "
            "registers stay. For cores without a bridge; in a fabric clear all at once, by `control` of the bridge.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="tiles that lead here without delay and send a TICK each step; 0 keeps the core still.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="tiles that this one leads to without delay, which acknowledge each step.",
        ),
        Register(
            name="populations",
            offset=3,
            width_bits=8,
            access="write",
            description="populations that a step updates.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle, nothing is being added, updated or sent.",
        ),
        Register(
            name="delayed_sources",
            offset=5,
            width_bits=8,
            access="write",
            description="tiles that lead here with delay 1 (with a mesh only).",
        ),
        Register(
            name="delayed_sinks",
            offset=6,
            width_bits=8,
            access="write",
            description="tiles that this one leads to with delay 1 (with a mesh only).",
        ),
        Register(
            name="busy_cycles",
            offset=8,
            width_bits=32,
            access="read",
            description="clock cycles in which the core was not idle, modulo 2^32.",
        ),
        Register(
            name="words",
            offset=12,
            width_bits=32,
            access="read",
            description="weight words added, modulo 2^32.",
        ),
        Register(
            name="steps",
            offset=16,
            width_bits=32,
            access="read",
            description="steps finished, modulo 2^32.",
        ),
        Register(
            name="waiting_cycles",
            offset=20,
            width_bits=32,
            access="read",
            description="clock cycles in which an event waited or its weight words were being read, modulo 2^32. "
            "`words` of them added one.",
        ),
        Register(
            name="sweep_cycles",
            offset=24,
            width_bits=32,
            access="read",
            description="clock cycles in which neurons were being updated, modulo 2^32.",
        ),
        Register(
            name="spikes",
            offset=28,
            width_bits=32,
            access="read",
            description="spikes and membranes that were sent, out or back into the core, modulo 2^32.",
        ),
        _tile_set("tick_destinations", 32, "the sinks without delay (with a mesh only)."),
        _tile_set("delayed_tick_destinations", 40, "the sinks with delay 1 (with a mesh only)."),
        _tile_set("ack_destinations", 48, "the sources without delay (with a mesh only)."),
        _tile_set("delayed_ack_destinations", 56, "the sources with delay 1 (with a mesh only)."),
    ),
    memories=(
        MemoryRegion(name="weights", number=1, description="`lanes` weights a word, row after row."),
        MemoryRegion(name="rows", number=2, description="a row descriptor for each axon."),
        MemoryRegion(name="neurons", number=3, description="the parameters of `lanes` neurons a word."),
        MemoryRegion(name="routes", number=4, description="where each neuron's spikes go."),
        MemoryRegion(name="populations", number=5, description="words, destinations and rule of each population."),
        MemoryRegion(
            name="columns",
            number=6,
            description="for each geometry and horizontal coordinate, the taps that it meets (with coordinates only).",
        ),
        MemoryRegion(
            name="lines",
            number=7,
            description="for each geometry and vertical coordinate, the taps that it meets (with coordinates only).",
        ),
        MemoryRegion(name="targets", number=8, description="the target of each weight word (with sparse rows only)."),
    ),
)

COUNTERS = tuple(
    register.name for register in CORE.registers if register.access == "read" and register.name != "status"
)
"""The registers of a core that count."""

ATTENTION = RegisterMap(
    name="attention",
    where="Attention tiles",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the tile alone: spikes, tokens, the random sequence; the other registers stay.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="tiles that lead here without delay and send a TICK each step; 0 keeps the tile still.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="tiles that this one leads to without delay, which acknowledge each step.",
        ),
        Register(
            name="causal",
            offset=3,
            width_bits=1,
            access="write",
            description="bit 0: no token sees later ones.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle, no step is in progress.",
        ),
        Register(
            name="delayed_sources",
            offset=5,
            width_bits=8,
            access="write",
            description="tiles that lead here with delay 1 (with a mesh only).",
        ),
        Register(
            name="delayed_sinks",
            offset=6,
            width_bits=8,
            access="write",
            description="tiles that this one leads to with delay 1 (with a mesh only).",
        ),
        *(
            Register(
                name=f"{name}_page",
                offset=8 + 2 * number,
                width_bits=16,
                access="write",
                reset=number,
                description=description,
            )
            for number, (name, description) in enumerate(
                (
                    ("query", "page of the axons of Q; a page is what an axon has above the index of a spike."),
                    ("key", "page of the axons of K."),
                    ("value", "page of the axons of V."),
                )
            )
        ),
        Register(
            name="score_seed",
            offset=16,
            width_bits=32,
            access="write",
            reset=1,
            description="what the shift register of S starts each sample at, 31 bits, not 0.",
        ),
        Register(
            name="output_seed",
            offset=20,
            width_bits=32,
            access="write",
            reset=1,
            description="what the shift register of A starts each sample at, 32 bits, not 0.",
        ),
        _tile_set("spike_destinations", 24, "tiles that get the spikes (with a mesh only)."),
        _tile_set("tick_destinations", 32, "the sinks without delay (with a mesh only)."),
        _tile_set("delayed_tick_destinations", 40, "the sinks with delay 1 (with a mesh only)."),
        _tile_set("ack_destinations", 48, "the sources without delay (with a mesh only)."),
        _tile_set("delayed_ack_destinations", 56, "the sources with delay 1 (with a mesh only)."),
    ),
    memories=(MemoryRegion(name="routes", number=1, description="for each spike that comes out, its axon."),),
)

AER = RegisterMap(
    name="aer",
    where="AER tiles",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the tile alone: waiting events, tokens and counters. A handshake goes on; the "
            "other registers and the table stay.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="tiles that send a TICK here each step: of an input the host. 0 keeps the tile still; then "
            "it acknowledges one event at most.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="tiles that get a TICK from here each step and acknowledge it.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle, no step is in progress and no event waits. Bit 1: the chip has left a phase of "
            "the handshake waiting for `patience` cycles; stays until the tile is cleared, also in a "
            "new session.",
        ),
        Register(
            name="step_cycles",
            offset=8,
            width_bits=32,
            access="write",
            description="of an input: one step at most begins in each period of so many cycles; 0: when tokens allow.",
        ),
        Register(
            name="patience",
            offset=12,
            width_bits=32,
            access="write",
            description="cycles after which a phase of the handshake that the chip does not end is told in `status`; "
            "0: never.",
        ),
        Register(
            name="events",
            offset=16,
            width_bits=32,
            access="read",
            description="events that have come from the chip or gone to it, modulo 2^32.",
        ),
        Register(
            name="repeated",
            offset=20,
            width_bits=32,
            access="read",
            description="of an input: events that did not count, as their axon had one in the same step, modulo 2^32.",
        ),
        _tile_set("spike_destinations", 24, "of an input: tiles that get the spikes."),
        _tile_set("tick_destinations", 32, "the sinks."),
        Register(
            name="unknown",
            offset=40,
            width_bits=32,
            access="read",
            description="events that the table does not know, modulo 2^32.",
        ),
        _tile_set("ack_destinations", 48, "the sources."),
    ),
    memories=(
        MemoryRegion(
            name="table",
            number=1,
            description="for each address (input) or axon (output), bit 0: it is known; above, what it becomes.",
        ),
    ),
)

ROUTER_MEMORY = 15

ROUTER = RegisterMap(
    name="router",
    where=f"Routers that count, memory {ROUTER_MEMORY} of the tile at their place",
    registers=tuple(
        Register(
            name=f"{port}_{name}",
            offset=8 * number + 4 * place,
            width_bits=32,
            access="read",
            description=f"{description} {where}, modulo 2^32; 0 where there is no such port.",
        )
        for number, (port, where) in enumerate(
            (
                ("local", "to the tile itself"),
                *((port, f"to the {port}") for port in ("east", "west", "north", "south")),
            )
        )
        for place, (name, description) in enumerate(
            (("packets", "packets that have left"), ("waits", "cycles in which a packet has waited to leave"))
        )
    ),
    register_memory=ROUTER_MEMORY,
)
"""Counters of a router, cleared with the fabric."""


def counter_names(link: Link) -> tuple[str, str]:
    """The counters of a link among the registers of `ROUTER`: packets and waits."""
    return f"{link[1].value}_packets", f"{link[1].value}_waits"


REGISTER_MAPS = (BRIDGE, CORE, ATTENTION, AER, ROUTER)
"""The maps of all kinds of tiles."""


def register_map(tile: int) -> RegisterMap:
    """The registers of a tile of a fabric of cores: tile 0 is the bridge, all others are cores.

    `FabricConfig.register_map` knows fabrics of other tiles too.
    """
    return BRIDGE if tile == BRIDGE_TILE else CORE


def to_markdown(maps: Sequence[RegisterMap] = REGISTER_MAPS) -> str:
    """The text of ``docs/registers.md``."""
    head = f"""# Registers and memories

Generated from `sim/spikeloom/sim/lib/registers.py`: `python -m spikeloom.sim.lib.registers > docs/registers.md`.

Addresses are those of [the messages](host-protocol.md): tile, memory, plane, index. The registers of a tile are its
memory {REGISTER_MEMORY}, if nothing else is said, plane 0; the index is the offset in bytes, and a register of several
bytes has its lowest byte first. What is not listed reads as 0 and ignores writes. A register that the hardware changes
while it is being read byte by byte can come out torn: read counters while the fabric is idle.

A new session gives every register its reset value, or that of the program that the bitstream has brought; it leaves the
memories as they are.

"""
    return head + "\n".join(register_map.to_markdown() for register_map in maps)


if __name__ == "__main__":
    print(to_markdown(), end="")
