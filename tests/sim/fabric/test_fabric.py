"""Fabrics: tiles adapted to each other, totals of a fabric, and invalid fabrics."""

from dataclasses import dataclass, replace

import pytest

from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.identity import Feature, LinkKind
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.registers import READ_BACK_CYCLES
from spikeloom.sim.lib.tile import TileParameters, Widths
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.arbiter import ArbiterParameters
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import READ_CYCLES, WeightMemoryParameters

NARROW = CoreParameters(lanes=2, neurons=16, axons=32, weight_words=64, v_width=10, accumulator_width=16)
WIDE = CoreParameters(lanes=4, neurons=64, axons=200, weight_words=100, v_width=14, accumulator_width=16)
STREAMED = replace(WIDE, weight_memory="sdram", weight_words=1 << 23)
SDRAM = SdramParameters(chip=BOARDS["ulx3s"], clock_hz=120_000_000, more_column_bits=1)
ATTENTION = AttentionTileParameters(attention=AttentionParameters(tokens=4, features=2), axon_width=11)
GIVER = AerTileParameters(direction=AerDirection.INPUT)
TILES = (None, NARROW, ATTENTION, WIDE, GIVER)
MIXED = FabricConfig(name="mixed", tiles=TILES, mesh=MeshParameters(columns=3, rows=2))


def test_a_core_alone():
    fabric = FabricConfig(core=NARROW)
    assert fabric.tiles == (None, NARROW.fitted(tiles=0, packets=Widths(0, 0)))
    assert (fabric.core, fabric.cores, fabric.mesh) == (fabric.tile(1), {1: fabric.tile(1)}, None)
    assert fabric.link == LinkParameters()
    assert FabricConfig() == FabricConfig(core=CoreParameters())
    assert fabric.configuration_latency == 1


def test_all_tiles_send_packets_of_the_widest():
    axon = max(tile.asks.axon for tile in TILES[1:])
    value = max(tile.asks.value for tile in TILES[1:])
    assert len({tile.asks for tile in TILES[1:]}) == 4, "tiles ask for different widths"
    assert (MIXED.axon_width, MIXED.value_width) == (axon, value)
    assert all(tile.packets.axon == axon for tile in MIXED.numbered.values())
    assert {tile.destinations for tile in MIXED.numbered.values()} == {6}, "places of the mesh, the empty one too"
    assert MIXED.mesh.payload_width == 4 + axon + value
    assert FabricConfig(name="mixed", tiles=MIXED.tiles, mesh=MIXED.mesh) == MIXED, "what fits stays"


def test_tiles_by_number():
    assert list(MIXED.numbered) == [1, 2, 3, 4]
    assert list(MIXED.cores) == [1, 3]
    assert list(MIXED.tiles_of(AerTileParameters)) == [4]
    assert MIXED.tile(2).attention == ATTENTION.attention
    assert [MIXED.register_map(number) for number in (0, 1)] == [BRIDGE, CORE]
    assert MIXED.register_map(4) is GIVER.register_map
    for number in (0, 5, -1):
        with pytest.raises(ValueError, match=f"^tile must be from 1 to 4, not {number}$"):
            MIXED.tile(number)
    for number in (-1, 5):
        with pytest.raises(ValueError, match=f"^tile must be from 0 to 4, not {number}$"):
            MIXED.register_map(number)
    with pytest.raises(ValueError, match=r"^fabric mixed must have cores of one kind, not of 2$"):
        MIXED.core  # noqa: B018


def test_what_it_adds_up_to():
    assert (MIXED.neurons, MIXED.synapses, MIXED.synaptic_operations_per_cycle) == (16 + 64, 2 * 64 + 4 * 100, 2 + 4)
    identity = MIXED.identity(bytes(range(16)))
    assert (identity.tiles, identity.lanes, identity.neurons, identity.axons) == (4, 4, 64, 200)
    assert (identity.weight_words, identity.weight_width, identity.v_width) == (100, 8, 14)
    assert (identity.build_hash, MIXED.identity().build_hash) == (bytes(range(16)), bytes(16))
    assert (identity.link_kind, identity.clock_hz) == (LinkKind.UNKNOWN, 0)
    assert identity.maximum_payload == MIXED.link.maximum_payload
    identity = MIXED.identity(link_kind=LinkKind.USB, clock_hz=60_000_000)
    assert (identity.link_kind, identity.clock_hz) == (LinkKind.USB, 60_000_000)


@pytest.mark.parametrize(
    ("arguments", "features"),
    [
        ({}, Feature(0)),
        ({"encoder": EncoderParameters()}, Feature.ENCODER),
        ({"encoder": EncoderParameters(hold=True)}, Feature.ENCODER | Feature.HELD_INPUT),
        ({"readout": ReadoutParameters()}, Feature.READOUT),
        ({"mesh": MeshParameters(columns=2, rows=1)}, Feature.MESH),
        ({"read_back": True}, Feature.MEMORY_READ),
        ({"tiles": (None, CoreParameters(read_back=True))}, Feature.MEMORY_READ),
        ({"tiles": (None, CoreParameters(value_width=6))}, Feature.HOST_VALUES),
        ({"tiles": (None, STREAMED), "sdram": SDRAM}, Feature.SDRAM | Feature.MEMORY_READ),
    ],
)
def test_features(arguments, features):
    fabric = FabricConfig(**{"tiles": (None, CoreParameters())} | arguments)
    assert fabric.features == fabric.identity().features == features


