"""Random cuts of networks."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.partition import bands, neurons_per_channel
from spikeloom.sim.network.network import QuantisedNetwork


def random_cuts(
    rng: np.random.Generator, network: QuantisedNetwork, *, most: int = 4
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Cuts of every population between neurons, channels or lines, at most ``most`` each, in the form that `split`
    takes."""
    cuts, band_cuts = {}, {}
    for population in network.populations:
        possible = bands(network, population.name)
        banded = possible is not None and rng.random() < 0.5
        if banded:
            places = np.arange(possible.lines, possible.shape[1], possible.lines)
        else:
            together = neurons_per_channel(network, population.name)
            places = np.arange(together, population.size, together)
        count = int(rng.integers(0, min(most, len(places)) + 1))
        chosen = sorted(int(place) for place in rng.choice(places, count, replace=False))
        (band_cuts if banded else cuts)[population.name] = chosen
    return cuts, band_cuts
