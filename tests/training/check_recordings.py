"""The kept recordings equal what the layers compute now."""

import numpy as np
from harness.recordings import load_recordings

from training.record import recordings


def test_the_recordings_are_up_to_date():
    kept = load_recordings()
    today = recordings()
    assert sorted(kept) == sorted(today)
    for name, arrays in today.items():
        assert sorted(kept[name].arrays) == sorted(arrays)
        for key, array in arrays.items():
            assert np.array_equal(kept[name].arrays[key], array), (name, key)
