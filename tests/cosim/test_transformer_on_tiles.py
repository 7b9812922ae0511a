"""The digits transformer in the compiled design: cores around an attention tile, every spike of every layer."""

from dataclasses import replace

import pytest
from harness.compiled import BUILD

from spikeloom.benchmarks.transformer import MODEL, with_seed
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate

WIDE = FABRICS["transformer"]


def with_lanes(tile, lanes):
    """A core with a different number of lanes and as many weights; any other tile unchanged."""
    if not isinstance(tile, CoreParameters):
        return tile
    return replace(tile, lanes=lanes, weight_words=tile.weight_words * tile.lanes // lanes)


NARROW = replace(WIDE, tiles=tuple(with_lanes(tile, 4) for tile in WIDE.tiles))
"""Takes half the time to elaborate, to compile and to run per image."""


@pytest.mark.parametrize(
    ("fabric", "images"),
    [pytest.param(NARROW, 1, id="narrow"), pytest.param(WIDE, 3, id="wide", marks=pytest.mark.slow)],
)
def test_every_spike_of_every_layer(fabric, images):
    floats = load(shipped(MODEL))
    network = with_seed(quantise(floats), 7)
    spikes = encoder_from(floats.encoder).encode(load_digits()[1].images[:images])
    reference = simulate(network, spikes)
    program = place(network, fabric, observe=network.sources[1:])
    result = CompiledRunner(program, BUILD).run(spikes)
    compared, mismatches = compare(reference, result)
    assert set(result.spikes) == set(network.sources[1:])
    assert all(fired.any() for fired in result.spikes.values())
    assert not mismatches
    assert compared > 20_000
