"""The integers of recorded PyTorch layers are their parameters as the quantiser rounds them; see tests/training."""

import numpy as np
import pytest
from harness.recordings import load_recordings

from spikeloom.sim.core.neuron import Leak
from spikeloom.sim.lib.words import weight_range

RECORDED = load_recordings()


@pytest.mark.parametrize("name", RECORDED)
def test_integers_are_rounded_parameters(name):
    recording = RECORDED[name]
    width = recording.quantisation.weight_width
    low, high = weight_range(width)
    clipped = rounded = 0
    for number, layer in enumerate(recording.layers()):
        latent = {key.split()[-1]: a for key, a in recording.arrays.items() if key.startswith(f"{number} latent")}
        for key, exponent in (
            ("weight", layer.exponent - recording.facts["input_bits"][number]),
            ("recurrent", layer.exponent),
        ):
            if key not in latent:
                continue
            scaled = np.ldexp(latent[key].astype(np.float64), exponent)
            expected = np.where(scaled < 0, -1, 1) if width == 1 else np.clip(np.rint(scaled), low, high)
            assert np.array_equal(getattr(layer, key), expected)
            rounded += np.count_nonzero(scaled != expected)
            clipped += np.count_nonzero(np.abs(scaled - expected) > 0.5)
        p = layer.parameters
        if p.spiking:
            assert np.array_equal(p.threshold, np.rint(np.ldexp(latent["threshold"].astype(float), layer.exponent)))
        assert np.array_equal(p.bias, np.rint(np.ldexp(latent["bias"].astype(float), layer.exponent)))
        assert np.all((p.leak is not Leak.CLEAR) | (latent["beta"] == 0.0))
    assert rounded
    # At few bits, some weights are clipped; at 8 bits, the scale is that without clipping.
    assert bool(clipped) == (width < 8) or width in (3, 4)
