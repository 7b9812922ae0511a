"""Mutants that do the same as what they were made of, and why: no test can find them."""

__all__ = ["EQUIVALENT"]

_GEOMETRY = "hdl/spikeloom/hdl/core/geometry.py"
_EMIT = "hdl/spikeloom/hdl/core/emit.py"

EQUIVALENT: dict[tuple[str, str, str, int], str] = {
    (_EMIT, 'stages = [Signal(item, name=f"item_{place}") for place in range(2)]', "'2' becomes '3'", 0): (
        "a third signal of this list is used nowhere"
    ),
    (_GEOMETRY, '"other": int(parameters.destinations > 0),', "'>' becomes '>='", 0): (
        "without a mesh the rows that come in have no such bit, so that a bit here is always 0"
    ),
}
"""`Mutant.key`, as ``results.jsonl`` and ``summary.json`` have it, to the reason."""
