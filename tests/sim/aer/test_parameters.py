"""Parameters of AER tiles: their table, and refused values."""

import re
from dataclasses import replace

import numpy as np
import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.aer.registers import AER
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.contents import Contents
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.noc.mesh import MeshParameters

INPUT = AerTileParameters(direction=AerDirection.INPUT, address_width=5, axon_width=9)
OUTPUT = replace(INPUT, direction=AerDirection.OUTPUT)


@pytest.mark.parametrize("tile", [INPUT, OUTPUT])
def test_table(tile):
    addresses, axons = [3, 31, 0], [511, 7, 8]
    words = tile.table_words(addresses, axons)
    assert words.shape == (tile.table.depth, tile.table.planes)
    values = tile.table_layout.values(unpack_lanes(words, 1, tile.table.width))
    before, after = (addresses, axons) if tile.is_input else (axons, addresses)
    assert np.flatnonzero(values["known"]).tolist() == sorted(before)
    assert values["value"][before].tolist() == after


def test_buffers():
    """Two steps are queued at a time, and an input marks which of the 512 axons are in each queue."""
    queue, marks = (9, INPUT.depth), (1, 512)
    assert OUTPUT.buffers == (queue, queue)
    assert sorted(INPUT.buffers) == sorted([queue, marks] * 2)


@pytest.mark.parametrize("tile", [INPUT, OUTPUT])
def test_cost(tile):
    way = f"AER {tile.direction.value}"
    for depth, bits in ((64, 6), (2, 1)):
        assert replace(tile, depth=depth).cost == {way: 1, f"{way}, bits": 5 + 9, f"{way}, level": bits}


@pytest.mark.parametrize("tile", [INPUT, OUTPUT])
def test_the_table_is_memory_1(tile):
    words = (1, 3)
    table = replace(tile, contents=Contents(memories={1: words})).table
    assert (table.number, table.words) == (1, words)
    assert tile.table_words([], []).shape == (tile.table.depth, tile.table.planes)
    assert not tile.table_words([], []).any()


@pytest.mark.parametrize("active_low", [False, True])
def test_pins(active_low):
    """The sender drives the request and the address, the receiver the acknowledgement."""
    for tile, sends in ((INPUT, False), (OUTPUT, True)):
        pins = replace(tile, active_low=active_low).pins
        assert {name: (pin.width, pin.output) for name, pin in pins.items()} == {
            "request": (1, sends),
            "address": (5, sends),
            "acknowledge": (1, not sends),
        }
        assert (pins["request"].idle, pins["acknowledge"].idle) == (active_low, active_low)


def test_sums_of_pixels():
    assert np.count_nonzero(INPUT.table_words([1, 2], [7, 7])[:, 0] & 1) == 2
    assert np.count_nonzero(OUTPUT.table_words([7, 7], [1, 2])[:, 0] & 1) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: INPUT.table_words([1], [1, 2]), "addresses must have one entry per axon, 2, not 1"),
        (lambda: INPUT.table_words([32], [1]), "addresses must be from 0 to 31, not 32 to 32"),
        (lambda: OUTPUT.table_words([1, 1], [-1, 5]), "axons must be from 0 to 511, not -1 to 5"),
        (lambda: INPUT.table_words([1, 1], [2, 3]), "an address must have one axon, not several"),
        (lambda: OUTPUT.table_words([1, 2], [3, 3]), "an axon must have one address, not several"),
        (lambda: replace(INPUT, address_width=19), "address_width must be an integer from 1 to 18, not 19"),
        (lambda: replace(INPUT, depth=12), "depth must be a power of two, not 12"),
        (lambda: replace(INPUT, depth=1 << 15), "depth must be an integer from 2 to 16384, not 32768"),
        (lambda: replace(INPUT, stages=1), "stages must be an integer from 2 to 8, not 1"),
        (lambda: replace(OUTPUT, setup_cycles=0), "setup_cycles must be an integer from 1 to 255, not 0"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_refuses_other_kinds():
    with pytest.raises(TypeError, match=r"^direction must be an AerDirection, not 'input'$"):
        AerTileParameters(direction="input")
    with pytest.raises(TypeError, match=r"^active_low must be a bool, not 1$"):
        replace(INPUT, active_low=1)


def test_a_fabric_makes_them_fit():
    core = CoreParameters(axons=128, v_width=12)
    fabric = FabricConfig(tiles=(None, core, INPUT, OUTPUT), mesh=MeshParameters(columns=2, rows=3))
    assert list(fabric.tiles_of(AerTileParameters)) == [2, 3]
    assert {
        (tile.axon_width, tile.value_width, tile.destinations) for tile in fabric.tiles_of(AerTileParameters).values()
    } == {(7, 12, 6)}
    assert fabric.axon_width == core.axon_width  # the axon widths of the AER tiles do not widen it
    assert fabric.register_map(2) is AER
    assert fabric.core == fabric.cores[1]


BOUNDS = {
    "address_width": (1, 18),
    "stages": (2, 8),
    "setup_cycles": (1, 255),
    "axon_width": (1, 18),
    "value_width": (2, 32),
    "destinations": (1, 64),
    "depth": (2, 16384),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    assert_bounds(AerTileParameters, name, *BOUNDS[name], direction=AerDirection.OUTPUT)


def test_defaults():
    tile = AerTileParameters(direction=AerDirection.INPUT)
    assert (tile.address_width, tile.axon_width, tile.value_width, tile.destinations) == (16, 16, 16, 4)
    assert (tile.depth, tile.stages, tile.active_low, tile.setup_cycles) == (512, 2, False, 1)
