"""Reports of random networks on meshes."""

from __future__ import annotations

import numpy as np

from harness.cores import MESHED
from harness.networks import random_network, random_spikes
from spikeloom.compiler.place import place
from spikeloom.report.collect import Report, gather
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.noc.mesh import MeshParameters


def random_report(
    rng: np.random.Generator, *, columns: int = 3, rows: int = 2, **options: object
) -> tuple[QuantisedNetwork, np.ndarray, Report]:
    """A network of three populations on three tiles, its spikes ``(12, 3, inputs)``, and their report."""
    core = MESHED
    network = random_network(rng, core, sizes=(9, 7, 5))
    mesh = MeshParameters(columns=columns, rows=rows)
    fabric = FabricConfig(tiles=(None, *[core] * (mesh.tiles - 1)), mesh=mesh)
    program = place(network, fabric, tiles=3)
    spikes = random_spikes(rng, 12, 3, network.inputs)
    return network, spikes, gather(network, program, spikes, **options)
