"""Options of every command that takes a network: loading and quantisation, hardware, inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.console import note
from spikeloom.cli.project import apply_project
from spikeloom.compiler.calibrate import Calibration, calibrate
from spikeloom.compiler.quantise import Quantisation, Scales
from spikeloom.datasets.encoders import Encoder, encoder_from, encoder_from_text
from spikeloom.datasets.inputs import InputError, Inputs, Layout, held_out_digits, load_inputs, random_inputs
from spikeloom.datasets.readout import Decision
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import AUTO, PRESETS, Discretisation, load
from spikeloom.model.network import Network
from spikeloom.model.readout import membrane_readout
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.presets import FABRICS

__all__ = [
    "PLACE_IMAGES",
    "Backend",
    "Conversion",
    "Hardware",
    "JsonOption",
    "LinkOption",
    "Loading",
    "NetworkArgument",
    "OptimiseOption",
    "Samples",
]

_DIGITS = "digits-mlp.nir"
_WEIGHT_BITS = 8
PLACE_IMAGES = 50  # enough to estimate the spike rate of each neuron

_NETWORK, _HARDWARE, _INPUTS = "Loading and quantisation", "Hardware", "Inputs"

NetworkArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="NETWORK", help="NIR file, or .net file of Lava-dl; default: the digits network.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
OptimiseOption = Annotated[
    bool,
    typer.Option(
        "--optimise",
        help="Compile the design a second time with the profile of the first images: a fifth faster, for long runs.",
    ),
]


class Backend(Enum):
    """Where a network runs, see `spikeloom.runners.runner`."""

    REFERENCE = "reference"
    RTL = "rtl"
    PINS = "pins"
    BOARD = "board"


def _of_network(text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=_NETWORK, **settings)


def _of_hardware(text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=_HARDWARE, **settings)


def _of_inputs(text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=_INPUTS, **settings)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Conversion of a file to a network."""

    project: Annotated[
        Path | None,
        _of_network(
            "Project file, or a folder with a spikeloom.toml; default: ./spikeloom.toml, if present.",
            "--project",
            is_eager=True,
            callback=apply_project,
        ),
    ] = None
    preset: Annotated[
        str | None,
        _of_network(
            f"Framework that wrote the file: {', '.join(PRESETS)}; {AUTO} detects it from the numbers in the file."
        ),
    ] = None
    time_step: Annotated[float | None, _of_network("Duration of a step in seconds.")] = None
    discretisation: Annotated[Discretisation | None, _of_network("Discretisation of time.")] = None
    compare: Annotated[Compare | None, _of_network("Spike condition.")] = None
    reset: Annotated[Reset | None, _of_network("Reset of the membrane by a spike.")] = None
    reset_delay: Annotated[int | None, _of_network("Steps from a spike to its reset, 0 or 1.")] = None
    refractory: Annotated[int | None, _of_network("Refractory steps after a spike.")] = None
    max_spikes: Annotated[
        int | None,
        _of_network(
            "Most spikes of a neuron per step, 1 to 15; default: 1. sinabs and Rockpool have no bound by default."
        ),
    ] = None
    lower_bound: Annotated[
        float | None,
        _of_network("Smallest membrane of spiking neurons; default: none. This is min_v_mem of sinabs."),
    ] = None
    norm_input: Annotated[
        bool | None,
        _of_network("For sinabs: whether the gain of its neurons is 1 - beta, else 1.", "--norm-input/--no-norm-input"),
    ] = None
    layer: Annotated[
        list[str] | None,
        _of_network(
            "Options from compare to norm-input for one neuron node, such as lif1:reset=zero,reset-delay=0. May be "
            "repeated.",
            "--layer",
            metavar="NODE:NAME=VALUE,...",
        ),
    ] = None
    decision: Annotated[
        Decision | None,
        _of_network(
            "Rule by which the output becomes an answer; default: most-spikes, or sum-of-membranes for an output that "
            "does not fire. A membrane rule reads out the membranes of a last layer with reset none."
        ),
    ] = None

    def load(self, path: Path | None) -> Network:
        """Load the float network from ``path``, or the shipped digits network, with the output that the decision
        needs."""
        loaded = load(
            path or shipped(_DIGITS),
            preset=self.preset,
            time_step_s=self.time_step,
            discretisation=self.discretisation,
            compare=self.compare,
            reset=self.reset,
            reset_delay=self.reset_delay,
            refractory=self.refractory,
            max_spikes=self.max_spikes,
            lower_bound=self.lower_bound,
            norm_input=self.norm_input,
            layers=_layers(self.layer or ()),
        )
        return loaded if self.decision is None else decided_by(loaded, self.decision)


