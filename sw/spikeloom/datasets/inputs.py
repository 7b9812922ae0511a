"""What a run is fed with: spikes from a file, or images through the encoder that the network was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders import Encoder
from spikeloom.datasets.shipped import load_digits
from spikeloom.sim.network.reference import as_spikes

__all__ = ["InputError", "Inputs", "held_out_digits", "load_inputs"]


class InputError(ValueError):
    """A file of inputs that cannot be used. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Spikes ``(T, B, inputs)`` and, where they are known, labels ``(B,)`` and the images ``(B, ...)`` they are of."""

    spikes: NDArray[np.bool_]
    labels: NDArray[np.int64] | None = None
    images: NDArray[np.int64] | None = None

    def first(self, count: int) -> Inputs:
        """The first ``count`` samples."""
        if count < 1:
            raise InputError(f"the number of images must be at least 1, not {count}")
        labels = None if self.labels is None else self.labels[:count]
        images = None if self.images is None else self.images[:count]
        return Inputs(spikes=self.spikes[:, :count], labels=labels, images=images)


def _encoded(images: Any, encoder: Encoder | None, where: str) -> NDArray[np.bool_]:
    if encoder is None:
        raise InputError(
            f"{where} holds images, and the network does not say how to encode them: give spikes (T, B, n)"
        )
    try:
        return encoder.encode(images)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error


def held_out_digits(encoder: Encoder | None) -> Inputs:
    """The 360 held-out digits that spikeloom ships."""
    _, held_out = load_digits()
    spikes = _encoded(held_out.images, encoder, "digits.npz")
    return Inputs(spikes=spikes, labels=held_out.labels, images=held_out.images.astype(np.int64))


def load_inputs(path: Path, inputs: int, encoder: Encoder | None) -> Inputs:
    """Read a ``.npy`` file of spikes ``(T, B, inputs)`` or images ``(B, ...)``, or a ``.npz`` file.

    A ``.npz`` file holds ``spikes`` or ``images``, and may hold ``labels``. An array of integers above 1, or of fewer
    than three dimensions other than spikes of one sample, is taken as images. Raises `InputError`.
    """
    where = str(path)
    try:
        content: Any = np.load(path, allow_pickle=False)
        arrays: dict[str, Any] | None = None
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                arrays = dict(content)
    except FileNotFoundError as error:
        raise InputError(f"{where} must be a file, and does not exist") from error
    except Exception as error:  # what NumPy and zipfile raise on a damaged file is of many kinds
        raise InputError(f"{where} must be a NumPy file (.npy or .npz) without pickled objects") from error
    if arrays is None:
        arrays = {"spikes" if _looks_like_spikes(content, inputs) else "images": content}
    labels, images = arrays.get("labels"), None
    if "spikes" in arrays:
        try:
            spikes = as_spikes(arrays["spikes"], inputs)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    elif "images" in arrays:
        spikes, images = _encoded(arrays["images"], encoder, where), arrays["images"].astype(np.int64)
        if spikes.shape[2] != inputs:
            raise InputError(f"{where}: images must have {inputs} pixels, not {spikes.shape[2]}")
    else:
        raise InputError(f"{where} must hold an array 'spikes' or 'images', not {', '.join(arrays) or 'nothing'}")
    if labels is not None and labels.shape != spikes.shape[1:2]:
        raise InputError(f"{where}: labels must have shape {spikes.shape[1:2]}, not {labels.shape}")
    return Inputs(spikes=spikes, labels=None if labels is None else labels.astype(np.int64), images=images)


def _looks_like_spikes(array: Any, inputs: int) -> bool:
    """Spikes are booleans, or zeros and ones whose last axis is the input."""
    if array.dtype == np.bool_:
        return True
    return array.ndim in (2, 3) and array.shape[-1] == inputs and bool(np.isin(array, (0, 1)).all())
