"""Clock of a report: from a given file, or from an existing build of the same fabric."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_fabric
from spikeloom.sim.lib.files import json_from, read_text, shown
from spikeloom.sim.lib.formats import BUILD_REPORT, FORMAT_KEY

__all__ = ["timing_from", "timing_of_build"]


def timing_from(path: Path) -> dict[str, object]:
    """Return the figures of a ``report.json`` of a build, or of a file of ``qor``. Raises ``ValueError`` for others."""
    figures = json_from(read_text(path), f"timing {str(path)!r}")
    if not isinstance(figures, dict) or "fmax_mhz" not in figures:
        raise ValueError(f"timing must be a JSON file with fmax_mhz, but {str(path)!r} has none")
    if "board" in figures:  # a report of a build; the files of qor are not among the numbered formats
        BUILD_REPORT.check(figures, f"timing {str(path)!r}")
    for name in ("fmax_mhz", "clock_mhz"):
        value = figures.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e6:
            raise ValueError(f"{name} of {str(path)!r} must be a number of megahertz, not {shown(value)}")
    return {"file": path.name, **{name: value for name, value in figures.items() if name != FORMAT_KEY}}


def timing_of_build(folders: Iterable[Path], fabric: FabricConfig) -> dict[str, object] | None:
    """Return the figures of the first build in ``folders`` with an identical ``fabric``; its name may differ."""
    for folder in folders:
        # No build, or an unreadable one: the page tells how to make one.
        with suppress(OSError, ValueError):
            if _without_name(read_fabric(folder / "fabric.json")) == _without_name(fabric):
                return timing_from(folder / "report.json")
    return None


def _without_name(fabric: FabricConfig) -> dict[str, object]:
    content = json_from(fabric_to_json(fabric), "the fabric")
    del content["name"]
    return content
