"""How many images a second go through a line: ``python -m spikeloom.sw.line_bench``.

A network of 784 inputs and 10 outputs, in the simulation of the whole design with its UART at the pins, gets pseudo
images with as many bright pixels as MNIST's, and spikes or images go in, spikes or answers come out. The cycles of the
simulation divided by the clock are the time on a board; what the driver computes meanwhile takes none of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.encoder import EncoderParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.readout import ReadoutMode, ReadoutParameters
from spikeloom.sw.encode import Encoder, LatencyEncoder, RateEncoder
from spikeloom.sw.load import load
from spikeloom.sw.network import Network
from spikeloom.sw.place import place
from spikeloom.sw.quantise import Quantisation, quantise
from spikeloom.sw.runner import PinsRunner, ReferenceRunner, Task

__all__ = ["FABRIC", "pseudo_images"]

CLOCK_HZ = 25_000_000
DIVISORS = {"1 Mbaud": 25, "3 Mbaud": 8}
"""Cycles a bit; the second is 3.125 Mbaud."""

FABRIC = FabricConfig(
    name="line",
    core=CoreParameters(lanes=8, neurons=32, axons=1024, weight_words=2048, populations=4),
    encoder=EncoderParameters(pixels=1024, bits=4, steps=16, lfsr_width=20),
    readout=ReadoutParameters(outputs=16),
)

ENCODERS: dict[str, Encoder] = {
    "latency, T = 4, 2 bits": LatencyEncoder(steps=4, bits=2),
    "rate, T = 10, 4 bits": RateEncoder(steps=10, bits=4),
}


def pseudo_images(rng: np.random.Generator, count: int, bits: int) -> NDArray[np.int64]:
    """Images ``(B, 784)``: a block of 150 pixels on average is lit, as MNIST's 19 %, most of them near full scale."""
    images = np.zeros((count, 28, 28), np.int64)
    full = 1 << bits
    for image in images:
        for _ in range(3):
            row, column = rng.integers(3, 17, 2)
            height, width = rng.permutation([12, 4])
            lit = rng.integers(1, full + 1, (height, width))
            image[row : row + height, column : column + width] = np.maximum(lit, rng.integers(full // 2, full + 1))
    return images.reshape(count, -1)


def small_network(rng: np.random.Generator) -> Network:
    """784 inputs, 10 integrate-and-fire neurons."""
    import nir

    weights = rng.normal(0, 0.15, (10, 784))
    neurons = nir.IF(r=np.ones(10), v_threshold=np.ones(10))
    nodes = {
        "input": nir.Input({"input": np.array([784])}),
        "weights": nir.Linear(weights),
        "digit": neurons,
        "output": nir.Output({"output": np.array([10])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "weights"), ("weights", "digit"), ("digit", "output")])
    return load(graph, name="line", time_step_s=1.0)


def main(count: int = 8) -> None:
    """Measure all ways and write ``build/line/line.json``."""
    rng = np.random.default_rng(1)
    network = quantise(small_network(rng), Quantisation.for_core(FABRIC.core, weight_width=8))
    program = place(network, FABRIC)
    directory = Path("build/line")
    found = []
    for line, divisor in DIVISORS.items():
        for name, encoder in ENCODERS.items():
            images = pseudo_images(np.random.default_rng(2), count, encoder.bits)
            spikes = encoder.encode(images)
            expected = ReferenceRunner(network).run(spikes).output
            for mode in (ReadoutMode.OFF, ReadoutMode.COUNT):
                for board_encodes in (False, True):
                    task = Task(
                        inputs=images if board_encodes else spikes,
                        encoder=encoder if board_encodes else None,
                        mode=mode,
                    )
                    result = PinsRunner(program, directory, divisor=divisor).do(task)
                    if mode is ReadoutMode.OFF:
                        assert (result.output == expected).all()
                    else:
                        assert result.classes is not None
                        assert (result.classes == expected.sum(axis=0).argmax(axis=1)).all()
                    assert result.cycles is not None
                    rate = count * CLOCK_HZ / result.cycles
                    ways = f"{'encoder' if board_encodes else '-':8} {'readout' if mode else '-':8}"
                    events = spikes.sum() / count
                    print(f"{line} {name:24} {ways} {rate:7.1f} images/s, {events:.0f} input events", flush=True)
                    found.append(
                        {"line": line, "encoder": name, "ways": ways.split(), "images_per_second": round(rate, 1)}
                    )
    (directory / "line.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
