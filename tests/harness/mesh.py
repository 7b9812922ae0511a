"""Random traffic for a router or a mesh, and the deliveries that the model expects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness.streams import StreamRun, run_streams
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.hdl.noc.router import Router
from spikeloom.sim.noc.mesh import MeshParameters, Port


@dataclass
class Traffic:
    """Packets for each input, and the words that each output must give: for each input, in their order."""

    words: list[list[int]] = field(default_factory=list)
    expected: list[list[list[int]]] = field(default_factory=list)  #: [output][input][n]

    @property
    def copies(self) -> int:
        """The number of words that leave."""
        return sum(len(words) for output in self.expected for words in output)


def random_destinations(rng: np.random.Generator, tiles: int) -> int:
    """One tile, some, all or none."""
    kind = rng.choice(4, p=[0.45, 0.4, 0.1, 0.05])
    if kind == 0:
        return 1 << int(rng.integers(tiles))
    density = {1: 0.4, 2: 1.0, 3: 0.0}[int(kind)]
    return sum(1 << tile for tile in range(tiles) if rng.random() < density)


def _payloads(rng: np.random.Generator, parameters: MeshParameters, source: int, sources: int, count: int) -> list[int]:
    """Numbers that identify sender and order, with random bits above them if there is room."""
    numbers = np.arange(count) * sources + source
    width = max(int(numbers.max(initial=0)).bit_length(), 1)
    assert width <= parameters.payload_width, "payloads must be wide enough to tell all packets apart"
    high = rng.integers(1 << min(parameters.payload_width - width, 30), size=count)
    return [int(number) | int(bits) << width for number, bits in zip(numbers, high, strict=True)]


def router_traffic(rng: np.random.Generator, parameters: MeshParameters, tile: int, count: int) -> Traffic:
    """``count`` packets for each port; neighbours also send destinations that cannot be behind their side."""
    ports = parameters.ports(tile)
    traffic = Traffic(expected=[[[] for _ in ports] for _ in ports])
    width = parameters.payload_width
    for number, entry in enumerate(ports):
        traffic.words.append([])
        for payload in _payloads(rng, parameters, number, len(ports), count):
            destinations = random_destinations(rng, parameters.tiles)
            traffic.words[-1].append(payload | destinations << width)
            for output, port in enumerate(ports):
                branch = destinations & parameters.arrivals(tile, entry) & parameters.mask(tile, port)
                if branch:
                    word = payload if port is Port.LOCAL else payload | branch << width
                    traffic.expected[output][number].append(word)
    return traffic


def mesh_traffic(rng: np.random.Generator, parameters: MeshParameters, count: int) -> Traffic:
    """``count`` packets for each tile."""
    tiles = parameters.tiles
    traffic = Traffic(expected=[[[] for _ in range(tiles)] for _ in range(tiles)])
    for source in range(tiles):
        traffic.words.append([])
        for payload in _payloads(rng, parameters, source, tiles, count):
            destinations = random_destinations(rng, tiles)
            traffic.words[-1].append(payload | destinations << parameters.payload_width)
            for sink in parameters.route(source, destinations).hops:
                traffic.expected[sink][source].append(payload)
    return traffic


def check(run: StreamRun, traffic: Traffic) -> None:
    """Assert that each word leaves once, at its outputs only, and that those of one input stay in order."""
    for output, by_input in enumerate(traffic.expected):
        found = run.words(output)
        assert sorted(found) == sorted(word for words in by_input for word in words)
        for words in by_input:
            mine = set(words)
            assert [word for word in found if word in mine] == words
    assert [[word for word, _ in taken] for taken in run.taken] == traffic.words


def run_router(router: Router, traffic: Traffic, rng: np.random.Generator, **how: float) -> StreamRun:
    """Run a router, with its ports in the order of the model."""
    ports = router.parameters.ports(router.tile)
    inputs = [getattr(router, f"{port.value}_i") for port in ports]
    outputs = [getattr(router, f"{port.value}_o") for port in ports]
    return run_streams(router, inputs, outputs, traffic.words, rng, **how)


def run_mesh(mesh: Mesh, traffic: Traffic, rng: np.random.Generator, **how: float) -> StreamRun:
    """Run the tiles of a mesh."""
    tiles = range(mesh.parameters.tiles)
    return run_streams(mesh, [mesh.i[t] for t in tiles], [mesh.o[t] for t in tiles], traffic.words, rng, **how)
