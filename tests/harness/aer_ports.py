"""Random networks on a fabric with an input port at tile 2 and an output port at tile 4."""

from __future__ import annotations

from harness.fabric import SMALL
from harness.networks import random_network, rng_of
from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.noc.mesh import MeshParameters

GIVE = AerTileParameters(direction=AerDirection.INPUT, address_width=4, depth=8)
TAKE = AerTileParameters(direction=AerDirection.OUTPUT, address_width=4, depth=8)
FABRIC = FabricConfig(name="ports", tiles=(None, SMALL, GIVE, SMALL, TAKE), mesh=MeshParameters(columns=3, rows=2))


def network_of(name: str, *, sizes: tuple[int, ...] = (10, 8), **options: object) -> QuantisedNetwork:
    """A random network of 12 inputs, seeded by ``name``."""
    return random_network(rng_of(name), SMALL, inputs=12, sizes=sizes, **options)


def placed(network: QuantisedNetwork, **options: object) -> Program:
    """A program of ``network`` on the cores of `FABRIC`, with its input observed."""
    ports = {"input_from": AerInput(tile=2, step_cycles=77), "output_to": AerOutput(tile=4, patience=99)}
    return place(network, FABRIC, tiles=2, **({"observe": [INPUT]} | ports | options))
