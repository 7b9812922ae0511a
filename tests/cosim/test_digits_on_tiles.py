"""The trained digits network on one, two and four tiles of one mesh, compiled: the same spikes, in fewer cycles."""

import numpy as np
from harness.compiled import BUILD

from spikeloom.sim.fabric import FABRICS
from spikeloom.sim.reference import simulate
from spikeloom.sw.compiled import CompiledRunner
from spikeloom.sw.data import shipped
from spikeloom.sw.encode import encoder_from
from spikeloom.sw.explain import explain, measured_rates
from spikeloom.sw.inputs import held_out_digits
from spikeloom.sw.load import load
from spikeloom.sw.place import place
from spikeloom.sw.quantise import Quantisation, quantise


def test_digits_on_one_two_and_four_tiles():
    fabric = FABRICS["small"].on_mesh(3, 2)
    loaded = load(shipped("digits-mlp.nir"))
    network = quantise(loaded, Quantisation.for_core(FABRICS["small"].core, weight_width=8))
    spikes = held_out_digits(encoder_from(loaded.encoder)).first(20).spikes
    steps, images, _ = spikes.shape
    reference, rates = simulate(network, spikes), measured_rates(network, spikes)
    assert reference.spikes["hidden"].sum() > 1000
    cycles = {}
    for tiles in (1, 2, 4):
        program = place(network, fabric, tiles=tiles, rates=rates, observe=["hidden"])
        result = CompiledRunner(program, BUILD).run(spikes)
        for name in ("hidden", "digit"):
            assert np.array_equal(result.spikes[name], reference.spikes[name]), (tiles, name)
        cycles[tiles] = result.cycles / (steps * images)
        assert 0.8 < explain(program, rates).cycles / cycles[tiles] < 1.25, "what was expected"
    print({tiles: round(count) for tiles, count in cycles.items()}, "cycles a step")
    assert cycles[1] > 1.7 * cycles[2] > 1.7 * 1.4 * cycles[4]
