"""Scaling of a network over the tiles of a mesh: the same spikes in fewer cycles.

``make scaling`` runs the trained digits and MNIST networks through the compiled RTL on 1, 2, 4 and 16 tiles and
compares every spike of every layer with the reference. It prints cycles and speed-up, and writes them to
``build/scaling/summary.json``. All runs use the same mesh, so that only the placement differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.mnist import fetch_mnist, load_mnist, pixel_levels
from spikeloom.datasets.shipped import Digits, load_digits, shipped
from spikeloom.explore.cost import explain, measured_rates
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters

__all__ = ["DIGITS", "MNIST", "TILES", "Scaling", "encoded", "measure"]

TILES = (1, 2, 4, 16)
_RATE_IMAGES = 20  # number of images from which the placement takes spike rates


def _sixteen(core: CoreParameters) -> FabricConfig:
    """Return a mesh with the host bridge and as many cores as the largest of `TILES`."""
    mesh = MeshParameters(columns=5, rows=4)
    return FabricConfig(name="sixteen", tiles=(None, *[core] * max(TILES)), mesh=mesh)


DIGITS = _sixteen(FABRICS["small"].core)
"""One lane per tile, as on the smallest boards."""
MNIST = _sixteen(replace(FABRICS["wide"].core, lanes=8, weight_words=8 * FABRICS["wide"].core.weight_words))
"""The core of `make mnist` with 8 lanes instead of 64, and memory for the whole network in a single tile."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A network on a number of tiles: an entry of ``summary.json``.

    ``spikes_compared`` counts the spikes of the reference in all layers, and ``mismatches`` the places (step, image,
    neuron) in which the hardware differs. ``cycles_expected`` is the estimate of `spikeloom.explore.cost` for the
    placement, per image.
    """

    model: str
    tiles: int
    images: int
    spikes_compared: int
    mismatches: int
    cycles_per_image: float
    cycles_expected: float
    speed_up: float


def encoded(model: str, digits: Digits) -> tuple[QuantisedNetwork, NDArray[np.bool_]]:
    """Return a shipped network with 8-bit weights, and its input spikes ``(T, B, inputs)`` for ``digits``."""
    network = load(shipped(model))
    assert network.encoder is not None
    encoder = encoder_from(network.encoder)
    fabric = DIGITS if model.startswith("digits") else MNIST
    core = next(iter(fabric.cores.values()))
    pixels = pixel_levels(digits.images, encoder.bits) if model.startswith("mnist") else digits.images
    return quantise(network, Quantisation.for_core(core, weight_width=8)), encoder.encode(pixels)


def measure(
    model: str,
    fabric: FabricConfig,
    digits: Digits,
    directory: Path,
    *,
    tiles: tuple[int, ...] = TILES,
    announce: Callable[[str], None] = print,
) -> list[Scaling]:
    """Run ``digits`` through ``model`` on each of the numbers of ``tiles`` of ``fabric``."""
    network, spikes = encoded(model, digits)
    steps, images, _ = spikes.shape
    hidden = [p.name for p in network.populations if p.name != network.output]
    rates = measured_rates(network, spikes[:, :_RATE_IMAGES])
    reference = simulate(network, spikes)
    found: list[Scaling] = []
    for number in tiles:
        program = place(network, fabric, tiles=number, rates=rates, observe=hidden)
        result = CompiledRunner(program, directory, announce=announce).run(spikes)
        compared, mismatches = compare(reference, result)
        assert result.cycles is not None
        cycles = result.cycles / images
        found.append(
            Scaling(
                model=model,
                tiles=number,
                images=images,
                spikes_compared=compared,
                mismatches=mismatches,
                cycles_per_image=round(cycles, 1),
                cycles_expected=round(explain(program, rates).cycles * steps, 1),
                speed_up=round(found[0].cycles_per_image / cycles, 2) if found else 1.0,
            )
        )
    return found


def _table(rows: list[Scaling]) -> Table:
    table = Table(title="One result on any number of tiles", box=box.SIMPLE_HEAD)
    for column in ("network", "tiles", "spikes compared", "differ", "cycles per image", "expected", "speed-up"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        table.add_row(
            row.model.removesuffix(".nir"),
            str(row.tiles),
            f"{row.spikes_compared:,}",
            str(row.mismatches),
            f"{row.cycles_per_image:,.0f}",
            f"{row.cycles_expected:,.0f}",
            f"{row.speed_up:.2f}",
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Measure both networks. The exit status is 1 if a spike differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with MNIST's four IDX files; downloaded if not given")
    parser.add_argument("--images", type=int, default=200, help="images of each network")
    parser.add_argument("--output", type=Path, default=Path("build/scaling"), help="directory for all files")
    options = parser.parse_args(arguments)
    mnist = load_mnist(options.data or fetch_mnist(options.output), "test")
    _, held_out = load_digits()
    rows: list[Scaling] = []
    for model, fabric, digits in (("digits-mlp.nir", DIGITS, held_out), ("mnist-mlp.nir", MNIST, mnist)):
        rows += measure(model, fabric, digits.first(options.images), options.output)
    Console().print(_table(rows))
    path = options.output / "summary.json"
    write_whole(path, SUMMARY_FILE.text([asdict(row) for row in rows]))
    print(f"written to {path}")
    if any(row.mismatches for row in rows):
        print("spikeloom: hardware and reference differ, expected the same spikes", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
