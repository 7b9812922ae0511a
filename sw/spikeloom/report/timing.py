"""The clock of a report: from a file that is named, or from the build of the same fabric if there is one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_fabric
from spikeloom.sim.lib.files import json_from, read_text, shown

__all__ = ["timing_from", "timing_of_build"]


def timing_from(path: Path) -> dict[str, object]:
    """The figures in ``report.json`` of a board's build, or in a file of ``qor``. Raises ``ValueError`` for others."""
    figures = json_from(read_text(path), f"timing {str(path)!r}")
    if not isinstance(figures, dict) or "fmax_mhz" not in figures:
        raise ValueError(f"timing must be a JSON file with fmax_mhz, {str(path)!r} has none")
    for name in ("fmax_mhz", "clock_mhz"):
        value = figures.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e6:
            raise ValueError(f"{name} of {str(path)!r} must be a number of megahertz, not {shown(value)}")
    return {"file": path.name, **figures}


def timing_of_build(folders: Iterable[Path], fabric: FabricConfig) -> dict[str, object] | None:
    """The figures of the first of the builds in ``folders`` that holds ``fabric``, whatever it is called there."""
    for folder in folders:
        # No build, or none that can be read: the page says how to get one.
        with suppress(OSError, ValueError):
            if _without_name(read_fabric(folder / "fabric.json")) == _without_name(fabric):
                return timing_from(folder / "report.json")
    return None


def _without_name(fabric: FabricConfig) -> dict[str, object]:
    content = json_from(fabric_to_json(fabric), "the fabric")
    del content["name"]
    return content
