"""Operations and energy of attention: stochastic, exact (as Spikformer's), and of 8-bit numbers with multipliers.

    python examples/compare_attention.py

Prints the tables of docs/attention-compared.md. Counts are formulas (`spikeloom.sim.attention.operations`), energies
estimates for 45 nm from Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
"""

from __future__ import annotations

from dataclasses import fields

from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.operations import Energies, Operations, exact_operations, stochastic_operations

SHAPES = {
    "models/digits-transformer.nir, 16 steps": (AttentionParameters(tokens=8, features=16, heads=4), 16),
    "one head of N = d = 64, 10 steps": (AttentionParameters(tokens=64, features=64), 10),
}
MULTIPLY_J, ADD_J = 0.2e-12, 0.1e-12  # Horowitz: a product of 8-bit integers, a sum of 32-bit integers


def multiplied(shape: AttentionParameters) -> tuple[float, int]:
    """Computing energy, and bits written and read, of ``(Q K^T) V`` of 8-bit numbers, once; a softmax not counted."""
    products = 2 * shape.tokens**2 * shape.features * shape.heads
    bits = 8 * shape.heads * (7 * shape.tokens * shape.features + 2 * shape.tokens**2)
    return products * (MULTIPLY_J + ADD_J), bits


def main() -> None:
    energies = Energies()
    for title, (shape, steps) in SHAPES.items():
        kinds: dict[str, Operations] = {"stochastic": stochastic_operations(shape), "exact": exact_operations(shape)}
        print(f"\n{title}: {shape.heads} heads, N = {shape.tokens}, d = {shape.features}\n")
        print("| a step | " + " | ".join(kinds) + " |\n|---|---:|---:|")
        for field in fields(Operations):
            print(f"| {field.name} | " + " | ".join(f"{getattr(kind, field.name):,}" for kind in kinds.values()) + " |")
        energy, bits = multiplied(shape)
        print(f"\n| nJ for all {steps} steps | computing | memory | both |\n|---|---:|---:|---:|")
        rows = {name: (steps * of.computing_j(energies), steps * of.memory_j(energies)) for name, of in kinds.items()}
        rows["8-bit products, once"] = energy, bits * energies.bit_j
        for name, (computing, memory) in rows.items():
            print(f"| {name} | {1e9 * computing:.2f} | {1e9 * memory:.2f} | {1e9 * (computing + memory):.2f} |")
        (computing, memory), *others = rows.values()
        for name, (other_computing, other_memory) in zip(list(rows)[1:], others, strict=True):
            print(
                f"\n{name} takes {other_computing / computing:.2f} times the computing energy of stochastic attention "
                f"and {other_memory / memory:.2f} times the memory energy"
            )


if __name__ == "__main__":
    main()
