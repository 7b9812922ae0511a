"""A fabric: one core, or cores, attention and AER tiles on a mesh, with the host bridge in front of them.

::

    receive ─▶ HostBridge ══ packets ═▶ tile 0 of Mesh ══ packets, without destinations ═▶ tiles
    transmit ◀─┘     └─ configuration ─▶ stage ─▶ stage ─▶ stage         packets, with destinations ═▶ Mesh
                                           └ tile   └ tile   └ tile

A queue separates each router from its tile (except the host's), and the bridge from the core of a fabric without a
mesh, so that no combinational path crosses from one to the other. The configuration port runs from tile to tile through
registers, in alternating direction from row to row, so that each wire spans neighbouring tiles only. Read data return
along the same chain.

Weights in SDRAM are one memory, whatever the number of cores that stream them. On a mesh its configuration port is the
first stage of the chain, and several cores share it through an arbiter::

    configuration ─▶ stage ─▶ stage of tile 1 ─▶ ...
                       └ WeightMemory ◀═ rows ═ RowArbiter ◀═ rows ═ cores
"""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.aer import tile as _aer  # noqa: F401 (a kind that comes with spikeloom registers itself)
from spikeloom.hdl.attention import tile as _attention  # noqa: F401
from spikeloom.hdl.core import tile as _core  # noqa: F401
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.hdl.noc.router_counters import RouterCounters
from spikeloom.hdl.noc.tile import build_tile, pin_members
from spikeloom.hdl.sdram.arbiter import RowArbiter
from spikeloom.hdl.sdram.crossing import SdramPortSignature
from spikeloom.hdl.sdram.weight_memory import WeightMemory
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.registers import INDEX_WIDTH, PLANE_WIDTH, REGISTER_MEMORY
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.registers import SDRAM_MEMORY

__all__ = [
    "ConfigurationStage",
    "Fabric",
    "Tiles",
    "WeightStage",
    "connect_fabric_pins",
    "fabric_pins",
    "sdram_members",
]

_REQUEST = ("write_enable", "memory", "plane", "index", "write_data")


def _connect_tiles(m: Module, configuration: wiring.PureInterface, ports: list[wiring.PureInterface]) -> None:
    """Connect ``configuration`` to the ``ports`` of tiles."""
    found = []
    for port in ports:
        # Only weights in SDRAM have a longer index than every port. At other tiles it belongs to no memory.
        beyond = configuration.index[len(port.index) :]
        is_near = beyond == 0 if len(beyond) else None
        m.d.comb += [getattr(port, name).eq(getattr(configuration, name)) for name in _REQUEST]
        if "reading" in port.signature.members:  # else it has no memories
            m.d.comb += port.reading.eq(configuration.reading)
        if is_near is not None:
            m.d.comb += port.write_enable.eq(configuration.write_enable & is_near)
            if "reading" in port.signature.members:
                m.d.comb += port.reading.eq(configuration.reading & is_near)
        found.append(port.read_data if is_near is None else Mux(is_near, port.read_data, 0))
    # Ports can share a stage, since each reads as 0 at addresses without a register.
    m.d.comb += configuration.read_data.eq(reduce(or_, found))


def fabric_pins(fabric: FabricConfig) -> dict[str, wiring.Member]:
    """The pins of all tiles, named by kind, tile and pin: ``aer_3_request`` belongs to tile 3 of kind ``aer``."""
    return {
        f"{parameters.kind}_{tile}_{name}": member
        for tile, parameters in fabric.numbered.items()
        for name, member in pin_members(parameters).items()
    }


def sdram_members(fabric: FabricConfig) -> dict[str, wiring.Member]:
    """The port to the SDRAM, ``sdram``, of a fabric that has one."""
    return {} if fabric.sdram is None else {"sdram": Out(SdramPortSignature(fabric.sdram))}


def connect_fabric_pins(m: Module, fabric: FabricConfig, outer: wiring.Component, inner: wiring.Component) -> None:
    """Connect the tile pins of the component ``inner`` to those of the enclosing component ``outer``."""
    for name, member in fabric_pins(fabric).items():
        inside, outside = getattr(inner, name), getattr(outer, name)
        m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)


