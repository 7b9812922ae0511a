"""The top with an Ethernet device: the real driver at a UDP socket, with the faults of a network."""

from contextlib import closing

import pytest
from amaranth.hdl import Fragment
from harness.cores import LEAN, TINY_PAIR
from harness.network import KINDS, RtlBoard
from harness.networks import random_network, random_spikes, rng_of
from harness.packets import BOARD

from spikeloom.compiler.place import place
from spikeloom.hdl.host.ethernet import GMII_PINS
from spikeloom.hdl.top.ethernet_top import EthernetTop
from spikeloom.host.endpoint import Endpoint
from spikeloom.runners.compare import compare
from spikeloom.runners.runner import BoardRunner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.ethernet import UDP_LINK, EthernetParameters
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.network.reference import simulate

ADDRESSES = EthernetParameters(address="10.0.7.9", port=4711, mac="02:13:57:9b:df:24")
BUILD = bytes(range(50, 66))
CLOCK_HZ = 61_000_000
FABRIC = FabricConfig(core=TINY_PAIR, link=UDP_LINK)


def test_a_session_opens_and_ends():
    assert ADDRESSES.station(BUILD) == BOARD
    fabric = FabricConfig(core=LEAN, link=UDP_LINK)
    top = EthernetTop(fabric, ADDRESSES, BUILD, clock_hz=CLOCK_HZ)
    board = RtlBoard(top, sync_hz=CLOCK_HZ)
    with closing(board.network), Endpoint(board.transport(), timeout_s=0.01) as endpoint:
        assert endpoint.open() == fabric.identity(BUILD, link_kind=LinkKind.UDP, clock_hz=CLOCK_HZ)


def run_network(rng, *, rates, samples, steps):
    network = random_network(rng, TINY_PAIR, inputs=6, sizes=(6, 4))
    program = place(network, FABRIC, observe=[p.name for p in network.populations])
    spikes = random_spikes(rng, samples, steps, 6)
    board = RtlBoard(EthernetTop(FABRIC, ADDRESSES), rates=rates, sync_hz=101e6)
    with closing(board.network):
        result = BoardRunner(program, board.transport()).run(spikes)
    compared, mismatches = compare(simulate(network, spikes), result)
    assert compared > 5
    assert mismatches == 0
    return board


@pytest.mark.parametrize(
    ("samples", "steps", "rate", "least"), [(2, 3, 0.03, 3), pytest.param(40, 10, 0.06, 50, marks=pytest.mark.slow)]
)
def test_spikes_over_a_network_with_faults(samples, steps, rate, least, request):
    """Every datagram may be lost, repeated, reordered or damaged: equal spikes."""
    rates = dict.fromkeys(KINDS, rate)
    board = run_network(rng_of(request.node.name), rates=rates, samples=samples, steps=steps)
    assert sum(board.network.faults[kind] for kind in KINDS) > least


def test_the_mac_address_is_derived_from_the_build():
    top = EthernetTop(FABRIC, EthernetParameters(), BUILD)
    Fragment.get(top, None)
    assert top.ethernet.station(top.identity.build_hash).mac == b"\x02" + BUILD[:5]
    assert {name: len(getattr(top, name)) for name in GMII_PINS} == {
        "rx_data": 8,
        "rx_valid": 1,
        "rx_error": 1,
        "tx_data": 8,
        "tx_valid": 1,
    }
