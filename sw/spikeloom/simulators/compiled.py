"""The generated design as a compiled library: packets in, packets out, a million clock cycles per second.

:class:`CompiledSimulator` is one copy of a library that `compile_design` has made of a component with packet streams
and a configuration port. No Python runs between two clock cycles: ``harness.cc`` drives the ports.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.register_maps import register_map
from spikeloom.sim.host.messages import Messages
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, REGISTER_MEMORY, Register
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY, counter_names
from spikeloom.simulators.verilator import SimulationError

__all__ = ["CompiledSimulator", "Pauses"]


_SILENCE = 32  # cycles after a run in which nothing may come out
_RECORD = np.dtype([("step", "<i8"), ("kind", "<u4"), ("axon", "<u4"), ("value", "<i4"), ("unused", "<u4")], align=True)
_SPIKE, _TICK, _MEMBRANE = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Chances that no packet is offered to the design in a cycle, and that none is taken from it; with a seed."""

    idle: float = 0.0
    stall: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("idle", "stall"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to less than 1, not {getattr(self, name)!r}")
        if not 1 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be from 1 to {(1 << 63) - 1}, not {self.seed!r}")


class CompiledSimulator:
    """One copy of a compiled design, after its reset. To be used by one thread at a time, and closed.

    Parameters
    ----------
    library
        From `compile_design`.
    pauses
        Random pauses at the ports.
    credit
        Steps that may be sent before the oldest of them is acknowledged: 2 is all that the protocol allows. With 1 the
        design does one step at a time.
    patience
        Clock cycles without a packet in or out after which a run is given up.
    random_start
        A seed for what memories and registers without initial value begin with; zeros without one.
    """

    def __init__(
        self,
        library: Path,
        *,
        pauses: Pauses | None = None,
        credit: int = 2,
        patience: int = 1_000_000,
        random_start: int | None = None,
    ) -> None:
        if credit not in (1, 2):
            raise ValueError(f"credit must be 1 or 2, not {credit!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1 cycle, not {patience!r}")
        if random_start is not None and not 1 <= random_start < 1 << 31:
            raise ValueError(f"random_start must be from 1 to {(1 << 31) - 1}, not {random_start!r}")
        self._library = _open(library)
        self._handle: int | None = self._library.create(random_start is not None, random_start or 0)
        pauses = pauses or Pauses()
        self._library.settings(self._handle, credit, patience, pauses.idle, pauses.stall, pauses.seed)
        self._inspected: dict[str, tuple[int, int, int]] = {}
        self._fabric: FabricConfig | None = None

    def close(self) -> None:
        """Free the copy."""
        if self._handle is not None:
            self._library.destroy(self._handle)
            self._handle = None

    def __enter__(self) -> CompiledSimulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The configuration port.

    def write_memory(self, memory: int, words: NDArray[np.uint8], *, tile: int = CORE_TILE) -> None:
        """Write ``words`` ``(n, planes)``, the bytes of each word from the lowest on, from index 0 on."""
        for plane in range(words.shape[1]):
            column = np.ascontiguousarray(words[:, plane], np.uint8)
            self._library.write_bytes(self._handle, tile, memory, plane, 0, column.ctypes.data, len(column))

    def write_register(self, name: str, value: int, *, tile: int = CORE_TILE) -> None:
        """Write the register ``name`` of a tile: a core, unless the fabric of the loaded program says otherwise."""
        register = self._register(name, tile)
        data = np.frombuffer(register.encode(value), np.uint8)
        self._library.write_bytes(self._handle, tile, REGISTER_MEMORY, 0, register.offset, data.ctypes.data, len(data))

    def read_register(self, name: str, *, tile: int = CORE_TILE) -> int:
        """Read the register ``name`` of a tile, as `write_register` writes it."""
        return self._read(self._register(name, tile), tile, REGISTER_MEMORY)

    def _read(self, register: Register, tile: int, memory: int) -> int:
        data = np.zeros(register.size, np.uint8)
        self._library.read_bytes(self._handle, tile, memory, register.offset, data.ctypes.data, len(data))
        return int.from_bytes(data.tobytes(), "little")

    def link_counts(self) -> dict[Link, LinkCount]:
        """What the routers of the loaded program's mesh have counted; empty if they do not count."""
        mesh = None if self._fabric is None else self._fabric.mesh
        if mesh is None or not mesh.counters:
            return {}

        def count(link: Link) -> LinkCount:
            packets, waits = (ROUTER.register(name) for name in counter_names(link))
            return LinkCount(*(self._read(register, link[0], ROUTER_MEMORY) for register in (packets, waits)))

        return {link: count(link) for link in mesh.links}

    def _register(self, name: str, tile: int) -> Register:
        of_tile = register_map(tile) if self._fabric is None else self._fabric.register_map(tile)
        return of_tile.register(name)

    def load(self, program: Program) -> None:
        """Write the memories and registers of ``program``."""
        self._fabric = program.fabric
        host = {name: value for tile, name, value in program.registers if tile == BRIDGE_TILE}
        sets = (host.get(f"{kind}_destinations", 0) for kind in ("spike", "tick", "ack"))
        latency = program.fabric.configuration_latency
        self._library.relations(self._handle, latency, host.get("sources", 1), host.get("sinks", 1), *sets)
        for image in program.memories:
            self.write_memory(image.memory, image.words, tile=image.tile)
        for tile, name, value in program.registers:
            if tile != BRIDGE_TILE:
                self.write_register(name, value, tile=tile)

    # Runs.

    def feed(self, values: ArrayLike, axons: ArrayLike) -> None:
        """Add samples to the input: ``values`` ``(T, B, n)``, spikes or what they bring; 0 is no event.

        ``axons`` ``(n,)`` are those of the inputs; a step's events are sent in the order of the inputs.
        """
        array = np.asarray(values).transpose(1, 0, 2)
        samples, steps, _ = array.shape
        places = np.nonzero(array)
        counts = np.count_nonzero(array, axis=2).astype(np.int64).ravel()
        numbers = np.ascontiguousarray(np.asarray(axons)[places[2]], np.uint32)
        brought = np.ascontiguousarray(array[places], np.int32)
        self._library.feed(self._handle, samples, steps, counts.ctypes.data, numbers.ctypes.data, brought.ctypes.data)

    def advance(self, steps: int) -> None:
        """Run the clock until so many steps have ended since the reset. `SimulationError` if a rule is broken."""
        self._check(self._library.advance(self._handle, steps))

    def finish(self) -> None:
        """Give the design what it is owed, and see that nothing more comes out."""
        self._check(self._library.finish(self._handle, _SILENCE))

    def _check(self, done: int) -> None:
        if not done:
            raise SimulationError(f"The compiled design broke a rule: {self._library.error(self._handle).decode()}")

    def take(self) -> Messages:
        """What has come out since the last call, as from the host link."""
        records = np.empty(self._library.record_count(self._handle), _RECORD)
        self._library.take_records(self._handle, records.ctypes.data)
        # A spike whose value is not 1 comes as a VALUE, as a membrane does.
        is_spike, ticks = records["kind"] == _SPIKE, records[records["kind"] == _TICK]
        is_plain = is_spike & (records["value"] == 1)
        spikes, valued = records[is_plain], records[(is_spike & ~is_plain) | (records["kind"] == _MEMBRANE)]
        return Messages(
            spike_step=spikes["step"].astype(np.int64),
            spike_axon=spikes["axon"].astype(np.int64),
            value_step=valued["step"].astype(np.int64),
            value_axon=valued["axon"].astype(np.int64),
            value=valued["value"].astype(np.int64),
            ticks=ticks["axon"].astype(np.bool_),
            reads=(),
        )

    def sample_times(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each sample that has ended: the cycle of its first packet in, and of its last TICK or ACK out."""
        count = self._library.samples_done(self._handle)
        starts, stops = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._library.sample_times(self._handle, starts.ctypes.data, stops.ctypes.data)
        return starts, stops

    @property
    def cycles(self) -> int:
        """Clock cycles since the copy was made, loading included."""
        return int(self._library.cycles(self._handle))

    @property
    def waits(self) -> tuple[int, int, int]:
        """Cycles in which a packet was offered and not taken by the design; by us; packets at the limit of credit."""
        first, second, third = (int(self._library.waits(self._handle, kind)) for kind in range(3))
        return first, second, third

    # Memories, for tests that compare every state.

    @property
    def memories(self) -> list[str]:
        """The paths of all memories: names of submodules and of the memory, from the design on, with dots."""
        return sorted(self._paths())

    def inspect(self, path: str, *, tile: int | None = None) -> None:
        """From now on keep the words of a memory after each step.

        A step has ended at the clock edge at which the host takes the ACK or, of a tile, where the design's
        ``steps_done`` says so.
        """
        paths = self._paths()
        if path not in paths:
            raise ValueError(f"path must be one of {', '.join(sorted(paths))}, not {path!r}")
        numbers = [ctypes.c_int64() for _ in range(3)]
        whose = -1 if tile is None else tile
        places = (ctypes.byref(number) for number in numbers)
        number = self._library.inspect(self._handle, paths[path].encode(), whose, *places)
        depth, _, entry = (int(n.value) for n in numbers)
        self._inspected[path] = number, depth, entry

    def kept(self, path: str) -> list[list[int]]:
        """The words of an inspected memory, after each step since the last call."""
        number, depth, entry = self._inspected[path]
        data = np.empty(self._library.kept_count(self._handle, number), np.uint8)
        self._library.take_kept(self._handle, number, data.ctypes.data)
        return [[int.from_bytes(word.tobytes(), "little") for word in step] for step in data.reshape(-1, depth, entry)]

    def _paths(self) -> dict[str, str]:
        """The path of each memory to its name in the library; the numbers that tell equal names apart are left out."""
        names = self._library.memory_names(self._handle).decode().split()
        return {re.sub(r"\$\d+", "", name).split(".design.", 1)[1]: name for name in names}


def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path.resolve()))
    handle, pointer, number, text = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    word, flag, real = ctypes.c_uint32, ctypes.c_int, ctypes.c_double
    for name, result, arguments in (
        ("create", handle, (flag, flag)),
        ("destroy", None, (handle,)),
        ("settings", None, (handle, number, number, real, real, ctypes.c_uint64)),
        ("relations", None, (handle, number, number, number, *[ctypes.c_uint64] * 3)),
        ("write_bytes", None, (handle, word, word, word, word, pointer, number)),
        ("read_bytes", None, (handle, word, word, word, pointer, number)),
        ("feed", None, (handle, number, number, pointer, pointer, pointer)),
        ("advance", flag, (handle, number)),
        ("finish", flag, (handle, number)),
        ("error", text, (handle,)),
        ("record_count", number, (handle,)),
        ("take_records", None, (handle, pointer)),
        ("cycles", number, (handle,)),
        ("waits", number, (handle, flag)),
        ("samples_done", number, (handle,)),
        ("sample_times", None, (handle, pointer, pointer)),
        ("memory_names", text, (handle,)),
        ("inspect", number, (handle, text, number, pointer, pointer, pointer)),
        ("kept_count", number, (handle, number)),
        ("take_kept", None, (handle, number, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
