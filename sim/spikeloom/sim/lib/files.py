"""Bounded reading of untrusted files, and atomic writing.

All files that a user may have received from others (``fabric.json``, ``report.json``, ``identity``, ``spikeloom.toml``,
arrays) are read by `read_bytes`, which limits the size and refuses pipes and devices. `spikeloom.sim.lib.arrays` adds
the checks that NumPy's formats need, `spikeloom.frontends.nir_file` those for HDF5.

Files for a user are written by `replaced`: either the new file is complete, or the old one survives.
"""

import contextlib
import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

__all__ = [
    "DEEPEST",
    "LARGEST_TEXT",
    "FileError",
    "json_from",
    "open_file",
    "read_bytes",
    "read_text",
    "replaced",
    "shown",
    "toml_from",
    "write_whole",
]

LARGEST_TEXT = 16 << 20
"""Maximum size of a JSON or TOML file in bytes: far more than the report of any build."""

DEEPEST = 64
"""Maximum nesting of JSON and TOML: a fabric has 5 levels."""


class FileError(ValueError):
    """An unusable file. The message is one sentence."""


def shown(value: object, limit: int = 60) -> str:
    """A value of a file, or the text of an exception, for a message: one line of printable ASCII, shortened."""
    # Control characters of a file must not reach the terminal.
    text = " ".join((str(value) if isinstance(value, Exception) else repr(value)).split())
    text = "".join(letter if letter.isascii() and letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def open_file(path: str | PathLike[str]) -> int:
    """Open the regular file at ``path`` for reading and return its descriptor.

    Raises `FileError` for directories, pipes and devices, and ``OSError`` if the system refuses.
    """
    # Without O_NONBLOCK, opening a named pipe would wait until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"{os.fspath(path)!r} must be a file, not a directory, a pipe or a device")
    return descriptor


def read_bytes(path: str | PathLike[str], limit: int) -> bytes:
    """Read a regular file. Raises `FileError` for more than ``limit`` bytes, and the exceptions of `open_file`."""
    with open(open_file(path), "rb") as file:
        # Reading one byte more than allowed detects a file that is too long without reading all of it.
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{os.fspath(path)!r} must have at most {limit:,} bytes, not {os.stat(path).st_size:,}")
    return content


def read_text(path: str | PathLike[str], limit: int = LARGEST_TEXT) -> str:
    """Read a file of at most ``limit`` bytes. Raises `FileError` if it is not UTF-8 text, and as `read_bytes`."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{os.fspath(path)!r} must be UTF-8 text") from error


@contextlib.contextmanager
def replaced(path: str | PathLike[str]) -> Iterator[Path]:
    """Provide a temporary path with the suffix of ``path``, whose file replaces ``path`` at the end of the block.

    If the block fails, or the disk is full, ``path`` is unchanged. Devices and pipes are written directly.
    """
    target = Path(os.path.realpath(path))  # the file that a link leads to is replaced, not the link
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    # In the same folder, because a rename is atomic only within a file system. The suffix is kept, because some writers
    # choose the format by it.
    scratch = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())  # a full disk may be noticed only here
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: str | PathLike[str], content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, by means of `replaced`."""
    with replaced(path) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)


def json_from(text: str, what: str) -> Any:
    """Parse a JSON text, which messages call ``what``. Raises `FileError`.

    Stricter than ``json.loads``: no duplicate keys, no NaN or infinity, at most `DEEPEST` levels.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # `json` silently keeps the last of several equal keys.
        content = dict(pairs)
        if len(content) != len(pairs):
            raise FileError(f"{what} must name each key once")
        return content

    def refuse(constant: str) -> Any:
        raise FileError(f"{what} must have finite numbers, not {constant[:60]}")

    def number(text: str) -> float:
        value = float(text)
        # 1e999 is valid JSON, and infinity in Python.
        return value if abs(value) != float("inf") else refuse(text)

    return _parsed(
        lambda: json.loads(text, object_pairs_hook=once, parse_constant=refuse, parse_float=number),
        what,
        "JSON",
    )


def toml_from(text: str, what: str) -> dict[str, Any]:
    """Parse a TOML text, which messages call ``what``. Raises `FileError`."""
    return _parsed(lambda: tomllib.loads(text), what, "TOML")


def _parsed(parse: Callable[[], Any], what: str, language: str) -> Any:
    try:
        value = parse()
    except FileError:
        raise
    except RecursionError as error:
        raise FileError(f"{what} must have at most {DEEPEST} levels of nesting") from error
    except ValueError as error:  # of both parsers, and of integers with thousands of digits
        raise FileError(f"{what} must be {language} ({shown(error, 100)})") from error
    _check_depth(value, what)
    return value


def _check_depth(value: Any, what: str) -> None:
    """Refuse a ``value`` nested so deeply that recursive functions would fail on it."""
    # Level by level: recursion would fail on the very values that are refused here.
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise FileError(f"{what} must have at most {DEEPEST} levels of nesting")
