"""Planted bugs: a copy of a module with one change to its text."""

from __future__ import annotations

import sys
import types
from pathlib import Path


def mutated(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """A copy of ``module`` in which the one place ``old`` reads ``new``."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    assert source.count(old) == 1, f"{old!r} must occur once in {module.__name__}, not {source.count(old)} times"
    copy = types.ModuleType(module.__name__ + "_mutated")
    sys.modules[copy.__name__] = copy  # where dataclasses look for the names in annotations
    exec(compile(source.replace(old, new), module.__file__, "exec", dont_inherit=True), copy.__dict__)
    return copy
