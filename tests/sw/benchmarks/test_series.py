"""`make series` in short: its networks on generated series, through the compiled core, and its complaints."""

import dataclasses
import io

import numpy as np
import pytest
from harness.compiled import BUILD
from harness.networks import rng_of
from rich.console import Console

from spikeloom.benchmarks.series import (
    SCHEMES,
    TEST_UTTERANCES,
    Outcome,
    complaints,
    model_of,
    run_scheme,
    table_of,
)
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.shipped import shipped
from spikeloom.datasets.vowels import CHANNELS, LONGEST, SPEAKERS, Vowels
from spikeloom.frontends.nir import load
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.runners.runner import ReferenceRunner

GOOD = Outcome(
    encoder="a", accuracy=0.9, events_per_sample=10.0, cycles_per_sample=100.0, spikes_compared=5, mismatches=0
)


def vowels(name, count):
    """Series that wander within the range of the vowels."""
    rng = rng_of(name)
    series = (
        rng.normal(scale=0.5, size=(1, count, CHANNELS)) + rng.normal(size=(LONGEST, count, CHANNELS)).cumsum(0) / 9
    )
    return Vowels(series=series, lengths=np.full(count, LONGEST), labels=rng.integers(0, SPEAKERS, count))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_spike_of_the_compiled_core(scheme, request):
    """A few utterances of each scheme on the core that `make series` uses: both layers fire, and no spike differs."""
    few = vowels(request.node.name, 3)
    outcome = run_scheme(scheme, few, make_runner=lambda program: CompiledRunner(program, BUILD))
    assert (outcome.encoder, outcome.mismatches) == (scheme, 0)
    assert outcome.spikes_compared > 100
    assert outcome.cycles_per_sample > outcome.events_per_sample > 20
    assert 0 <= outcome.accuracy <= 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_networks_name_their_encoders(scheme):
    """One recurrent network per scheme, with the fitted settings of its encoder."""
    network = load(shipped(model_of(scheme)))
    assert network.notes == ()
    encoder = encoder_from(network.encoder)
    assert encoder.kind == scheme
    assert encoder.scale is not None
    assert len(encoder.scale.low) == CHANNELS
    assert network.inputs == encoder.axons(CHANNELS)
    assert [(c.source, c.target, c.delay) for c in network.connections if c.source == c.target] == [
        ("hidden", "hidden", 1)
    ]


class Wrong(ReferenceRunner):
    """The reference with a clock, and with one spike too many or too few."""

    def __init__(self, program, network):
        super().__init__(network)
        self.program = program

    def run(self, spikes, *, progress=None):
        result = super().run(spikes, progress=progress)
        changed = {name: fired.copy() for name, fired in result.spikes.items()}
        changed["speaker"][3, 1, 4] ^= True
        return dataclasses.replace(result, spikes=changed, cycles=600)


def test_a_wrong_spike_is_found(request):
    from spikeloom.benchmarks import series
    from spikeloom.compiler.quantise import Quantisation, quantise

    scheme = "step-forward"
    quantised = quantise(load(shipped(model_of(scheme))), Quantisation.for_core(series.FABRIC.core, weight_width=8))
    outcome = run_scheme(scheme, vowels(request.node.name, 3), make_runner=lambda p: Wrong(p, quantised))
    assert (outcome.mismatches, outcome.cycles_per_sample) == (1, 200.0)
    assert complaints([outcome], 3) == ["step-forward: hardware and reference differ in 1 spikes, expected none"]


def test_complaints():
    assert complaints([GOOD, dataclasses.replace(GOOD, accuracy=0.2)], TEST_UTTERANCES) == []
    poor = dataclasses.replace(GOOD, accuracy=0.89)
    assert complaints([poor], TEST_UTTERANCES) == ["accuracy of the best scheme, a, must be at least 90 %, not 89.0 %"]
    assert complaints([poor], TEST_UTTERANCES - 1) == []


def test_table():
    text = io.StringIO()
    Console(width=100, file=text).print(table_of([GOOD]))
    assert "90.0 %" in text.getvalue()
