"""A fabric whose AER tiles are wired to chips, to be compiled: the chips do at random times what their scripts say.

The scripts are memories that nobody writes: with ``random_start`` each run has others.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.fabric import Tiles, aer_wires
from spikeloom.sim.aer import AerTileParameters
from spikeloom.sim.fabric import FabricConfig

EVENTS = 2048


class Chip(wiring.Component):
    """The other end of an AER tile's wires; it sends or records ``EVENTS`` addresses, and says in ``counted`` how many."""

    def __init__(self, parameters: AerTileParameters) -> None:
        self.parameters = p = parameters
        self.words = Memory(shape=p.address_width, depth=EVENTS, init=[])
        self.counted = Memory(shape=16, depth=2, init=[])
        self.pauses = Memory(shape=data.StructLayout({"bits": 8, "magnitude": 2}), depth=EVENTS, init=[])
        to_chip, from_chip = In(1, init=p.active_low), Out(1, init=p.active_low)
        super().__init__(
            {
                "request": from_chip if p.is_input else to_chip,
                "address": (Out if p.is_input else In)(p.address_width),
                "acknowledge": to_chip if p.is_input else from_chip,
                "looked_at": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self.parameters
        m.submodules.words, m.submodules.counted, m.submodules.pauses = self.words, self.counted, self.pauses
        count, pausing, left = Signal(16), Signal(11), Signal(9)
        counter, word_read = self.counted.write_port(), self.words.read_port(domain="comb")
        count_read = self.counted.read_port(domain="comb")
        # Synthesis takes away memories that nobody reads.
        m.d.comb += self.looked_at.eq(word_read.data.xor() ^ count_read.data.xor())
        pause = self.pauses.read_port(domain="comb")
        m.d.comb += [
            counter.en.eq(1),
            counter.data.eq(count),
            word_read.addr.eq(count),
            pause.addr.eq(pausing),
        ]
        m.d.sync += pausing.eq(pausing + 1)
        length = Mux(pause.data.magnitude == 0, 0, pause.data.bits >> Mux(pause.data.magnitude == 3, 0, 6))
        mine, theirs = Signal(), Signal()
        if p.is_input:
            m.d.comb += [self.request.eq(mine ^ p.active_low), theirs.eq(self.acknowledge ^ p.active_low)]
            with m.If(~mine & ~theirs):
                m.d.sync += self.address.eq(word_read.data)
        else:
            write = self.words.write_port()
            m.d.comb += [self.acknowledge.eq(mine ^ p.active_low), theirs.eq(self.request ^ p.active_low)]
            m.d.comb += [write.addr.eq(count), write.data.eq(self.address), write.en.eq(theirs & ~mine & (left == 0))]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif((mine == theirs) if p.is_input else (mine != theirs)):
            m.d.sync += [mine.eq(~mine), left.eq(length)]
            with m.If(mine if p.is_input else ~mine):
                m.d.sync += count.eq(count + 1)
        return m


class WiredTiles(wiring.Component):
    """As `Tiles`, without the wires of the AER tiles: there are chips at their ends."""

    def __init__(self, fabric: FabricConfig) -> None:
        self.fabric = fabric
        self.tiles = Tiles(fabric)
        inside = aer_wires(fabric)
        members = {name: member for name, member in self.tiles.signature.members.items() if name not in inside}
        super().__init__(members | {"steps_done": Out(len(fabric.tiles) + 1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = self.tiles
        for name in ("i", "o", "configuration"):
            inner, outer = getattr(tiles, name), getattr(self, name)
            if name == "o":
                wiring.connect(m, inner, wiring.flipped(outer))
            else:
                wiring.connect(m, wiring.flipped(outer), inner)
        m.d.comb += [
            tiles.clear.eq(self.clear),
            tiles.reset.eq(self.reset),
        ]
        looked_at = []
        for tile, parameters in self.fabric.aers.items():
            m.submodules[f"chip_{tile}"] = chip = Chip(parameters)
            looked_at.append(chip.looked_at)
            for name in ("request", "address", "acknowledge"):
                ours, theirs = getattr(tiles, f"aer_{tile}_{name}"), getattr(chip, name)
                gives = chip.signature.members[name].flow is Out
                m.d.comb += ours.eq(theirs) if gives else theirs.eq(ours)
        m.d.comb += self.steps_done.eq(Cat(tiles.steps_done, Cat(looked_at).xor()))  # that bit is no tile's
        return m
