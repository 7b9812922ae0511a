"""Simulation of the generated design as a compiled library: packets in, packets out, a million clock cycles per second.

A :class:`CompiledSimulator` is one instance of a library that `compile_design` has made from a component with packet
streams and a configuration port. No Python runs between clock cycles: ``harness.cc`` drives the ports.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import MemoryImage, Program
from spikeloom.host.transport import Closing
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.register_maps import register_map
from spikeloom.sim.host.messages import Messages
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, REGISTER_MEMORY, Register
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY, counter_names
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY
from spikeloom.sim.sdram.weights import WeightMemoryParameters, checksum
from spikeloom.simulators.sdram import SdramTraffic, chip_numbers, clock_periods, core_clock, simulated_chip
from spikeloom.simulators.verilator import SimulationError

__all__ = ["CompiledSimulator", "Pauses"]


_SILENCE = 32  # number of cycles after a run in which no packet may come out
# The record and the kinds of packets as ``harness.cc`` defines them.
_RECORD = np.dtype([("step", "<i8"), ("kind", "<u4"), ("axon", "<u4"), ("value", "<i4"), ("unused", "<u4")], align=True)
_SPIKE, _TICK, _MEMBRANE = 0, 1, 3
_SELF_TEST_READS = 10_000  # each takes 96 cycles; the self-test has ended after a thousand


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Random pauses at the ports of the design.

    In each cycle, no packet is offered with probability ``idle``, and none is accepted with probability ``stall``, both
    from 0 to below 1; ``seed`` is from 1 to ``2**63 - 1``. Raises ``ValueError`` for other values.
    """

    idle: float = 0.0
    stall: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("idle", "stall"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to less than 1, not {getattr(self, name)!r}")
        if not 1 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be from 1 to {(1 << 63) - 1}, not {self.seed!r}")


class CompiledSimulator(Closing):
    """One instance of a compiled design, after its reset. Use it from one thread at a time, and close it.

    Parameters
    ----------
    library
        Library from `compile_design`.
    pauses
        Random pauses at the ports; default: none.
    credit
        Number of steps, 1 or 2, that may be sent before the oldest of them is acknowledged. 2 is the maximum of the
        protocol; with 1 the design computes one step at a time.
    timeout_cycles
        Timeout of a run, in clock cycles without a packet in or out.
    random_start
        Seed, 1 to ``2**31 - 1``, for random contents of memories and registers without initial value; default: zeros.
    clock_hz
        Clock of a design with SDRAM, in hertz; that of the memory is in its fabric. Default: the highest that the
        memory can follow.

    Raises
    ------
    ValueError
        An argument is out of range.
    """

    def __init__(
        self,
        library: Path,
        *,
        pauses: Pauses | None = None,
        credit: int = 2,
        timeout_cycles: int = 1_000_000,
        random_start: int | None = None,
        clock_hz: int | None = None,
    ) -> None:
        if credit not in (1, 2):
            raise ValueError(f"credit must be 1 or 2, not {credit!r}")
        if timeout_cycles < 1:
            raise ValueError(f"timeout_cycles must be at least 1, not {timeout_cycles!r}")
        if random_start is not None and not 1 <= random_start < 1 << 31:
            raise ValueError(f"random_start must be from 1 to {(1 << 31) - 1}, not {random_start!r}")
        self._library = _open(library)
        self._handle: int | None = self._library.create(random_start is not None, random_start or 0)
        pauses = pauses or Pauses()
        self._library.settings(self._handle, credit, timeout_cycles, pauses.idle, pauses.stall, pauses.seed)
        self._inspected: dict[str, tuple[int, int, int]] = {}
        self._fabric: FabricConfig | None = None
        self._clock_hz = clock_hz
        self._has_memory = False

    def close(self) -> None:
        """Free the instance."""
        if self._handle is not None:
            self._library.destroy(self._handle)
            self._handle = None

    # The configuration port.

    def write_memory(self, memory: int, words: NDArray[np.uint8], *, tile: int = CORE_TILE) -> None:
        """Write ``words`` ``(n, planes)`` from index 0 on; column *p* holds byte lane *p* of each word."""
        for plane in range(words.shape[1]):
            column = np.ascontiguousarray(words[:, plane], np.uint8)
            self._library.write_bytes(self._handle, tile, memory, plane, 0, column.ctypes.data, len(column))

    def write_register(self, name: str, value: int, *, tile: int = CORE_TILE) -> None:
        """Write the register ``name`` of a tile, which is a core if no program has been loaded yet."""
        register = self._register(name, tile)
        data = np.frombuffer(register.encode(value), np.uint8)
        self._library.write_bytes(self._handle, tile, REGISTER_MEMORY, 0, register.offset, data.ctypes.data, len(data))

    def read_register(self, name: str, *, tile: int = CORE_TILE) -> int:
        """Read the register ``name`` of a tile; see `write_register`."""
        return self._read(self._register(name, tile), tile, REGISTER_MEMORY)

    def _read(self, register: Register, tile: int, memory: int) -> int:
        data = np.zeros(register.size, np.uint8)
        self._library.read_bytes(self._handle, tile, memory, register.offset, data.ctypes.data, len(data))
        return int.from_bytes(data.tobytes(), "little")

    def link_counts(self) -> dict[Link, LinkCount]:
        """Return the counts of the routers in the mesh of the loaded program; empty if they have no counters."""
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
        """Write the memories and registers of ``program``.

        The first load powers up the SDRAM, if there is one, and waits for its self-test. Raises `SimulationError` if
        the test fails, a rule of the chip is broken, or the memory does not hold what was written.
        """
        self._fabric = program.fabric
        # There is no bridge in this design: the harness takes the place of the host bridge and does what the registers
        # of the bridge say.
        host = {name: value for tile, name, value in program.registers if tile == BRIDGE_TILE}
        sets = (host.get(f"{kind}_destinations", 0) for kind in ("spike", "tick", "ack"))
        latency = program.fabric.configuration_latency
        self._library.relations(self._handle, latency, host.get("sources", 1), host.get("sinks", 1), *sets)
        weights, streamed = program.fabric.weights, program.fabric.streamed
        in_sdram = [image for image in program.memories if _lies_in(streamed, image)]
        if weights is not None and in_sdram and not self._has_memory:
            slices = program.fabric.weight_slices
            self._power_up(
                weights, max((slices[image.tile] + len(image.words)) * weights.word_bytes for image in in_sdram)
            )
        for image in program.memories:
            if weights is None or not _lies_in(streamed, image):
                self.write_memory(image.memory, image.words, tile=image.tile)
            else:
                self._load_sdram(weights, image, program.fabric.weight_slices[image.tile])
        for tile, name, value in program.registers:
            if tile != BRIDGE_TILE:
                self.write_register(name, value, tile=tile)

    # Weights in SDRAM.

    def _load_sdram(self, weights: WeightMemoryParameters, image: MemoryImage, start: int) -> None:
        """Write ``image``, which begins with word ``start`` of the memory, and compare the checksum that the design
        computes."""
        words, burst = image.words, weights.sdram.burst_bytes
        data = np.zeros((len(words) + -len(words) % weights.words_per_burst, weights.word_bytes), np.uint8)
        data[: len(words), : words.shape[1]] = words
        self._library.write_words(self._handle, image.tile, image.memory, data.ctypes.data, len(data), data.shape[1])
        for name, value in (("first", start * weights.word_bytes // burst), ("bursts", data.size // burst)):
            self._write_sdram(f"checksum_{name}", value)
        self._write_sdram("control", 1)
        while self._sdram_flag("busy"):
            pass
        found, expected = self._read(SDRAM.register("checksum"), CORE_TILE, SDRAM_MEMORY), checksum(data.tobytes())
        if found != expected:
            lost = ", some bytes were lost" if self._sdram_flag("lost") else ""
            raise SimulationError(
                f"the simulated SDRAM does not hold the weights that were written{lost}: checksum 0x{found:08x}, "
                f"expected 0x{expected:08x}"
            )

    def _power_up(self, weights: WeightMemoryParameters, needed: int) -> None:
        sdram = weights.sdram
        chip = simulated_chip(sdram, needed)
        assert self._fabric is not None
        periods = clock_periods(self._clock_hz or core_clock(self._fabric), sdram.clock_hz)
        rules = np.array(chip_numbers(chip, chip.timing(sdram.clock_hz)), np.int64)
        self._check(self._library.connect_sdram(self._handle, rules.ctypes.data, sdram.read_delay, *periods))
        self._has_memory = True
        if not any(self._sdram_flag("tested") for _ in range(_SELF_TEST_READS)):
            raise SimulationError("the self-test of the simulated SDRAM has not ended")
        if self._sdram_flag("failed"):
            wrong = self._read(SDRAM.register("wrong"), CORE_TILE, SDRAM_MEMORY)
            raise SimulationError(f"the self-test of the simulated SDRAM has failed, wrong bits {wrong:#x}")

    def _write_sdram(self, name: str, value: int) -> None:
        register = SDRAM.register(name)
        data = np.frombuffer(register.encode(value), np.uint8)
        self._library.write_bytes(
            self._handle, CORE_TILE, SDRAM_MEMORY, 0, register.offset, data.ctypes.data, len(data)
        )

    def _sdram_flag(self, name: str) -> bool:
        bit = SDRAM.flag("status", name)
        assert bit is not None
        found = bool(self._read(SDRAM.register("status"), CORE_TILE, SDRAM_MEMORY) >> bit & 1)
        # Writes and reads end in any case; a violation of the chip's rules stops its clock and is reported here.
        self._check(not self._library.error(self._handle))
        return found

    @property
    def sdram_traffic(self) -> SdramTraffic:
        """Cycles of the memory since its power-up, and the words that were moved in them; zeros without SDRAM."""
        counts = np.zeros(2, np.int64)
        self._library.sdram_counts(self._handle, counts.ctypes.data)
        return SdramTraffic(*counts.tolist())

    # Runs.

    def feed(self, values: ArrayLike, axons: ArrayLike) -> None:
        """Add samples to the input: ``values`` ``(T, B, n)``, spikes or the values of graded spikes; 0 is no event.

        ``axons`` ``(n,)`` are those of the inputs. The events of a step are sent in the order of the inputs.
        """
        # The samples run one after the other, so the order of events is sample, step, input.
        array = np.asarray(values).transpose(1, 0, 2)
        samples, steps, _ = array.shape
        places = np.nonzero(array)
        counts = np.count_nonzero(array, axis=2).astype(np.int64).ravel()
        numbers = np.ascontiguousarray(np.asarray(axons)[places[2]], np.uint32)
        brought = np.ascontiguousarray(array[places], np.int32)
        self._library.feed(self._handle, samples, steps, counts.ctypes.data, numbers.ctypes.data, brought.ctypes.data)

    def advance(self, steps: int) -> None:
        """Run the clock until ``steps`` steps have ended since the reset.

        Raises `SimulationError` if the design violates the protocol or the run times out.
        """
        self._check(self._library.advance(self._handle, steps))

    def finish(self) -> None:
        """Send the outstanding acknowledgements, and check that no further packet comes out.

        Raises `SimulationError` as `advance` does.
        """
        self._check(self._library.finish(self._handle, _SILENCE))

    def _check(self, done: int) -> None:
        if not done:
            raise SimulationError(
                f"Protocol error in the compiled design: {self._library.error(self._handle).decode()}"
            )

    def take(self) -> Messages:
        """Return the output since the last call, in the form in which it arrives over the host link."""
        records = np.empty(self._library.record_count(self._handle), _RECORD)
        self._library.take_records(self._handle, records.ctypes.data)
        # A SPIKE message carries no value: spikes with a value other than 1, and membranes, are VALUE messages.
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
        """Return the clock cycles, each ``(n,)``, of the first packet in and of the last TICK or ACK out of each of the
        ``n`` samples that have ended."""
        count = self._library.samples_done(self._handle)
        starts, stops = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._library.sample_times(self._handle, starts.ctypes.data, stops.ctypes.data)
        return starts, stops

    @property
    def cycles(self) -> int:
        """Clock cycles since the instance was created, including loading."""
        return int(self._library.cycles(self._handle))

    @property
    def waits(self) -> tuple[int, int, int]:
        """Cycles in which a packet was offered but not accepted, at the input and at the output; packets offered in the
        last step that the credit allows."""
        first, second, third = (int(self._library.waits(self._handle, kind)) for kind in range(3))
        return first, second, third

    # Inspection of memories, for tests that compare every state.

    @property
    def memories(self) -> list[str]:
        """Paths of all memories: the names of submodules, below the design, and of the memory, joined by dots."""
        return sorted(self._paths())

    def inspect(self, path: str, *, tile: int | None = None) -> None:
        """Record the words of the memory at ``path`` after each step from now on.

        A step ends at the clock edge at which the host accepts the ACK or, if a ``tile`` is given, when ``steps_done``
        of the design has the bit of the tile. Raises ``ValueError`` if there is no such memory.
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
        """Return the words of an inspected memory after each step since the last call."""
        number, depth, entry = self._inspected[path]
        data = np.empty(self._library.kept_count(self._handle, number), np.uint8)
        self._library.take_kept(self._handle, number, data.ctypes.data)
        return [[int.from_bytes(word.tobytes(), "little") for word in step] for step in data.reshape(-1, depth, entry)]

    def _paths(self) -> dict[str, str]:
        """Return the name of each memory in the library by its path."""
        # A number after a $ distinguishes equal names. It depends on the rest of the design, so paths leave it out.
        # The queues beside an SDRAM belong to the harness.
        names = [name for name in self._library.memory_names(self._handle).decode().split() if ".design." in name]
        return {re.sub(r"\$\d+", "", name).split(".design.", 1)[1]: name for name in names}


def _lies_in(streamed: Mapping[int, Memory], image: MemoryImage) -> bool:
    """Whether ``image`` is one of the ``streamed`` memories, which are given by tile."""
    return image.tile in streamed and streamed[image.tile].number == image.memory


def _open(path: Path) -> ctypes.CDLL:
    """Load the library and declare the functions that ``harness.cc`` exports."""
    library = ctypes.CDLL(str(path.resolve()))
    handle, pointer, number, text = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    word, flag, real = ctypes.c_uint32, ctypes.c_int, ctypes.c_double
    for name, result, arguments in (
        ("create", handle, (flag, flag)),
        ("destroy", None, (handle,)),
        ("settings", None, (handle, number, number, real, real, ctypes.c_uint64)),
        ("relations", None, (handle, number, number, number, *[ctypes.c_uint64] * 3)),
        ("connect_sdram", flag, (handle, pointer, number, number, number)),
        ("sdram_counts", None, (handle, pointer)),
        ("write_words", None, (handle, word, word, pointer, number, number)),
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
