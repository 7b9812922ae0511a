"""A transformer on the generated hardware, with every spike of every layer compared with the reference.

    python -m spikeloom.benchmarks.transformer          # make transformer

The held-out digits run through ``models/digits-transformer.nir`` in the integer reference and in the compiled fabric,
with several seeds for the random numbers of attention. The places in which a spike of any population differs are
counted. ``build/transformer/summary.json`` has the figures, and ``attention.png`` shows which tokens attend to which.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.readout import accuracy, classify
from spikeloom.datasets.shipped import Digits, load_digits, shipped
from spikeloom.explore.cost import measured_rates
from spikeloom.frontends.nir import load
from spikeloom.model.network import Network
from spikeloom.report.raster import RasterError
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.runners.runner import Runner
from spikeloom.sim.attention.attention import draw
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate

__all__ = ["Summary", "attention_map", "run_transformer", "with_seed", "without_attention", "write_attention"]

MODEL = "digits-transformer.nir"
FABRIC = "transformer"
SHOWN = 4  # number of digits in the picture
SAMPLE = 20  # number of images from which the placement takes spike rates


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Content of ``summary.json``.

    Accuracies are from 0 to 1 and means over ``seeds``; ``accuracies_reference`` has the accuracy of each seed.
    ``accuracy_cut`` is that of the reference with the output of attention set to 0. ``spikes_compared`` counts the
    spikes of the reference in all populations and seeds, and ``mismatches`` the places (step, image, neuron) in which
    the hardware differs.
    """

    accuracy_reference: float
    accuracy_rtl: float
    accuracy_cut: float
    accuracies_reference: list[float]
    seeds: list[int]
    images: int
    spikes_compared: int
    mismatches: int
    cycles_per_image: float
    seconds: float


def with_seed(network: QuantisedNetwork, seed: int) -> QuantisedNetwork:
    """Return the network with ``seed`` as the seed of all of its attention units."""
    units = tuple(replace(unit, seed=seed) for unit in network.units_of(QuantisedAttention))
    return replace(network, units=units)


def without_attention(network: QuantisedNetwork) -> QuantisedNetwork:
    """Return the network without attention: the connections from attention units are removed, too."""
    names = {unit.name for unit in network.units}
    kept = tuple(connection for connection in network.connections if connection.source not in names)
    return replace(network, connections=kept, units=())


def run_transformer(
    network: Network,
    digits: Digits,
    *,
    seeds: Sequence[int],
    make_runner: Callable[[QuantisedNetwork], Runner],
    widths: Quantisation,
    announce: Callable[[str], None] = print,
) -> Summary:
    """Run ``digits`` with each of ``seeds`` in the reference and the hardware, and compare every spike.

    ``make_runner`` returns a runner for a network quantised to ``widths`` that observes all of its populations. Raises
    ``ValueError`` if the network does not name its encoder.
    """
    start = time.monotonic()
    if network.encoder is None:
        raise ValueError(f"network {network.name} does not name the encoder that it was trained with")
    spikes = encoder_from(network.encoder).encode(digits.images)
    quantised = quantise(network, widths)
    reference_scores, rtl_scores, cycles = [], [], []
    compared = mismatches = 0
    for seed in seeds:
        seeded = with_seed(quantised, seed)
        reference = simulate(seeded, spikes)
        rtl = make_runner(seeded).run(spikes)
        more, wrong = compare(reference, rtl)
        compared, mismatches = compared + more, mismatches + wrong
        reference_scores.append(accuracy(reference.spikes[network.output], digits.labels))
        rtl_scores.append(accuracy(rtl.output, digits.labels))
        assert rtl.cycles is not None
        cycles.append(rtl.cycles / len(digits))
        announce(
            f"seed {seed}: {100 * reference_scores[-1]:.2f} % as integers, {100 * rtl_scores[-1]:.2f} % as RTL, "
            f"{more:,} spikes compared, {wrong:,} places differ"
        )
    cut = simulate(without_attention(quantised), spikes).spikes[network.output]
    return Summary(
        accuracy_reference=float(np.mean(reference_scores)),
        accuracy_rtl=float(np.mean(rtl_scores)),
        accuracy_cut=accuracy(cut, digits.labels),
        accuracies_reference=reference_scores,
        seeds=list(seeds),
        images=len(digits),
        spikes_compared=compared,
        mismatches=mismatches,
        cycles_per_image=round(float(np.mean(cycles)), 1),
        seconds=round(time.monotonic() - start, 1),
    )


