"""What a run is fed with: spikes from a file, or images or time series through the encoder of the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders import Encoder, LevelEncoder, SignalEncoder
from spikeloom.datasets.shipped import load_digits
from spikeloom.sim.lib.arrays import LARGEST, arrays_from
from spikeloom.sim.lib.files import FileError
from spikeloom.sim.network.reference import as_spikes

__all__ = ["InputError", "Inputs", "held_out_digits", "load_inputs"]


class InputError(ValueError):
    """A file of inputs that cannot be used. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Spikes ``(T, B, inputs)`` and, where they are known, labels ``(B,)`` and the images ``(B, ...)`` they are of.

    Spikes are booleans, or integers of a graded encoder.
    """

    spikes: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    images: NDArray[np.int64] | None = None

    def first(self, count: int) -> Inputs:
        """The first ``count`` samples."""
        if count < 1:
            raise InputError(f"the number of images must be at least 1, not {count}")
        labels = None if self.labels is None else self.labels[:count]
        images = None if self.images is None else self.images[:count]
        return Inputs(spikes=self.spikes[:, :count], labels=labels, images=images)


def _encoded(values: NDArray[Any], what: str, encoder: Encoder | None, where: str) -> NDArray[Any]:
    """Spikes of ``values``, which are ``what``: "images" or "series"."""
    if encoder is None:
        raise InputError(
            f"{where} holds {what}, and the network does not say how to encode them: name an encoder, or give spikes "
            "(T, B, n)"
        )
    places = values.size * encoder.steps * encoder.lines
    if places > LARGEST:
        # The settings of the encoder come from the network's file, and so from strangers.
        raise InputError(
            f"{where} must give at most {LARGEST:,} places for spikes, not {values.size:,} values in {encoder.steps:,} "
            f"steps and {encoder.lines} axons each; give fewer {what}"
        )
    try:
        return encoder.encode(values) if what == "images" else encoder.encode_series(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error


def _check_axons(spikes: NDArray[Any], inputs: int, what: str, encoder: Encoder, where: str) -> None:
    found = spikes.shape[2]
    if found == inputs:
        return
    if inputs % encoder.lines:
        raise InputError(
            f"{where}: the {encoder.kind} encoder gives {encoder.lines} axons per channel, and the network's {inputs} "
            "inputs are no multiple of that"
        )
    unit = "pixels" if what == "images" and isinstance(encoder, LevelEncoder) else "channels"
    raise InputError(f"{where}: {what} must have {inputs // encoder.lines} {unit}, not {found // encoder.lines}")


def held_out_digits(encoder: Encoder | None) -> Inputs:
    """The 360 held-out digits that spikeloom ships."""
    _, held_out = load_digits()
    spikes = _encoded(held_out.images, "images", encoder, "digits.npz")
    return Inputs(spikes=spikes, labels=held_out.labels, images=held_out.images.astype(np.int64))


def load_inputs(path: Path, inputs: int, encoder: Encoder | None, *, classes: int | None = None) -> Inputs:
    """Read a ``.npy`` file of spikes ``(T, B, inputs)``, images ``(B, ...)`` or series ``(T, B, channels)``, or a
    ``.npz`` file.

    A ``.npz`` file holds ``spikes``, ``images`` or ``series``, and may hold ``labels``. The array of a ``.npy`` file is
    spikes if it is of 0 and 1 and its last extent is ``inputs``; otherwise it is images, or series for an encoder of
    signals. Labels are integers from 0, below ``classes`` where that is given. Raises `InputError`.
    """
    where = str(path)
    try:
        content = arrays_from(path)
    except FileNotFoundError as error:
        raise InputError(f"{where} must be a file, and does not exist") from error
    except FileError as error:
        raise InputError(str(error)) from error
    if isinstance(content, dict):
        arrays = content
    else:
        values = "series" if isinstance(encoder, SignalEncoder) else "images"
        arrays = {"spikes" if _looks_like_spikes(content, inputs) else values: content}
    labels, images = arrays.get("labels"), None
    if "spikes" in arrays:
        try:
            spikes = as_spikes(arrays["spikes"], inputs)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    elif "images" in arrays:
        spikes = _encoded(arrays["images"], "images", encoder, where)
        assert encoder is not None
        _check_axons(spikes, inputs, "images", encoder, where)
        # What the encoder on a board takes; measured numbers are scaled on the host.
        images = arrays["images"].astype(np.int64) if encoder.scale is None else None
    elif "series" in arrays:
        spikes = _encoded(arrays["series"], "series", encoder, where)
        assert encoder is not None
        _check_axons(spikes, inputs, "series", encoder, where)
    else:
        names = ", ".join(map(repr, arrays)) or "nothing"
        raise InputError(f"{where} must hold an array 'spikes', 'images' or 'series', not {names}")
    if labels is not None:
        labels = _labels(labels, spikes.shape[1], classes, where)
    return Inputs(spikes=spikes, labels=labels, images=images)


def _labels(labels: NDArray[Any], samples: int, classes: int | None, where: str) -> NDArray[np.int64]:
    """Labels as integers. Raises `InputError` for those that no answer can be equal to."""
    if labels.shape != (samples,):
        raise InputError(f"{where}: labels must have shape {(samples,)}, not {labels.shape}")
    if labels.dtype.kind not in "iuf":
        raise InputError(f"{where}: labels must be integers, not {labels.dtype}")
    most = np.iinfo(np.int64).max if classes is None else classes - 1
    # Of NaN no comparison holds, so it is not allowed either.
    allowed = (labels >= 0) & (labels <= most) & (np.floor(labels) == labels)
    if not allowed.all():
        bound = "at least 0" if classes is None else f"0 to {most}, the number of an output"
        raise InputError(f"{where}: labels must be integers, {bound}, not {labels[~allowed][0]}")
    return labels.astype(np.int64)


def _looks_like_spikes(array: NDArray[Any], inputs: int) -> bool:
    """Spikes are booleans, or zeros and ones whose last axis is the input."""
    if array.dtype == np.bool_:
        return True
    if array.dtype.kind not in "iuf":
        return False
    return array.ndim in (2, 3) and array.shape[-1] == inputs and bool(np.isin(array, (0, 1)).all())
