"""Choosing the fabric: by core fields, for a board, or of a build that exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from spikeloom.cli.options import out
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import InputError
from spikeloom.model.network import Network
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig

__all__ = ["built_fabric", "choose_fabric", "given_fields"]


def given_fields(core_fields: Sequence[str] | None) -> dict[str, Any]:
    """The values of ``FIELD=VALUE`` by field; the core itself says which are possible."""
    read: dict[Any, Callable[[str], Any]] = {"int": int, "bool": {"yes": True, "no": False}.__getitem__, "str": str}
    kinds = {field.name: str(field.type) for field in fields(CoreParameters) if field.type in read}
    given: dict[str, Any] = {}
    for text in core_fields or ():
        name, _, value = text.partition("=")
        if name not in kinds:
            raise InputError(f"core must be FIELD=VALUE with one of {', '.join(kinds)}, not {text!r}")
        try:
            given[name] = read[kinds[name]](value)
        except (ValueError, KeyError) as error:
            needed = {"int": "an integer", "bool": "yes or no"}[kinds[name]]
            raise InputError(f"{name} must be {needed}, not {value!r}") from error
    return given


def choose_fabric(networks: Sequence[Network], board: str, weight_bits: int, **given: Any) -> FabricConfig:
    """The fabric for networks on a board; prints what was chosen and why, or raises with the boards that would do."""
    from spikeloom.boards.targets.registry import find_board
    from spikeloom.explore.choose import ChoiceError, boards_for, choose

    device = find_board(board).device
    widths = Quantisation(weight_width=weight_bits, multiplier=device.dsp > 0)
    quantised = [quantise(network, widths) for network in networks]
    for before, after in zip(networks, quantised, strict=True):
        for note in after.notes[len(before.notes) :]:
            out.print(f"{after.name} as {weight_bits}-bit integers: {note}")
    try:
        choice = choose(quantised, device, **given)
    except ChoiceError as error:
        others = ", ".join(boards_for(quantised, **given)) or "none"
        raise ChoiceError(f"{error}; boards that would hold it at {weight_bits} bits: {others}") from error
    name = "-".join(network.name for network in networks)
    for table in choice.tables():
        out.print(table)
    return FabricConfig(name=name, core=choice.core)


def built_fabric(board: str, identity: Path | None = None) -> FabricConfig:
    """The fabric of the board's build, if there is one; else its general fabric."""
    from spikeloom.boards.targets.registry import find_board
    from spikeloom.sim.fabric.fabric_file import read_fabric

    path = (identity or Path("build") / board / "identity").with_name("fabric.json")
    general = find_board(board)
    return read_fabric(path) if path.exists() else general.buildable_fabric()
