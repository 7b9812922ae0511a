"""``spikeloom init``: a project file for this folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from spikeloom.cli.choosing import given_fields
from spikeloom.cli.console import out
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Hardware, Loading, NetworkArgument, Samples
from spikeloom.cli.project import KEYS, PROJECT_FILE, project_text
from spikeloom.datasets.inputs import InputError
from spikeloom.sim.lib.files import write_whole

__all__ = ["init"]


@grouped
def init(network: NetworkArgument = None, *, loading: Loading, hardware: Hardware, samples: Samples) -> None:
    """Write spikeloom.toml with the options that are given; the other commands take them from it."""
    path = Path(PROJECT_FILE)
    if path.exists():
        raise InputError(f"{path} must not exist yet; edit it, or remove it first")
    loaded = loading.load(network)
    given = vars(loading) | vars(hardware) | vars(samples) | {"network": None if network is None else str(network)}
    options = {key: given[key.replace("-", "_")] for key in KEYS}
    options |= {key: value.value for key, value in options.items() if isinstance(value, Enum)}
    options["core"] = given_fields(hardware.core) or None
    write_whole(path, project_text(options))
    out.print(f"{path}: network {loaded.name}, of {loaded.inputs:,} inputs and {loaded.neurons:,} neurons")
