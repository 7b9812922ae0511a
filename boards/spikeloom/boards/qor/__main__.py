"""``python -m spikeloom.boards.qor``, which is ``make qor``: measure the blocks and boards whose files are stale.

Each stale block of `spikeloom.boards.qor.blocks` and board of `spikeloom.boards.qor.boards` is synthesised, placed and
routed with five seeds; the change against the stored file is shown, and the file is replaced. The exit status is 1 if
a median misses a bound, or is worse than in the stored file by more than the tolerance.

With ``--check``, which is ``make qor-check``, the stale files are listed with the reasons and nothing is measured. The
exit status is 1 if a file is stale.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spikeloom.boards.bitstream.steps import cores
from spikeloom.boards.qor.blocks import BLOCKS
from spikeloom.boards.qor.boards import MEASURED, BoardSubject
from spikeloom.boards.qor.campaign import STORE, DirtyError, Subject, commit_of, in_history, measure, netlists, reasons
from spikeloom.boards.qor.measure import FOLDER, BlockSubject
from spikeloom.sim.lib.files import write_whole

__all__ = []


def _subjects() -> dict[str, Subject]:
    found: list[Subject] = [*map(BlockSubject, BLOCKS), *map(BoardSubject, MEASURED)]
    return {subject.title: subject for subject in found}


def _netlist(title: str) -> str:
    """Return the hash of a netlist by its title, for other processes: functions in a subject cannot be pickled."""
    return _subjects()[title].netlist()


def _netlist_of(subject: Subject) -> Callable[[], str]:
    return partial(_netlist, subject.title)


def _row(title: str, kept: object | None, quality: object) -> list[str]:
    def number(name: str) -> str:
        value = getattr(quality, name)
        before = None if kept is None else getattr(kept, name)
        text = f"{value:,}"
        return text if before in (None, value) else f"{text} ({value - before:+,.4g})"

    names = ("lut", "ff", "ram", "dsp", "fmax_mhz", "fmax_min_mhz", "fmax_max_mhz")
    return [title, *map(number, names)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(prog="make qor", description="measures the size and speed of blocks and boards")
    parser.add_argument("--only", default="", help="those whose 'name-variant-device' or 'board-name' contains this")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results are kept")
    parser.add_argument("--store", type=Path, default=STORE, help="where finished seeds are stored")
    parser.add_argument("--jobs", type=int, default=cores(), help="number of parallel processes; default: one per core")
    parser.add_argument("--check", action="store_true", help="only list what is stale")
    options = parser.parse_args(arguments)
    known = {title.replace(" ", "-"): subject for title, subject in _subjects().items()}
    chosen = [subject for title, subject in known.items() if options.only in title]
    if not chosen:
        parser.error(f"--only must be part of one of {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {options.jobs}")
    console = Console(highlight=False, soft_wrap=True)

    def hashes(subjects: Sequence[Subject]) -> dict[str, str]:
        return netlists(
            subjects, store=options.store, jobs=options.jobs, netlist_of=_netlist_of, announce=console.print
        )

    commit, refusal = "", ""
    try:  # first of all, because sources may change during the measurement
        commit = commit_of(Path())
    except DirtyError as error:
        refusal = str(error)
    stale = reasons(chosen, options.folder, hashes, partial(in_history, Path()))
    for subject in chosen:
        if subject.title in stale:
            console.print(f"stale: {options.folder / subject.file_name}: {stale[subject.title]}")
    console.print(f"{len(chosen) - len(stale)} of {len(chosen)} files are current")
    if options.check:
        return int(bool(stale))
    return _measured(
        [subject for subject in chosen if subject.title in stale], hashes, options, console, commit, refusal
    )


def _measured(
    subjects: Sequence[Subject],
    hashes: Callable[[Sequence[Subject]], dict[str, str]],
    options: argparse.Namespace,
    console: Console,
    commit: str,
    refusal: str,
) -> int:
    """Measure ``subjects`` and keep the figures, unless there is a ``refusal``; return the exit status."""
    table = Table("", "lut", "ff", "ram", "dsp", "fmax_mhz", "min", "max", title="Quality of results (change)")
    wrong: list[str] = []
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, subject in enumerate(subjects, 1):
        console.print(f"{subject.title}: {number} of {len(subjects)}")
        netlist = hashes([subject])[subject.title]
        measured = measure(subject, netlist, store=options.store, jobs=options.jobs, announce=console.print)
        if refusal:
            wrong.append(f"{subject.title}: {refusal}")
            continue
        quality = subject.figures(measured, netlist, commit)
        path = options.folder / subject.file_name
        kept = subject.read(path.read_text()) if path.exists() else None
        table.add_row(*_row(subject.title, kept, quality))
        wrong += subject.wrong(kept, quality)
        write_whole(path, quality.to_json())
    if subjects:
        console.print(table)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
