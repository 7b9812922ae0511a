"""NIR and Lava-dl files, possibly hostile, as nested dictionaries of text and arrays.

A separate process (`spikeloom.frontends.nir_child`) with bounded memory and time reads the file: a crash or a hang
inside libhdf5 ends only that process and becomes a `LoadError` of one sentence. The output of the process is checked
again, because the process has parsed hostile data. This costs about 0.2 s per file.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_child import LARGEST, LARGEST_TEXTS
from spikeloom.sim.lib.files import FileError, open_file
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["read_tree"]

_PATIENCE_S = 60.0
"""Timeout for reading the file on a busy computer. A reader that computes endlessly is ended earlier, by its limit of
3 s of processor time."""

_ASLEEP_S = 5.0
"""Timeout for a reader that neither runs nor waits for a processor: more than a slow disk needs."""

_TRANSFER_S = 30.0
"""Timeout for the transfer of the numbers once they are read: 512 MiB on a busy computer."""

_LARGEST_ANSWER = 8 * LARGEST_TEXTS
_KINDS = {f"{order}{kind}" for order in "<|" for kind in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
_KINDS |= {"<f2", "<f4", "<f8"}
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGKILL)
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # load no filters from other libraries
    "HDF5_USE_FILE_LOCKING": "FALSE",
    "OPENBLAS_NUM_THREADS": "1",  # the threads of an unused library take most of the memory
}


class _Ended(Exception):
    """The process has ended, or timed out, before its answer was complete."""


def read_tree(path: str | PathLike[str], root: str = "node") -> dict[str, Any]:
    """Read a NIR file, or a file of another kind: nested dictionaries of ``str``, arrays of numbers, and object arrays
    of ``str``.

    ``root`` is the group that is read, one of `spikeloom.frontends.nir_child.KINDS`.

    A large matrix ``weight`` with few nonzero entries is a `SparseMatrix`.

    Raises `LoadError` with one sentence about what is wrong with the file.
    """
    where = f"cannot read {os.fspath(path)!r}"
    try:
        descriptor = open_file(path)
    except FileNotFoundError as error:
        raise LoadError(f"{where}: there is no such file") from error
    except FileError as error:
        raise LoadError(f"{where}: it is not a file") from error
    except OSError as error:
        raise LoadError(f"{where}: {error.strerror}") from error
    try:
        process = _start(descriptor, root)
    finally:
        os.close(descriptor)
    with process:
        answer = _Answer(process, time.monotonic() + _PATIENCE_S)
        try:
            said = json.loads(answer.take(int.from_bytes(answer.take(8, 8), "little"), _LARGEST_ANSWER))
            if "refused" not in said:
                answer.extend(_TRANSFER_S)
                return _tree(said["tree"], answer)
        # The other exceptions mean an answer that the child never writes: the process has been taken over.
        except (_Ended, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise LoadError(f"{where}: {_why(process)}") from error
        finally:
            process.kill()
    raise LoadError(f"{where}: {said['refused']}")


def _start(descriptor: int, root: str) -> subprocess.Popen[bytes]:
    # -I and -S: the child runs no code from the user's folders or environment before its limits are set.
    child = Path(__file__).with_name("nir_child.py")
    arguments = [sys.executable, "-I", "-S", str(child), str(descriptor), root, *map(os.path.abspath, sys.path)]
    environment = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if key in os.environ}
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        env=environment | _ENVIRONMENT,
    )


def _why(process: subprocess.Popen[bytes]) -> str:
    """Return the reason why a process has not answered."""
    try:
        status = process.wait(0.1)
    except subprocess.TimeoutExpired:
        return "reading it does not end: it is damaged or malicious"
    if status == 1:  # an exception: a dependency is missing
        return "the reader process does not start; h5py and NumPy must be installed for this Python"
    if -status in _TIME_SIGNALS:
        return "reading it does not end: it is damaged or malicious"
    return "the HDF5 library crashes on it: it is damaged or malicious"


class _Answer:
    """Output of the process, read until a deadline, or until the process sleeps for too long."""

    def __init__(self, process: subprocess.Popen[bytes], end: float) -> None:
        assert process.stdout is not None
        self._descriptor, self._end = process.stdout.fileno(), end
        self._times = Path(f"/proc/{process.pid}/schedstat")

    def extend(self, seconds: float) -> None:
        """Extend the deadline by ``seconds``."""
        self._end += seconds

    def fill(self, buffer: memoryview) -> None:
        """Read until ``buffer`` is full."""
        done = 0
        while done < len(buffer):
            self._wait()
            count = os.readv(self._descriptor, [buffer[done:]])
            if not count:
                raise _Ended
            done += count

    def _wait(self) -> None:
        """Wait for output."""
        start, awake = time.monotonic(), self._awake_s()
        while True:
            now = time.monotonic()
            asleep = 0.0 if awake is None else now - start - ((self._awake_s() or 0.0) - awake)
            left = min(self._end - now, _ASLEEP_S - asleep)
            if left <= 0:
                raise _Ended
            if select.select([self._descriptor], [], [], left)[0]:
                return

    def _awake_s(self) -> float | None:
        """Time for which the process has run, or waited for a processor; None if unknown: not Linux."""
        try:
            running, waiting = self._times.read_text().split()[:2]
        except (OSError, ValueError):
            return None
        return (int(running) + int(waiting)) / 1e9

    def take(self, count: int, limit: int) -> bytes:
        """Return the next ``count`` bytes; ``count`` must be at most ``limit``."""
        if count > limit:
            raise _Ended
        content = bytearray(count)
        self.fill(memoryview(content))
        return bytes(content)


def _tree(entries: list[Any], answer: _Answer) -> dict[str, Any]:
    """Return the dictionaries, with the arrays that follow in ``answer``."""
    left = LARGEST
    order: list[NDArray[Any]] = []

    def value(kind: str, *content: Any) -> Any:
        nonlocal left
        if kind == "group":
            return {name: value(*inner) for name, *inner in content[0]}
        if kind == "text":
            return str(content[0])
        if kind == "texts":
            shape, texts = content
            array = np.empty(len(texts), object)
            array[:] = [str(text) for text in texts]
            return array.reshape(shape)
        if kind == "sparse":
            (rows, columns), name, count = content
            if name not in _KINDS or count > rows * columns:
                raise _Ended
            places, weights = numbers_in([count], "<i8"), numbers_in([count], name)
            return (rows, columns), places, weights
        return numbers_in(*content)

    def numbers_in(shape: list[int], name: str) -> NDArray[Any]:
        nonlocal left
        if name not in _KINDS or math.prod(shape) * np.dtype(name).itemsize > left:
            raise _Ended
        numbers = np.empty(shape, name)
        left -= numbers.nbytes
        order.append(numbers)
        return numbers

    tree = {name: value(*inner) for name, *inner in entries}
    for numbers in order:
        if numbers.size:
            answer.fill(numbers.reshape(-1).view(np.uint8).data)
        if numbers.dtype.kind == "f":
            numbers[np.isnan(numbers)] = (
                np.nan
            )  # Quiet NaNs only: signalling ones raise warnings when they are converted.
    return _finished(tree)


def _finished(content: Any) -> Any:
    """Replace arrays without dimensions by NumPy scalars, as h5py returns them, and build sparse matrices."""
    if isinstance(content, dict):
        return {name: _finished(item) for name, item in content.items()}
    if isinstance(content, tuple):
        (rows, columns), places, weights = content
        if len(places) and (places[0] < 0 or places[-1] >= rows * columns or np.any(np.diff(places) <= 0)):
            raise _Ended
        row, column = np.divmod(places, columns)
        return SparseMatrix((rows, columns), row, column, weights)
    return content[()] if isinstance(content, np.ndarray) and not content.ndim else content
