"""Inputs of a run: spikes from a file, or images or time series through the encoder of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders import Encoder, LevelEncoder, SignalEncoder
from spikeloom.datasets.shipped import load_digits
from spikeloom.sim.lib.arrays import LARGEST, arrays_from
from spikeloom.sim.lib.files import FileError
from spikeloom.sim.network.reference import as_inputs

__all__ = [
    "InputError",
    "Inputs",
    "Layout",
    "held_out_digits",
    "inputs_from",
    "load_inputs",
    "random_inputs",
    "read_arrays",
]

_RANDOM_SAMPLES, _RANDOM_STEPS, _RANDOM_RATE = 20, 16, 0.1


class InputError(ValueError):
    """An input file cannot be used. The message is one sentence."""


class Layout(Enum):
    """Axis order of spikes in a file: time, batch, input line; or batch first."""

    TBN = "tbn"
    BTN = "btn"


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Spikes ``(T, B, inputs)`` with, if known, labels ``(B,)`` and the images ``(B, ...)`` before encoding.

    Spikes are booleans, or integers of a graded encoder.
    """

    spikes: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    images: NDArray[np.int64] | None = None

    def first(self, count: int) -> Inputs:
        """Return the first ``count`` samples. Raises `InputError` if ``count`` is less than 1."""
        if count < 1:
            raise InputError(f"the number of images must be at least 1, not {count}")
        labels = None if self.labels is None else self.labels[:count]
        images = None if self.images is None else self.images[:count]
        return Inputs(spikes=self.spikes[:, :count], labels=labels, images=images)

    @property
    def shape_text(self) -> str:
        """Describe the shape as it was interpreted."""
        steps, samples, lines = self.spikes.shape
        spikes = f"spikes of {steps:,} steps x {samples:,} samples x {lines:,} lines"
        if self.images is None:
            return spikes
        return f"{samples:,} images of {' x '.join(map(str, self.images.shape[1:]))}, encoded as {spikes}"


def _encoded(values: NDArray[Any], what: str, encoder: Encoder | None, where: str) -> NDArray[Any]:
    """Encode ``values``; ``what`` is "images" or "series"."""
    if encoder is None:
        raise InputError(
            f"{where}: {what} need an encoder, which the network does not define: give one (--encoder), or inputs of "
            "spikes (T, B, n)"
        )
    places = values.size * encoder.steps * encoder.lines
    if places > LARGEST:
        # The encoder settings come from the network file and are untrusted.
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
            f"{where}: the {encoder.kind} encoder gives {encoder.lines} axons per channel, and the network's "
            f"{inputs:,} inputs are not a multiple of that"
        )
    unit = "pixels" if what == "images" and isinstance(encoder, LevelEncoder) else "channels"
    raise InputError(f"{where}: {what} must have {inputs // encoder.lines:,} {unit}, not {found // encoder.lines:,}")


def held_out_digits(encoder: Encoder | None) -> Inputs:
    """Return the 360 held-out digits shipped with spikeloom."""
    _, held_out = load_digits()
    spikes = _encoded(held_out.images, "images", encoder, "digits.npz")
    return Inputs(spikes=spikes, labels=held_out.labels, images=held_out.images.astype(np.int64))


