"""Files that may come from strangers, read within bounds; and files that are written whole or not at all.

Every reader of a file that a user can be handed (``fabric.json``, ``report.json``, ``identity``, ``spikeloom.toml``,
arrays) goes through `read_bytes`, which never reads more than it was told, waits for no pipe and follows no device.
`spikeloom.sim.lib.arrays` reads NumPy's files, and `spikeloom.frontends.nir_file` those of HDF5, which need more.

What is written for a user goes through `replaced`, so that it appears whole or not at all, and an older file survives.
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
"""Bytes of the largest JSON or TOML file: far more than the report of any build."""

DEEPEST = 64
"""Levels of nesting in JSON and TOML: a fabric has 5."""


class FileError(ValueError):
    """A file that cannot be used. The message is one sentence."""


def shown(value: object, limit: int = 60) -> str:
    """A value of a file, or what an exception says, in a message: on one line, in printable ASCII and not long."""
    # Control characters of a file must not reach the terminal.
    text = " ".join((str(value) if isinstance(value, Exception) else repr(value)).split())
    text = "".join(letter if letter.isascii() and letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def open_file(path: str | PathLike[str]) -> int:
    """A descriptor of the regular file at ``path``, for reading.

    Raises `FileError` for directories, pipes and devices, and ``OSError`` where the system refuses.
    """
    # Without O_NONBLOCK, to open a named pipe waits until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"{os.fspath(path)!r} must be a file, not a directory, a pipe or a device")
    return descriptor


def read_bytes(path: str | PathLike[str], limit: int) -> bytes:
    """All of a regular file of at most ``limit`` bytes. Raises `FileError`, and ``OSError`` as `open_file` does."""
    with open(open_file(path), "rb") as file:
        # One byte more than allowed tells a file that is too long, without reading all of it.
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{os.fspath(path)!r} must have at most {limit:,} bytes, not {os.stat(path).st_size:,}")
    return content


def read_text(path: str | PathLike[str], limit: int = LARGEST_TEXT) -> str:
    """All of a file of UTF-8 text of at most ``limit`` bytes. Raises as `read_bytes` does."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{os.fspath(path)!r} must be UTF-8 text") from error


@contextlib.contextmanager
def replaced(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, with the suffix of ``path``: what it holds takes the place of ``path`` at the end.

    If the block ends with an error, or the disk is full, ``path`` is as it was. Devices and pipes are written directly.
    """
    target = Path(os.path.realpath(path))  # the file that a link leads to is replaced, not the link
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    # In the same folder, because a rename is atomic only within a file system. The suffix is kept, since some writers
    # go by it.
    scratch = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())  # a full disk may be noticed only here
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: str | PathLike[str], content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, as `replaced` does."""
    with replaced(path) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)


def json_from(text: str, what: str) -> Any:
    """The value of a JSON text; ``what`` is what messages call it. Raises `FileError`.

    Stricter than ``json.loads``: no key twice, no NaN or infinity, at most `DEEPEST` levels.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # `json` keeps the last of several equal keys and says nothing.
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
    """The tables of a TOML text; ``what`` is what messages call it. Raises `FileError`."""
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
    """Refuse what whoever walks through ``value`` by recursion would not survive."""
    # Level by level instead of by recursion, which is what must be avoided.
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
