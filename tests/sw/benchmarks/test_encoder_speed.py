"""Speed of encoders: every kind is measured; sequential and slow encoders are identified."""

import dataclasses

from spikeloom.benchmarks.encoder_speed import MEASURED, complaints, is_sequential, measure
from spikeloom.datasets.encoders import ENCODERS


def test_every_kind_is_measured():
    assert {encoder.kind for encoder in MEASURED} == set(ENCODERS)
    kinds = [encoder.kind for encoder in MEASURED]
    assert {encoder.kind for encoder in MEASURED if is_sequential(encoder)} == {
        *("step-forward", "delta", "graded", "hough", "modified-hough", "bens"),
    }
    # Where options decide the speed, both variants are measured.
    assert kinds.count("delta") == kinds.count("graded") == 2


def test_a_measurement():
    """Far below the requirement of `make bench`, because tests share their processor; it shows that no encoder loops
    over values."""
    for encoder in MEASURED:
        speed = measure(encoder, samples=40)
        assert (speed.encoder, speed.steps, speed.axons_per_channel) == (encoder.kind, encoder.steps, encoder.lines)
        assert speed.million_values_per_second > 1, speed
        ratio = speed.million_places_per_second / speed.million_values_per_second
        assert abs(ratio - encoder.steps * encoder.lines) < 0.1 * ratio


def test_complaints():
    slow = dataclasses.replace(measure(MEASURED[0], samples=40), million_values_per_second=9.5, sequential=False)
    assert complaints([slow]) == [f"the {slow.encoder} encoder must take 10 million values per second, not 9.5"]
    assert complaints([dataclasses.replace(slow, sequential=True)]) == []
    assert complaints([dataclasses.replace(slow, million_values_per_second=10.0)]) == []
