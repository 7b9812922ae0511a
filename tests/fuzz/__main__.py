"""`make fuzz`: damaged files of every kind through the code that reads them; exit status 1 if one is mishandled.

An interrupted run resumes, unless the code has changed since. Failures are kept in
``build/fuzz/failed``, and the numbers are in ``build/fuzz/summary.json``. SIGINT, SIGTERM and SIGHUP end the files in
progress too.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported: threads do not survive a fork

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fuzz.cases import ROOT, case_of, warm_up
from fuzz.runner import MEMORY_MIB, Outcome, run_case

from spikeloom.sim.lib.formats import SUMMARY_FILE


def _state(seed: int) -> str:
    """Everything that the outcomes depend on: the seed and every source."""
    digest = hashlib.sha256(str(seed).encode())
    for folder in ("sim", "sw", "boards", "tests/fuzz"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _done(log: Path, state: str) -> dict[int, Outcome]:
    """The outcomes of an earlier run, if it had the same ``state``."""
    lines = log.read_text().splitlines() if log.exists() else []
    if not lines or lines[0] != state:
        log.write_text(f"{state}\n")
        return {}
    complete = [line for line in lines[1:] if line.endswith("}")]  # the last line may be incomplete
    return {entry.pop("number"): Outcome(**entry) for entry in map(json.loads, complete)}


def _run(job: tuple[int, int]) -> tuple[int, Outcome]:
    number, seed = job
    return number, run_case(case_of(number, seed))


def _progress(total: int, outcomes: dict[int, Outcome], begin: float) -> None:
    bad = sum(not outcome.good for outcome in outcomes.values())
    print(f"{len(outcomes):,} of {total:,} files, {bad} failed, {time.monotonic() - begin:.0f} s", flush=True)


def _outcomes(jobs: list[tuple[int, int]], workers: int) -> Iterator[tuple[int, Outcome]]:
    if jobs:
        warm_up()
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            yield from pool.imap_unordered(_run, jobs)


def _end(number: int, _frame: object) -> None:
    """Handle a signal, here and in the processes of the pool, which inherit it: what is open is closed."""
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3000, help="how many damaged files")
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "fuzz", help="folder")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    folder: Path = given.output
    (folder / "failed").mkdir(parents=True, exist_ok=True)
    log = folder / "outcomes.jsonl"
    outcomes = _done(log, _state(given.seed))
    begin = shown = time.monotonic()
    _progress(given.files, outcomes, begin)
    jobs = [(number, given.seed) for number in range(given.files) if number not in outcomes]
    with log.open("a") as file:
        for number, outcome in _outcomes(jobs, given.workers):
            outcomes[number] = outcome
            file.write(json.dumps({"number": number, **dataclasses.asdict(outcome)}) + "\n")
            file.flush()
            if not outcome.good:
                case = case_of(number, given.seed)
                (folder / "failed" / f"{given.seed}-{number}{case.suffix}").write_bytes(case.content)
                last = outcome.said.strip().splitlines()[-1:] or ["without a word"]
                print(f"file {number}: {outcome.verdict}, {outcome.memory_mib:.0f} MiB: {last[0][:200]}", flush=True)
            if time.monotonic() - shown > 15:
                shown = time.monotonic()
                _progress(given.files, outcomes, begin)
    chosen = [outcomes[number] for number in range(given.files)]
    verdicts = [outcome.verdict for outcome in chosen]
    summary = {
        "files": len(chosen),
        "tracebacks": verdicts.count("traceback"),
        "signals": verdicts.count("signal"),
        "timeouts": verdicts.count("timeout"),
        "peak_memory_mib": max(outcome.memory_mib for outcome in chosen),
    }
    (folder / "summary.json").write_text(SUMMARY_FILE.text(summary))
    _progress(given.files, outcomes, begin)
    print(f"{verdicts.count('accepted'):,} accepted, {verdicts.count('refused'):,} refused with one sentence")
    print(json.dumps(summary))
    return 0 if all(outcome.good for outcome in chosen) and summary["peak_memory_mib"] <= MEMORY_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
