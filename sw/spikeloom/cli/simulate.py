"""``spikeloom simulate``: the generated hardware against the reference, spike by spike."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spikeloom.cli.options import (
    DEFAULT_FABRIC,
    CompareOption,
    DelayOption,
    DiscretisationOption,
    FabricOption,
    ImagesOption,
    InputsOption,
    Loading,
    NetworkArgument,
    PresetOption,
    RefractoryOption,
    ResetOption,
    TimeStepOption,
    WeightOption,
    inputs_of,
    named_fabric,
    out,
    progress_bar,
)
from spikeloom.datasets.inputs import InputError, Inputs
from spikeloom.model.network import Network
from spikeloom.simulators.verilator import SimulationError

__all__ = ["Simulator", "simulate"]

_WAVES_IMAGES = 4  # an image takes about 6 to 10 MB of waveform


class Simulator(Enum):
    """What `simulate` simulates: the core with its packets, or the whole design with the driver at its pins."""

    RTL = "rtl"
    PINS = "pins"


def simulate(
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
    images: ImagesOption = None,
    backend: Annotated[
        Simulator, typer.Option(help="The whole design at its pins, by cocotb; or its core, compiled: faster.")
    ] = Simulator.PINS,
    waves: Annotated[
        bool, typer.Option("--waves", help=f"Record a waveform, of {_WAVES_IMAGES} images unless --images says more.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Directory for all files.")] = Path("build/simulate"),
) -> None:
    """Run a network through the simulated hardware, from its file to the pins and back, and compare every spike."""
    from spikeloom.runners.compare import simulate_network

    pins = backend is Simulator.PINS
    if waves and not pins:
        raise InputError(f"waves must be recorded with --backend pins, not {backend.value}")
    where = "RTL at the pins" if pins else "compiled RTL"
    options = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    chosen = inputs_of(loaded, inputs, _WAVES_IMAGES if waves and images is None else images)
    with progress_bar(f"images through the {where}") as bar:
        task = bar.add_task("", total=chosen.spikes.shape[1], visible=False)
        simulation = simulate_network(
            loaded,
            chosen,
            named_fabric(fabric),
            output,
            weight_width=weight_bits,
            pins=pins,
            waves=waves,
            announce=bar.console.print,
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    summary = simulation.summary
    output.mkdir(parents=True, exist_ok=True)
    _write_raster(output / "raster.png", loaded, chosen, simulation.rtl.spikes, where)
    (output / "summary.json").write_text(summary.to_json())

    table = Table(title=f"{loaded.name} at {weight_bits} bits on fabric {fabric}, {summary.images} images")
    table.add_column("")
    for column in ("float model", "integer reference", where):
        table.add_column(column, justify="right")
    scores = (summary.accuracy_float, summary.accuracy_reference, summary.accuracy_rtl)
    table.add_row("accuracy", *("-" if score is None else f"{100 * score:.2f} %" for score in scores))
    table.add_row("spikes compared", "", "", f"{summary.spikes_compared:,}")
    table.add_row("mismatches", "", "", str(summary.mismatches))
    table.add_row("clock cycles an image", "", "", f"{summary.cycles_per_image:,.0f}")
    table.add_row("  of them core busy", "", "", f"{summary.core_cycles_per_image:,.0f}")
    table.add_row("synaptic operations an image", "", f"{summary.synaptic_operations_per_image:,.0f}", "")
    table.add_row("wall time", "", "", f"{summary.seconds:.1f} s")
    out.print(table)
    out.print(f"raster.png, summary.json in {output}")
    if simulation.waves:
        out.print(f"waveform in {simulation.waves}")
    if summary.mismatches:
        raise SimulationError(f"RTL and reference must agree in every spike, and differ in {summary.mismatches} places")


def _write_raster(path: Path, network: Network, inputs: Inputs, spikes: dict[str, Any], where: str) -> None:
    """A picture of the first images, one after the other, with all populations whose spikes came out of the RTL."""
    from spikeloom.report.raster import write_raster

    steps, images, _ = inputs.spikes.shape
    shown = min(images, 4)
    all_spikes = {"input": inputs.spikes} | {p.name: spikes[p.name] for p in network.populations if p.name in spikes}
    layers = {
        name: array[:, :shown].transpose(1, 0, 2).reshape(shown * steps, -1) for name, array in all_spikes.items()
    }
    names = [f"image {index}" if inputs.labels is None else f"label {inputs.labels[index]}" for index in range(shown)]
    boundaries = {index * steps: name for index, name in enumerate(names)}
    write_raster(path, layers=layers, title=f"{network.name}: spikes of the {where}", boundaries=boundaries)
