"""Settings of the encoder that a network was trained with, in the metadata of a NIR graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import scalar, text
from spikeloom.model.network import EncoderSetting
from spikeloom.sim.lib.files import shown

__all__ = ["ENCODER_KEY", "encoder_settings"]

ENCODER_KEY = "spikeloom_encoder"
"""Group in the metadata of a graph that holds the settings of the encoder used in training."""

_LONGEST_SETTING = 1 << 16  # longer settings are truncated and then refused by the encoder


def encoder_settings(metadata: Mapping[str, Any]) -> dict[str, EncoderSetting] | None:
    """Return the encoder settings in the ``metadata`` of a graph, None if there are none.

    `spikeloom.datasets.encoders` checks them. Raises `LoadError` if the group is not a set of encoder settings at all.
    """
    settings = metadata.get(ENCODER_KEY)
    if settings is None:
        return None
    if not isinstance(settings, Mapping):
        raise LoadError(f"metadata {ENCODER_KEY!r} of the graph must be a group of keys, not {shown(settings)}")
    return {str(key): _setting(f"{ENCODER_KEY} {key}", value) for key, value in settings.items()}


def _setting(name: str, value: Any) -> EncoderSetting:
    """Return a text, a number, or a tuple of numbers with one per channel."""
    if isinstance(value, str | bytes):
        return text(value)
    if np.ndim(value) == 1:
        row = np.asarray(value)[: _LONGEST_SETTING + 1]
        return tuple(row.tolist()) if row.dtype.kind in "iu" else tuple(scalar(name, each) for each in row)
    number = scalar(name, value)
    return int(number) if number.is_integer() else number
