"""Settings of an encoder in the metadata of a graph."""

import numpy as np
import pytest

from spikeloom.frontends.encoder_settings import encoder_settings
from spikeloom.frontends.errors import LoadError


def test_settings_keep_text_numbers_and_rows():
    group = {
        "kind": b"rate",
        "steps": np.float64(12.0),
        "gain": 0.5,
        "levels": np.arange(3),
        "scale": np.array([0.5, 1]),
    }
    assert encoder_settings({"spikeloom_encoder": group}) == {
        "kind": "rate", "steps": 12, "gain": 0.5, "levels": (0, 1, 2), "scale": (0.5, 1.0)
    }  # fmt: skip
    assert encoder_settings({}) is None


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"spikeloom_encoder": 3}, "metadata 'spikeloom_encoder' of the graph must be a group of keys, not 3"),
        ({"spikeloom_encoder": {"gain": np.zeros((2, 2))}}, "spikeloom_encoder gain must be a finite number, not "),
    ],
)
def test_other_metadata_is_refused(metadata, message):
    with pytest.raises(LoadError, match=f"^{message}"):
        encoder_settings(metadata)
