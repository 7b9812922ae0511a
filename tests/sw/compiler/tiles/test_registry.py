"""The compiler class for each kind of tile."""

from dataclasses import dataclass, field

import pytest

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.tiles.registry import compiler_of, tiles_for
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import TileParameters, Widths
from spikeloom.sim.network.attention import QuantisedAttention

ATTENTION = AttentionTileParameters(attention=AttentionParameters(tokens=8, features=16, heads=4))
GIVER = AerTileParameters(direction=AerDirection.INPUT)


def attention_of(**shape):
    names = {"name": "a", "query": "q", "key": "k", "value": "v"}
    return QuantisedAttention(**names, parameters=AttentionParameters(**shape))


def test_what_each_kind_is_for():
    core, attention, aer = (compiler_of(tile) for tile in (CoreParameters(), ATTENTION, GIVER))
    assert [compiler.is_unit for compiler in (core, attention, aer)] == [False, True, False]
    assert attention.page_axons(ATTENTION) == 8 * 16 * 4
    assert aer.is_port(GIVER, AerInput(tile=1), brings_input=True)
    assert not aer.is_port(GIVER, AerOutput(tile=1), brings_input=False)
    assert not core.is_port(CoreParameters(), AerInput(tile=1), brings_input=True)


def test_which_tiles_hold_a_unit():
    assert tiles_for(attention_of(tokens=8, features=16, heads=4), FABRICS["transformer"]) == [3]
    assert tiles_for(attention_of(tokens=8, features=16, heads=2), FABRICS["transformer"]) == []
    assert tiles_for(attention_of(tokens=8, features=16, heads=4), FABRICS["small"]) == []


@dataclass(frozen=True, kw_only=True)
class HardwareOnly(TileParameters, kind="hardware_only", register_map=CORE):
    destinations: int = 0
    contents: Contents = field(default=NOTHING, compare=False)

    @property
    def packets(self) -> Widths:
        return Widths(4, 4)

    def fitted(self, *, tiles: int, packets: Widths) -> "HardwareOnly":
        return self

    @property
    def memories(self) -> dict[str, Memory]:
        return {}


def test_a_kind_without_compiler_is_refused():
    message = r"^kind of a tile must have a registered compiler \(.*core.*\), not hardware_only$"
    with pytest.raises(ValueError, match=message):
        compiler_of(HardwareOnly())
