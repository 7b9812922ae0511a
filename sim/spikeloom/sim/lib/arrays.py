"""Safe reading of NumPy files, ``.npy`` and ``.npz``.

``numpy.load`` trusts the file: it allocates the declared size, decompresses a few kilobytes to gigabytes, and returns
arrays of any type. Here the declared size must equal the actual size, all arrays of a file together have at most
`LARGEST` bytes, and only booleans, integers, floats and text are accepted. Objects, which would need pickle, and
records are rejected.
"""

import io
import math
import os
import warnings
import zipfile
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.lib.files import FileError, read_bytes

__all__ = ["LARGEST", "arrays_from"]

LARGEST = 512 << 20
"""Maximum total size of the arrays of a file in bytes; MNIST's 10,000 test images in 64 steps fit."""

_MOST_ARRAYS = 64
_LARGEST_DIRECTORY = 1 << 20  # of a .npz file: thousands of names
_LONGEST_HEADER = 10_000  # NumPy's own limit; longer headers are slow to parse
_PIECE = 1 << 16
_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "U": None, "S": None}


def arrays_from(path: str | PathLike[str]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of a ``.npy`` file, or the arrays of a ``.npz`` file by name; the format is detected by content.

    Raises `FileError` with one sentence for an invalid file, and ``OSError`` if it cannot be read.
    """
    where = repr(os.fspath(path))
    # Room for the headers and the directory besides the arrays.
    content = read_bytes(path, LARGEST + (1 << 20))
    try:
        if content[:2] == b"PK":
            return _members(content, where)
        return _array(bytearray(content), where)
    except FileError:
        raise
    # NumPy, zipfile and zlib raise many kinds of exceptions for damaged files; old files cause warnings.
    except Exception as error:
        raise FileError(f"{where} must be a NumPy file (.npy or .npz), but is damaged or of another kind") from error


def _array(content: bytearray, where: str) -> NDArray[Any]:
    """The array in the bytes of a ``.npy`` file, without a copy: the array shares their memory."""
    # The header only: its parser must not see more than it needs.
    stream = io.BytesIO(content[: _LONGEST_HEADER + 16])
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(stream))
    if read_header is None:  # version 3 only adds Unicode names of record fields, and records are rejected
        raise FileError(f"{where} must be of version 1 or 2 of NumPy's format")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shape, fortran, dtype = read_header(stream, max_header_size=_LONGEST_HEADER)
    # Records and arrays of arrays are of kind "V", for which there is no size.
    sizes = _KINDS.get(dtype.kind, ())
    if sizes is not None and dtype.itemsize not in sizes:
        raise FileError(f"{where} must hold booleans, integers, floats or text, not {dtype.name[:40]}")
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise FileError(f"{where} must have a shape of integers from 0, not {str(shape)[:40]}")
    start, declared = stream.tell(), math.prod(shape) * dtype.itemsize
    if len(content) - start != declared:
        raise FileError(
            f"{where} must hold {declared:,} bytes of its array, as its header says, not {len(content) - start:,}"
        )
    # `frombuffer` refuses an empty buffer.
    if not declared:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(content, dtype, offset=start)
    # In Fortran order the first axis varies fastest.
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


class _Pieces(io.BytesIO):
    """A file that limits the size of each read, because ``zipfile`` trusts the declared size of the directory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._length = len(content)

    def read(self, size: int | None = None) -> bytes:
        left = self._length - self.tell()
        if (left if size is None or size < 0 else min(size, left)) > _LARGEST_DIRECTORY:
            raise FileError(f"the directory of an .npz file must have at most {_LARGEST_DIRECTORY:,} bytes")
        return super().read(size)


def _members(content: bytes, where: str) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    left = LARGEST
    with zipfile.ZipFile(_Pieces(content)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise FileError(f"{where} must hold at most {_MOST_ARRAYS:,} arrays, not {len(entries):,}")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise FileError(f"{where} must hold one array {name!r}, not several")
            # The size in the directory is not trusted; the limit applies to the bytes actually decompressed.
            unpacked = bytearray()
            with archive.open(entry) as member:
                while piece := member.read(_PIECE):
                    unpacked += piece
                    if len(unpacked) > left:
                        raise FileError(f"{where} must unpack to at most {LARGEST:,} bytes, but is larger")
            left -= len(unpacked)
            arrays[name] = _array(unpacked, f"{where}: array {name!r}")
    return arrays