def attention_map(network: QuantisedNetwork, spikes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how often each score S is 1, ``(B, heads, N, N)``: the share of steps in which token i attends to token j.

    ``spikes`` are the input ``(T, B, inputs)``. The network must have one attention unit.
    """
    (attention,) = network.units_of(QuantisedAttention)
    result, shape = simulate(network, spikes), attention.parameters
    words = draw(shape, len(spikes), seed=attention.seed)
    shares = np.zeros((spikes.shape[1], shape.heads, shape.tokens, shape.tokens))
    for t in range(len(spikes)):
        scores, _ = attention.samples({name: result.spikes[name][t] for name in attention.sources}, words.step(t))
        shares += scores
    return shares / len(spikes)


def write_attention(
    path: Path, images: NDArray[Any], shares: NDArray[np.float64], grid: tuple[int, int], titles: Sequence[str]
) -> None:
    """Write a PNG with one row for each of ``images`` ``(B, height, width)``: the image and, for each head, the matrix
    S and the attention that each patch of the image receives.

    ``shares`` ``(B, heads, N, N)`` are those of `attention_map`, and ``grid`` gives the rows and columns of tokens. The
    attention that a patch receives is the mean over all tokens. Raises `RasterError` without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RasterError("matplotlib must be installed to draw attention: pip install matplotlib") from error

    count, heads = shares.shape[:2]
    figure = Figure(figsize=(1.5 * (1 + 2 * heads), 1.6 * count + 0.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(count, 1 + 2 * heads, squeeze=False)
    scale = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    height, width = images.shape[1] // grid[0], images.shape[2] // grid[1]
    for row, (image, share) in enumerate(zip(images, shares, strict=True)):
        panels[row, 0].imshow(image, cmap="Greys")
        panels[row, 0].set_ylabel(titles[row], fontsize=9)
        for head in range(heads):
            matrix, over = panels[row, 1 + 2 * head], panels[row, 2 + 2 * head]
            matrix.imshow(share[head], **scale)
            got = np.kron(share[head].mean(axis=0).reshape(grid), np.ones((height, width)))
            over.imshow(image, cmap="Greys")
            over.imshow(got, alpha=0.65, **scale)
            if row == 0:
                matrix.set_title(f"head {head}: S", fontsize=9)
                over.set_title("patches seen", fontsize=9)
    for panel in panels.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    figure.colorbar(panels[0, 1].images[0], ax=panels, shrink=0.6, label="share of steps in which S[i, j] is 1")
    figure.suptitle("S: row i is the token that looks, column j the token it looks at", fontsize=10)
    with replaced(path) as scratch:
        figure.savefig(scratch, format="png", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="A transformer through the generated hardware.")
    parser.add_argument("--images", type=int, default=360, help="held-out images to run")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of attention's random numbers: 0, 1, ...")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that simulate")
    parser.add_argument("--output", type=Path, default=Path("build/transformer"), help="directory for all files")
    arguments = parser.parse_args()
    network = load(shipped(MODEL))
    _, held_out = load_digits()
    digits = held_out.first(arguments.images)
    arguments.output.mkdir(parents=True, exist_ok=True)
    fabric = FABRICS[FABRIC]
    assert network.encoder is not None
    sample = encoder_from(network.encoder).encode(digits.images[:SAMPLE])

    def make_runner(quantised: QuantisedNetwork) -> Runner:
        rates = measured_rates(quantised, sample)
        program = place(quantised, fabric, observe=quantised.sources[1:], tiles=len(fabric.cores), rates=rates)
        return CompiledRunner(program, arguments.output, workers=arguments.workers)

    summary = run_transformer(
        network,
        digits,
        seeds=range(arguments.seeds),
        make_runner=make_runner,
        widths=Quantisation.for_core(next(iter(fabric.cores.values())), weight_width=8),
    )
    write_whole(arguments.output / "summary.json", SUMMARY_FILE.text(asdict(summary)))
    draw_digits(network, held_out, arguments.output / "attention.png")
    print(
        f"{summary.images:,} images, mean of {len(summary.seeds)} seeds: {100 * summary.accuracy_rtl:.2f} % as RTL, "
        f"{100 * summary.accuracy_reference:.2f} % as integers, {100 * summary.accuracy_cut:.2f} % with attention cut "
        f"off; {summary.spikes_compared:,} spikes compared, {summary.mismatches:,} places differ, "
        f"{summary.cycles_per_image:,.0f} cycles per image; summary.json and attention.png in {arguments.output}"
    )
    if summary.mismatches:
        sys.exit("spikeloom: RTL and reference differ, expected the same spikes")


def draw_digits(network: Network, digits: Digits, path: Path) -> None:
    """Write the picture of attention, for the first image of each of the digits 0 to `SHOWN` - 1."""
    quantised = quantise(network)
    chosen = [int(np.flatnonzero(digits.labels == label)[0]) for label in range(SHOWN)]
    assert network.encoder is not None
    spikes = encoder_from(network.encoder).encode(digits.images[chosen])
    answers = classify(simulate(quantised, spikes).spikes[network.output])
    grid = network.population(quantised.units_of(QuantisedAttention)[0].query).shape[1:]
    titles = [f"a {digits.labels[image]}, taken for {answer}" for image, answer in zip(chosen, answers, strict=True)]
    write_attention(path, digits.images[chosen], attention_map(quantised, spikes), (grid[0], grid[1]), titles)


if __name__ == "__main__":
    main()
