"""All of MNIST on the generated hardware, with every output spike compared with the reference: ``make mnist``.

A `Trial` is a trained network, the width of its weights, an encoder and the core that it runs on. `run_trial` runs it
in a `Runner` and in the integer reference, and counts the places where they differ.

Two times are measured. *Throughput*: images follow each other without gaps, and the next one enters the core while the
previous one is still in it; the images per second are the clock frequency divided by the cycles per image. *Latency*: a
single image, from its first event to its last answer. The clock frequency is the Fmax of the core alone, out of
context, on an ECP5-85F of speed grade 6: the median of the seeds in a file of ``qor/``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Encoder, LatencyEncoder, RateEncoder, encoder_from
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import Digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import Progress, Runner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate

__all__ = [
    "TRIALS",
    "Outcome",
    "Trial",
    "built_fmax_mhz",
    "complaints",
    "run_trial",
    "table_of",
    "write_summary",
]

ALL_IMAGES = 10_000
"""Number of test images of MNIST. A minimum accuracy is only checked on all of them."""

_BATCH = 1000  # images per run of the reference, which limits its memory
_ALONE = 25  # images that are run alone; the latency is the median of them


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Network, encoder and fabric to run.

    Parameters
    ----------
    model
        Name of a file in ``models/``.
    weight_bits
        Width of the weights.
    fabric
        Fabric that it runs on.
    encoder
        Encoder of the images; None for the encoder that the network was trained with.
    least_accuracy
        Minimum accuracy on all test images, from 0 to 1.
    """

    model: str
    weight_bits: int
    fabric: FabricConfig
    encoder: Encoder | None = None
    least_accuracy: float = 0.0

    @property
    def quality(self) -> str:
        """Name of the file in ``qor/`` with the Fmax of the core of the fabric."""
        return f"lif-core-{self.fabric.name}-ecp5-85f.json"

    @property
    def title(self) -> str:
        """Short description."""
        how = "" if self.encoder is None else f", {_encoding(self.encoder)}, {self.encoder.steps} steps"
        return f"{self.model}, {self.weight_bits} bits{how}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a trial: an entry of ``summary.json``.

    ``spikes_compared`` counts the output spikes of the reference, and ``mismatches`` the places (step, image, output
    neuron) in which the output of the hardware differs. ``cycles_per_image`` is the time between consecutive images,
    and ``cycles_alone`` the median latency of single images; they are None if the runner does not count cycles.
    ``fmax_mhz`` is None if the core has not been measured; ``images_per_s`` and ``latency_us`` refer to this clock.
    ``seconds`` is wall time, including compilation.
    """

    model: str
    weight_bits: int
    steps: int
    encoding: str
    images: int
    spikes_compared: int
    mismatches: int
    accuracy: float
    cycles_per_image: float | None
    fmax_mhz: float | None
    images_per_s: float | None
    cycles_alone: float | None
    latency_us: float | None
    seconds: float


def _encoding(encoder: Encoder) -> str:
    """Return a short description of an encoder."""
    if isinstance(encoder, LatencyEncoder):
        return f"latency, {_bits(encoder)}"
    return f"rate, {_bits(encoder)}"


def _bits(encoder: Encoder) -> str:
    return f"{encoder.bits} bit" + "s" * (encoder.bits != 1)


def built_fmax_mhz(quality: Path) -> float | None:
    """Return the median Fmax in a file of ``qor/``; None without the file. Raises ``ValueError`` for other files."""
    if not quality.exists():
        return None
    try:
        content = json.loads(quality.read_text())
        # Files in the older format contain the best seed only.
        return float(statistics.median(content["seeds"].values()) if "seeds" in content else content["fmax_mhz"])
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(quality)!r} must be a kept result of make qor, with fmax_mhz") from error


def _expected(network: QuantisedNetwork, spikes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the output spikes ``(T, B, n)`` of the reference."""
    parts = np.split(spikes, range(_BATCH, spikes.shape[1], _BATCH), axis=1)
    return np.concatenate([simulate(network, part).spikes[network.output] for part in parts], axis=1)