@dataclass(frozen=True, kw_only=True)
class Loading(Conversion):
    """Conversion and quantisation of a network, and its encoder."""

    encoder: Annotated[
        str | None,
        _of_network(
            "Encoder for images or series, such as latency:steps=8,bits=4; default: the encoder of the network.",
            metavar="KIND:NAME=VALUE,...",
        ),
    ] = None
    weight_bits: Annotated[
        str | None,
        _of_network(
            "Bits per weight, 1 to 16, for all populations, for some by name, or both, such as 8,lif1=4; default: as "
            f"the file says, else {_WEIGHT_BITS}.",
            "--weight-bits",
            metavar="BITS|NAME=BITS,...",
        ),
    ] = None
    scales: Annotated[
        Scales | None,
        _of_network(
            "Neurons that share a scale of weights and thresholds; default: those of a population. neuron keeps the "
            "precision of neurons with small weights; the core then stores thresholds per neuron."
        ),
    ] = None

    calibrate: Annotated[
        str | None,
        _of_network(
            "Training data, as --inputs, whose activity chooses the scales; default: by the weights alone.",
            metavar="FILE|random:SEED",
        ),
    ] = None
    percentile: Annotated[
        float | None,
        _of_network(
            "With --calibrate, the percentile of the membranes that must not saturate, above 0 to 100; default: 100."
        ),
    ] = None

    def weight_widths(self, network: Network) -> dict[str, int]:
        """Return the bits of the weights into each population of ``network``, by name: as given, else as the file says.

        Raises `InputError` for a name that is no population.
        """
        every, single = _bits(self.weight_bits)
        names = [population.name for population in network.populations]
        unknown = [name for name in single if name not in names]
        if unknown:
            raise InputError(
                f"weight bits must be of populations of network {network.name}, which are {', '.join(names)}, not of "
                f"{unknown[0]}"
            )
        asked = {p.name: _WEIGHT_BITS if p.weight_bits is None else p.weight_bits for p in network.populations}
        return (asked if every is None else dict.fromkeys(names, every)) | single

    def bits_text(self, network: Network) -> str:
        """Return the bits per weight of ``network`` for a sentence: one number, or the smallest and the largest."""
        widths = self.weight_widths(network).values()
        return f"{min(widths)}" if len(set(widths)) == 1 else f"{min(widths)}- to {max(widths)}"

    def widths(self, network: Network, core: CoreParameters) -> Quantisation:
        """Return the quantisation of ``network`` for ``core``."""
        widths = self.weight_widths(network)
        return Quantisation.for_core(
            core,
            weight_width=max(widths.values()),
            scales=self.scales or Scales.POPULATION,
            weight_widths=widths,
            calibration=self.calibration_of(network),
        )

    def calibration_of(self, network: Network) -> Calibration | None:
        """Return the activity of ``network`` on the data of ``--calibrate``; None without."""
        if self.calibrate is None:
            if self.percentile is not None:
                raise InputError("percentile must be left out, unless --calibrate gives the data")
            return None
        return _calibrated(network, self.calibrate, 100.0 if self.percentile is None else self.percentile, self.encoder)

    def encoder_of(self, network: Network) -> Encoder | None:
        """Return the encoder that was given, else the one that the file of ``network`` names, else None."""
        if self.encoder is not None:
            return encoder_from_text(self.encoder)
        return None if network.encoder is None else encoder_from(network.encoder)


