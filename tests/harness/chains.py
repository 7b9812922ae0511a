"""Networks of a few neurons, built by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spikeloom.sim.core.neuron import Leak, NeuronParameters, Reset
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.unit import QuantisedUnit, UnitStep


def relay(name: str) -> QuantisedPopulation:
    """A neuron that fires in each step in which any event reaches it."""
    return QuantisedPopulation(name=name, parameters=NeuronParameters(size=1, threshold=0, reset=Reset.ZERO))


def graded(name: str, size: int = 1, **changes: object) -> QuantisedPopulation:
    """Neurons without memory that send their input as a value."""
    rule = {"size": size, "threshold": 0, "leak": Leak.CLEAR, "reset": Reset.NONE, "graded": True} | changes
    return QuantisedPopulation(name=name, parameters=NeuronParameters(**rule))


def connection(source: str, target: str, weight: int = 1, delay: int = 0) -> QuantisedConnection:
    """One weight between two single neurons."""
    return QuantisedConnection(source=source, target=target, weight=np.array([[weight]]), delay=delay)


@dataclass(frozen=True)
class Gate(QuantisedUnit):
    """A unit that fires where all of its sources fire; if it ``alternates``, every second step inverts this."""

    name: str
    reads: tuple[str, ...]
    alternates: bool = False
    size = 1
    needs = "a gate of its own"

    @property
    def sources(self) -> tuple[str, ...]:
        return self.reads

    def begin(self, steps: int, samples: int) -> UnitStep:
        count = 0

        def step(fired: Mapping[str, np.ndarray]) -> np.ndarray:
            nonlocal count
            count += 1
            every = np.logical_and.reduce([fired[name] for name in self.reads])
            return every ^ (self.alternates and count % 2 == 0)

        return step


def network(
    populations: Iterable[QuantisedPopulation], connections: Iterable[QuantisedConnection], **changes: object
) -> QuantisedNetwork:
    """A network with one input line; its output is the last of ``populations``."""
    every = tuple(populations)
    arguments = {"name": "test", "inputs": 1, "output": every[-1].name} | changes
    return QuantisedNetwork(populations=every, connections=tuple(connections), **arguments)


def chain(*sizes: int, weight: int = 1, **parameters: object) -> QuantisedNetwork:
    """``sizes[0]`` inputs and dense layers ``a``, ``b``, ..., all weights the same."""
    names = [INPUT, *"abcdefgh"[: len(sizes) - 1]]
    return network(
        [
            QuantisedPopulation(name=name, parameters=NeuronParameters(**({"size": size} | parameters)))
            for name, size in zip(names[1:], sizes[1:], strict=True)
        ],
        [
            QuantisedConnection(source=source, target=target, weight=np.full((to, of), weight))
            for (source, of), (target, to) in pairwise(zip(names, sizes, strict=True))
        ],
        name="net",
        inputs=sizes[0],
    )
