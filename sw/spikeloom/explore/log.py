"""Log of finished points, by which an interrupted exploration resumes.

The log is a text file with one JSON object per line. Each line has a key, the SHA-256 of everything on which the result
depends: network, samples, options, point, and the sources of spikeloom. A result whose key is not asked for is left
alone, so several explorations can share a log. A line is written at once and flushed to the disk; one that was cut off
by a crash is removed when the log is opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.explore.points import Point
from spikeloom.explore.study import Outcome, Study
from spikeloom.sim.lib.files import FileError, json_from, read_text, shown
from spikeloom.sim.lib.formats import EXPLORE_LOG

__all__ = ["PointLog", "code_version", "digest", "opened_log", "study_digest"]

_LARGEST_LOG = 256 << 20
_SOURCES = ("sim", "boards", "compiler", "datasets", "explore", "model")
"""Packages on which results depend."""
_SUFFIXES = (".py", ".c", ".json")


class PointLog:
    """Outcomes by key, in a file that is locked while it is open; see `opened_log`."""

    def __init__(self, path: Path, descriptor: int, study: Study) -> None:
        self._descriptor = descriptor
        self._study = study_digest(study)
        self._found: dict[str, Mapping[str, Any]] = {}
        self._read(path)

    def find(self, point: Point) -> Outcome | None:
        """Return the outcome of ``point`` if the log has it."""
        content = self._found.get(self.key(point))
        return None if content is None else Outcome.of(point, content)

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Append ``outcomes`` and flush them to the disk."""
        lines = []
        for outcome in outcomes:
            key, content = self.key(outcome.point), outcome.content()
            self._found[key] = content
            lines.append(json.dumps({**EXPLORE_LOG.entry, "key": key, **content}, allow_nan=False) + "\n")
        rest = memoryview("".join(lines).encode())
        while rest:  # on a disk that is almost full, only the beginning is written
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)

    def key(self, point: Point) -> str:
        """Return the key of the outcome of ``point``."""
        return digest((self._study, code_version(), point.content()))

    def _read(self, path: Path) -> None:
        text = read_text(path, _LARGEST_LOG)
        whole = text.rfind("\n") + 1
        if whole < len(text):  # the last line was being written when the machine stopped
            os.ftruncate(self._descriptor, len(text[:whole].encode()))
        for number, line in enumerate(text[:whole].splitlines(), 1):
            where = f"line {number} of {str(path)!r}"
            content = json_from(line, where)
            if not isinstance(content, dict) or not isinstance(content.get("key"), str):
                raise FileError(f"{where} must be the result of a point, not {shown(line)}; remove the file")
            EXPLORE_LOG.check(content, where)
            self._found[content["key"]] = content


@contextlib.contextmanager
def opened_log(path: Path, study: Study) -> Iterator[PointLog]:
    """Open the log at ``path``, or create it, for ``study``.

    Raises `FileError` if another process has it open, or if it holds something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileError(
                f"{str(path)!r} is in use by another exploration; wait for it, or choose another --output"
            ) from error
        yield PointLog(path, descriptor, study)
    finally:
        os.close(descriptor)


def study_digest(study: Study) -> str:
    """Return the hash of network, samples and options."""
    return digest((study.network, dict(study.arrays), study.decision, study.scales))


@cache
def code_version() -> str:
    """Return the hash of the sources on which results depend, the same for a checkout and an installed wheel."""
    import spikeloom

    found = {}
    for portion in map(Path, spikeloom.__path__):
        for path in (path for package in _SOURCES for path in (portion / package).rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                found[path.relative_to(portion).as_posix()] = path.read_bytes()
    return digest(dict(sorted(found.items())))


def digest(value: object) -> str:
    """Return the SHA-256 of nested dataclasses, mappings, sequences, arrays and plain values, equal for equal values in
    any process. Raises ``TypeError`` for other values."""
    found = hashlib.sha256()
    for piece in _pieces(value):
        # The length in front keeps the border between two pieces.
        found.update(len(piece).to_bytes(8, "little"))
        found.update(piece)
    return found.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        yield type(value).__name__.encode()
        yield value if isinstance(value, bytes) else repr(value).encode()
    elif isinstance(value, Enum):
        yield f"{type(value).__qualname__}.{value.name}".encode()
    elif isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        yield f"{array.dtype.str}{array.shape}".encode()
        yield array.tobytes()
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__qualname__.encode()
        yield from _pieces({entry.name: getattr(value, entry.name) for entry in fields(value)})
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
    elif isinstance(value, tuple | list):
        yield f"sequence {len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        raise TypeError(
            f"value must be a dataclass, mapping, sequence, array or plain value, not {type(value).__name__}"
        )
