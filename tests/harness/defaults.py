"""The values behind the public names of the model and the hardware: constants, members of enumerations, the defaults of
arguments and fields, and the fields that dataclasses exclude from comparison and representation.

They are part of the interface: programs, files and boards rely on them, and most tests name every argument that they
use. ``python -m harness.defaults`` in ``tests`` writes them to ``tests/defaults.json``.
"""

import ast
import dataclasses
import enum
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["KEPT", "found", "modules"]

_ROOT = Path(__file__).parents[2]
KEPT = _ROOT / "tests" / "defaults.json"
_LONGEST = 16  # a longer table has its own test
_MISSING = object()


def modules(portion: str) -> Iterator[ModuleType]:
    """Every module of a folder, such as ``sim``."""
    for path in sorted((_ROOT / portion / "spikeloom").rglob("*.py")):
        yield importlib.import_module(".".join(path.relative_to(_ROOT / portion).with_suffix("").parts))


def found() -> dict[str, dict[str, Any]]:
    """From the name of a module to its values by name, in JSON form."""
    of_all = {module.__name__: _values(module) for portion in ("sim", "hdl") for module in modules(portion)}
    return {name.removeprefix("spikeloom."): values for name, values in of_all.items() if values}


def _values(module: ModuleType) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in dict.fromkeys([*getattr(module, "__all__", ()), *_constants(module)]):
        thing = getattr(module, name)
        if getattr(thing, "__module__", module.__name__) != module.__name__:
            continue
        if inspect.isclass(thing):
            values |= {f"{name}.{member}": value for member, value in _of_class(thing)}
        elif inspect.isfunction(thing):
            values |= {f"{name}.{argument}": value for argument, value in _of_function(thing)}
        elif (value := _simple(thing)) is not _MISSING:
            values[name] = value
    return values


def _constants(module: ModuleType) -> Iterator[str]:
    """The constants that the text of a module defines, exported or not."""
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name) and node.id.isupper() and not node.id.startswith("_"):
                    yield node.id


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    if issubclass(kind, enum.Enum):
        values = ((name, _simple(member.value)) for name, member in kind.__members__.items())
        yield from (entry for entry in values if entry[1] is not _MISSING)
        return
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    for field in fields:
        yield from ((f"{field.name}, {part}", False) for part in ("compare", "repr") if not getattr(field, part))
    for name, member in vars(kind).items():
        # The arguments of a dataclass are its fields.
        if name.startswith("_") and (name != "__init__" or fields):
            continue
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function):
            yield from ((f"{name}.{argument}", value) for argument, value in _of_function(function))
        elif (value := _simple(member)) is not _MISSING:
            yield name, value


def _of_function(function: Any) -> Iterator[tuple[str, Any]]:
    for argument in inspect.signature(function).parameters.values():
        value = _MISSING if argument.default is argument.empty else _simple(argument.default)
        if value is not _MISSING:
            yield argument.name, value


def _simple(value: Any) -> Any:
    """A number, or a small table of numbers, in JSON form; `_MISSING` for anything else."""
    if isinstance(value, enum.Enum) and not isinstance(value, int):
        return _MISSING
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple) and 0 < len(value) <= _LONGEST:
        parts = [_simple(part) for part in value]
        if _MISSING not in parts:
            return parts
    return _MISSING


def _text(values: dict[str, dict[str, Any]]) -> str:
    """JSON with one line per number, so that a change affects one line."""
    parts = []
    for module, entries in values.items():
        lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items())
        parts.append(f" {json.dumps(module)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    KEPT.write_text(_text(found()))
