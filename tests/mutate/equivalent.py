"""Mutants that do the same as what they were made of, and why: no test can find them."""

__all__ = ["EQUIVALENT"]

EQUIVALENT: dict[tuple[str, str, str, int], str] = {}
"""`Mutant.key`, as ``results.jsonl`` and ``summary.json`` have it, to the reason."""
