"""A time series in several codes on the generated hardware, with every spike compared: ``make series``.

The test split of the Japanese vowels runs through ``models/vowels-*.nir``, one recurrent network per coding scheme, in
the integer reference and in the compiled core. ``build/series/summary.json`` is a list with one entry per scheme.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import shipped
from spikeloom.datasets.vowels import Vowels, fetch_vowels, load_vowels
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.runners.runner import Runner
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.reference import simulate

__all__ = ["FABRIC", "LEAST_ACCURACY", "SCHEMES", "Outcome", "complaints", "model_of", "run_scheme", "table_of"]

SCHEMES = ("population", "sigma-delta", "step-forward", "bens")
FABRIC = FABRICS["medium"]
LEAST_ACCURACY = 0.9
"""Minimum accuracy of the best scheme on the whole test split."""

TEST_UTTERANCES = 370


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An entry of ``summary.json``.

    ``accuracy`` is that of the hardware, from 0 to 1. ``events_per_sample`` counts input spikes, and
    ``cycles_per_sample`` clock cycles of the core. ``spikes_compared`` counts the spikes of the reference in both
    layers, and ``mismatches`` the places (step, sample, neuron) in which the hardware differs.
    """

    encoder: str
    accuracy: float
    events_per_sample: float
    cycles_per_sample: float
    spikes_compared: int
    mismatches: int


def model_of(scheme: str) -> str:
    """Return the name of the file in ``models/`` with the network for ``scheme``."""
    return f"vowels-{scheme}.nir"


def run_scheme(scheme: str, vowels: Vowels, *, make_runner: Callable[[Program], Runner]) -> Outcome:
    """Run ``vowels`` through the network for ``scheme``, in the reference and in the runner from ``make_runner``.

    Raises ``ValueError`` if the network does not name its encoder.
    """
    network = load(shipped(model_of(scheme)))
    if network.encoder is None:
        raise ValueError(f"network {network.name} does not name the encoder that it was trained with")
    spikes = encoder_from(network.encoder).encode_series(vowels.series)
    quantised = quantise(network, Quantisation.for_core(FABRIC.core, weight_width=8))
    program = place(quantised, FABRIC, observe=[population.name for population in quantised.populations])
    result = make_runner(program).run(spikes)
    compared, mismatches = compare(simulate(quantised, spikes), result)
    assert result.cycles is not None
    return Outcome(
        encoder=scheme,
        accuracy=accuracy(result.spikes[network.output], vowels.labels),
        events_per_sample=round(float(np.count_nonzero(spikes)) / len(vowels), 1),
        cycles_per_sample=round(result.cycles / len(vowels), 1),
        spikes_compared=compared,
        mismatches=mismatches,
    )


def complaints(outcomes: Iterable[Outcome], utterances: int) -> list[str]:
    """Return one sentence for each problem. The accuracy is only checked on the whole test split."""
    listed = list(outcomes)
    found = [
        f"{each.encoder}: hardware and reference differ in {each.mismatches:,} spikes, expected none"
        for each in listed
        if each.mismatches
    ]
    best = max(listed, key=lambda each: each.accuracy)
    if utterances == TEST_UTTERANCES and best.accuracy < LEAST_ACCURACY:
        found.append(
            f"accuracy of the best scheme, {best.encoder}, must be at least {100 * LEAST_ACCURACY:.0f} %, "
            f"not {100 * best.accuracy:.1f} %"
        )
    return found


def table_of(outcomes: Iterable[Outcome]) -> Table:
    """Return the outcomes as a table for display."""
    table = Table(title="Japanese vowels through the hardware", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", no_wrap=True)
    for column in ("accuracy", "events", "cycles", "spikes compared", "differ"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in outcomes:
        table.add_row(
            each.encoder,
            f"{100 * each.accuracy:.1f} %",
            f"{each.events_per_sample:,.0f}",
            f"{each.cycles_per_sample:,.0f}",
            f"{each.spikes_compared:,}",
            str(each.mismatches),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="A time series in several codes through the generated hardware.")
    parser.add_argument("--data", type=Path, help="folder with the two files of the vowels; downloaded if not given")
    parser.add_argument(
        "--utterances", type=int, default=TEST_UTTERANCES, help="run only the first N of the test split"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that simulate")
    parser.add_argument("--output", type=Path, default=Path("build/series"), help="directory for all files")
    arguments = parser.parse_args()
    try:
        test = load_vowels(arguments.data or fetch_vowels(arguments.output), "test")
        if not 1 <= arguments.utterances <= len(test):
            raise ValueError(f"utterances must be from 1 to {len(test)}, not {arguments.utterances}")
        vowels = test.part(np.arange(arguments.utterances))
        outcomes = [
            run_scheme(
                scheme,
                vowels,
                make_runner=lambda program: CompiledRunner(program, arguments.output, workers=arguments.workers),
            )
            for scheme in SCHEMES
        ]
    except (ValueError, OSError, RuntimeError) as error:
        print(f"spikeloom: {error}", file=sys.stderr)
        sys.exit(2)
    write_whole(arguments.output / "summary.json", SUMMARY_FILE.text([asdict(each) for each in outcomes]))
    console = Console(highlight=False)
    console.print(table_of(outcomes))
    console.print(f"{len(vowels):,} utterances of the test split; summary.json in {arguments.output}")
    wrong = complaints(outcomes, len(vowels))
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
