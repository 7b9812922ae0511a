"""The digits transformer in the compiled design: cores around an attention tile, every spike of every layer."""

from harness.compiled import BUILD

from spikeloom.benchmarks.transformer import MODEL, with_seed
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate


def test_every_spike_of_every_layer():
    floats = load(shipped(MODEL))
    network = with_seed(quantise(floats), 7)
    spikes = encoder_from(floats.encoder).encode(load_digits()[1].images[:3])
    reference = simulate(network, spikes)
    program = place(network, FABRICS["transformer"], observe=network.sources[1:])
    result = CompiledRunner(program, BUILD).run(spikes)
    compared, mismatches = compare(reference, result)
    assert set(result.spikes) == set(network.sources[1:])
    assert all(fired.any() for fired in result.spikes.values())
    assert not mismatches
    assert compared > 20_000
