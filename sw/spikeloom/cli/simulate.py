"""``spikeloom simulate``: compare the generated hardware with the reference, spike by spike."""

from __future__ import annotations

import dataclasses
import os
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from spikeloom.cli.choosing import fabric_for, place_on, quantised_for, sdram_clock
from spikeloom.cli.console import note, one_line, out, print_json, progress_bar
from spikeloom.cli.groups import grouped
from spikeloom.cli.losses import agreement_json, agreement_lines, losses_json, losses_table, threshold_lines
from spikeloom.cli.options import Hardware, JsonOption, Loading, NetworkArgument, OptimiseOption, Samples
from spikeloom.compiler.weight_losses import weight_losses
from spikeloom.datasets.inputs import InputError, Inputs
from spikeloom.model.network import Network
from spikeloom.report.raster import RasterError, write_raster
from spikeloom.runners.runner import Runner
from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.simulators.verilator import SimulationError

__all__ = ["Simulator", "simulate"]

_WAVES_IMAGES = 4  # an image takes about 6 to 10 MB of waveform


class Simulator(Enum):
    """What `simulate` compares with the float model: the integer model, the core, or the whole design at its pins."""

    REFERENCE = "reference"
    RTL = "rtl"
    PINS = "pins"


_TITLES = {
    Simulator.REFERENCE: "integer reference",
    Simulator.RTL: "compiled RTL",
    Simulator.PINS: "RTL at the pins",
}


