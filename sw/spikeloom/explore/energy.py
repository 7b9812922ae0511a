"""Estimate of the dynamic energy of a core, from published energies per operation.

The operations and memory accesses of an image are counted as the core performs them: a *slot* is a lane in a cycle,
whether or not there is a weight or neuron for it, because the core reads whole words.

=================  ===================================================  =============================================
per slot           additions                                            bits read and written
=================  ===================================================  =============================================
weight added       one, as wide as the accumulator                      the weight, and the accumulator twice
neuron updated     three, as wide as the membrane: sum, comparison,     the membrane twice, the accumulator twice
                   reset; with a multiplier, one product more
=================  ===================================================  =============================================

An addition of ``n`` bits is ``n`` full adders and a product of ``n`` by ``m`` bits is ``n m`` of them. The energies of
a full adder and of a bit of memory are `Energies`, from Horowitz (ISSCC 2014) for 45 nm; his products of 8 and of 32
bits, 0.2 and 3.1 pJ, are 64 and 1,024 of these full adders. Additions on an FPGA are made of lookup tables, which take
about `LOGIC_FACTOR` times the dynamic power of standard cells. Memories and multipliers are hard blocks and are not
scaled.

Clock distribution, control, the host link, and static power are not counted. Use it to compare points; a power meter
shows more.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.attention.operations import Energies
from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["LOGIC_FACTOR", "Energy", "energy_of"]

LOGIC_FACTOR = 14
"""Dynamic power of lookup tables over that of standard cells (Kuon and Rose, "Measuring the Gap Between FPGAs and
ASICs", IEEE Transactions on Computer-Aided Design 26(2), 2007, for 90 nm)."""

_ADDITIONS_PER_NEURON = 3


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energies in joules: of additions and products, and of memory accesses."""

    computing_j: float
    memory_j: float

    @property
    def total_j(self) -> float:
        """Sum of both, in joules."""
        return self.computing_j + self.memory_j


def energy_of(
    core: CoreParameters, *, words_added: float, words_updated: float, energies: Energies | None = None
) -> Energy:
    """Return the energy of ``words_added`` words of weights and ``words_updated`` words of neurons in ``core``."""
    energies = energies or Energies()
    weights, neurons = words_added * core.lanes, words_updated * core.lanes
    added = weights * core.accumulator_width + neurons * _ADDITIONS_PER_NEURON * core.v_width
    multiplied = neurons * core.v_width * core.beta_fraction if core.multiplier else 0.0
    moved = weights * (core.weight_width + 2 * core.accumulator_width)
    moved += neurons * 2 * (core.v_width + core.accumulator_width)
    return Energy(
        computing_j=(LOGIC_FACTOR * added + multiplied) * energies.full_adder_j,
        memory_j=moved * energies.bit_j,
    )
