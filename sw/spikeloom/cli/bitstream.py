"""``spikeloom bitstream``: a bitstream for a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import choose_fabric, given_fields
from spikeloom.cli.options import CoreOption, WeightOption, encoder_of, mesh_shape, named_fabric, out, placed
from spikeloom.compiler.bake import bake
from spikeloom.datasets.inputs import InputError
from spikeloom.frontends.nir import load
from spikeloom.host.peripherals import with_units
from spikeloom.sim.fabric.presets import FABRICS

__all__ = ["bitstream"]


def bitstream(
    board: Annotated[str, typer.Option(help="Name of the board, see: spikeloom boards.")],
    networks: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[NETWORK]...",
            help="NIR files that the fabric is chosen for; the general fabric of the board if none is given.",
            show_default=False,
        ),
    ] = None,
    weight_bits: WeightOption = 8,
    fabric: Annotated[
        str | None, typer.Option(help=f"One of these instead: {', '.join(FABRICS)}.", show_default=False)
    ] = None,
    mesh: Annotated[
        str | None, typer.Option(help="Mesh of as many of the fabric's core, such as 2x2.", show_default=False)
    ] = None,
    units: Annotated[
        bool, typer.Option("--units", help="With an encoder and a readout on the board, see: spikeloom run.")
    ] = False,
    core_fields: CoreOption = None,
    baked: Annotated[
        bool,
        typer.Option(
            "--bake", help="With the network's program in it, so that it need not be loaded; others still can be."
        ),
    ] = False,
    clock: Annotated[
        float | None,
        typer.Option(help="The highest clock to try, in MHz; the board's if not given.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Directory; build/BOARD if not given.", show_default=False)
    ] = None,
) -> None:
    """Build the bitstream for a board with open tools, unless the same is there already."""
    from spikeloom.boards.bitstream.builder import build
    from spikeloom.boards.targets.registry import find_board

    if networks and fabric is not None:
        raise InputError("fabric must be left out where networks are named, for which one is chosen")
    given = given_fields(core_fields)
    if given and not networks:
        raise InputError("core must be left out where no network is named, for which one is chosen")
    if baked and len(networks or ()) != 1:
        raise InputError(f"bake must be given with one network, whose program it is, not with {len(networks or ())}")
    loaded = [load(path) for path in networks or ()]
    if loaded:
        # (A bitstream says what is in block RAM, but not what is in single-port RAM.)
        chosen = choose_fabric(loaded, board, weight_bits, **({"weight_memory": "block"} if baked else {}) | given)
    else:
        chosen = find_board(board).buildable_fabric() if fabric is None else named_fabric(fabric)
    if mesh is not None:
        chosen = chosen.on_mesh(*mesh_shape(mesh, None))
    if units:
        chosen = with_units(
            chosen,
            [encoder for network in loaded if (encoder := encoder_of(network)) is not None],
            inputs=max((network.inputs for network in loaded), default=0),
            outputs=max((network.population(network.output).size for network in loaded), default=0),
        )
    if baked:
        chosen = bake(placed(loaded[0], chosen, weight_bits))
    result = build(board, output, fabric=chosen, clock_mhz=clock, announce=out.print)
    out.print(result.table())
    out.print(f"{result.bitstream}\nto load it: spikeloom flash {board}")
