"""What the commands share: the options of loading a network, of the hardware and of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Encoder, encoder_from
from spikeloom.datasets.inputs import InputError, Inputs, held_out_digits, load_inputs
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import PRESETS, Discretisation, load
from spikeloom.model.network import Network
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS

__all__ = [
    "DEFAULT_FABRIC",
    "DIGITS",
    "PLACE_IMAGES",
    "CompareOption",
    "CoreOption",
    "DelayOption",
    "DiscretisationOption",
    "FabricOption",
    "ImagesOption",
    "InputsOption",
    "Loading",
    "NetworkArgument",
    "PresetOption",
    "RefractoryOption",
    "ResetOption",
    "TimeStepOption",
    "WeightOption",
    "encoder_of",
    "inputs_of",
    "mesh_shape",
    "named_fabric",
    "out",
    "placed",
    "progress_bar",
]

out = Console(highlight=False)
DIGITS = "digits-mlp.nir"
DEFAULT_FABRIC = "small"
PLACE_IMAGES = 50  # enough to know who spikes how often
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


@dataclass(frozen=True)
class Loading:
    """The options that every command takes which loads a network."""

    preset: str | None
    time_step_s: float | None
    discretisation: Discretisation | None
    compare: Compare | None
    reset: Reset | None
    reset_delay: int | None
    refractory: int | None

    def load(self, path: Path | None) -> Network:
        return load(path or shipped(DIGITS), **vars(self))


def named_fabric(name: str) -> FabricConfig:
    if name not in FABRICS:
        raise InputError(f"fabric must be one of {', '.join(FABRICS)}, not {name!r}")
    return FABRICS[name]


def placed(network: Network, fabric: FabricConfig, weight_bits: int) -> Program:
    core = fabric.core
    widths = Quantisation.for_core(core, weight_width=weight_bits)
    return place(quantise(network, widths), fabric)


def encoder_of(network: Network) -> Encoder | None:
    return None if network.encoder is None else encoder_from(network.encoder)


def inputs_of(network: Network, path: Path | None, images: int | None) -> Inputs:
    encoder = encoder_of(network)
    if path is not None:
        inputs = load_inputs(path, network.inputs, encoder, classes=network.population(network.output).size)
    elif network.inputs == 64:
        inputs = held_out_digits(encoder)
    else:
        raise InputError(f"network {network.name} has {network.inputs} inputs, so --inputs must be given, not left out")
    return inputs if images is None else inputs.first(images)


def progress_bar(title: str) -> Progress:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out, transient=not out.is_terminal)


def mesh_shape(mesh: str | None, tiles: int | None) -> tuple[int, int]:
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
