"""The contract of tiles: members of every kind, and how kinds are distinguished."""

from dataclasses import dataclass, field, replace

import pytest

from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.kinds import KINDS
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.tile import Capacity, TileParameters, Widths, tile_kinds

TILES = (
    CoreParameters(coordinate_width=2, sparse=True),
    AttentionTileParameters(attention=AttentionParameters(tokens=4, features=2)),
    AerTileParameters(direction=AerDirection.INPUT),
    AerTileParameters(direction=AerDirection.OUTPUT),
)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.kind)
def test_every_kind_keeps_the_contract(tile):
    assert tile_kinds()[tile.kind] is type(tile)
    assert type(tile) in KINDS
    declared = {memory.name: memory.number for memory in tile.register_map.memories}
    every = (tile, replace(tile, streamed_words=64)) if isinstance(tile, CoreParameters) else (tile,)
    assert {name: memory.number for one in every for name, memory in one.memories.items()} == declared
    assert {"control", "sources", "sinks", "status"} <= {register.name for register in tile.register_map.registers}
    fitted = tile.fitted(tiles=6, packets=Widths(17, 24))
    assert (fitted.destinations, fitted.packets.axon) == (6, 17)
    assert fitted.fitted(tiles=6, packets=Widths(17, 24)) == fitted
    held = tile.holding(Contents(registers={"sources": 1}))
    assert held == tile
    assert held.contents.registers == {"sources": 1}
    assert set(tile.counters) <= {r.name for r in tile.register_map.registers if r.access == "read"}
    assert "status" not in tile.counters


def test_what_kinds_ask_and_have():
    core, attention, giver, _ = TILES
    assert core.asks == core.packets == Widths(core.axon_width, core.v_width)
    assert attention.asks == Widths(attention.axon_width, 0)
    assert giver.asks == Widths(0, 0)
    assert core.capacity == Capacity(neurons=64, synapses=4096, operations_per_cycle=1)
    assert replace(core, lanes=4).capacity.operations_per_cycle == 4
    assert attention.capacity == Capacity()
    assert [tile.sends_values for tile in (core, replace(core, value_width=4), attention)] == [False, True, False]
    assert [tile.input_value_width for tile in (core, replace(core, value_width=4), giver)] == [0, 4, 0]
    assert (giver.left_to_host, core.left_to_host) == ({"sources"}, frozenset())
    assert [{name for name, pin in tile.pins.items() if pin.output} for tile in TILES] == [
        set(),
        set(),
        {"acknowledge"},
        {"request", "address"},
    ]


def test_widths_of_the_configuration_port():
    """Of the deepest memory or the 64 bytes of registers, and of the widest word."""
    giver = TILES[2]
    for width, bits in ((5, 6), (6, 6), (7, 7), (18, 18)):
        assert replace(giver, address_width=width).index_width == bits
    assert [replace(giver, axon_width=width).plane_width for width in (7, 8, 15, 16)] == [1, 1, 1, 2]
    assert CoreParameters(lanes=1, weight_words=1 << 17).index_width == 17


def test_a_kind_has_its_name_alone():
    with pytest.raises(
        ValueError, match=r"^kind of a tile must be unique, but 'aer' is that of AerTileParameters already$"
    ):

        class Other(TileParameters, kind="aer", register_map=AerTileParameters.register_map):
            pass


def test_a_kind_must_say_what_it_has_no_default_for():
    @dataclass(frozen=True, kw_only=True)
    class Unfinished(TileParameters):
        destinations: int = 0
        contents: Contents = field(default=NOTHING, compare=False)

    with pytest.raises(TypeError, match=r"abstract methods '?fitted'?, '?memories'?, '?packets'?$"):
        Unfinished()