def test_weights_in_sdram():
    fabric = FabricConfig(core=STREAMED, sdram=SDRAM)
    assert fabric.weights == WeightMemoryParameters(sdram=SDRAM, word_bits=32, words=1 << 23, row_words=16)
    assert fabric.read_back
    assert fabric.core.read_back
    assert fabric.configuration_latency == READ_CYCLES
    assert fabric.index_width == 23
    assert replace(fabric, name="other").weights == fabric.weights
    assert FabricConfig(core=WIDE).weights is None
    both = FabricConfig(core=replace(WIDE, streamed_words=1 << 22), sdram=SDRAM)
    assert both.weights == WeightMemoryParameters(sdram=SDRAM, word_bits=32, words=1 << 22, row_words=16)
    assert both.core.sdram_memory == both.core.memories["streamed_weights"]
    assert fabric.core.sdram_memory == fabric.core.memories["weights"]
    assert FabricConfig(core=WIDE).core.sdram_memory is None
    for arguments, message in (
        ({"core": STREAMED}, r"^sdram must be given for a core with weights in SDRAM, not None$"),
        ({"core": WIDE, "sdram": SDRAM}, r"^sdram must be None without a core with weights in SDRAM, not Sdram"),
        (
            {"core": replace(STREAMED, weight_words=1 << 25), "sdram": SDRAM},
            r"^words must be at most 16,777,216 of 4 bytes each, not 33,554,432$",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            FabricConfig(**arguments)


def test_several_cores_at_one_sdram():
    """Each has a slice, a power of two of words, above that of the core before it."""
    mesh = MeshParameters(columns=3, rows=2)
    small = replace(STREAMED, weight_words=5000)
    mixed = replace(WIDE, streamed_words=1 << 12, neurons=128)
    fabric = FabricConfig(tiles=(None, NARROW, small, GIVER, mixed, small), mesh=mesh, sdram=SDRAM)
    assert {tile: memory.name for tile, memory in fabric.streamed.items()} == {
        2: "weights",
        4: "streamed_weights",
        5: "weights",
    }
    assert fabric.arbiter == ArbiterParameters(cores=3, address_bits=13, row_words=32)
    assert fabric.weight_slices == {2: 0, 4: 1 << 13, 5: 2 << 13}
    assert fabric.weights == WeightMemoryParameters(sdram=SDRAM, word_bits=32, words=3 << 13, row_words=32)
    assert fabric.configuration_latency == READ_CYCLES + 2 * 6
    assert all(tile.read_back for tile in fabric.numbered.values())
    one = FabricConfig(tiles=(None, NARROW, small), mesh=mesh, sdram=SDRAM)
    assert one.arbiter is None
    assert one.weight_slices == {2: 0}
    assert one.weights.words == 5000
    # A slice holds a burst of any chip.
    tiny = replace(STREAMED, lanes=1, weight_words=1)
    assert FabricConfig(tiles=(None, tiny, tiny), mesh=mesh, sdram=SDRAM).arbiter.address_bits == 3


def test_the_cores_of_a_mesh_share_the_smallest_chip():
    fabric = FabricConfig(core=STREAMED, sdram=SDRAM).on_mesh(2, 2)
    assert fabric.sdram == SDRAM
    assert {core.weight_words for core in fabric.cores.values()} == {1 << 21}  # 3 of 4 equal parts of 32 MB
    small = replace(STREAMED, weight_words=1 << 10)
    assert FabricConfig(core=small, sdram=SDRAM).on_mesh(2, 2).cores[1].weight_words == 1 << 10
    mixed = replace(WIDE, streamed_words=1 << 22)
    assert FabricConfig(core=mixed, sdram=SDRAM).on_mesh(3, 1).cores[2].streamed_words == 1 << 22
    assert FabricConfig(core=mixed, sdram=SDRAM).on_mesh(2, 2).cores[2].streamed_words == 1 << 21


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        ((STREAMED,) * 17, r"^cores with weights in SDRAM must be at most 16, not 17$"),
        (
            (STREAMED, replace(STREAMED, lanes=8)),
            r"^cores with weights in SDRAM must have weight words of one width, not of 32, 64 bits$",
        ),
        ((STREAMED,) * 3, r"^words must be at most 16,777,216 of 4 bytes each, not 25,165,824$"),
    ],
)
def test_cores_that_cannot_share_an_sdram(cores, message):
    with pytest.raises(ValueError, match=message):
        FabricConfig(tiles=(None, *cores), mesh=MeshParameters(columns=6, rows=3), sdram=SDRAM)


