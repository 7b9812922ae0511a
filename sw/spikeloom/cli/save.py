"""``spikeloom save``: write a network with the exact steps that were chosen for it, for every other command."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.console import out
from spikeloom.cli.groups import grouped
from spikeloom.cli.losses import notes_of_all
from spikeloom.cli.options import Conversion, Loading, decided_by
from spikeloom.datasets.inputs import InputError
from spikeloom.frontends.saving import save
from spikeloom.model.network import Network

__all__ = ["save_network"]

_SUFFIX = ".py"
_STEPS = tuple(field.name for field in fields(Conversion) if field.name not in ("project", "decision"))
_OF_INTEGERS = ("scales", "calibrate", "percentile")
"""Options that later commands need again: a file holds floats and the width of each weight."""


@grouped
def save_network(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK|FILE.py:NAME",
            help="NIR file, or .net file of Lava-dl; or a Network, or a function that returns one, in a Python file, "
            "WHICH IS RUN.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.nir", help="File to write.", show_default=False)],
    *,
    loading: Loading,
) -> None:
    """Write a network as a NIR file that every command reads back identically, without options.

    The source is a NIR file with the options of its conversion, or a Python file that builds a network, for example
    with from_snntorch. A Python file is run as python runs it: name only files that you trust.
    """
    path, colon, name = source.rpartition(":")
    if colon and path.endswith(_SUFFIX):
        network = _built(Path(path), name)
        if given := [name for name in _STEPS if getattr(loading, name) is not None]:
            raise InputError(
                f"{given[0].replace('_', '-')} must be left out, because the network in {path!r} has the exact steps "
                "of its neurons; change it there"
            )
        if loading.decision is not None:
            network = decided_by(network, loading.decision)
    elif source.endswith(_SUFFIX):
        raise InputError(f"a Python file must be given with the name of a network in it, {source}:NAME, not alone")
    else:
        network = loading.load(Path(source))
    encoder = loading.encoder_of(network)
    if encoder is not None:
        network = replace(network, encoder=encoder.settings())
    if loading.weight_bits is not None:
        widths = loading.weight_widths(network)
        populations = tuple(replace(p, weight_bits=widths[p.name]) for p in network.populations)
        network = replace(network, populations=populations)
    save(network, target)
    out.print(
        f"{target}: network {network.name} with {network.inputs:,} inputs, {network.neurons:,} neurons and "
        f"{network.synapses:,} synapses"
    )
    for text in notes_of_all(network):
        out.print(f"note: {text}")
    for name in _OF_INTEGERS:
        if getattr(loading, name) is not None:
            out.print(f"note: {name} is not kept in the file; give --{name} to the later commands as well")


def _built(path: Path, name: str) -> Network:
    """Run a Python file and return the network that it calls ``name``, or that its function ``name`` returns."""
    if not path.is_file():
        raise InputError(f"{str(path)!r} must be a Python file, but does not exist")
    sys.path.insert(0, str(path.parent.resolve()))  # as python does, for modules beside the file
    try:
        value = _run(path, lambda: runpy.run_path(str(path))).get(name)
        # A module of torch is callable too, but not without an input.
        if callable(value) and not hasattr(value, "forward"):
            value = _run(path, value)
    finally:
        sys.path.pop(0)
    if not isinstance(value, Network):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        if hasattr(value, "forward"):
            kind = "a torch module; convert it in the file with from_snntorch or from_torch of spikeloom.api"
        raise InputError(f"{name} in {str(path)!r} must be a Network or a function that returns one, not {kind}")
    return value


def _run(path: Path, work: Callable[[], Any]) -> Any:
    """Return ``work()``; raise `InputError` with the line of the file ``path`` at which it stopped."""
    try:
        return work()
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else (lines or [None])[-1]
        where = "" if line is None else f" in line {line}"
        raise InputError(f"{str(path)!r} must run, but stopped{where}: {type(error).__name__}: {error}") from error
