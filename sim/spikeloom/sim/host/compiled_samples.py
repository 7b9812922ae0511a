"""The inner loops of `spikeloom.sim.host.samples`, compiled from ``samples.c`` where the package was built with a C
compiler.

They give the same bytes several times faster. Without the library, or with ``SPIKELOOM_COMPILED=0`` in the environment,
the NumPy form is used.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIBRARY", "CompiledSamples", "compiled_samples"]

LIBRARY = Path(__file__).with_name("libsamples.so")
"""Where the build of the package puts the library. Python would import a ``samples.so`` instead of the module."""
_SOURCE = Path(__file__).with_name("samples.c")


class CompiledSamples:
    """The library at ``path``; raises ``OSError`` if it cannot be loaded or was compiled from another source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # PyDLL keeps the interpreter lock: calls take microseconds.
        library = ctypes.PyDLL(str(path))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        try:
            source = library.spikeloom_source
            self._spikes = library.spikeloom_spikes
            self._images = {size: library[f"spikeloom_images_{size}"] for size in (1, 2, 4, 8)}
        except AttributeError as error:
            raise OSError(f"{path} must be compiled from samples.c ({error})") from error
        source.restype = ctypes.c_uint32
        if source() != zlib.crc32(_SOURCE.read_bytes()):
            raise OSError(f"{path} must be compiled from the samples.c beside it, not from another version")
        self._spikes.restype = number
        self._spikes.argtypes = [pointer, *[number] * 5, pointer, ctypes.c_int, pointer]
        for function in self._images.values():
            function.restype = number
            function.argtypes = [pointer, *[number] * 3, pointer, pointer]

    def encode_spikes(self, spikes: NDArray[np.bool_], axons: NDArray[np.int32], *, last: bool) -> bytes:
        """Encode ``spikes`` ``(T, B, n)`` of inputs with ascending ``axons`` ``(n,)``, as `SampleEncoder.encode`."""
        steps, samples, inputs = spikes.shape
        if spikes.strides[2] != 1:
            spikes = np.ascontiguousarray(spikes)
        # Large enough for any content; pages that are never written take no memory.
        out = np.empty(steps * samples * (2 * inputs + 9), np.uint8)
        size = self._spikes(
            spikes.ctypes.data,
            samples,
            spikes.strides[1],
            steps,
            spikes.strides[0],
            inputs,
            axons.ctypes.data,
            last,
            out.ctypes.data,
        )
        return out[:size].tobytes()

    def encode_images(self, images: NDArray[Any], bits: int) -> bytes | None:
        """Encode ``images`` ``(B, n)`` as `spikeloom.sim.host.samples.encode_images` does; None if a pixel is
        out of range."""
        count, pixels = images.shape
        images = np.ascontiguousarray(images, images.dtype.newbyteorder("="))
        most = 1 << bits
        scratch = np.empty(3 * pixels + most + 2, np.uint32)
        out = np.empty(count * (2 * pixels + most * (2 + pixels // 8192)), np.uint8)
        function = self._images[images.dtype.itemsize]
        size = function(images.ctypes.data, count, pixels, most, scratch.ctypes.data, out.ctypes.data)
        return None if size < 0 else out[:size].tobytes()


@cache
def compiled_samples() -> CompiledSamples | None:
    """Return the library of this installation; None if there is none, or if the environment forbids it."""
    if os.environ.get("SPIKELOOM_COMPILED") == "0":
        return None
    try:
        return CompiledSamples(LIBRARY)
    except OSError:
        return None
