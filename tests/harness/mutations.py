"""Planted bugs: a copy of a module with one change to its text."""

from __future__ import annotations

import contextlib
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from spikeloom.compiler.tiles import registry as compiler_registry
from spikeloom.hdl.noc import tile as hdl_tile
from spikeloom.sim.lib import tile as sim_tile

REGISTRIES: tuple[dict[Any, Any], ...] = (hdl_tile._COMPONENTS, compiler_registry._COMPILERS)


def mutated(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """A copy of ``module`` with its only occurrence of ``old`` replaced by ``new``."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    if source.count(old) != 1:
        # Not an assertion, which a test that expects the planted bug to be found would take for that.
        pytest.fail(f"{old!r} must occur once in {module.__name__}, not {source.count(old)} times")
    copy = types.ModuleType(module.__name__ + "_mutated")
    sys.modules[copy.__name__] = copy  # where dataclasses look up the names in annotations
    with contextlib.ExitStack() as registries:  # registrations of the copy stay separate
        for registry in (sim_tile._KINDS, *REGISTRIES):
            registries.enter_context(mock.patch.dict(registry, clear=True))
        exec(compile(source.replace(old, new), module.__file__, "exec", dont_inherit=True), copy.__dict__)
    return copy


def plant(monkeypatch: pytest.MonkeyPatch, users: str, module: types.ModuleType, old: str, new: str) -> None:
    """Let ``users`` import from a copy of ``module`` with its only occurrence of ``old`` replaced by ``new``.

    ``users`` is the name of a module, or of a package with all of its modules; tiles and compilers that the copy
    registers are replaced too.
    """
    wrong = mutated(module, old, new)
    importing = [
        found for path, found in sys.modules.items() if f"{path}.".startswith(f"{users}.") and found is not wrong
    ]
    found = 0
    for name in module.__all__:
        original = getattr(module, name)
        for user in importing:
            if getattr(user, name, None) is original:
                monkeypatch.setattr(user, name, getattr(wrong, name))
                found += 1
        for registry in REGISTRIES:
            for kind in [kind for kind, registered in registry.items() if registered is original]:
                monkeypatch.setitem(registry, kind, getattr(wrong, name))
                found += 1
    assert found, f"{users} must import something of {module.__name__}"
