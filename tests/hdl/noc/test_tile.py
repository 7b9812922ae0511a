"""The ports of tiles, the same for every kind, and the component built for each kind."""

from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.hdl.noc.tile import TileSignature, build_tile
from spikeloom.hdl.top import fabric  # noqa: F401 (what fabrics are built of is registered)
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import TileParameters, Widths

TILES = (
    CoreParameters(destinations=4),
    AttentionTileParameters(attention=AttentionParameters(tokens=4, features=2), destinations=4),
    AerTileParameters(direction=AerDirection.INPUT, active_low=True),
    AerTileParameters(direction=AerDirection.OUTPUT),
)
COMMON = {"i", "o", "configuration", "clear", "reset", "step_done"}


@pytest.mark.parametrize("parameters", TILES, ids=lambda tile: tile.kind)
def test_every_kind_has_the_ports_of_a_tile(parameters):
    tile = build_tile(parameters)
    Fragment.get(tile, None)  # it elaborates
    assert isinstance(tile.signature, TileSignature)
    assert set(tile.signature.members) == COMMON | set(parameters.pins)
    assert tile.i.payload.shape() == packet_layout(*parameters.packets)
    assert tile.o.payload.shape() == packet_layout(*parameters.packets, 4)
    for name, pin in parameters.pins.items():
        member = tile.signature.members[name]
        assert (member.flow is wiring.Out, member.init or 0) == (pin.output, pin.idle)
        assert len(getattr(tile, name)) == pin.width


@dataclass(frozen=True, kw_only=True)
class SoftwareOnly(TileParameters, kind="software_only", register_map=CORE):
    destinations: int = 0
    contents: Contents = field(default=NOTHING, compare=False)

    @property
    def packets(self) -> Widths:
        return Widths(4, 4)

    def fitted(self, *, tiles: int, packets: Widths) -> "SoftwareOnly":
        return self

    @property
    def memories(self) -> dict[str, Memory]:
        return {}


def test_a_kind_without_hardware_is_refused():
    message = r"^kind of a tile must be one that has hardware \(.*core.*\), not software_only$"
    with pytest.raises(ValueError, match=message):
        build_tile(SoftwareOnly())
