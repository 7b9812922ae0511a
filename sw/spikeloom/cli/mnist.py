"""``spikeloom mnist``: run MNIST through the simulated hardware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.console import note, out, progress_bar
from spikeloom.cli.options import OptimiseOption

__all__ = ["mnist"]


def mnist(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the four IDX files of MNIST; default: download them.", show_default=False),
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Use only the first N images.", metavar="N", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of simulation threads.")] = 2,
    optimise: OptimiseOption = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output directory.")] = Path("build/mnist"),
) -> None:
    """Run the test images of MNIST through the hardware, compare every spike, and estimate the speed of a board."""
    from spikeloom.benchmarks.mnist import TRIALS, Outcome, Trial, complaints, run_trial, table_of, write_summary
    from spikeloom.boards.qor.figures import kept_folder
    from spikeloom.datasets.mnist import fetch_mnist, load_mnist
    from spikeloom.runners.compiled import CompiledRunner

    quality_folder = kept_folder()
    digits = load_mnist(data or fetch_mnist(output, announce=note), "test").first(images)

    def run(trial: Trial) -> Outcome:
        with progress_bar(trial.title) as bar:
            task = bar.add_task("", total=len(digits), visible=False)
            return run_trial(
                trial,
                digits,
                make_runner=lambda program: CompiledRunner(
                    program, output, workers=workers, optimise=optimise, announce=note
                ),
                quality_folder=quality_folder,
                progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
            )

    outcomes = [run(trial) for trial in TRIALS]
    write_summary(output / "summary.json", outcomes)
    out.print(table_of(outcomes))
    compared = sum(outcome.spikes_compared for outcome in outcomes)
    out.print(f"{len(digits):,} images, {compared:,} output spikes compared, summary.json in {output}")
    for quality in sorted({trial.quality for trial in TRIALS if not (quality_folder / trial.quality).exists()}):
        out.print(f"clock unknown: qor/{quality} is missing; run make qor")
    wrong = [sentence for pair in zip(TRIALS, outcomes, strict=True) for sentence in complaints(*pair)]
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)