class ConfigurationStage(wiring.Component):
    """One stage of the configuration chain: registers the port and selects the requests for one tile.

    Parameters
    ----------
    tile
        The number of the tile.
    index_width, plane_width, read_back
        As for `ConfigurationPort`.

    Members
    -------
    before : ConfigurationPort, in
    after : ConfigurationPort, out
        From the host, and to the next stage.
    here : ConfigurationPort, out
        The port of the tile itself.
    """

    def __init__(
        self,
        tile: int,
        index_width: int = INDEX_WIDTH,
        plane_width: int = PLANE_WIDTH,
        *,
        read_back: bool = False,
    ) -> None:
        self.tile = tile
        self.read_back = read_back
        chain = ConfigurationPort(tile=True, index_width=index_width, plane_width=plane_width, read_back=read_back)
        here = ConfigurationPort(index_width=index_width, plane_width=plane_width, read_back=read_back)
        super().__init__(
            {
                "before": In(chain),
                "after": Out(chain),
                "here": Out(here),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Registers, because the tile is far away. Each stage adds one cycle to a request and one to its read data;
        # `FabricConfig.configuration_latency` is that of the whole chain.
        mine, write_here = Signal(), Signal()
        for name in (*_REQUEST, "tile"):
            m.d.sync += getattr(self.after, name).eq(getattr(self.before, name))
        for name in _REQUEST:
            m.d.comb += getattr(self.here, name).eq(getattr(self.after, name))
        # Compared ahead of the register: the tile's write enable then comes from a flip-flop.
        meant = self.before.tile == self.tile
        m.d.sync += [mine.eq(meant), write_here.eq(self.before.write_enable & meant)]
        m.d.comb += self.here.write_enable.eq(write_here)
        if self.read_back:
            m.d.sync += self.after.reading.eq(self.before.reading)
            m.d.comb += self.here.reading.eq(self.after.reading & mine)
        m.d.sync += self.before.read_data.eq(Mux(mine, self.here.read_data, self.after.read_data))
        return m


class WeightStage(wiring.Component):
    """The stage of the configuration chain for weights in SDRAM: the slice of each core becomes part of one memory.

    Requests to all tiles pass on, since the cores have other memories. The registers of the memory are the same at all
    tiles.

    Parameters
    ----------
    fabric
        Configuration of a fabric with SDRAM and a mesh.

    Members
    -------
    before : ConfigurationPort, in
    after : ConfigurationPort, out
        From the host, and to the next stage.
    here : ConfigurationPort, out
        The port of the weight memory, whose number is `memory`.
    """

    def __init__(self, fabric: FabricConfig) -> None:
        self.fabric = fabric
        assert fabric.weights is not None
        plane_width, index_width = fabric.plane_width, max(INDEX_WIDTH, bits_for(fabric.weights.words))
        chain = ConfigurationPort(tile=True, index_width=fabric.index_width, plane_width=plane_width, read_back=True)
        here = ConfigurationPort(index_width=index_width, plane_width=plane_width, read_back=True)
        super().__init__({"before": In(chain), "after": Out(chain), "here": Out(here)})

    @property
    def memory(self) -> int:
        """Number of the memory of weights at ``here``. Those of the cores differ if some have weights in block RAM."""
        return next(iter(self.fabric.streamed.values())).number

    def elaborate(self, platform: object) -> Module:
        m = Module()
        before, after, here = self.before, self.after, self.here
        # As in `ConfigurationStage`, what selects the memory is compared ahead of the registers.
        mine, weights, number = Signal(), Signal(), Signal(range(len(self.fabric.streamed)))
        for name in (*_REQUEST, "tile", "reading"):
            m.d.sync += getattr(after, name).eq(getattr(before, name))
        of_weights = Signal()
        with m.Switch(before.tile):
            for place, (tile, memory) in enumerate(self.fabric.streamed.items()):
                with m.Case(tile):
                    m.d.comb += of_weights.eq(before.memory == memory.number)
                    m.d.sync += number.eq(place)
        m.d.sync += [mine.eq(of_weights | (before.memory == SDRAM_MEMORY)), weights.eq(of_weights)]
        # Above the index of a slice is the number of the core.
        arbiter = self.fabric.arbiter
        index = after.index if arbiter is None else Cat(after.index[: arbiter.address_bits], number)
        m.d.comb += [
            here.memory.eq(Mux(weights, self.memory, after.memory)),
            here.index.eq(Mux(weights, index, after.index)),
            here.plane.eq(after.plane),
            here.write_data.eq(after.write_data),
            here.write_enable.eq(after.write_enable & mine),
            here.reading.eq(after.reading & mine),
        ]
        # One of the two reads as 0: where the weights of a core lie here, the core itself has none.
        m.d.sync += before.read_data.eq(Mux(mine, here.read_data, 0) | after.read_data)
        return m


class Tiles(wiring.Component):
    """All tiles of a fabric except the host's.

    Parameters
    ----------
    fabric
        Configuration of the fabric.

    Members
    -------
    i : Stream(packet_layout(axon_width, value_width, tiles)), in
    o : Stream(packet_layout(axon_width, value_width)), out
        Packets from and to the host, which is tile 0; on a mesh the input has destinations.
    configuration : ConfigurationPort, in
        The port of all tiles of the mesh or, without a mesh, of the only core, with the widths of the fabric.
    steps_done : Signal(len(fabric.tiles)), out
        Bit t: a step ends in tile t.
    clear, reset : Signal, in
        Empty all tiles and the mesh in the same cycle. ``reset`` also resets the registers, for a new session.
    sdram : SdramPortSignature(fabric.sdram), out
        The SDRAM, if the fabric has one. It must not be reset by a session.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(self, fabric: FabricConfig) -> None:
        self.fabric = fabric
        mesh = fabric.mesh
        packet = fabric.axon_width, fabric.value_width
        tiles = mesh.tiles if mesh else 0
        # Grouped by kind: the order of the submodules is part of the netlist.
        built = fabric.numbered.items()
        kinds = dict.fromkeys(parameters.kind for _, parameters in built)
        self.tiles = {n: build_tile(parameters) for kind in kinds for n, parameters in built if parameters.kind == kind}
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(*packet, tiles))),
                "o": Out(stream.Signature(packet_layout(*packet))),
                "configuration": In(
                    ConfigurationPort(
                        tile=mesh is not None,
                        index_width=fabric.index_width,
                        plane_width=fabric.plane_width,
                        read_back=fabric.read_back,
                    )
                ),
                "steps_done": Out(len(fabric.tiles)),
                "clear": In(1),
                "reset": In(1),
                **sdram_members(fabric),
                **fabric_pins(fabric),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for number, tile in self.tiles.items():
            m.submodules[f"{self.fabric.tile(number).kind}_{number}"] = tile
            m.d.comb += [
                tile.clear.eq(self.clear),
                tile.reset.eq(self.reset),
                self.steps_done[number].eq(tile.step_done),
            ]
        for place, parameters in self.fabric.numbered.items():
            for name, member in pin_members(parameters).items():
                inside, outside = getattr(self.tiles[place], name), getattr(self, f"{parameters.kind}_{place}_{name}")
                m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        if self.fabric.mesh is None:
            # Exactly one tile, as `FabricConfig` guarantees.
            (core,) = self.tiles.values()
            wiring.connect(m, wiring.flipped(self.i), core.i)
            wiring.connect(m, core.o, wiring.flipped(self.o))
            ports = [core.configuration]
            if (weights := self.fabric.weights) is not None:
                lies_there = self.fabric.core.sdram_memory
                assert lies_there is not None
                m.submodules.weight_memory = memory = WeightMemory(weights, lies_there.number)
                wiring.connect(m, core.requests, memory.rows)
                wiring.connect(m, memory.words, core.weights)
                wiring.connect(m, memory.memory, wiring.flipped(self.sdram))
                # A session resets its registers, but neither the memory nor what is on its way from there.
                m.d.comb += [memory.clear.eq(core.restarted), memory.reset.eq(self.reset)]
                ports.append(memory.configuration)
            _connect_tiles(m, self.configuration, ports)
        else:
            network = Mesh(self.fabric.mesh)
            # Cleared in the same cycle as the tiles, so that no packet of the old session reaches a cleared tile.
            m.submodules.mesh = ResetInserter(self.clear | self.reset)(network)
            self._connect_packets(m, network)
            self._connect_configuration(m, network)
        return m

    def _share_weights(self, m: Module, stage: WeightStage) -> None:
        """Add the weight memory of the cores of a mesh."""
        weights, arbiter = self.fabric.weights, self.fabric.arbiter
        assert weights is not None
        cores = [self.tiles[tile] for tile in self.fabric.streamed]
        m.submodules.weight_memory = memory = WeightMemory(weights, stage.memory)
        wiring.connect(m, memory.memory, wiring.flipped(self.sdram))
        m.d.comb += [
            *(getattr(memory.configuration, name).eq(getattr(stage.here, name)) for name in (*_REQUEST, "reading")),
            stage.here.read_data.eq(memory.configuration.read_data),
            memory.reset.eq(self.reset),
        ]
        if arbiter is None:
            (core,) = cores
            wiring.connect(m, core.requests, memory.rows)
            wiring.connect(m, memory.words, core.weights)
            m.d.comb += memory.clear.eq(core.restarted)
            return
        # The arbiter drops the words of forgotten rows, because the rows of other cores lie between them.
        m.submodules.arbiter = shared = RowArbiter(arbiter, weights)
        wiring.connect(m, shared.rows, memory.rows)
        wiring.connect(m, memory.words, shared.words)
        for number, core in enumerate(cores):
            requests, words = shared.requests[number], shared.weights[number]
            # The addresses of a core may be narrower than those of the largest slice.
            m.d.comb += [
                requests.valid.eq(core.requests.valid),
                requests.payload.address.eq(core.requests.payload.address),
                requests.payload.length.eq(core.requests.payload.length),
                core.requests.ready.eq(requests.ready),
                shared.restarted[number].eq(core.restarted),
            ]
            wiring.connect(m, words, core.weights)

    def _connect_packets(self, m: Module, network: Mesh) -> None:
        for tile in range(network.parameters.tiles):
            entry, leaving = network.i[tile], network.o[tile]
            # An empty position: packets that are misdirected there are consumed, so that they cannot block the mesh.
            if tile and tile not in self.tiles:
                m.d.comb += leaving.ready.eq(1)
                continue
            source, sink = (self.tiles[tile].o, self.tiles[tile].i) if tile else (self.i, self.o)
            payload = Signal(self.o.payload.shape(), name=f"payload_{tile}")
            if tile:
                queue = Fifo(leaving.payload.shape(), 2)
                m.submodules[f"queue_{tile}"] = ResetInserter(self.clear | self.reset)(queue)
                wiring.connect(m, leaving, queue.i)
                leaving = queue.o
            found = data.View(self.o.payload.shape(), leaving.payload)
            m.d.comb += [
                entry.valid.eq(source.valid),
                source.ready.eq(entry.ready),
                entry.payload.payload.eq(payload),
                entry.payload.destinations.eq(source.payload.destinations),
                sink.valid.eq(leaving.valid),
                leaving.ready.eq(sink.ready),
            ]
            # Tiles may have narrower axons and values than the mesh.
            for name in self.o.payload.shape().members:
                m.d.comb += [
                    getattr(payload, name).eq(getattr(source.payload, name)),
                    getattr(sink.payload, name).eq(getattr(found, name)),
                ]

    def _connect_configuration(self, m: Module, network: Mesh) -> None:
        mesh = self.fabric.mesh
        assert mesh is not None

        # Boustrophedon order: from left to right in even rows, from right to left in odd ones.
        def place(tile: int) -> tuple[int, int]:
            column, row = mesh.place(tile)
            return row, -column if row % 2 else column

        before = wiring.flipped(self.configuration)
        if self.fabric.sdram is not None:
            m.submodules.weight_stage = of_weights = WeightStage(self.fabric)
            wiring.connect(m, before, of_weights.before)
            before = of_weights.after
            self._share_weights(m, of_weights)
        counting = range(mesh.tiles) if mesh.counters else ()
        # With counters every router needs a stage, with or without a tile.
        for tile in sorted({*self.tiles, *counting}, key=place):
            m.submodules[f"configuration_{tile}"] = stage = ConfigurationStage(
                tile, self.fabric.index_width, self.fabric.plane_width, read_back=self.fabric.read_back
            )
            wiring.connect(m, before, stage.before)
            before = stage.after
            ports = [self.tiles[tile].configuration] if tile in self.tiles else []
            if mesh.counters:
                m.submodules[f"counters_{tile}"] = counters = RouterCounters(mesh.ports(tile))
                m.d.comb += [
                    counters.moved.eq(network.moved[tile]),
                    counters.waiting.eq(network.waiting[tile]),
                    counters.clear.eq(self.clear | self.reset),
                ]
                ports.append(counters.configuration)
            _connect_tiles(m, stage.here, ports)


class Fabric(wiring.Component):
    """A complete fabric behind the host link.

    Parameters
    ----------
    fabric
        Configuration of the fabric.

    Members
    -------
    receive : Stream(8), in
    transmit : Stream(8), out
    flush : Signal, out
        Byte streams from and to the host, as for `HostBridge`.
    reset : Signal, in
        Begin a new session: restore the power-up state, except for the program memories.
    sdram : SdramPortSignature(fabric.sdram), out
        The SDRAM, if the fabric has one. It must not be reset by a session.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(self, fabric: FabricConfig) -> None:
        self.fabric = fabric
        self.tiles = Tiles(fabric)
        super().__init__(
            {
                "receive": In(stream.Signature(8)),
                "transmit": Out(stream.Signature(8)),
                "flush": Out(1),
                "reset": In(1),
                **sdram_members(fabric),
                **fabric_pins(fabric),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fabric = self.fabric
        m.submodules.tiles = tiles = self.tiles
        bridge = HostBridge(
            fabric.axon_width,
            fabric.value_width,
            graded=any(tile.sends_values for tile in fabric.numbered.values()),
            input_value_width=fabric.input_value_width,
            tiles=fabric.mesh.tiles if fabric.mesh else 0,
            latency=fabric.configuration_latency,
            counting=fabric.mesh is not None and fabric.mesh.counters,
            index_width=fabric.index_width,
            plane_width=fabric.plane_width,
            read_back=fabric.read_back,
            encoder=fabric.encoder,
            readout=fabric.readout,
            contents=fabric.contents,
        )
        m.submodules.bridge = ResetInserter(self.reset)(bridge)
        wiring.connect(m, wiring.flipped(self.receive), bridge.receive)
        wiring.connect(m, bridge.transmit, wiring.flipped(self.transmit))
        if fabric.mesh is None:
            # Without this queue the core's `ready` would pass through the bridge's tokens into its decoder within one
            # cycle, the critical path on most boards. On a mesh the queues of the router separate them.
            queue = Fifo(tiles.i.payload.shape(), 2)
            m.submodules.queue = ResetInserter(bridge.clear | self.reset)(queue)
            wiring.connect(m, bridge.to_fabric, queue.i)
            wiring.connect(m, queue.o, tiles.i)
        else:
            wiring.connect(m, bridge.to_fabric, tiles.i)
        wiring.connect(m, tiles.o, bridge.from_fabric)
        wiring.connect(m, bridge.configuration, tiles.configuration)
        if fabric.program:
            # A reset does not restore memories, so this flag has none: once a memory is overwritten, the register
            # `program` reads 0 until the next power-up.
            overwritten, port = Signal(reset_less=True), bridge.configuration
            with m.If(port.write_enable & (port.memory != REGISTER_MEMORY)):
                m.d.sync += overwritten.eq(1)
            m.d.comb += bridge.program.eq(Mux(overwritten, 0, fabric.program))
        m.d.comb += [self.flush.eq(bridge.flush), tiles.clear.eq(bridge.clear), tiles.reset.eq(self.reset)]
        connect_fabric_pins(m, fabric, self, tiles)
        if fabric.sdram is not None:
            wiring.connect(m, tiles.sdram, wiring.flipped(self.sdram))
        return m
