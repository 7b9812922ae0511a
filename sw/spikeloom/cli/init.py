"""``spikeloom init``: write a project file for the current folder."""

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
    """Write the given options to spikeloom.toml, which the other commands read."""
    path = Path(PROJECT_FILE)
    if path.exists():
        raise InputError(f"{path} already exists; edit it, or remove it first")
    loaded = loading.load(network)
    given = vars(loading) | vars(hardware) | vars(samples) | {"network": None if network is None else str(network)}
    options = {key: given[key.replace("-", "_")] for key in KEYS}
    options |= {key: value.value for key, value in options.items() if isinstance(value, Enum)}
    if loading.weight_bits is not None:
        loading.weight_widths(loaded)  # refuses names that are no populations
        options["weight-bits"] = int(loading.weight_bits) if loading.weight_bits.isdecimal() else loading.weight_bits
    options["core"] = given_fields(hardware.core) or None
    write_whole(path, project_text(options))
    out.print(f"{path}: network {loaded.name} with {loaded.inputs:,} inputs and {loaded.neurons:,} neurons")
