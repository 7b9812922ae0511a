"""Attention tiles: pages of axons, the routes of their spikes, and refused parameters."""

import re
from dataclasses import replace

import numpy as np
import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import RESULT_PASSES, AttentionTileParameters
from spikeloom.sim.lib.contents import Contents
from spikeloom.sim.lib.tile import Widths
from spikeloom.sim.lib.words import unpack_lanes

SHAPE = AttentionParameters(tokens=4, features=2, heads=3)
TILE = AttentionTileParameters(attention=SHAPE, axon_width=8)


def test_cost_and_buffers():
    """Q, K and V of three heads for two steps, and two results per row."""
    tile = replace(TILE, attention=replace(SHAPE, rows=2))
    assert tile.cost == {"attention": 1, "attention, bits": 3, "attention, rows": 6}
    queries, values, results = (2, 3 * 4), (4, 3 * 2), (2, RESULT_PASSES * 2)
    assert sorted(tile.buffers) == sorted([queries, queries, values] * 2 + [results])


def test_an_axon_is_a_page_and_an_index():
    axons = TILE.axons(2)
    assert axons.shape == (3, 4, 2)
    for head, token, feature in np.ndindex(axons.shape):
        assert axons[head, token, feature] == (2 << 5) + (head * 2 + feature) * 4 + token
    assert (TILE.index_bits, TILE.page_bits) == (5, 3), "24 spikes take 5 bits of the 8"
    for page in (-1, 8):
        with pytest.raises(ValueError, match=f"^page must be from 0 to 7, not {page}$"):
            TILE.axons(page)


@pytest.mark.parametrize(("heads", "bits"), [(1, 3), (2, 4), (3, 5), (4, 5), (5, 6)])
def test_bits_of_an_index(heads, bits):
    assert replace(TILE, attention=replace(SHAPE, heads=heads)).index_bits == bits


def test_pages_have_at_most_16_bits():
    assert replace(TILE, axon_width=32).page_bits == 16


def test_routes_hold_the_axon_of_each_spike():
    axons = np.arange(24).reshape(3, 4, 2) * 7 % 251
    words = TILE.routes(axons)
    memory = TILE.memories["routes"]
    assert words.shape == (memory.depth, memory.planes) == (32, 1)
    found = unpack_lanes(words, 1, 8).astype(int) @ (1 << np.arange(8))
    for head, token, feature in np.ndindex(axons.shape):
        assert found[(head * 4 + token) * 2 + feature] == axons[head, token, feature]
    assert found[24:].tolist() == [0] * 8, "numbers that no spike has"
    with pytest.raises(ValueError, match=r"^axon must be from 0 to 255, not 0 to 256$"):
        TILE.routes(axons * 0 + 256 * (axons > 50))


def test_the_tile_has_the_packets_of_its_fabric():
    assert TILE.asks == Widths(8, 0)
    fitted = TILE.fitted(tiles=6, packets=Widths(10, 14))
    assert (fitted.packets, fitted.destinations, fitted.page_bits) == (Widths(10, 14), 6, 5)
    assert fitted.memories["routes"].width == 10


def test_what_it_holds_does_not_tell_tiles_apart():
    held = TILE.holding(Contents(memories={1: (5, 6)}))
    assert held == TILE
    assert held.memories["routes"].words == (5, 6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attention": 5}, TypeError, "attention must be AttentionParameters, not 5"),
        ({"axon_width": 6}, ValueError, "axon_width must be an integer from 7 to 32, not 6"),
        ({"axon_width": 33}, ValueError, "axon_width must be an integer from 7 to 32, not 33"),
        ({"value_width": 1}, ValueError, "value_width must be an integer from 2 to 32, not 1"),
        ({"destinations": 65}, ValueError, "destinations must be an integer from 0 to 64, not 65"),
        ({"destinations": True}, ValueError, "destinations must be an integer from 0 to 64, not True"),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        replace(TILE, **change)
    replace(TILE, axon_width=7, value_width=2, destinations=64)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("axon_width", 7, 32), ("value_width", 2, 32), ("destinations", 0, 64)]
)
def test_bounds(name, low, high):
    assert_bounds(AttentionTileParameters, name, low, high, attention=SHAPE)


def test_defaults():
    tile = AttentionTileParameters(attention=SHAPE)
    assert (tile.axon_width, tile.value_width, tile.destinations) == (16, 16, 0)
