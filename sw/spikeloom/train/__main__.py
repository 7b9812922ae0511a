"""``make train``: train what `spikeloom.train.mnist` describes, compare with the integers, and write a summary.

A training that was interrupted resumes at its last epoch; what is finished is only measured again. The exit status is 1
if a bound is missed. Networks of integers are saved for the other commands.
"""

# PyTorch is installed only where networks are trained.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from spikeloom.datasets.mnist import MnistError, fetch_mnist, load_mnist
from spikeloom.frontends.saving import save
from spikeloom.train.mnist import (
    RECIPES,
    VALIDATION,
    checkpoint,
    complaints,
    measure,
    network_file,
    split,
    train,
    write_summary,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m spikeloom.train", description="Train on the integers of the hardware and compare with them."
    )
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of MNIST; downloaded if not given")
    parser.add_argument("--output", type=Path, default=Path("build/train"), help="where parameters and summary go")
    parser.add_argument("--only", default="", help="only recipes with this in their name")
    parser.add_argument("--validate", action="store_true", help="do not evaluate on the test images")
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use")
    options = parser.parse_args(arguments)
    if find_spec("torch") is None:
        print("spikeloom: training needs PyTorch; pip install 'spikeloom[train]'", file=sys.stderr)
        return 2
    import torch

    torch.set_num_threads(options.threads)
    chosen = [recipe for recipe in RECIPES if options.only in recipe.name]
    if not chosen:
        names = ", ".join(recipe.name for recipe in RECIPES)
        print(f"spikeloom: --only must be part of one of {names}, not {options.only!r}", file=sys.stderr)
        return 2
    try:
        folder = options.data or fetch_mnist(Path("build/mnist"))
        fitted, validation = split(load_mnist(folder, "train"), VALIDATION)
        test = load_mnist(folder, "test")
    except MnistError as error:
        print(f"spikeloom: {error}", file=sys.stderr)
        return 2
    kept: Path = options.output
    outcomes = []
    for number, recipe in enumerate(chosen, 1):
        print(f"{recipe.name} ({number} of {len(chosen)})", flush=True)
        start = next((checkpoint(other, kept) for other in RECIPES if other.name == recipe.start), None)
        if start is not None and not start.exists():
            print(f"spikeloom: {recipe.name} must follow {recipe.start}: train that first", file=sys.stderr)
            return 2
        model, seconds = train(recipe, fitted, folder=kept, start=start, report=lambda line: print(line, flush=True))
        if recipe.quantisation is not None:
            save(model.to_network(), network_file(recipe, kept))
        for part, digits in (("validation", validation), ("test", test)):
            if part == "test" and options.validate:
                continue
            outcome = measure(recipe, model, digits, part=part, seconds=seconds)
            compared = f", {outcome.differing:,} of {outcome.cells:,} cells differ from the integers"
            print(
                f"  {100 * outcome.accuracy:.2f} % of the {len(digits):,} {part} images"
                + (compared if outcome.cells else ""),
                flush=True,
            )
            outcomes.append(outcome)
            write_summary(kept / "summary.json", outcomes)
    print(f"{kept / 'summary.json'} is written")
    wrong = complaints(outcomes)
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
