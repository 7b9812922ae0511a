"""Format numbers of files and outputs that other versions of spikeloom, or other programs, read.

A number is incremented when a key changes its meaning or is removed, or when an older reader would misread the file; a
new key that an older reader may ignore does not change it. Content without a number is of format 1, because the first
versions wrote none. `docs/formats.md` has the table.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from spikeloom.sim.lib.files import FileError, shown

__all__ = [
    "BENCHMARK_FILE",
    "BUILD_REPORT",
    "EXPLORE_LOG",
    "FABRIC_FILE",
    "FORMATS",
    "FORMAT_KEY",
    "JSON_OUTPUT",
    "NIR_METADATA",
    "SUMMARY_FILE",
    "Format",
]

FORMAT_KEY = "format"
"""Key of the number, the first of a file."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of content with a format number.

    Parameters
    ----------
    name : str
        Name of the content in messages.
    number : int
        Format that this version writes, the newest that it reads.
    oldest : int
        Oldest format that this version reads.
    remedy : str
        How to replace content of an older format.
    """

    name: str
    number: int = 1
    oldest: int = 1
    remedy: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.oldest <= self.number:
            raise ValueError(f"oldest must be from 1 to {self.number}, not {self.oldest!r}")
        if self.oldest > 1 and not self.remedy:
            raise ValueError(f"remedy must be given where older formats of {self.name} are refused")

    @property
    def entry(self) -> dict[str, int]:
        """The key and the number, to be written first."""
        return {FORMAT_KEY: self.number}

    def text(self, content: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
        """Return ``content`` as JSON with the number first; in a list, in each entry."""
        entries = {**self.entry, **content} if isinstance(content, Mapping) else [{**self.entry, **e} for e in content]
        return json.dumps(entries, indent=2) + "\n"

    def check(self, content: Mapping[str, Any], name: str | None = None) -> int:
        """Return the format number of ``content``. Raises `FileError`, with the remedy, if it cannot be read.

        ``name`` replaces the name in the message.
        """
        name = name or self.name
        given = content.get(FORMAT_KEY, 1)
        # `index` also accepts NumPy integers, which occur in NIR files, and bool, which is excluded first.
        try:
            number = 0 if isinstance(given, bool) else index(given)
        except TypeError:
            number = 0
        if number < 1:
            raise FileError(f"format of {name} must be a positive integer, not {shown(given)}")
        expected = f"{self.number}" if self.oldest == self.number else f"{self.oldest} to {self.number}"
        if number > self.number:
            raise FileError(
                f"{name} has format {shown(number)}, expected {expected}: it was written by a newer version; update "
                "spikeloom"
            )
        if number < self.oldest:
            raise FileError(f"{name} has format {number}, expected {expected}; {self.remedy}")
        return number


_BUILD_AGAIN = "build the board again with: spikeloom bitstream"

FABRIC_FILE = Format(name="fabric.json", remedy=_BUILD_AGAIN)
"""``fabric.json``, the fabric in a bitstream."""

BUILD_REPORT = Format(name="report.json", remedy=_BUILD_AGAIN)
"""``report.json``, resources and clock of a bitstream."""

NIR_METADATA = Format(name="metadata 'spikeloom' of the graph", remedy="export the network again")
"""The groups ``spikeloom`` and ``spikeloom_encoder`` in the metadata of a NIR graph; the number is in the first."""

JSON_OUTPUT = Format(name="output of --json")
"""The output of every command with ``--json``, which spikeloom writes and never reads."""

SUMMARY_FILE = Format(name="summary.json")
"""``summary.json`` and the other results of simulations and benchmarks, which spikeloom writes and never reads. A file
that is a list has the number in each entry."""

EXPLORE_LOG = Format(name="log of an exploration", remedy="remove it, and explore again")
"""``points.jsonl``, the finished points of ``spikeloom explore``; the number is in each line."""

BENCHMARK_FILE = Format(name="result of a benchmark", remedy="run the benchmark again")
"""``qor/line-mnist.json`` and the files in ``build/bench``, which ``make line`` reads. A file that is a list has the
number in each entry."""

FORMATS = (FABRIC_FILE, BUILD_REPORT, NIR_METADATA, JSON_OUTPUT, SUMMARY_FILE, EXPLORE_LOG, BENCHMARK_FILE)
"""All formats."""