def random_inputs(seed: int, inputs: int, encoder: Encoder | None, *, samples: int | None = None) -> Inputs:
    """Return random images through ``encoder`` if it takes integers, else random spikes with a density of a tenth."""
    rng = np.random.default_rng(seed)
    count = _RANDOM_SAMPLES if samples is None else max(samples, 1)
    if not isinstance(encoder, LevelEncoder) or encoder.scale is not None or inputs % encoder.lines:
        return Inputs(spikes=rng.random((_RANDOM_STEPS, count, inputs)) < _RANDOM_RATE)
    low, high = encoder.value_range
    images = rng.integers(low, high + 1, (count, inputs // encoder.lines))
    return Inputs(spikes=_encoded(images, "images", encoder, "random"), images=images)


def load_inputs(
    path: Path,
    inputs: int,
    encoder: Encoder | None,
    *,
    classes: int | None = None,
    layout: Layout | None = None,
    value_width: int = 0,
) -> Inputs:
    """Read a ``.npy`` file of spikes ``(T, B, inputs)``, images ``(B, ...)`` or series ``(T, B, channels)``, or a
    ``.npz`` file.

    A ``.npz`` file holds ``spikes``, ``images`` or ``series``, and optionally ``labels``. The array of a ``.npy`` file
    is interpreted as spikes if it is binary and its last extent is ``inputs``; otherwise as images, or as series for a
    signal encoder. With a ``value_width``, spikes are integers of this width. Labels are integers from 0, below
    ``classes`` if given. Without a ``layout``, spikes are refused if labels or the encoder's number of steps show that
    they are ``(B, T, inputs)``. Raises `InputError`.
    """
    arrays = read_arrays(path, inputs, encoder, value_width=value_width)
    return inputs_from(
        arrays, inputs, encoder, where=str(path), classes=classes, layout=layout, value_width=value_width
    )


def read_arrays(path: Path, inputs: int, encoder: Encoder | None, *, value_width: int = 0) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file for `load_inputs`, not encoded. Raises `InputError`.

    The array of a ``.npy`` file is named ``spikes``, ``images`` or ``series``, as `load_inputs` interprets it.
    """
    where = str(path)
    try:
        content = arrays_from(path)
    except FileNotFoundError as error:
        raise InputError(f"{where} does not exist") from error
    except FileError as error:
        raise InputError(str(error)) from error
    if isinstance(content, dict):
        return content
    values = "series" if isinstance(encoder, SignalEncoder) else "images"
    return {"spikes" if _looks_like_spikes(content, inputs, value_width) else values: content}


def inputs_from(
    arrays: Mapping[str, NDArray[Any]],
    inputs: int,
    encoder: Encoder | None,
    *,
    where: str,
    classes: int | None = None,
    layout: Layout | None = None,
    value_width: int = 0,
) -> Inputs:
    """Return the inputs in ``arrays``, with names and shapes as for `load_inputs`; ``where`` names their source in
    messages. Raises `InputError`."""
    labels, images = arrays.get("labels"), None
    if "spikes" in arrays:
        array = arrays["spikes"]
        if array.ndim == 3:
            if layout is Layout.BTN:
                array = array.transpose(1, 0, 2)
            elif layout is None:
                _check_time_first(where, array.shape, labels, encoder)
        elif layout is Layout.BTN:
            raise InputError(f"{where}: spikes must have shape (B, T, {inputs}) with --layout btn, not {array.shape}")
        try:
            spikes = as_inputs(array, inputs, value_width)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {error}") from error
    elif "images" in arrays:
        spikes = _encoded(arrays["images"], "images", encoder, where)
        assert encoder is not None
        _check_axons(spikes, inputs, "images", encoder, where)
        # Limit of the encoder on a board; real-valued data is scaled on the host.
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


def _check_time_first(where: str, shape: tuple[int, ...], labels: Any, encoder: Encoder | None) -> None:
    """Refuse spikes whose first axis is recognisably the batch."""
    first, second = shape[:2]
    if first == second:
        return
    remedy = "(B, T, n) is read with --layout btn, and this order with --layout tbn"
    if labels is not None and labels.shape == (first,):
        raise InputError(
            f"{where}: spikes must be (T, B, n), but {first} labels fit the first axis of {shape}; {remedy}"
        )
    if labels is None and isinstance(encoder, LevelEncoder) and encoder.steps == second:
        raise InputError(
            f"{where}: spikes must be (T, B, n), but the encoder's {second} steps fit the second axis of {shape}; "
            f"{remedy}"
        )


def _labels(labels: NDArray[Any], samples: int, classes: int | None, where: str) -> NDArray[np.int64]:
    """Return labels as integers. Raises `InputError` for labels that no answer can equal."""
    if labels.shape != (samples,):
        raise InputError(f"{where}: labels must have shape {(samples,)}, not {labels.shape}")
    if labels.dtype.kind not in "iuf":
        raise InputError(f"{where}: labels must be integers, not {labels.dtype}")
    most = np.iinfo(np.int64).max if classes is None else classes - 1
    # Written so that NaN, for which every comparison is false, is refused too.
    allowed = (labels >= 0) & (labels <= most) & (np.floor(labels) == labels)
    if not allowed.all():
        bound = "at least 0" if classes is None else f"0 to {most}, the number of an output"
        raise InputError(f"{where}: labels must be integers, {bound}, not {labels[~allowed][0]}")
    return labels.astype(np.int64)


def _looks_like_spikes(array: NDArray[Any], inputs: int, value_width: int) -> bool:
    """Whether the array is boolean, or has the inputs as its last axis and is binary or, with a width, integer."""
    if array.dtype == np.bool_:
        return True
    if value_width and array.dtype.kind in "iu" and array.ndim == 3 and array.shape[-1] == inputs:
        return True
    if array.dtype.kind not in "iuf":
        return False
    return array.ndim in (2, 3) and array.shape[-1] == inputs and bool(np.isin(array, (0, 1)).all())
