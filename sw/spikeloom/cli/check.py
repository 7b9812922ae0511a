"""``spikeloom check``: show the step equations of a network and its resource use."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer
from rich.table import Table

from spikeloom.cli.choosing import choose_for, chosen_fabric, fabric_for, given_fields, place_on
from spikeloom.cli.console import figures, note, out, print_json
from spikeloom.cli.groups import grouped
from spikeloom.cli.losses import (
    agreement_json,
    agreement_lines,
    losses_json,
    losses_table,
    notes_of_all,
    threshold_lines,
)
from spikeloom.cli.options import Hardware, JsonOption, Loading, NetworkArgument, Samples
from spikeloom.compiler.place import place, placement_of
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.compiler.tiles.core import CoreCompiler
from spikeloom.compiler.tiles.registry import tiles_for
from spikeloom.compiler.weight_losses import weight_losses
from spikeloom.datasets.inputs import InputError
from spikeloom.model.describe import describe
from spikeloom.model.network import Network
from spikeloom.runners.compare import agreement
from spikeloom.runners.propose import ProposalError, propose
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import core_to_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["check"]

_BAR = 0.99


@grouped
def check(
    network: NetworkArgument = None,
    proposing: Annotated[
        bool,
        typer.Option(
            "--propose", help="Propose small widths: by --inputs, on which integers and floats agree, else by bounds."
        ),
    ] = False,
    bar: Annotated[
        float | None,
        typer.Option(
            help="With --propose and --inputs, the share of equal cells and answers, above 0 to 1; default: 0.99.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    *,
    loading: Loading,
    hardware: Hardware,
    samples: Samples,
) -> None:
    """Show the step equations of a network, the losses of its conversion, and its resource use.

    With --inputs, also count the cells (a neuron in a step of a sample) in which float model and integers differ. With
    --board and a fabric or mesh, also estimate what each tile takes of the FPGA.
    """
    if bar is not None and not (proposing and samples.inputs):
        raise InputError("bar must be left out, unless --propose and --inputs are given")
    loaded = loading.load(network)
    said: dict[str, Any] = {"network": _described(loaded)}
    if not as_json:
        out.print(_steps_table(loaded))
        for text in notes_of_all(loaded):
            out.print(f"note: {text}")
    if hardware.board is not None and hardware.fabric is None and hardware.mesh is None and hardware.tiles is None:
        choice = choose_for([loaded], hardware, loading, given_fields(hardware.core))
        said["board"] = hardware.board
        said["core"] = core_to_json(choice.core)
        said["reasons"] = [dataclasses.asdict(reason) for reason in choice.reasons]
        said["takes"] = dataclasses.asdict(choice.resources)
        said["available"] = dataclasses.asdict(choice.room)
        if not as_json:
            out.print(*choice.tables(), sep="\n")
        widths = loading.widths(loaded, choice.core)
        quantised = _check_integers(loaded, loading, widths, samples, said, as_json=as_json)
        stored = dict.fromkeys(widths.weight_widths, choice.core.weight_width)
        _check_stored(quantised, stored, said, in_sdram=choice.core.streamed, as_json=as_json)
        said["weights_in"] = dict.fromkeys(widths.weight_widths, _MEMORIES[choice.core.weight_memory])
        if choice.core.streamed:
            program = place(quantised, chosen_fabric([loaded], choice))
            said["weights_in"] |= _lying(program)
            if not as_json:
                out.print(*_in_sdram(program), sep="\n")
    else:
        _check_fabric(loaded, loading, hardware, samples, said, as_json=as_json)
    if proposing:
        _propose(loaded, loading, samples, said, bar=_BAR if bar is None else bar, as_json=as_json)
    if as_json:
        print_json(said)


_MEMORIES = {"block": "block RAM", "single-port": "single-port RAM", "sdram": "SDRAM"}
"""Names of `CoreParameters.weight_memory`."""


def _check_fabric(
    loaded: Network, loading: Loading, hardware: Hardware, samples: Samples, said: dict[str, Any], *, as_json: bool
) -> None:
    """Place ``loaded`` on a fabric and report the resources used."""
    fabric = fabric_for(hardware, loading, [loaded])
    widths = loading.widths(loaded, next(iter(fabric.cores.values())))
    quantised = _check_integers(loaded, loading, widths, samples, said, as_json=as_json)
    lost = quantised.notes[len(loaded.notes) :]
    said["fabric"], said["notes"] = fabric.name, list(lost)
    for text in lost if not as_json else ():
        out.print(f"as {loading.bits_text(loaded)}-bit integers: {text}")
    homeless = [unit.name for unit in quantised.units if not tiles_for(unit, fabric)]
    if homeless:
        holders = [name for name, known in FABRICS.items() if all(tiles_for(unit, known) for unit in quantised.units)]
        where = f"fabrics with such a tile: {', '.join(holders)}" if holders else "no named fabric has such a tile"
        said["notes"].append(f"{homeless[0]} runs on the reference only: this fabric has no tile for it")
        (note if as_json else out.print)(
            f"fabric {fabric.name} has no tile for {homeless[0]}, which runs on the reference: {where}"
        )
        return
    if hardware.board is not None:
        _estimate_tiles(fabric, hardware.board, said, as_json=as_json)
    program = place_on(fabric, quantised, hardware)
    said["uses"] = [dataclasses.asdict(use) for use in program.uses]
    parts, tile_of = program.assignment.parts, program.assignment.tile_of
    stored = {
        p.name: max(fabric.cores[tile_of[part.name]].weight_width for part in parts.parts_of(p.name))
        for p in quantised.populations
    }
    _check_stored(quantised, stored, said, in_sdram=fabric.sdram is not None, as_json=as_json)
    said["weights_in"] = {
        p.name: _MEMORIES[fabric.cores[tile_of[parts.parts_of(p.name)[0].name]].weight_memory]
        for p in quantised.populations
    } | _lying(program)
    if as_json:
        return
    uses = Table(title=f"fabric {fabric.name}")
    several = len({use.tile for use in program.uses}) > 1
    for column in (*["tile"] * several, "resource", "used", "available"):
        uses.add_column(column, justify="left" if column == "resource" else "right")
    if fabric.sdram is not None:
        out.print(*_in_sdram(program), sep="\n")
    for use in program.uses:
        uses.add_row(*[str(use.tile)] * several, use.resource, f"{use.used:,}", f"{use.available:,}")
    out.print(uses)


def _words_of(program: Program) -> dict[str, tuple[int, int]]:
    """Return the weight words of each population in block RAM and in SDRAM."""
    placement = placement_of(program)
    parts = {part.name: part.population for part in program.assignment.parts.parts}
    found: dict[str, tuple[int, int]] = dict.fromkeys(parts.values(), (0, 0))
    for tile in placement.held:
        if tile not in program.fabric.cores:
            continue
        is_far = program.fabric.cores[tile].weight_memory == "sdram"
        for part, (near, far) in CoreCompiler(placement, tile).rows.lies_in.items():
            before = found[parts[part]]
            found[parts[part]] = before[0] + (0 if is_far else near), before[1] + far + (near if is_far else 0)
    return found


def _lying(program: Program) -> dict[str, str]:
    """Return where the weights of each population lie, in a fabric with weights in block RAM and in SDRAM; empty for
    others."""
    if program.fabric.sdram is None or not _has_both(program):
        return {}
    kinds = {(True, True): "block RAM and SDRAM", (False, True): "SDRAM"}
    return {name: kinds.get((near > 0, far > 0), "block RAM") for name, (near, far) in _words_of(program).items()}


def _has_both(program: Program) -> bool:
    """Whether cores of the fabric have weights in block RAM, beside those in SDRAM."""
    return any(core.weight_memory != "sdram" for core in program.fabric.cores.values())


def _in_sdram(program: Program) -> list[str]:
    """Return sentences about the weights in SDRAM."""
    fabric, weights = program.fabric, program.fabric.weights
    assert weights is not None
    images = [
        image
        for image in program.memories
        if image.tile in fabric.streamed and image.memory == fabric.streamed[image.tile].number
    ]
    room = weights.sdram.burst_bytes << weights.sdram.least_address_bits
    size = f"{sum(image.words.size for image in images) / 1e6:,.3g} of {room / 1e6:,.3g} MB"
    if len(images) > 1:
        size += f", shared by {len(images)} cores"
    if not _has_both(program):
        names = ", ".join(dict.fromkeys(part.population for part in program.assignment.parts.parts))
        return [f"weights of {names} in SDRAM: {size}; everything else in block RAM"]
    words = _words_of(program)
    shares = [f"{name} {far / (near + far):.0%}" for name, (near, far) in words.items() if far]
    return [
        f"weights in SDRAM: {', '.join(shares) or 'none'}; {size}",
        "everything else in block RAM: kernels, sparse rows, and the dense rows that are read most often",
    ]


def _check_stored(
    quantised: QuantisedNetwork, stored: dict[str, int], said: dict[str, Any], *, in_sdram: bool, as_json: bool
) -> None:
    """Report the populations whose weights take more bits in memory than they have, if widths differ.

    ``stored`` are the bits of a weight in the cores that hold each population, by name. ``in_sdram`` tells whether
    weights lie in an SDRAM, whose words have one width.
    """
    widths = {population.name: quantised.width_of(population.name) for population in quantised.populations}
    said["weight_bits"] = {name: {"bits": bits, "stored": stored[name]} for name, bits in widths.items()}
    if as_json or len(set(widths.values())) == 1:
        return
    for name, bits in widths.items():
        if stored[name] > bits:
            out.print(
                f"{name}: its weights have {bits} bits and take {stored[name]} each, because "
                + (
                    "all weights that share an SDRAM have the width of the widest"
                    if in_sdram
                    else "a core stores all weights at the width of its widest; tiles of a mesh (--mesh, --tiles) have "
                    "widths of their own"
                )
            )


def _propose(
    loaded: Network, loading: Loading, samples: Samples, said: dict[str, Any], *, bar: float, as_json: bool
) -> None:
    """Report small widths for ``loaded``, or that there are none."""
    base = Quantisation(scales=loading.scales or Quantisation.scales, calibration=loading.calibration_of(loaded))
    inputs = None if samples.inputs is None else samples.of(loaded, loading)
    try:
        found = propose(loaded, base, inputs, bar=bar, decision=loading.decision)
    except ProposalError as error:
        said["proposal"] = None
        (note if as_json else out.print)(str(error))
        return
    said["proposal"] = dataclasses.asdict(found)
    if as_json:
        return
    why = "by bounds, without inputs"
    if found.cells is not None and found.answers is not None:
        why = f"{figures(100 * found.cells)} % of the cells and {figures(100 * found.answers)} % of the answers equal"
    bits = f"sums of {found.accumulator_bits} bits, thresholds of {found.threshold_bits}"
    out.print(f"proposed: {found.options} ({bits}): {why}")


def _estimate_tiles(fabric: FabricConfig, board: str, said: dict[str, Any], *, as_json: bool) -> None:
    """Report the resources of each part of ``fabric`` on the FPGA of ``board``."""
    from spikeloom.boards.sizing.estimate import estimate_fabric, estimate_parts
    from spikeloom.boards.targets.registry import find_board

    described = find_board(board)
    device, link = described.device, described.link_kind
    parts = estimate_parts(fabric, device, link=link)
    parts["total"] = estimate_fabric(fabric, device, link=link)
    columns = {"LUTs": "lut", "flip-flops": "ff", "block RAMs": "ram", "multipliers": "dsp"}
    said["board"] = board
    said["parts"] = {name: dataclasses.asdict(resources) for name, resources in parts.items()}
    said["available"] = {name: getattr(device, name) for name in columns.values()}
    if as_json:
        return
    table = Table(title=f"estimate for {board}, {device.name}")
    table.add_column("part")
    for column in columns:
        table.add_column(column, justify="right")
    for name, resources in (*parts.items(), ("available", device)):
        table.add_row(name, *(f"{getattr(resources, field):,}" for field in columns.values()))
    out.print(table)


def _check_integers(
    loaded: Network, loading: Loading, widths: Quantisation, samples: Samples, said: dict[str, Any], *, as_json: bool
) -> QuantisedNetwork:
    """Report what the integers lose: of the weights, and with inputs in the spikes."""
    quantised = quantise(loaded, widths)
    losses = weight_losses(loaded, quantised, widths)
    said["weights"] = losses_json(losses)
    if losses and not as_json:
        out.print(losses_table(losses, loading.bits_text(loaded)), *threshold_lines(losses), sep="\n")
    if samples.inputs is not None:
        found = agreement(loaded, quantised, samples.of(loaded, loading), loading.decision)
        said["agreement"] = agreement_json(found)
        for text in agreement_lines(found) if not as_json else ():
            out.print(text)
    return quantised


def _described(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "inputs": network.inputs,
        "neurons": network.neurons,
        "synapses": network.synapses,
        "notes": notes_of_all(network),
        "populations": [
            {"name": row.name, "shape": list(row.shape), "step": row.equation, "notes": list(row.notes)}
            for row in describe(network)
        ],
    }


def _steps_table(network: Network) -> Table:
    steps = Table(
        title=f"{network.name}: {network.inputs:,} inputs, {network.neurons:,} neurons, {network.synapses:,} synapses"
    )
    for column in ("population", "neurons", "one step", "notes"):
        steps.add_column(column, overflow="fold")
    for row in describe(network):
        steps.add_row(row.name, " x ".join(map(str, row.shape)), row.equation, "; ".join(row.notes))
    return steps
