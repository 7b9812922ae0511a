"""Every line of docs/encoders.md that shows a convention on seven values equals the output of the encoder."""

import re
from pathlib import Path

import numpy as np
import pytest

from spikeloom.datasets.encoders import ENCODERS, GradedEncoder, encoder_from_text
from spikeloom.datasets.encoders.interface import signed_counts

PAGE = (Path(__file__).parents[4] / "docs" / "encoders.md").read_text()
LINES = re.findall(r"^\| `([a-z-]+:[^`|]+)` \| `([^`|]+)` \|$", PAGE, re.MULTILINE)
SEVEN = np.array([0, 2, 5, 4, 8, 8, 3])[:, None, None]


def shown(encoder):
    spikes = encoder.encode_series(SEVEN)
    if isinstance(encoder, GradedEncoder):
        return " ".join(map(str, spikes[:, 0, 0]))
    signs = signed_counts(spikes) if encoder.signed else 2 * spikes.astype(int)
    return " ".join("".join("-.+x"[sign + 1] for sign in value) for value in signs[:, 0, 0].reshape(7, -1))


@pytest.mark.parametrize(("text", "spikes"), LINES, ids=[text for text, _ in LINES])
def test_line(text, spikes):
    assert shown(encoder_from_text(text)) == spikes


def test_the_page_shows_every_code_with_two_conventions():
    kinds = [text.split(":")[0] for text, _ in LINES]
    assert len(LINES) == 32
    assert {kind for kind in kinds if kinds.count(kind) > 1} == {
        *("latency", "phase", "burst", "interval", "sigma-delta", "temporal-contrast", "delta", "step-forward"),
        *("moving-window", "graded", "modified-hough", "bens"),
    }
    assert len({spikes for _, spikes in LINES}) > 20
    assert all(f"`{kind}`" in PAGE for kind in ENCODERS)
