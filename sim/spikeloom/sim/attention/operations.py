"""Operations and memory accesses per step, for stochastic attention and for exact integer attention.

Stochastic attention is `spikeloom.sim.attention.attention`, after Song, Katti, Simeone and Rajendran (AICAS 2024, arXiv
2402.09109). Exact attention is that of Spikformer (Zhou et al., ICLR 2023, arXiv 2209.15425): from binary Q, K and V
it computes the integers ``(Q K^T) V``, scaled by a power of two, as the input of spiking neurons.

All counts are per step, for all heads with ``N`` tokens by ``d`` features each. They do not depend on the spikes:
hardware that skips zeros would need fewer operations of either kind. The projections around the attention, which both
have in common, are not counted.

==========  ==================================================================================================
gates       ANDs and XORs of two bits
counted     bits added to a count: one full adder each
added       bits of sums of two numbers and of comparisons, which are sums with a carry: one full adder each
drawn       new bits of the shift registers with four taps: three XORs and one flip-flop each
written     bits written to a memory: the matrices Q, K, V and S, the output, and the state of neurons
read        bits read from a memory
==========  ==================================================================================================

Memory accesses are counted for all rows in parallel, where each bit of Q, K and V is read once. With fewer rows the
unit reads K and V once per group.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.attention.attention import AttentionParameters

__all__ = ["Energies", "Operations", "exact_operations", "stochastic_operations"]


@dataclass(frozen=True, kw_only=True)
class Energies:
    """Energies in joules of a full adder, a two-input gate, and a bit read or written.

    The values are from Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, for 45 nm at
    0.9 V: 0.1 pJ for an addition of 32-bit integers, thus 3.1 fJ per full adder, and 10 pJ for an access to 64 bits of
    an 8 KB memory, thus 156 fJ per bit. The source gives no value for a gate; a full adder is counted as five gates,
    two of them XORs.
    """

    full_adder_j: float = 0.1e-12 / 32
    gate_j: float = 0.1e-12 / 32 / 5
    bit_j: float = 10e-12 / 64


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations of one step, as defined in the table of this module."""

    gates: int
    counted: int
    added: int
    drawn: int
    written: int
    read: int

    def computing_j(self, energies: Energies) -> float:
        """Energy of all operations except memory accesses, in joules."""
        gates = self.gates + 3 * self.drawn
        return gates * energies.gate_j + (self.counted + self.added) * energies.full_adder_j

    def memory_j(self, energies: Energies) -> float:
        """Energy of memory accesses, in joules."""
        return (self.written + self.read) * energies.bit_j


def stochastic_operations(shape: AttentionParameters) -> Operations:
    """Count the operations of stochastic attention.

    Each sample of S and A takes ANDs, a count and a comparison with a random word.
    """
    tokens, features, bits = shape.tokens, shape.features, shape.word_bits
    products = tokens * tokens * features  # for S, and as many for A
    words = tokens + features  # random words of 2 * bits bits each, shared by the rows
    # Each shared word takes the parities of its upper half, and one XOR per bit and row, except for row 0.
    shared = words * ((1 << bits) - 1 - bits + (tokens - 1) * bits)
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
    """Count the operations of exact attention: counts ``Q K^T``, their sums where V is 1, and the neurons that follow.

    A count has log2 d + 1 bits. A neuron adds its sum to a membrane of ``membrane_bits`` bits, compares it, and
    subtracts the threshold or 0.
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
