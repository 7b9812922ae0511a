"""Energy estimate: the closed form of each operation, and its dependence on the parameters."""

import dataclasses

import pytest

from spikeloom.explore.energy import LOGIC_FACTOR, energy_of
from spikeloom.sim.attention.operations import Energies
from spikeloom.sim.core.parameters import CoreParameters

CORE = CoreParameters(lanes=4, v_width=16, accumulator_width=12, weight_width=8, multiplier=False)
ADDER_J, BIT_J = Energies().full_adder_j, Energies().bit_j


def test_a_word_of_weights():
    """Four additions of 12 bits, four weights read, and four accumulators read and written."""
    found = energy_of(CORE, words_added=1, words_updated=0)
    assert found.computing_j == pytest.approx(4 * 12 * LOGIC_FACTOR * ADDER_J)
    assert found.memory_j == pytest.approx(4 * (8 + 24) * BIT_J)
    assert found.total_j == found.computing_j + found.memory_j


def test_a_word_of_neurons():
    """Four neurons with three additions each; membrane and accumulator are read and written."""
    found = energy_of(CORE, words_added=0, words_updated=1)
    assert found.computing_j == pytest.approx(4 * 3 * 16 * LOGIC_FACTOR * ADDER_J)
    assert found.memory_j == pytest.approx(4 * 2 * (16 + 12) * BIT_J)


def test_a_multiplier_is_a_hard_block():
    """A product of 16 by 14 bits per neuron, not scaled."""
    core = dataclasses.replace(CORE, multiplier=True, beta_fraction=14)
    more = energy_of(core, words_added=0, words_updated=1).computing_j
    more -= energy_of(CORE, words_added=0, words_updated=1).computing_j
    assert more == pytest.approx(4 * 16 * 14 * ADDER_J)


@pytest.mark.parametrize(("bits", "picojoules"), [(8, 0.2), (32, 3.1)])
def test_products_of_full_adders_agree_with_the_source(bits, picojoules):
    """Horowitz gives products of 8 and 32 bits; an array of full adders takes the same energy within 4 %."""
    assert bits * bits * ADDER_J * 1e12 == pytest.approx(picojoules, rel=0.04)


def test_energies_can_be_others():
    found = energy_of(
        CORE, words_added=2.5, words_updated=1.5, energies=Energies(full_adder_j=0.0, gate_j=0.0, bit_j=1.0)
    )
    assert found.computing_j == 0
    assert found.memory_j == 2.5 * 4 * 32 + 1.5 * 4 * 56
