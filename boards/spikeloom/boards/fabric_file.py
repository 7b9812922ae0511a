"""The file ``fabric.json`` beside a bitstream: what fabric it holds, so that programs can be placed on it."""

import json
from dataclasses import asdict, fields
from typing import Any

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.encoder import EncoderParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.readout import ReadoutParameters

__all__ = ["core_from_json", "core_to_json", "fabric_from_json", "fabric_to_json"]

_UNITS = {"encoder": EncoderParameters, "readout": ReadoutParameters}
"""Units of the host bridge that a fabric may have."""


def core_to_json(core: CoreParameters) -> dict[str, Any]:
    """The fields of a core that differ from their defaults."""
    plain, found = CoreParameters(), {}
    for field in fields(core):
        value = getattr(core, field.name)
        if value != getattr(plain, field.name):
            found[field.name] = (
                sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value
            )
    return found


def core_from_json(values: dict[str, Any]) -> CoreParameters:
    """The reverse of `core_to_json`."""
    kinds = {"shifts": tuple, "per_neuron": frozenset}
    return CoreParameters(**{name: kinds[name](value) if name in kinds else value for name, value in values.items()})


def fabric_to_json(fabric: FabricConfig) -> str:
    """The text of ``fabric.json``."""
    units = {name: asdict(unit) for name in _UNITS if (unit := getattr(fabric, name)) is not None}
    return json.dumps({"name": fabric.name, "core": core_to_json(fabric.core), **units}, indent=2) + "\n"


def fabric_from_json(text: str) -> FabricConfig:
    """The fabric that the text of a ``fabric.json`` describes. Raises ``ValueError`` if it is none."""
    try:
        content = json.loads(text)
        units: dict[str, Any] = {name: kind(**content[name]) for name, kind in _UNITS.items() if name in content}
        return FabricConfig(name=content["name"], core=core_from_json(content["core"]), **units)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"fabric.json must be the one of a build, with name and core ({error})") from error
