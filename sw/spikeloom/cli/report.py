"""``spikeloom report``: one HTML page about a network on a fabric."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import built_fabric
from spikeloom.cli.options import (
    DEFAULT_FABRIC,
    PLACE_IMAGES,
    CompareOption,
    DelayOption,
    DiscretisationOption,
    FabricOption,
    InputsOption,
    Loading,
    NetworkArgument,
    PresetOption,
    RefractoryOption,
    ResetOption,
    TimeStepOption,
    WeightOption,
    inputs_of,
    mesh_shape,
    named_fabric,
    out,
)
from spikeloom.cli.run import build_hash_of, transport_to
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import InputError

__all__ = ["Counting", "report"]


class Counting(Enum):
    """Where `report` has its counters from: nowhere, the compiled hardware or a board."""

    REFERENCE = "reference"
    RTL = "rtl"
    BOARD = "board"


def report(
    network: NetworkArgument = None,
    inputs: InputsOption = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    fabric: FabricOption = DEFAULT_FABRIC,
    mesh: Annotated[
        str | None, typer.Option(help="Mesh of as many tiles of the fabric's core, such as 3x2.", show_default=False)
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(help="Tiles to use; as few as hold the network if not given.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search for the places of the tiles.")] = 0,
    images: Annotated[int, typer.Option(help="Run only so many.")] = PLACE_IMAGES,
    runner: Annotated[Counting, typer.Option(help="What runs beside the reference and counts.")] = Counting.REFERENCE,
    board: Annotated[str, typer.Option(help="Name of the board at the port.")] = "icebreaker",
    port: Annotated[str | None, typer.Option(help="Serial port, or HOST:PORT.", show_default=False)] = None,
    timing: Annotated[
        Path | None,
        typer.Option(help="report.json of a board's build, or a file of qor, for the clock.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
) -> None:
    """Write one HTML page of what a network does on a fabric: tiles, routes, traffic, use, spikes and timing."""
    from spikeloom.explore.cost import measured_rates
    from spikeloom.report.collect import gather
    from spikeloom.report.page import page
    from spikeloom.report.timing import timing_from, timing_of_build
    from spikeloom.runners.compiled import CompiledRunner
    from spikeloom.runners.runner import BoardRunner

    if runner is Counting.BOARD:
        if mesh is not None or tiles is not None:
            raise InputError("mesh and tiles must be left out with --runner board, whose fabric is built already")
        chosen = built_fabric(board)
    else:
        chosen = named_fabric(fabric)
        if mesh is not None or (tiles or 1) > len(chosen.cores):
            chosen = chosen.on_mesh(*mesh_shape(mesh, tiles), counters=runner is Counting.RTL)
    loaded = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory).load(network)
    quantised = quantise(loaded, Quantisation.for_core(next(iter(chosen.cores.values())), weight_width=weight_bits))
    sample = inputs_of(loaded, inputs, images)
    figures = timing_of_build(Path("build") / board, chosen) if timing is None else timing_from(timing)
    program = place(quantised, chosen, tiles=tiles, seed=seed, rates=measured_rates(quantised, sample.spikes))
    result = None
    if runner is Counting.RTL:
        result = CompiledRunner(program, Path("build/run"), announce=out.print).run(sample.spikes)
    elif runner is Counting.BOARD:
        from spikeloom.boards.targets.registry import find_board

        transport = transport_to(port, find_board(board).baud_rate)
        result = BoardRunner(program, transport, build_hash=build_hash_of(None, board)).run(sample.spikes)
    counted = None if result is None else result.cycles_per_sample
    gathered = gather(
        quantised,
        program,
        sample.spikes,
        labels=sample.labels,
        measured=None if result is None else {**result.spikes, **result.membranes},
        counters=None if result is None else result.counters,
        links=None if result is None else result.links,
        cycles_per_sample=None if counted is None else float(counted.mean()),
        timing=figures,
        runner=runner.value,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(gathered), encoding="utf-8")
    out.print(f"{output}: {gathered.explanation.limit}")