@grouped
def simulate(
    network: NetworkArgument = None,
    backend: Annotated[
        Simulator,
        typer.Option(
            help="pins: the whole design in cocotb; rtl: the compiled core, which is faster; reference: no hardware."
        ),
    ] = Simulator.PINS,
    waves: Annotated[
        bool, typer.Option("--waves", help=f"Record a waveform, of {_WAVES_IMAGES} images unless --images is given.")
    ] = False,
    optimise: OptimiseOption = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output directory.")] = Path("build/simulate"),
    as_json: JsonOption = False,
    *,
    loading: Loading,
    hardware: Hardware,
    samples: Samples,
) -> None:
    """Run a network through the simulated hardware, from its file to the pins and back, and compare every spike."""
    from spikeloom.runners.compare import observed_names, simulate_network

    if waves and backend is not Simulator.PINS:
        raise InputError(f"waves must be recorded with --backend pins, not {backend.value}")
    if optimise and backend is not Simulator.RTL:
        raise InputError(f"--optimise must be used with --backend rtl, not {backend.value}")
    where = _TITLES[backend]
    loaded = loading.load(network)
    if waves and samples.images is None:
        samples = dataclasses.replace(samples, images=_WAVES_IMAGES)
    chosen = samples.of(loaded, loading)
    fabric = fabric_for(hardware, loading, [loaded])
    quantised = quantised_for(loaded, fabric, loading)
    with progress_bar(f"images through the {where}") as bar:
        runner: Runner | None = None
        if backend is not Simulator.REFERENCE:
            program = place_on(fabric, quantised, hardware, observe=observed_names(quantised))
            clock_hz = sdram_clock(fabric, hardware)
            runner = _runner(backend, program, output, waves=waves, optimise=optimise, clock_hz=clock_hz, announce=note)
        task = bar.add_task("", total=chosen.spikes.shape[1], visible=False)
        simulation = simulate_network(
            loaded,
            quantised,
            chosen,
            runner,
            decision=loading.decision,
            announce=note,
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    summary, agreed = simulation.summary, simulation.agreement
    widths = loading.widths(loaded, next(iter(fabric.cores.values())))
    losses = weight_losses(loaded, quantised, widths)
    output.mkdir(parents=True, exist_ok=True)
    spikes = simulation.reference.spikes if simulation.rtl is None else simulation.rtl.spikes
    write_whole(output / "summary.json", summary.to_json())
    try:
        with replaced(output / "raster.png") as path:
            _write_raster(path, loaded, chosen, spikes, where)
        note(f"raster.png, summary.json in {output}")
    except RasterError as error:
        note(f"summary.json in {output}, no raster.png: {error}")
    if as_json:
        print_json(
            {
                "network": loaded.name,
                "fabric": fabric.name,
                "backend": backend.value,
                **vars(summary),
                "notes": list(quantised.notes),
                "weights": losses_json(losses),
                "agreement": agreement_json(agreed),
            }
        )
    else:
        for text in quantised.notes:
            out.print(f"note: {text}")
        if losses:
            out.print(losses_table(losses, loading.bits_text(loaded)), *threshold_lines(losses), sep="\n")
        for text in agreement_lines(agreed):
            out.print(text)
        title = f"{loaded.name} at {loading.bits_text(loaded)} bits on fabric {fabric.name}"
        out.print(_table(summary, title, backend))
    if simulation.waves:
        note(f"waveform in {simulation.waves}")
    if summary.mismatches:
        raise SimulationError(f"RTL and reference differ in {summary.mismatches:,} places")


def _runner(
    backend: Simulator,
    program: Any,
    directory: Path,
    *,
    waves: bool,
    optimise: bool,
    clock_hz: int | None,
    announce: Any,
) -> Runner:
    from spikeloom.runners.compiled import CompiledRunner
    from spikeloom.runners.runner import PinsRunner

    if backend is Simulator.PINS:
        return PinsRunner(program, directory, waves=waves, announce=announce)
    return CompiledRunner(
        program, directory, workers=os.cpu_count() or 1, optimise=optimise, clock_hz=clock_hz, announce=announce
    )


def _table(summary: Any, title: str, backend: Simulator) -> Table:
    table = Table(title=f"{title}, {summary.images:,} images")
    table.add_column("")
    columns = ["float model", _TITLES[Simulator.REFERENCE], _TITLES[backend]]
    has_rtl = backend is not Simulator.REFERENCE
    for column in columns if has_rtl else columns[:2]:
        table.add_column(column, justify="right")

    def row(name: str, *cells: str) -> None:
        table.add_row(name, *(cells if has_rtl else cells[:2]))

    scores = (summary.accuracy_float, summary.accuracy_reference, summary.accuracy_rtl)
    row("accuracy", *("-" if score is None else f"{100 * score:.2f} %" for score in scores))
    if has_rtl:
        row("spikes compared", "", "", f"{summary.spikes_compared:,}")
        row("mismatches", "", "", f"{summary.mismatches:,}")
        row("clock cycles per image", "", "", f"{summary.cycles_per_image:,.0f}")
        row("  core busy", "", "", f"{summary.core_cycles_per_image:,.0f}")
    row("synaptic operations per image", "", f"{summary.synaptic_operations_per_image:,.0f}", "")
    table.add_row("wall time", *[""] * (len(table.columns) - 2), f"{summary.seconds:.1f} s")
    return table


def _write_raster(
    path: Path, network: Network, inputs: Inputs, spikes: dict[str, NDArray[np.bool_]], where: str
) -> None:
    """Draw the spikes of the first images, one after the other, for all populations with recorded spikes."""
    steps, images, _ = inputs.spikes.shape
    shown = min(images, 4)
    all_spikes = {"input": inputs.spikes != 0} | {
        p.name: spikes[p.name] for p in network.populations if p.name in spikes
    }
    layers = {
        _title(name): array[:, :shown].transpose(1, 0, 2).reshape(shown * steps, -1)
        for name, array in all_spikes.items()
    }
    names = [f"image {index}" if inputs.labels is None else f"label {inputs.labels[index]}" for index in range(shown)]
    boundaries = {index * steps: name for index, name in enumerate(names)}
    write_raster(path, layers=layers, title=f"{_title(network.name)}: spikes of the {where}", boundaries=boundaries)


def _title(name: str) -> str:
    """Return ``name`` for a figure, with dollar signs escaped, because they would begin a formula."""
    return one_line(name).replace("$", r"\$")
