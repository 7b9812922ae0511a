"""Parameters of trained neurons: refused values."""

import re

import pytest

from spikeloom.sim.core.neuron import Reset
from spikeloom.train.neurons import LEARNED, Neurons


def test_every_parameter_can_be_trained():
    assert Neurons(alpha=0.5, learned=LEARNED).learned == LEARNED
    assert Neurons().reset is Reset.SUBTRACT


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"reset": "zero"}, TypeError, "reset must be a Reset, not 'zero'"),
        ({"compare": 1}, TypeError, "compare must be a Compare, not 1"),
        ({"spiking": 1}, TypeError, "spiking must be a bool, not 1"),
        ({"beta": 1.5}, ValueError, "beta must be from 0 to 1, not 1.5"),
        ({"alpha": 0.0}, ValueError, "alpha must be between 0 and 1, or None, not 0.0"),
        ({"threshold": 0.0}, ValueError, "threshold must be positive, not 0.0"),
        ({"reset_delay": 2}, ValueError, "reset_delay must be an integer from 0 to 1, not 2"),
        ({"refractory": 256}, ValueError, "refractory must be an integer from 0 to 255, not 256"),
        ({"learned": ("alpha",)}, ValueError, "learned must be some of threshold, bias, beta, not 'alpha'"),
        ({"learned": ("gamma",)}, ValueError, "learned must be some of threshold, bias, beta, not 'gamma'"),
    ],
)
def test_what_is_refused(fields, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        Neurons(**fields)
