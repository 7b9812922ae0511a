"""Random cuts of networks."""

from __future__ import annotations

import numpy as np

from spikeloom.sim.network import QuantisedNetwork
from spikeloom.sw.split import neurons_a_channel


def random_cuts(rng: np.random.Generator, network: QuantisedNetwork, *, most: int = 4) -> dict[str, list[int]]:
    """Cuts of every population, at most ``most`` each."""
    cuts = {}
    for population in network.populations:
        together = neurons_a_channel(network, population.name)
        places = np.arange(together, population.size, together)
        count = int(rng.integers(0, min(most, len(places)) + 1))
        cuts[population.name] = sorted(int(place) for place in rng.choice(places, count, replace=False))
    return cuts
