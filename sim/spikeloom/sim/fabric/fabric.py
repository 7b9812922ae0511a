"""Parameters of a fabric, the hardware on which programs run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.identity import Feature, Identity, LinkKind
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import BRIDGE_TILE, READ_BACK_CYCLES, RegisterMap
from spikeloom.sim.lib.tile import TileParameters, Widths
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.arbiter import MOST_CORES, ArbiterParameters
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import READ_CYCLES, WeightMemoryParameters, padded_bits

__all__ = ["FabricConfig", "Tile"]

Tile = TileParameters | None
"""Parameters of a tile; None is the host bridge."""

AnyTile = TypeVar("AnyTile", bound=TileParameters)

# Two bits of kind, one of parity, one of last.
_HEADER_BITS = 4
"""Width of kind, parity and last of a packet."""


@dataclass(frozen=True, kw_only=True, init=False)
class FabricConfig:
    """A host link and tiles.

    Parameters
    ----------
    name
        Name of the fabric.
    core
        The only core; short for ``tiles=(None, core)`` without a mesh.
    link
        The host link.
    tiles
        Tile 0 is the host bridge, None; at least one of the others is a core. They are adapted to the fabric: all send
        axons of the largest width among them, with destination sets of all tiles.
    mesh
        Shape and queues of the mesh, with a position for each tile; remaining positions are empty. Its payload width is
        set to that of the widest packets. Without a mesh, None, there is exactly one core, directly behind the bridge.
    encoder, readout
        Optional stages of the host bridge: the spike encoder and the readout. None omits the stage.
    sdram
        Controller of the SDRAM that holds weights of the cores with ``weight_memory="sdram"`` or ``streamed_words``;
        None without such a core. Up to `MOST_CORES` cores share it, with weight words of one width. The memories of all
        tiles can always be read back.
    read_back
        Build all tiles so that the host can read their memories back; short for that option of each of them.
    contents
        Initial contents of the host bridge's registers, as `CoreParameters.contents` for a core.
    program
        `program_digest` of the built-in program of all tiles; 0 for none. Fabrics that differ only in contents compare
        equal.
    """

    name: str
    link: LinkParameters
    tiles: tuple[Tile, ...]
    mesh: MeshParameters | None
    encoder: EncoderParameters | None
    readout: ReadoutParameters | None
    sdram: SdramParameters | None
    contents: Contents = field(compare=False, repr=False)
    program: int = field(compare=False)

    def __init__(
        self,
        *,
        name: str = "custom",
        core: CoreParameters | None = None,
        link: LinkParameters | None = None,
        tiles: tuple[Tile, ...] | None = None,
        mesh: MeshParameters | None = None,
        encoder: EncoderParameters | None = None,
        readout: ReadoutParameters | None = None,
        sdram: SdramParameters | None = None,
        read_back: bool = False,
        contents: Contents = NOTHING,
        program: int = 0,
    ) -> None:
        # The short form: one core behind the bridge.
        if tiles is None:
            tiles = (None, core or CoreParameters())
        elif core is not None:
            raise ValueError("core must be left out where tiles are given")
        others = [tile for tile in tiles if tile is not None]
        known = all(isinstance(tile, TileParameters) for tile in others)
        # `identity` and `core` describe the cores, so there must be one.
        has_core = any(isinstance(tile, CoreParameters) for tile in others)
        # The host bridge is tile 0, and no other tile may be None.
        if not has_core or not known or list(tiles) != [None, *others]:
            raise ValueError(
                f"tiles must be None (the host bridge), then parameters of tiles with at least one core, not {tiles!r}"
            )
        streamed = [tile for tile in others if isinstance(tile, CoreParameters) and tile.streamed]
        if len(streamed) > MOST_CORES:
            raise ValueError(f"cores with weights in SDRAM must be at most {MOST_CORES}, not {len(streamed)}")
        # One gearbox makes the words of all cores from bursts.
        if len(widths := {core.lanes * core.weight_width for core in streamed}) > 1:
            found = ", ".join(map(str, sorted(widths)))
            raise ValueError(f"cores with weights in SDRAM must have weight words of one width, not of {found} bits")
        if (sdram is not None) != bool(streamed):
            needed = "given for" if streamed else "None without"
            raise ValueError(f"sdram must be {needed} a core with weights in SDRAM, not {sdram!r}")
        # Read-back is for all tiles or none, because they share the path of the read data.
        if read_back or sdram is not None or any(tile.read_back for tile in others):
            others = [tile.with_read_back() for tile in others]
        if mesh is None:
            if len(others) > 1:
                raise ValueError(f"mesh must be given for {len(others)} tiles beside the host's, not None")
            packets, count = Widths(0, 0), 0
        else:
            if len(tiles) > mesh.tiles:
                raise ValueError(f"mesh must have places for {len(tiles)} tiles, not {mesh.tiles}")
            # Axons must mean the same to every receiver, so that all packets of the mesh are as wide as the widest.
            packets = Widths(*map(max, zip(*(tile.asks for tile in others), strict=True)))
            count = mesh.tiles
            mesh = replace(mesh, payload_width=_HEADER_BITS + sum(packets))
        for member, value in {
            "name": name,
            "link": link or LinkParameters(),
            "tiles": (None, *(tile.fitted(tiles=count, packets=packets) for tile in others)),
            "mesh": mesh,
            "encoder": encoder,
            "readout": readout,
            "sdram": sdram,
            "contents": contents,
            "program": program,
        }.items():
            # The only way to set a field of a frozen dataclass.
            object.__setattr__(self, member, value)
        # Raises `ValueError` if the SDRAM is too small, or a row too long for it.
        _ = self.weights

    def tiles_of(self, kind: type[AnyTile]) -> dict[int, AnyTile]:
        """The tiles whose parameters are of ``kind``, by their number."""
        return {number: tile for number, tile in enumerate(self.tiles) if isinstance(tile, kind)}

    @property
    def numbered(self) -> dict[int, TileParameters]:
        """All tiles except the host's, by their number."""
        return {number: tile for number, tile in enumerate(self.tiles) if tile is not None}

    @property
    def cores(self) -> dict[int, CoreParameters]:
        """The cores by tile."""
        return self.tiles_of(CoreParameters)

    def tile(self, number: int) -> TileParameters:
        """The parameters of a tile; ``ValueError`` if there is none of that number, or if it is the host bridge."""
        if number not in self.numbered:
            raise ValueError(f"tile must be from 1 to {len(self.tiles) - 1}, not {number!r}")
        return self.numbered[number]

    def register_map(self, tile: int) -> RegisterMap:
        """The registers of a tile; ``ValueError`` if there is none of that number."""
        if not 0 <= tile < len(self.tiles):
            raise ValueError(f"tile must be from 0 to {len(self.tiles) - 1}, not {tile!r}")
        return BRIDGE if tile == BRIDGE_TILE else self.tile(tile).register_map

    @property
    def core(self) -> CoreParameters:
        """The parameters of each core; ``ValueError`` if they differ."""
        # Contents do not take part in the comparison: cores with different programs are built alike.
        cores = set(self.cores.values())
        if len(cores) > 1:
            raise ValueError(f"fabric {self.name} must have cores of one kind, not of {len(cores)}")
        return cores.pop()

    @property
    def streamed(self) -> dict[int, Memory]:
        """The memories of weights that lie in the SDRAM, by the tile of their core."""
        memories = ((tile, core.sdram_memory) for tile, core in self.cores.items())
        return {tile: memory for tile, memory in memories if memory is not None}

    @property
    def weights(self) -> WeightMemoryParameters | None:
        """The weight memory in SDRAM, with the words of all cores; None without one."""
        if self.sdram is None:
            return None
        core = self.cores[min(self.streamed)]
        rows = max(self.cores[tile].words for tile in self.streamed)
        arbiter = self.arbiter
        words = self.streamed[min(self.streamed)].depth if arbiter is None else arbiter.words
        return WeightMemoryParameters(
            sdram=self.sdram, word_bits=core.lanes * core.weight_width, words=words, row_words=rows
        )

    @property
    def arbiter(self) -> ArbiterParameters | None:
        """The arbiter of the cores that share the SDRAM; None for less than two."""
        streamed = self.streamed
        if self.sdram is None or len(streamed) < 2:
            return None
        # A slice is a power of two of words, so that the number of the core is put above the address, and at least a
        # burst of any chip: the driver writes and checks whole bursts.
        core = self.cores[min(streamed)]
        burst = 64 // padded_bits(core.lanes * core.weight_width)
        depth = max(2, burst, *(memory.depth for memory in streamed.values()))
        rows = max(self.cores[tile].words for tile in streamed)
        return ArbiterParameters(cores=len(streamed), address_bits=bits_for(depth), row_words=rows)

    @property
    def weight_slices(self) -> dict[int, int]:
        """Address in the weight memory of word 0 of each core with weights in SDRAM, by its tile."""
        arbiter = self.arbiter
        return {tile: 0 if arbiter is None else arbiter.first(number) for number, tile in enumerate(self.streamed)}

    @property
    def axon_width(self) -> int:
        """Width of the axon of a packet."""
        return max(tile.packets.axon for tile in self.numbered.values())

    @property
    def value_width(self) -> int:
        """Width of the value of a packet."""
        return max(tile.packets.value for tile in self.numbered.values())

    @property
    def input_value_width(self) -> int:
        """Width of the values that the host may send; 0 if it may send spikes only."""
        return max(tile.input_value_width for tile in self.numbered.values())

    @property
    def read_back(self) -> bool:
        """Whether the host can read the memories of the tiles back."""
        return any(tile.read_back for tile in self.numbered.values())

    @property
    def index_width(self) -> int:
        """Width of the index of a word on the configuration port: as required by the deepest memory."""
        return max(tile.index_width for tile in self.numbered.values())

    @property
    def plane_width(self) -> int:
        """Width of the byte lane on the configuration port."""
        return max(tile.plane_width for tile in self.numbered.values())

    @property
    def configuration_latency(self) -> int:
        """Cycles from a request at the configuration port to its read data: on a mesh from tile to tile, and back."""
        at_tile = READ_BACK_CYCLES if self.read_back else 1
        if self.sdram is not None:
            at_tile = READ_CYCLES
        if self.mesh is None:
            return at_tile
        # The port passes one register per tile in each direction, so that no wire spans the mesh. With counters every
        # router has such a register, even one without a tile; so has an SDRAM.
        stages = self.mesh.tiles if self.mesh.counters else len(self.tiles) - 1
        return 2 * (stages + (self.sdram is not None)) + at_tile

    def on_mesh(self, columns: int, rows: int, *, counters: bool = False) -> FabricConfig:
        """The host bridge and as many copies of the core as fit on a mesh of this shape, without a program.

        Cores with weights in SDRAM get equal parts of the smallest chip of the board, if each would have more. Raises
        ``ValueError`` if the mesh has no place for a core, or the fabric has a mesh already.
        """
        if self.mesh is not None:
            raise ValueError(f"fabric {self.name} must have one core and no mesh yet to be put on a mesh")
        mesh = MeshParameters(columns=columns, rows=rows, counters=counters)
        if mesh.tiles < 2:
            raise ValueError(f"a mesh must have places for the host bridge and a core, not {columns} x {rows}")
        # A program is placed for one fabric: on a mesh its routes and axons would be wrong.
        core = replace(self.core, contents=NOTHING)
        if (weights := self.weights) is not None:
            # Slices are powers of two.
            part = weights.words_in(weights.sdram.least_address_bits) // (mesh.tiles - 1)
            name = "streamed_words" if core.mixed else "weight_words"
            core = replace(core, **{name: min(getattr(core, name), 1 << max(0, part.bit_length() - 1))})
        cores = (core,) * (mesh.tiles - 1)
        return FabricConfig(
            name=self.name,
            link=self.link,
            tiles=(None, *cores),
            mesh=mesh,
            encoder=self.encoder,
            readout=self.readout,
            sdram=self.sdram,
        )

    @property
    def features(self) -> Feature:
        """Optional parts of the fabric, for the identity of a board."""
        parts = {
            Feature.ENCODER: self.encoder is not None,
            Feature.READOUT: self.readout is not None,
            Feature.MESH: self.mesh is not None,
            Feature.MEMORY_READ: self.read_back,
            Feature.HOST_VALUES: self.input_value_width > 0,
            Feature.SDRAM: self.sdram is not None,
            Feature.HELD_INPUT: self.encoder is not None and self.encoder.hold,
        }
        return Feature(sum(feature for feature, is_there in parts.items() if is_there))

    def identity(
        self, build_hash: bytes = bytes(16), *, link_kind: LinkKind = LinkKind.UNKNOWN, clock_hz: int = 0
    ) -> Identity:
        """Return the identity of a board with this fabric. If its cores differ, each size is that of the largest.

        ``link_kind``, ``clock_hz`` and ``build_hash``, 16 bytes, belong to the board and its build; the rest comes from
        the fabric.
        """
        cores = self.cores.values()
        return Identity(
            tiles=len(self.tiles) - 1,
            # The record has one field per size, not one per core.
            lanes=max(core.lanes for core in cores),
            neurons=max(core.neurons for core in cores),
            axons=max(core.axons for core in cores),
            weight_words=max(core.weight_words for core in cores),
            weight_width=max(core.weight_width for core in cores),
            v_width=max(core.v_width for core in cores),
            link_kind=link_kind,
            maximum_payload=self.link.maximum_payload,
            clock_hz=clock_hz,
            features=self.features,
            build_hash=build_hash,
        )

    @property
    def neurons(self) -> int:
        """Total number of neurons."""
        return sum(tile.capacity.neurons for tile in self.numbered.values())

    @property
    def synapses(self) -> int:
        """Total number of weights."""
        return sum(tile.capacity.synapses for tile in self.numbered.values())

    @property
    def synaptic_operations_per_cycle(self) -> int:
        """Maximum number of weights added per cycle."""
        return sum(tile.capacity.operations_per_cycle for tile in self.numbered.values())
