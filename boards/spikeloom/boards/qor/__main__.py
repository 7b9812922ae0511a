"""``python -m spikeloom.boards.qor``, which is ``make qor``: measure blocks and boards and compare with ``qor/``.

Every block of `spikeloom.boards.qor.blocks` is synthesised, placed and routed with three seeds; the change against the
stored file is shown, and the file is replaced. The exit status is 1 if a block misses one of its own bounds or has
become worse than the stored file by more than the tolerance. The boards of `spikeloom.boards.qor.boards` follow, whole
bitstreams with their one seed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spikeloom.boards.qor.blocks import BLOCKS
from spikeloom.boards.qor.boards import MEASURED, BoardQuality, board_changes, board_file_name, measure_board
from spikeloom.boards.qor.measure import FOLDER, SEEDS, Block, Quality, changes, measure, missed_bounds

__all__ = []


def _row(title: str, kept: object | None, quality: object) -> list[str]:
    def number(name: str) -> str:
        value = getattr(quality, name)
        before = None if kept is None else getattr(kept, name)
        text = f"{value:,}"
        return text if before in (None, value) else f"{text} ({value - before:+,.4g})"

    return [title, *(number(name) for name in ("lut", "ff", "ram", "dsp", "fmax_mhz"))]


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A block or a board: how it is measured, how its file is read, and what is wrong with it beside what was kept."""

    title: str
    file_name: str
    waits_for: str
    measure: Callable[[], Any]
    read: Callable[[str], Any]
    wrong: Callable[[Any, Any], list[str]]


def _block_subject(block: Block) -> _Subject:
    return _Subject(
        title=f"{block.name} {block.variant} {block.device.name}",
        file_name=block.file_name,
        waits_for=f"synthesis, then place and route with seeds {SEEDS}",
        measure=lambda: measure(block),
        read=Quality.from_json,
        wrong=lambda kept, quality: (
            missed_bounds(block, quality) + ([] if kept is None else changes(block, kept, quality))
        ),
    )


def _board_subject(name: str) -> _Subject:
    return _Subject(
        title=f"board {name}",
        file_name=board_file_name(name),
        waits_for="the bitstream of its general fabric",
        measure=lambda: measure_board(name),
        read=BoardQuality.from_json,
        wrong=lambda kept, quality: [] if kept is None else board_changes(name, kept, quality),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make qor", description="measures the size and speed of blocks and boards")
    parser.add_argument("--only", default="", help="those whose 'name-variant-device' or 'board-name' contains this")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results are kept")
    options = parser.parse_args(arguments)
    console = Console()
    table = Table("", "lut", "ff", "ram", "dsp", "fmax_mhz", title="Quality of results (change)")
    subjects = [*map(_block_subject, BLOCKS), *map(_board_subject, MEASURED)]
    known = {subject.title.replace(" ", "-"): subject for subject in subjects}
    chosen = [subject for title, subject in known.items() if options.only in title]
    if not chosen:
        parser.error(f"--only must be part of one of {', '.join(known)}")
    wrong = []
    options.folder.mkdir(parents=True, exist_ok=True)
    for subject in chosen:
        console.print(f"{subject.title}: {subject.waits_for}")
        quality = subject.measure()
        path = options.folder / subject.file_name
        kept = subject.read(path.read_text()) if path.exists() else None
        table.add_row(*_row(subject.title, kept, quality))
        wrong += subject.wrong(kept, quality)
        path.write_text(quality.to_json())
    console.print(table)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
