"""Project file ``spikeloom.toml``: stored options of the commands.

The keys are options that describe the network, the hardware and the inputs. Options that write files or open devices
are excluded, because a project file may come from a stranger. The command line takes precedence. Only the current
folder, or the path given with ``--project``, is searched, never a parent folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from spikeloom.cli.console import note
from spikeloom.datasets.inputs import InputError
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import read_text, shown, toml_from

__all__ = ["KEYS", "PROJECT_FILE", "apply_project", "project_text", "read_project"]

PROJECT_FILE = "spikeloom.toml"

KEYS = (
    *("network", "preset", "time-step", "discretisation", "compare", "reset", "reset-delay", "refractory"),
    *("max-spikes", "lower-bound", "norm-input", "layer", "decision"),
    *(
        "weight-bits",
        "scales",
        "calibrate",
        "percentile",
        "encoder",
        "board",
        "link",
        "fabric",
        "core",
        "mesh",
        "tiles",
        "seed",
        "inputs",
        "layout",
        "images",
    ),
)
"""Keys of a project file: names of options, and ``network``."""

_MOST_BYTES = 1 << 16
_PATHS = ("network", "inputs", "calibrate", "fabric")


def apply_project(context: typer.Context, value: Path | None) -> Path | None:
    """Make the options of the project file the defaults of the current command."""
    path = Path(PROJECT_FILE) if value is None else value / PROJECT_FILE if value.is_dir() else value
    if context.resilient_parsing or (value is None and not path.is_file()):
        return value
    found = read_project(path)
    parameters = {parameter.name: parameter for parameter in context.command.params}
    several = {"networks": [found["network"]]} if "network" in found else {}
    # An option that may be repeated takes a list, even where it takes one value in other commands.
    context.default_map = {
        name: [given] if getattr(parameters[name], "multiple", False) and not isinstance(given, list) else given
        for name, given in (found | several).items()
        if name in parameters
    }
    if found:
        note(f"{path}: {', '.join(sorted(name.replace('_', '-') for name in found))}")
    return value


def read_project(path: Path) -> dict[str, Any]:
    """Return the options of a project file by parameter; paths are relative to its folder. Raises `InputError`."""
    try:
        keys = toml_from(read_text(path, _MOST_BYTES), str(path))
    except FileNotFoundError as error:
        raise InputError(f"project file {path} does not exist; spikeloom init writes one") from error
    unknown = sorted(set(keys) - set(KEYS))
    if unknown:
        raise InputError(f"{path}: keys must be {', '.join(KEYS)}, not {', '.join(map(repr, unknown))}")
    return {key.replace("-", "_"): _value(path, key, value) for key, value in keys.items()}


def _value(path: Path, key: str, value: Any) -> Any:
    """Return the value of ``key`` in the form of the command line."""
    if key == "core":
        pairs = (
            [f"{name}={_plain(path, key, one)}" for name, one in value.items()] if isinstance(value, dict) else value
        )
        if not isinstance(pairs, list) or not all(isinstance(pair, str) for pair in pairs):
            raise InputError(f"{path}: core must be a table of fields, not {shown(value)}")
        return pairs
    if key == "layer":
        if not isinstance(value, dict) or not all(isinstance(rule, dict) and rule for rule in value.values()):
            raise InputError(f"{path}: layer must be a table of options for each node, not {shown(value)}")
        return [
            f"{node}:{','.join(f'{name}={_plain(path, key, one)}' for name, one in rule.items())}"
            for node, rule in value.items()
        ]
    if key == "weight-bits" and isinstance(value, dict):
        return ",".join(f"{name}={_plain(path, key, one)}" for name, one in value.items())
    if key == "encoder" and isinstance(value, dict):
        settings = ",".join(f"{name}={_row(path, key, one)}" for name, one in value.items() if name != "kind")
        return f"{value.get('kind', '')}:{settings}"
    text = _plain(path, key, value)
    is_path = key in _PATHS and text not in FABRICS and not text.startswith(("random:", "udp:"))
    return str(path.parent / text) if is_path else text


def _row(path: Path, key: str, value: Any) -> str:
    """Return one setting of an encoder, or one per channel separated by colons."""
    return ":".join(_plain(path, key, one) for one in (value if isinstance(value, list) else [value]))


def _plain(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise InputError(f"{path}: {key} must be text or a number, not {shown(value)}")
    return str(value)


def project_text(options: dict[str, Any]) -> str:
    """Return the text of a project file with ``options`` by key, and a comment for each omitted key."""
    lines = ["# Options of the spikeloom commands in this folder; the command line takes precedence.", ""]
    tables = []
    for key in KEYS:
        value = options.get(key)
        if value is None:
            lines.append(f"# {key} =")
        elif isinstance(value, dict):
            tables += ["", f"[{key}]", *(f"{name} = {_toml(one)}" for name, one in value.items())]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables, ""])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # A basic string of TOML has the escapes of JSON, but allows no surrogates and no DEL.
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}"
        for c in str(value).encode(errors="replace").decode()
    )
    return f'"{escaped}"'
