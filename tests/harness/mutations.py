"""Planted bugs: a module with one place of its text changed."""

import types
from pathlib import Path


def mutated(module, old, new):
    """A copy of ``module`` in which the one place ``old`` reads ``new``."""
    source = Path(module.__file__).read_text()
    assert source.count(old) == 1, f"{old!r} must occur once in {module.__name__}, not {source.count(old)} times"
    copy = types.ModuleType(module.__name__ + "_mutated")
    exec(compile(source.replace(old, new), module.__file__, "exec"), copy.__dict__)
    return copy