def test_all_tiles_are_read_back_or_none():
    mesh = MeshParameters(columns=3, rows=2)
    some = FabricConfig(tiles=(*TILES[:-1], replace(TILES[-1], read_back=True)), mesh=mesh)
    for fabric in (some, FabricConfig(tiles=TILES, mesh=mesh, read_back=True), replace(some, name="other")):
        assert fabric.read_back
        assert all(tile.read_back for tile in fabric.numbered.values())
        assert fabric.configuration_latency == 2 * 4 + READ_BACK_CYCLES
    assert not FabricConfig(tiles=TILES, mesh=mesh).read_back


@dataclass(frozen=True, kw_only=True)
class Unreadable(TileParameters):
    """A kind of tile without the option read_back."""

    kind = "dull"
    destinations: int = 0
    contents: Contents = NOTHING

    @property
    def packets(self):
        return Widths(8, 8)

    def fitted(self, *, tiles, packets):
        return replace(self, destinations=tiles)

    @property
    def memories(self):
        return {}


def test_a_kind_that_cannot_be_read_back():
    with pytest.raises(
        ValueError, match=r"^read_back must be False with tiles of kind dull, which have no such option$"
    ):
        FabricConfig(
            tiles=(None, CoreParameters(), Unreadable()), mesh=MeshParameters(columns=3, rows=1), read_back=True
        )


def test_the_configuration_port_is_as_wide_as_the_memories_need():
    core = CoreParameters(lanes=2, neurons=64, axons=300, weight_words=1000, per_neuron=frozenset())
    fabric = FabricConfig(core=core)
    planes = fabric.core.memories["populations"].planes
    assert (fabric.index_width, fabric.plane_width) == (10, (planes - 1).bit_length())
    small = FabricConfig(core=replace(core, axons=4, weight_words=4, neurons=4, populations=1))
    assert small.index_width == 6, "registers have 64 bytes"
    wide = FabricConfig(
        tiles=(None, core, AerTileParameters(direction=AerDirection.INPUT, address_width=18)),
        mesh=MeshParameters(columns=3, rows=1),
    )
    assert wide.index_width == 18


@pytest.mark.parametrize(("counters", "latency"), [(False, 2 * 4 + 1), (True, 2 * 6 + 1)])
def test_configuration_goes_from_tile_to_tile_and_back(counters, latency):
    """Routers with counters are read at every position of the mesh, including positions without a tile."""
    mesh = MeshParameters(columns=3, rows=2, counters=counters)
    assert FabricConfig(tiles=TILES, mesh=mesh).configuration_latency == latency


def test_what_fabrics_hold_does_not_tell_them_apart():
    held = replace(MIXED, contents=Contents(registers={"sources": 1}), program=7)
    assert held == MIXED
    assert (held.program, held.contents.registers) == (7, {"sources": 1})
    assert replace(MIXED, name="other") != MIXED


def test_the_only_core_on_a_mesh():
    one = FabricConfig(name="one", core=NARROW.holding(Contents(registers={"sources": 1})), program=3)
    many = one.on_mesh(2, 2, counters=True)
    assert (many.name, many.mesh.tiles, many.mesh.counters) == ("one", 4, True)
    assert len(many.cores) == 3
    assert many.core == NARROW.fitted(tiles=4, packets=NARROW.asks)
    assert (many.core.contents, many.program) == (NOTHING, 0)
    assert [len(one.on_mesh(*shape).cores) for shape in ((2, 1), (1, 2), (3, 1))] == [1, 1, 2]
    with pytest.raises(ValueError, match=r"^a mesh must have places for the host bridge and a core, not 1 x 1$"):
        one.on_mesh(1, 1)
    with pytest.raises(ValueError, match=r"^fabric one must have one core and no mesh yet to be put on a mesh$"):
        many.on_mesh(2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tiles": TILES, "core": NARROW}, "core must be left out where tiles are given"),
        ({"tiles": (NARROW, None)}, r"tiles must be None \(the host bridge\), then parameters of tiles with at "),
        ({"tiles": (None, GIVER)}, r"tiles must be None \(the host bridge\), then parameters of tiles with at "),
        ({"tiles": (None, NARROW, None)}, r"tiles must be None \(the host bridge\), then parameters of tiles with at "),
        ({"tiles": (None, NARROW, 5)}, r"tiles must be None \(the host bridge\), then parameters of tiles with at "),
        (
            {"tiles": ()},
            r"tiles must be None \(the host bridge\), then parameters of tiles with at least one core, not",
        ),
        ({"tiles": (None, NARROW, WIDE)}, "mesh must be given for 2 tiles beside the host's, not None$"),
        (
            {"tiles": TILES, "mesh": MeshParameters(columns=2, rows=2)},
            "mesh must have places for 5 tiles, not 4$",
        ),
    ],
)
def test_invalid_fabrics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        FabricConfig(**arguments)
