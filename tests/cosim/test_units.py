"""Images in, answers out: driver, faulty line, link, bridge, encoder, core and readout, all as Verilog."""

import pytest
from harness.units import UNITS

from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import PinsRunner, ReferenceRunner, Task
from spikeloom.sim.host.readout import ReadoutMode


@pytest.mark.parametrize(
    "faults", [pytest.param({}, marks=pytest.mark.slow), {"seed": 3, "flip": 0.001, "drop": 0.001, "insert": 0.001}]
)
def test_digits(tmp_path, shared_build, faults):
    loaded = load(shipped("digits-mlp.nir"))
    network = quantise(loaded, Quantisation.for_core(UNITS.core, weight_width=8))
    _, held_out = load_digits()
    task = Task(inputs=held_out.images[:20], encoder=encoder_from(loaded.encoder), mode=ReadoutMode.COUNT)
    expected = ReferenceRunner(network).do(task)
    result = PinsRunner(place(network, UNITS), shared_build(tmp_path / "run"), faults=faults, random_start=7).do(task)
    assert (result.classes == expected.classes).all()
    assert (result.classes == held_out.labels[:20]).mean() > 0.8
    assert len(set(result.classes.tolist())) >= 8
    assert (sum(result.faults.values()) > 5) == bool(faults)
