"""Small widths at which integers and floats agree."""

import numpy as np
import pytest
from harness.floats import network, population
from harness.networks import rng_of

from spikeloom.compiler.checks import check_accumulators
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import Inputs
from spikeloom.model.network import Connection
from spikeloom.runners.compare import agreement
from spikeloom.runners.propose import ERROR, ProposalError, propose
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.core.parameters import CoreParameters


def layers(rng, *, ternary=False, **options):
    first = rng.normal(0, 0.3, (12, 20))
    if ternary:
        first = rng.integers(-1, 2, (12, 20)) * 0.5
    hidden = population("hidden", size=12, reset=Reset.SUBTRACT, beta=1.0)
    last = population("last", size=5, reset=Reset.SUBTRACT, **options)
    joined = [
        Connection(source="input", target="hidden", weight=first),
        Connection(source="hidden", target="last", weight=rng.normal(0, 0.3, (5, 12))),
    ]
    return network([hidden, last], joined, inputs=20)


def spikes_of(rng):
    return Inputs(spikes=rng.random((30, 16, 20)) < 0.2)


def quantised_with(net, found):
    return quantise(net, Quantisation(weight_widths=found.weight_bits, v_width=found.membrane_bits))


@pytest.mark.parametrize("bar", [0.9, 0.95])
def test_the_widths_reach_the_bar_and_fewer_bits_do_not(bar):
    rng = rng_of("bar")
    net, inputs = layers(rng), spikes_of(rng)
    found = propose(net, Quantisation(), inputs, bar=bar)

    def shares(weights, membranes):
        compared = agreement(net, quantise(net, Quantisation(weight_widths=weights, v_width=membranes)), inputs)
        return compared.share, compared.answers

    assert shares(found.weight_bits, found.membrane_bits) == (found.cells, found.answers)
    assert min(found.cells, found.answers) >= bar
    for name, bits in found.weight_bits.items():
        assert 1 < bits < 16
        assert min(shares(found.weight_bits | {name: bits - 1}, found.membrane_bits)) < bar


def test_ternary_weights_need_two_bits():
    rng = rng_of("ternary")
    net, inputs = layers(rng, ternary=True), spikes_of(rng)
    found = propose(net, Quantisation(), inputs, bar=0.95)
    assert found.weight_bits["hidden"] == 2 < found.weight_bits["last"]
    last, membranes = found.weight_bits["last"], found.membrane_bits
    assert found.options == f"--weight-bits hidden=2,last={last} --core v_width={membranes}"
    quantised = quantised_with(net, found)
    core = CoreParameters(accumulator_width=found.accumulator_bits, v_width=found.membrane_bits)
    check_accumulators(quantised, dict.fromkeys(found.weight_bits, core))
    thresholds = [np.abs(p.parameters.threshold).max() for p in quantised.populations]
    assert max(thresholds) < 1 << (found.threshold_bits - 1) <= 2 * max(thresholds)


def test_without_inputs_by_bounds():
    net = layers(rng_of("bounds"), ternary=True)
    found = propose(net, Quantisation())
    assert (found.cells, found.answers) == (None, None)
    assert found.weight_bits["hidden"] == 2, "no error at all"
    bits = found.weight_bits["last"]
    weight = net.connections[1].weight
    for width, is_enough in ((bits, True), (bits - 1, False)):
        exact = quantise(net, Quantisation(weight_width=width, v_width=24))
        step = exact.population("last").parameters.threshold[0]  # of a threshold of 1
        error = np.sqrt(np.square(exact.connections[1].kernel / step - weight).sum(axis=1)).max()
        assert (error <= ERROR) == is_enough
    quantised = quantised_with(net, found)
    assert not any("so that thresholds" in text for text in quantised.notes)
    for p in quantised.populations:
        most = max(np.abs(quantised.current_bounds(p.name)).max() + p.parameters.threshold)
        assert most < 1 << (found.membrane_bits - 1)


def test_a_bar_that_no_widths_reach():
    rng = rng_of("never")
    net, inputs = layers(rng, noise=0.5), spikes_of(rng)  # random numbers that differ from those of the integers
    message = (
        r"^widths must be found for which 99.9 % of the cells and answers are equal, but weights of 16 and membranes"
    )
    with pytest.raises(ProposalError, match=message):
        propose(net, Quantisation(), inputs, bar=0.999)
    with pytest.raises(ValueError, match=r"^bar must be above 0 and at most 1, not 1.5$"):
        propose(net, Quantisation(), inputs, bar=1.5)
