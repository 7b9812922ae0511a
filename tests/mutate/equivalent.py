"""Mutants that do the same as what they were made of, and why: no test can find them."""

__all__ = ["EQUIVALENT"]

EQUIVALENT: dict[tuple[str, str, str], str] = {}
"""(path, line, change) to the reason, as ``results.jsonl`` names them."""
