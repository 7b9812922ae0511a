"""The digits transformer on the compiled design: cores around an attention tile, every spike of every layer."""

from harness.compiled import BUILD

from spikeloom.sim.fabric import FABRICS
from spikeloom.sim.reference import simulate
from spikeloom.sw.compiled import CompiledRunner
from spikeloom.sw.data import load_digits, shipped
from spikeloom.sw.encode import encoder_from
from spikeloom.sw.load import load
from spikeloom.sw.place import place
from spikeloom.sw.quantise import quantise
from spikeloom.sw.simulation import compare
from spikeloom.sw.transformer import MODEL, with_seed


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
