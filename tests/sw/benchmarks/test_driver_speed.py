"""Speed of the driver: every mode runs once, with the right answers."""

import numpy as np

from spikeloom.benchmarks.driver_speed import images_of, measure
from spikeloom.sim.host.compiled_samples import compiled_samples


def test_every_way_gives_the_known_answers():
    speed = measure(300, runs=1)
    assert speed.mismatches == 0
    assert list(speed.images_per_s) == ["spikes, spikes back", "pixels, spikes back", "pixels, classes back"]
    assert min(speed.images_per_s.values()) > 0
    assert speed.load_mb_per_s > 0
    assert speed.read_mb_per_s > 0
    assert speed.compiled == (compiled_samples() is not None)
    assert speed.us_per_step > 0


def test_the_images_are_as_bright_as_handwritten_digits():
    images = images_of(200)
    assert images.shape == (200, 28, 28)
    assert set(np.unique(images)) == {0, 1, 2, 3, 4}
    assert 0.15 < (images > 0).mean() < 0.22
