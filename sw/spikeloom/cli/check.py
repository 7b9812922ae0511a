"""``spikeloom check``: how a network is stepped, and what it takes of the hardware."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from spikeloom.cli.choosing import choose_fabric, given_fields
from spikeloom.cli.options import (
    DEFAULT_FABRIC,
    CompareOption,
    CoreOption,
    DelayOption,
    DiscretisationOption,
    FabricOption,
    Loading,
    NetworkArgument,
    PresetOption,
    RefractoryOption,
    ResetOption,
    TimeStepOption,
    WeightOption,
    named_fabric,
    out,
)
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import InputError
from spikeloom.model.describe import describe
from spikeloom.sim.fabric.presets import FABRICS

__all__ = ["check"]


def check(
    network: NetworkArgument = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    fabric: FabricOption = DEFAULT_FABRIC,
    board: Annotated[
        str | None,
        typer.Option(help="Choose a fabric for this board instead, see: spikeloom boards.", show_default=False),
    ] = None,
    core_fields: CoreOption = None,
) -> None:
    """Say how a network will be stepped, what is lost, and what it takes of the hardware."""
    given = given_fields(core_fields)
    if given and board is None:
        raise InputError("core must be left out without a board, for which one is chosen")
    options = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    steps = Table(title=f"{loaded.name}: {loaded.inputs} inputs, {loaded.neurons} neurons, {loaded.synapses} synapses")
    for column in ("population", "neurons", "one step", "notes"):
        steps.add_column(column, overflow="fold")
    for row in describe(loaded):
        steps.add_row(row.name, " x ".join(map(str, row.shape)), row.equation, "; ".join(row.notes))
    out.print(steps)
    if board is not None:
        choose_fabric([loaded], board, weight_bits, **given)
        return
    core = next(iter(named_fabric(fabric).cores.values()))
    widths = Quantisation.for_core(core, weight_width=weight_bits)
    quantised = quantise(loaded, widths)
    for note in quantised.notes[len(loaded.notes) :]:
        out.print(f"as {weight_bits}-bit integers: {note}")
    if quantised.attentions and not named_fabric(fabric).attentions:
        holders = [name for name, known in FABRICS.items() if known.attentions]
        where = f"fabrics with attention are {', '.join(holders)}" if holders else "no fabric has attention"
        out.print(f"fabric {fabric} is cores alone, and attention runs on the reference: {where}")
        return
    program = place(quantised, named_fabric(fabric))
    uses = Table(title=f"fabric {fabric}")
    several = len({use.tile for use in program.uses}) > 1
    for column in (*["tile"] * several, "resource", "used", "available"):
        uses.add_column(column, justify="left" if column == "resource" else "right")
    for use in program.uses:
        uses.add_row(*[str(use.tile)] * several, use.resource, str(use.used), str(use.available))
    out.print(uses)
