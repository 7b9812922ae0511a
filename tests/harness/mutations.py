"""Planted bugs: a copy of a module with one change to its text."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest


def mutated(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """A copy of ``module`` in which the one place ``old`` reads ``new``."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    assert source.count(old) == 1, f"{old!r} must occur once in {module.__name__}, not {source.count(old)} times"
    copy = types.ModuleType(module.__name__ + "_mutated")
    sys.modules[copy.__name__] = copy  # where dataclasses look for the names in annotations
    exec(compile(source.replace(old, new), module.__file__, "exec", dont_inherit=True), copy.__dict__)
    return copy


def plant(monkeypatch: pytest.MonkeyPatch, wrong: types.ModuleType, module: types.ModuleType, package: str) -> None:
    """Put what ``wrong``, a mutated copy of ``module``, defines in the place of what modules of ``package`` import."""
    users = [found for path, found in sys.modules.items() if path.startswith(f"{package}.") and found is not wrong]
    for name in wrong.__all__:
        original = getattr(module, name)
        for user in users:
            if getattr(user, name, None) is original:
                monkeypatch.setattr(user, name, getattr(wrong, name))


def with_mutated(monkeypatch: Any, users: types.ModuleType, module: types.ModuleType, old: str, new: str) -> None:
    """Let ``users`` have what it imports of ``module`` from a copy in which the one place ``old`` reads ``new``."""
    copy = mutated(module, old, new)
    names = [name for name in module.__all__ if getattr(users, name, None) is getattr(module, name)]
    assert names, f"{users.__name__} must import something of {module.__name__}"
    for name in names:
        monkeypatch.setattr(users, name, getattr(copy, name))
