"""A small study for tests of exploration: two layers, images of four levels, labels from the float model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from harness.networks import rng_of
from spikeloom.datasets.encoders import Encoder, RateEncoder
from spikeloom.datasets.readout import classify
from spikeloom.explore.points import Point
from spikeloom.explore.study import Study
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population

ENCODER = RateEncoder(steps=6, bits=2)


def small_network(name: str = "small") -> Network:
    """12 inputs, 10 hidden and 4 output neurons with weights of several magnitudes."""
    rng = rng_of(name)
    sizes = {INPUT: 12, "hidden": 10, "class": 4}
    names = list(sizes)
    return Network(
        name=name,
        input_shape=(12,),
        populations=tuple(Population(name=each, shape=(sizes[each],), beta=0.875) for each in names[1:]),
        connections=tuple(
            Connection(source=a, target=b, weight=rng.normal(0.0, 0.6, (sizes[b], sizes[a])))
            for a, b in pairwise(names)
        ),
        output="class",
        time_step_s=1e-3,
        encoder=ENCODER.settings(),
    )


def small_images(count: int = 40) -> dict[str, Any]:
    """Images of the network with the answers of the float model as labels."""
    network = small_network()
    images = rng_of("images").integers(0, 5, (count, 3, 4))
    floats = network.run(ENCODER.encode(images)).spikes["class"]
    return {"images": images, "labels": classify(floats)}


def small_study(**options: Any) -> Study:
    """The network with its images."""
    return Study(**{"network": small_network(), "arrays": small_images()} | options)


def point(
    weight_bits: Any = 8,
    *,
    encoder: Encoder | None = ENCODER,
    steps: int | None = None,
    lanes: int | None = 1,
    board: str = "icebreaker",
) -> Point:
    """A point with the given values."""
    return Point(weight_bits=weight_bits, encoder=encoder, steps=steps, lanes=lanes, board=board)
