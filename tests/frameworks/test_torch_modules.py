"""Converted snnTorch modules, replayed: every spike equals that of snnTorch."""

from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.quantise import Quantisation, QuantiseError, quantise
from spikeloom.frontends.nir import load
from spikeloom.sim.network.reference import simulate

HERE = Path(__file__).parent / "modules"
NAMES = sorted(path.stem for path in HERE.glob("*.npz"))


def unpacked(bits, shape):
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


def test_modules_of_every_form_are_kept():
    assert NAMES == ["alpha", "convolutional", "loop", "one-step", "readout"]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_fires_as_in_snntorch(name, tmp_path):
    """The float network is equal in every cell; 16-bit integers are nearly so, where the network can be quantised."""
    with np.load(HERE / f"{name}.npz") as kept:
        (tmp_path / "net.nir").write_bytes(kept["nir"].tobytes())
        network = load(tmp_path / "net.nir")
        assert network.name == name
        inputs = unpacked(kept["inputs"], kept["input_shape"])
        found = network.simulate(inputs)
        if name == "readout":
            np.testing.assert_allclose(found, kept["result"], atol=1e-5)
            return
        expected = unpacked(kept["result"], kept["shape"])
    assert np.array_equal(found, expected)
    assert 0 < expected.sum() < expected.size
    if name == "alpha":
        with pytest.raises(
            QuantiseError, match=r"^population 'first' consists of Alpha neurons, .* train it with Synaptic"
        ):
            quantise(network)
        return
    integers = simulate(quantise(network, Quantisation(weight_width=16, v_width=24)), inputs)
    assert np.mean(integers.spikes[network.output] == expected) > 0.98
