"""Units made for networks; tests/hdl/host/test_peripherals.py has the errors during use."""

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.datasets.encoders import LatencyEncoder, PhaseEncoder, RateEncoder, Scale
from spikeloom.datasets.encoders.direct import DirectEncoder
from spikeloom.host.peripherals import UnitError, encoder_settings, hold_settings, with_units
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.encoder import EncoderMode, EncoderParameters, EncoderSettings
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


def test_an_input_that_is_the_same_in_every_step_is_held():
    direct = DirectEncoder(steps=4, bits=4)
    assert not with_units(FABRICS["small"], [RATE]).encoder.hold
    parameters = with_units(FABRICS["small"], [RATE, direct], inputs=20).encoder
    assert parameters == replace(with_units(FABRICS["small"], [RATE], inputs=20).encoder, hold=True)
    values = np.repeat(np.arange(40).reshape(1, 2, 20), 4, axis=0)
    settings = hold_settings(values, parameters, range(20))
    assert settings == EncoderSettings(mode=EncoderMode.HOLD, pixels=20, steps=4)
    settings.check(parameters)
    assert hold_settings(values, parameters, range(0, 40, 2)) is None
    assert hold_settings(values, parameters, range(12, 32)) == replace(settings, pixels=32)
    changed = values.copy()
    changed[3, 1, 7] += 1
    wide = np.zeros((4, 2, 33), int)
    assert [
        hold_settings(*arguments)
        for arguments in (
            (changed, parameters, range(20)),
            (values[:1], parameters, range(20)),
            (wide, parameters, range(33)),
            (values, parameters, range(13, 33)),
            (values, replace(parameters, hold=False), range(20)),
            (values, None, range(20)),
        )
    ] == [None] * 6


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
    """The units have default parameters; whatever the board cannot do is refused in one sentence."""
    fabric = with_units(FABRICS["small"], [encoder])
    assert fabric.encoder == EncoderParameters()
    message = (
        rf"^the encoder must be rate, or latency with the curve 'floor', with integer settings, to run on the board, "
        rf"not {encoder.kind}: encode on the host$"
    )
    with pytest.raises(UnitError, match=message):
        encoder_settings(encoder, fabric.encoder, range(64))