def run_trial(
    trial: Trial,
    digits: Digits,
    *,
    make_runner: Callable[[Program], Runner],
    quality_folder: Path,
    progress: Progress | None = None,
) -> Outcome:
    """Run ``digits`` through ``trial`` and the reference, and compare every output spike.

    ``make_runner`` returns the runner for a program. ``quality_folder`` is ``qor/``. Raises ``ValueError`` if neither
    the trial nor the network names an encoder.
    """
    start = time.monotonic()
    network = load(shipped(trial.model))
    encoder = trial.encoder
    if encoder is None:
        if network.encoder is None:
            raise ValueError(f"{trial.model} does not name the encoder that it was trained with")
        encoder = encoder_from(network.encoder)
    quantised = quantise(network, Quantisation(weight_width=trial.weight_bits, v_width=trial.fabric.core.v_width))
    program = place(quantised, trial.fabric)
    spikes = encoder.encode(pixel_levels(digits.images, encoder.bits))
    runner = make_runner(program)
    result = runner.run(spikes, progress=progress)
    expected = _expected(quantised, spikes)
    cycles = None if result.cycles is None else result.cycles / len(digits)
    alone = [runner.run(spikes[:, number : number + 1]).cycles for number in range(min(_ALONE, len(digits)))]
    latency = None if cycles is None else float(statistics.median(count for count in alone if count is not None))
    fmax_mhz = built_fmax_mhz(quality_folder / trial.quality)
    return Outcome(
        model=trial.model,
        weight_bits=trial.weight_bits,
        steps=encoder.steps,
        encoding=_encoding(encoder),
        images=len(digits),
        spikes_compared=int(np.count_nonzero(expected)),
        mismatches=int(np.count_nonzero(expected != result.output)),
        accuracy=accuracy(result.output, digits.labels),
        cycles_per_image=None if cycles is None else round(cycles, 1),
        fmax_mhz=fmax_mhz,
        images_per_s=None if cycles is None or fmax_mhz is None else round(fmax_mhz * 1e6 / cycles),
        cycles_alone=latency,
        latency_us=None if latency is None or fmax_mhz is None else round(latency / fmax_mhz, 2),
        seconds=round(time.monotonic() - start, 1),
    )


_MLP, _SMALL_MLP, _CONV = "mnist-mlp.nir", "mnist-mlp-128.nir", "mnist-conv.nir"

TRIALS = tuple(
    Trial(
        model=model,
        weight_bits=weight_bits,
        fabric=FABRICS[fabric],
        encoder=encoder,
        least_accuracy=least_accuracy,
    )
    for model, weight_bits, fabric, encoder, least_accuracy in (
        (_MLP, 8, "wide", None, 0.98),
        (_MLP, 4, "wide", None, 0.98),
        (_MLP, 8, "wide", LatencyEncoder(steps=4, bits=1), 0.98),
        (_MLP, 8, "wide", LatencyEncoder(steps=8, bits=3), 0.98),
        (_MLP, 8, "wide", RateEncoder(steps=10, bits=4), 0.98),
        (_SMALL_MLP, 8, "wide", None, 0.98),
        (_SMALL_MLP, 4, "wide", None, 0.98),
        (_CONV, 8, "spatial", None, 0.988),
        (_CONV, 8, "spatial", LatencyEncoder(steps=8, bits=3), 0.988),
    )
)
"""Trials of ``make mnist``. None is the encoder that the network was trained with."""


def complaints(trial: Trial, outcome: Outcome) -> list[str]:
    """Return one sentence for each problem with an outcome."""
    found = []
    if outcome.mismatches:
        places = f"{outcome.mismatches:,} places"
        found.append(f"{trial.title}: hardware and reference differ in {places}, expected no difference")
    if outcome.images == ALL_IMAGES and outcome.accuracy < trial.least_accuracy:
        least = f"{100 * trial.least_accuracy:.1f} %"
        found.append(f"{trial.title}: accuracy must be at least {least}, not {100 * outcome.accuracy:.2f} %")
    return found


def table_of(outcomes: Iterable[Outcome]) -> Table:
    """Return the outcomes as a table for display."""
    table = Table(
        title="MNIST through the hardware; times of the core, out of context, on an ECP5-85F",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("network", no_wrap=True)
    for column in ("bits", "steps"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("encoding", no_wrap=True)
    for column in ("accuracy", "diff", "cycles", "images/s", "µs\nalone"):
        table.add_column(column, justify="right", no_wrap=True)
    for outcome in outcomes:
        per_s = outcome.images_per_s
        table.add_row(
            outcome.model.removeprefix("mnist-").removesuffix(".nir"),
            str(outcome.weight_bits),
            str(outcome.steps),
            outcome.encoding.replace(",", ""),
            f"{100 * outcome.accuracy:.2f} %",
            str(outcome.mismatches),
            "-" if outcome.cycles_per_image is None else f"{outcome.cycles_per_image:,.0f}",
            "-" if per_s is None else f"{per_s:,.0f}",
            "-" if outcome.latency_us is None else f"{outcome.latency_us:.1f}",
        )
    return table


def write_summary(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write ``summary.json``: a list of outcomes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, SUMMARY_FILE.text([asdict(outcome) for outcome in outcomes]))
