"""Units that are made for networks; what they refuse when they are used is in tests/hdl/host/test_peripherals.py."""

import pytest

from spikeloom.datasets.encoders import LatencyEncoder, PhaseEncoder, RateEncoder, Scale
from spikeloom.host.peripherals import UnitError, encoder_settings, with_units
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.lib.lfsr import Lfsr

MESH = FABRICS["transformer"]
RATE = RateEncoder(steps=25, bits=4, lfsr=Lfsr(width=12))


@pytest.mark.parametrize(
    "encoders",
    [
        [RATE],
        [LatencyEncoder(steps=4, bits=2)],
        [RATE, LatencyEncoder(steps=40, bits=3), RateEncoder(steps=9, bits=4, lfsr=Lfsr(width=12, seed=7))],
    ],
)
def test_the_encoder_does_what_each_of_the_encoders_does(encoders):
    fabric = with_units(MESH, encoders, inputs=784, outputs=10)
    assert (fabric.tiles, fabric.mesh, fabric.link) == (MESH.tiles, MESH.mesh, MESH.link)
    assert fabric.readout == ReadoutParameters(outputs=16)
    assert fabric.encoder.pixels == 1024
    for encoder in encoders:
        encoder_settings(encoder, fabric.encoder, range(784)).check(fabric.encoder)


def test_the_usual_units():
    fabric = with_units(FABRICS["small"])
    assert (fabric.encoder, fabric.readout) == (EncoderParameters(), ReadoutParameters())
    assert with_units(FABRICS["small"], inputs=1, outputs=1).encoder.pixels == 2


@pytest.mark.parametrize(
    "other",
    [RateEncoder(steps=4, bits=5, lfsr=Lfsr(width=12)), RateEncoder(steps=4, bits=4), LatencyEncoder(steps=4, bits=6)],
)
def test_one_encoder_cannot_be_all_of_them(other):
    message = "^the encoders of all networks must have the same bits and shift register to share one on the board$"
    with pytest.raises(UnitError, match=message):
        with_units(MESH, [RATE, other])


@pytest.mark.parametrize(
    "encoder",
    [
        PhaseEncoder(steps=4, bits=4, phases=4),
        LatencyEncoder(steps=4, bits=4, curve="nearest"),
        LatencyEncoder(steps=4, bits=4, scale=Scale(low=(0.0,), high=(1.0,), bits=4)),
    ],
    ids=["phase", "curve", "scale"],
)
def test_other_encoders_stay_on_the_host(encoder):
    """The units are the usual ones, and a board is told in one sentence what it cannot do."""
    fabric = with_units(FABRICS["small"], [encoder])
    assert fabric.encoder == EncoderParameters()
    message = (
        rf"^the encoder must be rate, or latency with the curve 'floor', with integer settings, to run on the board, "
        rf"not {encoder.kind}: encode on the host$"
    )
    with pytest.raises(UnitError, match=message):
        encoder_settings(encoder, fabric.encoder, range(64))
