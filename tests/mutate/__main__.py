"""`make mutate`: plant bugs in the hardware and the model, one at a time, and report those that no test finds.

An interrupted run resumes, unless a source or a test has changed since. The numbers are in
``build/mutate/summary.json``; the exit status is 1 if less than 95 % are found. SIGINT, SIGTERM and SIGHUP end the
tests in progress too, with everything that they have started.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from mutate.equivalent import EQUIVALENT
from mutate.mutants import ROOT, Mutant, draw
from mutate.runner import CPU_SECONDS, Interrupted, Tree

from spikeloom.sim.lib.formats import SUMMARY_FILE

WANTED = 0.95
MOST_EQUIVALENT = 0.05


def _state(seed: int, count: int) -> str:
    """Everything that the outcomes depend on: the drawn mutants, and every source and test. Equivalent mutants are
    subtracted later."""
    digest = hashlib.sha256(f"{seed} {count}".encode())
    for folder in ("sim", "hdl", "sw", "boards", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "equivalent.py":
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _done(log: Path, state: str) -> dict[int, dict]:
    """The outcomes of an earlier run, if it had the same ``state``."""
    # A run that was killed may have left an incomplete line at the end.
    lines = (
        [line[:-1] for line in log.read_text().splitlines(keepends=True) if line[-1] == "\n"] if log.exists() else []
    )
    if not lines or lines[0] != state:
        log.write_text(f"{state}\n")
        return {}
    log.write_text("".join(f"{line}\n" for line in lines))
    return {entry["number"]: entry for entry in map(json.loads, lines[1:])}


def summary(mutants: list[Mutant], outcomes: dict[int, dict]) -> dict:
    """The numbers of ``summary.json``. The score counts only mutants that are not equivalent to the original."""
    killed = sum(outcome["verdict"] == "killed" for outcome in outcomes.values())
    left = [mutants[number] for number, outcome in sorted(outcomes.items()) if outcome["verdict"] != "killed"]
    equivalent = [mutant for mutant in left if mutant.key in EQUIVALENT]
    survivors = [mutant for mutant in left if mutant not in equivalent]
    counted = len(outcomes) - len(equivalent)
    return {
        "mutants": len(outcomes),
        "killed": killed,
        "equivalent": len(equivalent),
        "score": round(killed / counted, 4) if counted else 0.0,
        "survivors": [
            {"path": mutant.path, "line": mutant.line, "was": mutant.was, "now": mutant.now, "nth": mutant.nth}
            for mutant in survivors
        ],
    }


def run_all(
    mutants: list[Mutant], folder: Path, state: str, *, processes: int, seconds: float, cpu_seconds: float
) -> dict[int, dict]:
    """The outcome of each mutant by its number, within ``seconds``; mutants that are not done by then are left out.

    Any exception here, such as that of a signal handler, ends all tests before it propagates.
    """
    log = folder / "results.jsonl"
    outcomes = _done(log, state)
    end = time.monotonic() + seconds
    waiting: Iterator[int] = iter([number for number in range(len(mutants)) if number not in outcomes])
    lock = threading.Lock()
    interrupted = threading.Event()

    def work(process: int) -> None:
        tree = Tree(folder / f"tree{process}", interrupted)
        while time.monotonic() < end and not interrupted.is_set():
            with lock:
                number = next(waiting, None)
            if number is None:
                break
            mutant = mutants[number]
            try:
                verdict, test, spent = tree.run(mutant, seconds=cpu_seconds)
            except Interrupted:  # an interruption says nothing about the mutant: the next run repeats it
                break
            outcome = {"number": number, "verdict": verdict, "test": test, "seconds": round(spent, 1)}
            with lock:
                outcomes[number] = outcome
                with log.open("a") as file:
                    file.write(json.dumps(outcome | asdict(mutant)) + "\n")
                place = f"{mutant.path.split('/', 2)[2]}:{mutant.line}"
                print(
                    f"[{len(outcomes)}/{len(mutants)}] {verdict} after {spent:.0f} s: {place}: {mutant.now}", flush=True
                )

    with ThreadPoolExecutor(processes) as pool:
        try:
            for future in [pool.submit(work, process) for process in range(processes)]:
                future.result()
        except BaseException:
            interrupted.set()  # leaving the pool waits for its threads
            raise
    return outcomes


def _end(number: int, _frame: object) -> None:
    """Handle a signal: exit with the status that a shell reports for a command ended by that signal."""
    sys.exit(128 + number)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--count", type=int, default=300, help="mutants")
    parser.add_argument("--minutes", type=float, default=120, help="after which no further mutant is begun")
    parser.add_argument("--cpu-seconds", type=float, default=CPU_SECONDS, help="processor time for each mutant")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mutate")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    options.output.mkdir(parents=True, exist_ok=True)
    mutants = draw(options.seed, options.count)
    outcomes = run_all(
        mutants,
        options.output,
        _state(options.seed, options.count),
        processes=options.processes,
        seconds=60 * options.minutes,
        cpu_seconds=options.cpu_seconds,
    )
    numbers = summary(mutants, outcomes)
    (options.output / "summary.json").write_text(SUMMARY_FILE.text(numbers))
    for survivor in numbers["survivors"]:
        print(f"survived: {survivor['path']}:{survivor['line']}: {survivor['now']}\n    {survivor['was']}")
    print(
        f"{numbers['killed']} of {numbers['mutants']} killed, {numbers['equivalent']} equivalent, "
        f"score {numbers['score']:.1%}; written to {options.output / 'summary.json'}"
    )
    if len(outcomes) < len(mutants):
        print(f"{len(mutants) - len(outcomes)} mutants are left for the next run", file=sys.stderr)
        return 1
    return 0 if numbers["score"] >= WANTED and numbers["equivalent"] <= MOST_EQUIVALENT * numbers["mutants"] else 1


if __name__ == "__main__":
    sys.exit(main())
