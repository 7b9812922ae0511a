"""The ports common to all tiles, and the registry of tile components.

A kind is declared by its parameters (`spikeloom.sim.lib.tile`). Its component registers itself here, once::

    @register_tile(DelayTileParameters)
    class DelayTile(wiring.Component):
        def __init__(self, parameters: DelayTileParameters) -> None:
            self.parameters = parameters
            super().__init__(TileSignature(parameters))

Fabrics, Verilog, compiled simulations and bitstreams use this registry.
"""

from collections.abc import Callable

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.sim.lib.registers import INDEX_WIDTH
from spikeloom.sim.lib.tile import TileParameters

__all__ = ["TileSignature", "build_tile", "pin_members", "register_tile"]

_COMPONENTS: dict[type[TileParameters], Callable[[TileParameters], wiring.Component]] = {}


class TileSignature(wiring.Signature):
    """The ports of a tile.

    Parameters
    ----------
    parameters
        Parameters of the tile, which define the widths of its packets and its pins.

    Members
    -------
    i : Stream(packet_layout(*packets)), in
        Packets for the tile. The tile must accept them even while its output is stalled.
    o : Stream(packet_layout(*packets, destinations)), out
        Packets from the tile; on a mesh, with their destination sets.
    configuration : ConfigurationPort, in
        Access to registers and memories for the host.
    clear : Signal, in
        Empty the tile immediately: packets in progress, states, tokens and counters, but not the program.
    reset : Signal, in
        Begin a new session: empty the tile and reset its registers.
    step_done : Signal, out
        High for the cycle in which a step ends.
    """

    def __init__(self, parameters: TileParameters) -> None:
        packets = parameters.packets
        # All kinds share the usual width of the index, unless a memory is too deep for it.
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(*packets))),
                "o": Out(stream.Signature(packet_layout(*packets, parameters.destinations))),
                "configuration": In(
                    ConfigurationPort(
                        index_width=max(INDEX_WIDTH, parameters.index_width), read_back=parameters.read_back
                    )
                ),
                "clear": In(1),
                "reset": In(1),
                "step_done": Out(1),
                **pin_members(parameters),
            }
        )


def pin_members(parameters: TileParameters) -> dict[str, wiring.Member]:
    """The members of a tile that connect to pins of the FPGA."""
    return {name: (Out if pin.output else In)(pin.width, init=pin.idle) for name, pin in parameters.pins.items()}


def register_tile(kind: type[TileParameters]) -> Callable[[type[wiring.Component]], type[wiring.Component]]:
    """Register the decorated component for parameters of type ``kind``.

    The component takes such parameters and has a `TileSignature`. Raises ``ValueError`` if ``kind`` is registered.
    """

    def register(component: type[wiring.Component]) -> type[wiring.Component]:
        if kind in _COMPONENTS:
            raise ValueError(f"component of tiles of kind {kind.kind} must be registered once")
        _COMPONENTS[kind] = component
        return component

    return register


def build_tile(parameters: TileParameters) -> wiring.Component:
    """Build the tile of ``parameters``. Raises ``ValueError`` if no component is registered for their kind."""
    # The exact type decides: a subclass of a kind has no hardware unless it registers its own.
    component = _COMPONENTS.get(type(parameters))
    if component is None:
        known = ", ".join(kind.kind for kind in _COMPONENTS)
        raise ValueError(f"kind of a tile must be one that has hardware ({known}), not {parameters.kind}")
    return component(parameters)
