"""What a step of attention takes: operations and memory bits, of stochastic attention and of exact integer attention.

Stochastic attention is `spikeloom.sim.attention.attention`, after Song, Katti, Simeone and Rajendran (AICAS 2024, arXiv
2402.09109). Exact attention is that of Spikformer (Zhou et al., ICLR 2023, arXiv 2209.15425): of binary Q, K and V the
integers ``(Q K^T) V``, times a power of two, into spiking neurons.

All are counts of one step and of all heads, for ``N`` tokens by ``d`` features a head, whatever the spikes are:
hardware that skips zeros would do less of either kind. What both have in common, the projections around them, is not
counted.

==========  ==================================================================================================
gates       ANDs and XORs of two bits
counted     bits that are added to a count: a full adder each
added       bits of sums of two numbers, and of comparisons, which are sums whose carry counts: a full adder each
drawn       new bits of the shift registers, of four taps each: three XORs and a flip-flop
written     bits that are written to a memory: matrices Q, K, V and S, the output, and the state of neurons
read        bits that are read from a memory
==========  ==================================================================================================

Memory is counted as if all rows were done at once, so that each bit of Q, K and V is read once; with fewer rows the
unit reads K and V once for each group of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.attention.attention import AttentionParameters

__all__ = ["Energies", "Operations", "exact_operations", "stochastic_operations"]


@dataclass(frozen=True, kw_only=True)
class Energies:
    """Energies in joules: of a full adder, a gate of two inputs, and a bit that is read or written.

    Those of Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, for 45 nm at 0.9 V: an
    addition of 32-bit integers 0.1 pJ, which is 3.1 fJ for each of its 32 full adders, and an access to 64 bits of a
    memory of 8 KB 10 pJ, which is 156 fJ a bit. The source has no gate: a full adder is five, two of them XORs.
    """

    full_adder_j: float = 0.1e-12 / 32
    gate_j: float = 0.1e-12 / 32 / 5
    bit_j: float = 10e-12 / 64


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one step, as the table of this module says."""

    gates: int
    counted: int
    added: int
    drawn: int
    written: int
    read: int

    def computing_j(self, energies: Energies) -> float:
        """Energy of all operations but those of memories."""
        gates = self.gates + 3 * self.drawn
        return gates * energies.gate_j + (self.counted + self.added) * energies.full_adder_j

    def memory_j(self, energies: Energies) -> float:
        """Energy of memories."""
        return (self.written + self.read) * energies.bit_j


def stochastic_operations(shape: AttentionParameters) -> Operations:
    """Of stochastic attention: samples of S and of A are each ANDs, a count, and a comparison with a random word."""
    tokens, features, bits = shape.tokens, shape.features, shape.word_bits
    products = tokens * tokens * features  # of S, and as many of A
    words = tokens + features  # of 2 bits bits each, shared by the rows
    shared = words * ((1 << bits) - 1 - bits + (tokens - 1) * bits)  # parities of a, and an XOR a bit and row but row 0
    # A comparison with a random word is one addition of the width of this word.
    compared = tokens * tokens * shape.score_bits + tokens * features * shape.output_bits
    return Operations(
        gates=shape.heads * (2 * products + shared),
        counted=shape.heads * 2 * products,
        added=shape.heads * compared,
        drawn=shape.heads * words * 2 * bits,
        # Q, K, V and the output are written once, and S once.
        written=shape.heads * (4 * tokens * features + tokens * tokens),
        read=shape.heads * (3 * tokens * features + tokens * tokens),
    )


def exact_operations(shape: AttentionParameters, *, membrane_bits: int = 16) -> Operations:
    """Of exact attention: counts ``Q K^T`` of log2 d + 1 bits, sums of those where V is 1, and neurons behind.

    A neuron adds its sum to a membrane of ``membrane_bits``, compares it, and subtracts the threshold or 0.
    """
    tokens, features = shape.tokens, shape.features
    products, outputs = tokens * tokens * features, tokens * features
    # Exact scores are kept as counts from 0 to d, not as single bits.
    score = shape.score_bits + 1
    total = shape.score_bits + shape.output_bits + 1  # of the sum, from 0 to N d
    return Operations(
        gates=shape.heads * (products + products * score),
        counted=shape.heads * products,
        # Three per neuron: add to the membrane, compare, reset.
        added=shape.heads * (products * total + 3 * outputs * membrane_bits),
        drawn=0,
        written=shape.heads * (4 * outputs + tokens * tokens * score + outputs * membrane_bits),
        read=shape.heads * (3 * outputs + tokens * tokens * score + outputs * membrane_bits),
    )
