"""AER tiles side by side behind the same ports, of which one is selected: correct ones, and ones with planted bugs.

The Verilog of all of them is thus compiled once.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from harness.mutations import mutated
from spikeloom.hdl.aer import handshake as aer
from spikeloom.hdl.aer import tile as aer_tile
from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.hdl.noc.tile import pin_members
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters

_COMMON = {"address_width": 6, "depth": 8, "axon_width": 7, "value_width": 4, "destinations": 4}
INPUT = AerTileParameters(direction=AerDirection.INPUT, stages=2, **_COMMON)
OUTPUT = AerTileParameters(direction=AerDirection.OUTPUT, stages=3, active_low=True, setup_cycles=3, **_COMMON)

INPUT_BUGS = {
    "a request without synchroniser": (
        aer,
        "m.submodules.synchroniser = FFSynchronizer(self.request, line, stages=self.stages, init=self.active_low)",
        "m.d.sync += line.eq(self.request)",
    ),
    "an acknowledgement before there is room": (aer, "& (~self.o.valid | self.o.ready)", ""),
    "an event that is dropped while the queue is full": (aer_tile, "self.i.valid & ~full)", "self.i.valid)"),
    "a TICK before the events": (aer_tile, "with m.If(empty.bit_select(tokens.parity, 1)):", "with m.If(1):"),
}
OUTPUT_BUGS = {
    "a step that ends before its last event": (
        aer_tile,
        "empty.bit_select(tokens.parity, 1) & out):",
        "empty[0]):",
    ),
}


def _broken(module, old, new):
    """A copy of the tile's module with a planted bug in it or in one of its parts."""
    if module is aer_tile:
        return mutated(aer_tile, old, new)
    copy, broken = mutated(aer_tile, "import Tokens", "import Tokens"), mutated(aer, old, new)
    copy.AerReceiver, copy.AerSender = broken.AerReceiver, broken.AerSender
    return copy


NAMES = ("input", *INPUT_BUGS, "output", *OUTPUT_BUGS)
"""Names of the variants that ``chosen`` numbers."""


class Variants(wiring.Component):
    """All variants of the tile; ``chosen`` is the position of one in `NAMES`, and the others receive no input."""

    def __init__(self) -> None:
        bugs = INPUT_BUGS | OUTPUT_BUGS
        self.tiles = []
        for name in NAMES:
            parameters = INPUT if name == "input" or name in INPUT_BUGS else OUTPUT
            module = _broken(*bugs[name]) if name in bugs else aer_tile
            self.tiles.append(module.AerTile(parameters))
        packet = _COMMON["axon_width"], _COMMON["value_width"]
        super().__init__(
            {
                "chosen": In(range(len(NAMES))),
                "i": In(stream.Signature(packet_layout(*packet))),
                "o": Out(stream.Signature(packet_layout(*packet, _COMMON["destinations"]))),
                "configuration": In(ConfigurationPort()),
                **{f"input_{name}": member for name, member in pin_members(INPUT).items()},
                **{f"output_{name}": member for name, member in pin_members(OUTPUT).items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        for number, tile in enumerate(self.tiles):
            m.submodules[f"tile_{number}"] = tile
            mine = Signal(name=f"mine_{number}")
            kind = tile.parameters.direction.value
            m.d.comb += [mine.eq(self.chosen == number), tile.reset.eq(~mine)]
            with m.If(mine):
                wiring.connect(m, wiring.flipped(self.i), tile.i)
                wiring.connect(m, tile.o, wiring.flipped(self.o))
                wiring.connect(m, wiring.flipped(self.configuration), tile.configuration)
                for name, member in pin_members(tile.parameters).items():
                    inner, outer = getattr(tile, name), getattr(self, f"{kind}_{name}")
                    m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m