LinkOption = Annotated[
    str | None,
    _of_hardware(
        "Link of the board to the host, see: spikeloom boards; default: the first of its links.", metavar="KIND"
    ),
]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Hardware to place the network on; `spikeloom.cli.choosing` turns it into a fabric."""

    board: Annotated[str | None, _of_hardware("Name of the board, see: spikeloom boards.", metavar="NAME")] = None
    link: LinkOption = None
    fabric: Annotated[
        str | None,
        _of_hardware(
            f"Fabric: {', '.join(FABRICS)}, or the fabric.json or folder of a build.", metavar="NAME|FILE|FOLDER"
        ),
    ] = None
    core: Annotated[
        list[str] | None,
        _of_hardware(
            "Field of the core, such as lanes=16. With --board, the other fields are chosen to match. May be repeated.",
            "--core",
            metavar="FIELD=VALUE",
        ),
    ] = None
    mesh: Annotated[
        str | None,
        _of_hardware("Mesh of tiles with the core of the fabric, such as 3x2; default with --tiles: the smallest."),
    ] = None
    tiles: Annotated[int | None, _of_hardware("Number of tiles; default: the fewest that hold the network.")] = None
    seed: Annotated[int, typer.Option(help="Random seed of the mapping.", rich_help_panel=_HARDWARE)] = 0


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Inputs of the network."""

    inputs: Annotated[
        str | None,
        _of_inputs(
            ".npy or .npz with spikes (T, B, n), images (B, ...) or series (T, B, channels); or random:SEED; "
            "default: the digits.",
            metavar="FILE|random:SEED",
        ),
    ] = None
    layout: Annotated[
        Layout | None,
        _of_inputs("Axis order of spikes: tbn (time first) or btn (batch first, transposed); default: tbn."),
    ] = None
    images: Annotated[int | None, _of_inputs("Use only the first N images.", metavar="N")] = None

    def of(self, network: Network, loading: Loading) -> Inputs:
        """Return the inputs for ``network``; print the shape as it was interpreted. Raises `InputError`."""
        encoder = loading.encoder_of(network)
        if self.inputs is not None and self.inputs.startswith("random:"):
            inputs = random_inputs(_seed(self.inputs), network.inputs, encoder, samples=self.images)
        elif self.inputs is not None:
            classes = network.population(network.output).size
            inputs = load_inputs(
                Path(self.inputs),
                network.inputs,
                encoder,
                classes=classes,
                layout=self.layout,
                value_width=network.input_value_width,
            )
        elif network.inputs == 64:
            inputs = held_out_digits(encoder)
        else:
            raise InputError(
                f"network {network.name} has {network.inputs:,} inputs, so --inputs must be a file or "
                f"random:SEED, not omitted"
            )
        chosen = inputs if self.images is None else inputs.first(self.images)
        note(f"inputs: {chosen.shape_text}")
        return chosen


def decided_by(network: Network, decision: Decision) -> Network:
    """Return ``network`` with an output that gives what ``decision`` needs: spikes or membranes."""
    spiking = network.population(network.output).spiking
    if decision.by_spikes and not spiking:
        raise InputError(
            f"decision must be a rule for membranes, not {decision.value}, because {network.output} never fires"
        )
    return network if decision.by_spikes or not spiking else membrane_readout(network)


@lru_cache(maxsize=8)  # a command needs the same one several times
def _calibrated(network: Network, data: str, percentile: float, encoder: str | None) -> Calibration:
    note(f"calibration on {data}")
    inputs = Samples(inputs=data).of(network, Loading(encoder=encoder))
    return calibrate(network, inputs.spikes, percentile=percentile)


def _bits(text: str | None) -> tuple[int | None, dict[str, int]]:
    """Return the bits in ``BITS,NAME=BITS,...``: those of all populations, None if not given, and those by name."""
    every, single = None, {}
    for part in () if text is None else text.split(","):
        name, is_named, number = part.rpartition("=")
        if not number.isdecimal() or (is_named and not name) or (not is_named and every is not None):
            raise InputError(f"weight bits must be BITS or NAME=BITS,..., such as 8,lif1=4, not {text!r}")
        if is_named:
            single[name] = int(number)
        else:
            every = int(number)
    return every, single


def _layers(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options of single nodes, ``NODE:NAME=VALUE,...``; the frontend checks names and values."""
    layers: dict[str, dict[str, Any]] = {}
    for text in texts:
        node, _, settings = text.rpartition(":")
        pairs = [setting.partition("=") for setting in settings.split(",")]
        if not node or not all(name and value for name, _, value in pairs):
            raise InputError(f"layer must be NODE:NAME=VALUE,..., such as lif1:reset=zero, not {text!r}")
        for name, _, value in pairs:
            layers.setdefault(node, {})[name.replace("-", "_")] = _number_or_text(value)
    return layers


def _number_or_text(value: str) -> int | float | str:
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError:
        return value


def _seed(text: str) -> int:
    number = text.removeprefix("random:")
    if not number.isdecimal() or int(number) >= 1 << 32:
        raise InputError(f"inputs must be random:SEED with a seed from 0 to {(1 << 32) - 1}, not {text!r}")
    return int(number)
