"""Mesh of routers. Each link between two routers starts at a register: the clock rate does not depend on the size."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.noc.router import Router, mesh_packet_layout
from spikeloom.sim.noc.mesh import MeshParameters, Port

__all__ = ["Mesh"]


class Mesh(wiring.Component):
    """A router per tile, and the links between them.

    Parameters
    ----------
    parameters
        Shape, widths and queue depth.

    Members
    -------
    i : Stream(mesh_packet_layout).array(tiles), in
        Packets from each tile, with their destinations.
    o : Stream(payload_width).array(tiles), out
        Payloads for each tile. Packets of one source arrive in order. A tile that stops accepting packets eventually
        stalls all tiles that send to it.
    moved, waiting : Signal(len(Port)).array(tiles), out
        For each tile, with ``parameters.counters`` only. ``moved``: a packet leaves the router through this port;
        ``waiting``: a packet is offered at this port and not taken.
    """

    def __init__(self, parameters: MeshParameters) -> None:
        if not isinstance(parameters, MeshParameters):
            raise TypeError(f"parameters must be MeshParameters, not {parameters!r}")
        self.parameters = parameters
        counted = {name: Out(len(Port)).array(parameters.tiles) for name in ("moved", "waiting")}
        super().__init__(
            {
                **(counted if parameters.counters else {}),
                "i": In(stream.Signature(mesh_packet_layout(parameters))).array(parameters.tiles),
                "o": Out(stream.Signature(parameters.payload_width)).array(parameters.tiles),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        routers = []
        for tile in range(self.parameters.tiles):
            column, row = self.parameters.place(tile)
            m.submodules[f"router_{column}_{row}"] = router = Router(self.parameters, tile)
            routers.append(router)
        for tile, router in enumerate(routers):
            wiring.connect(m, wiring.flipped(self.i[tile]), router.local_i)
            wiring.connect(m, router.local_o, wiring.flipped(self.o[tile]))
            # Each router connects its outputs only, so that every link between two routers is made exactly once.
            for port, neighbour in self.parameters.neighbours(tile).items():
                outgoing = getattr(router, f"{port.value}_o")
                wiring.connect(m, outgoing, getattr(routers[neighbour], f"{port.opposite.value}_i"))
            if self.parameters.counters:
                # A link is observed at the router that sends, so that each link is counted once.
                for number, port in enumerate(self.parameters.ports(tile)):
                    outgoing = getattr(router, f"{port.value}_o")
                    m.d.comb += [
                        self.moved[tile][number].eq(outgoing.valid & outgoing.ready),
                        self.waiting[tile][number].eq(outgoing.valid & ~outgoing.ready),
                    ]
        return m
