"""What every kind of tile has at its ports, and which component each kind is built as.

A kind is declared by its parameters (`spikeloom.sim.lib.tile`). Its component registers itself here, once::

    @register_tile(DelayTileParameters)
    class DelayTile(wiring.Component):
        def __init__(self, parameters: DelayTileParameters) -> None:
            self.parameters = parameters
            super().__init__(TileSignature(parameters))

Fabrics, Verilog, compiled simulations and bitstreams build whatever is registered.
"""

from collections.abc import Callable

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.sim.lib.tile import TileParameters

__all__ = ["TileSignature", "build_tile", "pin_members", "register_tile"]

_COMPONENTS: dict[type[TileParameters], Callable[[TileParameters], wiring.Component]] = {}


class TileSignature(wiring.Signature):
    """The ports of a tile.

    Parameters
    ----------
    parameters
        What the tile is built as: they say how wide its packets are and which pins it has.

    Members
    -------
    i : Stream(packet_layout), in
        Packets for the tile. What it is given must be taken whatever its output waits for.
    o : Stream(packet_layout), out
        Packets from the tile, on a mesh each with the tiles that it is for.
    configuration : ConfigurationPort, in
        Registers and memories, from the host.
    clear : Signal, in
        Empties the tile at once: what is on its way, states, tokens and counters; not the program.
    reset : Signal, in
        Begins a new session: empties the tile and resets its registers.
    step_done : Signal, out
        Is high in the cycle in which a step ends.
    """

    def __init__(self, parameters: TileParameters) -> None:
        packets = parameters.packets
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(*packets))),
                "o": Out(stream.Signature(packet_layout(*packets, parameters.destinations))),
                "configuration": In(ConfigurationPort()),
                "clear": In(1),
                "reset": In(1),
                "step_done": Out(1),
                **pin_members(parameters),
            }
        )


def pin_members(parameters: TileParameters) -> dict[str, wiring.Member]:
    """The members of a tile that lead to a chip beside the FPGA."""
    return {name: (Out if pin.output else In)(pin.width, init=pin.idle) for name, pin in parameters.pins.items()}


def register_tile(kind: type[TileParameters]) -> Callable[[type[wiring.Component]], type[wiring.Component]]:
    """Make the decorated component, which takes parameters of ``kind`` and has a `TileSignature`, what they are built
    as. Raises ``ValueError`` for a kind that has one already."""

    def register(component: type[wiring.Component]) -> type[wiring.Component]:
        if kind in _COMPONENTS:
            raise ValueError(f"component of tiles of kind {kind.kind} must be registered once")
        _COMPONENTS[kind] = component
        return component

    return register


def build_tile(parameters: TileParameters) -> wiring.Component:
    """The tile with these ``parameters``. Raises ``ValueError`` where no component is registered for their kind."""
    component = _COMPONENTS.get(type(parameters))
    if component is None:
        known = ", ".join(kind.kind for kind in _COMPONENTS)
        raise ValueError(f"kind of a tile must be one that has hardware ({known}), not {parameters.kind}")
    return component(parameters)
