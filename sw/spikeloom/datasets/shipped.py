"""Files shipped with spikeloom: trained networks and test images. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.lib.arrays import arrays_from
from spikeloom.sim.lib.files import FileError

__all__ = ["Digits", "load_digits", "shipped"]

_PORTION = Path(__file__).resolve().parents[1]
"""Directory ``spikeloom`` that holds ``sw``: of an installed wheel, or ``sw/spikeloom`` of a checkout."""


def shipped(name: str) -> Path:
    """Return the path of the file ``name`` of ``models/``, in an installed wheel or in a checkout.

    Raises ``FileNotFoundError`` with the searched places if it is in neither.
    """
    places = (_PORTION / "models" / name, _PORTION.parents[1] / "models" / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{name} is missing; expected at {places[0]} (installed) or {places[1]} (checkout)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Images of handwritten digits ``(B, height, width)`` uint8, 0 is paper, with labels ``(B,)`` from 0 to 9.

    Full ink is 16 in the digits shipped with spikeloom, and 255 in MNIST.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Digits:
        """Return the first ``count`` digits, by default all. Raises ``ValueError`` if there are fewer."""
        if count is None:
            return self
        if not 1 <= count <= len(self):
            raise ValueError(f"the number of images must be from 1 to {len(self)}, not {count}")
        return Digits(images=self.images[:count], labels=self.labels[:count])


def load_digits(path: Path | None = None) -> tuple[Digits, Digits]:
    """Load the 1,437 training and the 360 held-out digits, 8x8 pixels of 0 to 16, from ``path`` or the shipped file.

    The split is stored in the file (see ``models/README.md``), so that it never changes. Raises ``ValueError`` for any
    other file.
    """
    source = path or shipped("digits.npz")
    try:
        arrays = arrays_from(source)
        if not isinstance(arrays, dict):
            raise FileError(f"{str(source)!r} must be an .npz file")
        images, labels = arrays["images"], arrays["labels"].astype(np.int64)
        train, held_out = (
            Digits(images=images[arrays[part]], labels=labels[arrays[part]]) for part in ("train", "held_out")
        )
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{str(source)!r} must be a file of digits as models/README.md describes it") from error
    return train, held_out
