"""``spikeloom place``: where the neurons of a network are placed on a mesh."""

from __future__ import annotations

from typing import Annotated

import typer

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
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise

__all__ = ["show_placement"]


def show_placement(
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
        str | None,
        typer.Option(
            help="Mesh of as many tiles of the fabric's core, such as 3x2; with --tiles the smallest if not given.",
            show_default=False,
        ),
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(help="Tiles to use; as few as hold the network if not given.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search for the places of the tiles.")] = 0,
) -> None:
    """Lay a network out on the tiles of a mesh, and say what each holds, what goes between them, and what limits."""
    from spikeloom.compiler.dependencies import UNIFORM_RATE, uniform_rates
    from spikeloom.explore.cost import explain, measured_rates, tables

    options = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    chosen = named_fabric(fabric)
    if mesh is not None or (tiles or 1) > len(chosen.cores):
        chosen = chosen.on_mesh(*mesh_shape(mesh, tiles))
    widths = Quantisation.for_core(next(iter(chosen.cores.values())), weight_width=weight_bits)
    quantised = quantise(loaded, widths)
    if inputs is None and (loaded.inputs != 64 or loaded.encoder is None):
        rates = uniform_rates(quantised)
        source = f"{UNIFORM_RATE} spikes a step of each neuron"
    else:
        sample = inputs_of(loaded, inputs, None).first(PLACE_IMAGES)
        rates = measured_rates(quantised, sample.spikes)
        source = f"the activity in {sample.spikes.shape[1]} images"
    program = place(quantised, chosen, tiles=tiles, seed=seed, rates=rates)
    explanation = explain(program, rates)
    for table in tables(program, explanation):
        out.print(table)
    out.print(f"expected from {source}: {explanation.limit}")
