"""A fabric, to be compiled, whose AER tiles are wired to chips that follow scripts at their own pace.

The scripts are written through the configuration port, as memory 1 of tile ``CHIPS + tile``; a chip begins when it has
received its script.
"""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.top.fabric import Tiles, fabric_pins
from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.words import bits_for

CHIPS = 128
EVENTS = 2048
ADDRESS, PAUSE, MAGNITUDE = range(3)  # byte lanes of a word of the script


def random_script(rng: np.random.Generator, most: int) -> np.ndarray:
    """Random addresses, and pauses of up to ``most`` (0 to 3: 0, 3, 15 or 255 cycles), each equally likely."""
    script = rng.integers(256, size=(EVENTS, 3), dtype=np.uint8)
    script[:, MAGNITUDE] = rng.integers(most + 1, size=EVENTS)
    return script


class Chip(wiring.Component):
    """The chip at the wires of an AER tile. It sends or stores up to ``EVENTS`` addresses; word 0 of ``counted`` is
    their number."""

    def __init__(self, parameters: AerTileParameters) -> None:
        assert parameters.address_width <= 8
        self.parameters = p = parameters
        self.words = Memory(shape=8, depth=EVENTS, init=[])
        self.counted = Memory(shape=16, depth=2, init=[])
        self.pauses, self.magnitudes = (Memory(shape=width, depth=EVENTS, init=[]) for width in (8, 2))
        to_chip, from_chip = In(1, init=p.active_low), Out(1, init=p.active_low)
        super().__init__(
            {
                "request": from_chip if p.is_input else to_chip,
                "address": (Out if p.is_input else In)(p.address_width),
                "acknowledge": to_chip if p.is_input else from_chip,
                "script_enable": In(3),
                "script_index": In(18),
                "script_data": In(8),
                "looked_at": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self.parameters
        names = ("words", "pauses", "magnitudes", "counted")
        for name in names:
            m.submodules[name] = getattr(self, name)
        words, pauses, magnitudes, counted = (getattr(self, name).read_port(domain="comb") for name in names)
        for plane, name in enumerate(names[:3]):
            write = getattr(self, name).write_port()
            m.d.comb += [
                write.addr.eq(self.script_index),
                write.data.eq(self.script_data),
                write.en.eq(self.script_enable[plane]),
            ]
            if name == "words" and not p.is_input:
                word_write = write
        count, pausing, left = Signal(16), Signal(range(EVENTS)), Signal(8)
        counter = self.counted.write_port()
        m.d.comb += [
            counter.en.eq(1),
            counter.data.eq(count),
            words.addr.eq(count),
            pauses.addr.eq(pausing),
            magnitudes.addr.eq(pausing),
            # Synthesis removes memories that nothing reads.
            self.looked_at.eq(words.data.xor() ^ counted.data.xor()),
        ]
        m.d.sync += pausing.eq(pausing + 1)
        mine, theirs, turn, begun = Signal(), Signal(), Signal(), Signal()
        with m.If(self.script_enable[MAGNITUDE] & (self.script_index == EVENTS - 1)):
            m.d.sync += begun.eq(1)
        ours, other = (self.request, self.acknowledge) if p.is_input else (self.acknowledge, self.request)
        m.d.comb += [
            ours.eq(mine ^ p.active_low),
            theirs.eq(other ^ p.active_low),
            turn.eq(((mine == theirs) if p.is_input else (mine != theirs)) & (left == 0) & begun),
        ]
        if p.is_input:
            with m.If(~mine & ~theirs):
                m.d.sync += self.address.eq(words.data)
        else:
            with m.If(turn & theirs):
                m.d.comb += [word_write.addr.eq(count), word_write.data.eq(self.address), word_write.en.eq(1)]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(turn):
            m.d.sync += mine.eq(~mine)
            with m.Switch(magnitudes.data):
                for magnitude, bits in enumerate((0, 2, 4, 8)):
                    with m.Case(magnitude):
                        m.d.sync += left.eq(pauses.data[:bits])
            with m.If(mine if p.is_input else ~mine):
                m.d.sync += count.eq(Mux(count == EVENTS - 1, count, count + 1))
        return m


class WiredTiles(wiring.Component):
    """Like `Tiles`, but without the wires of the AER tiles: chips are at their ends."""

    def __init__(self, fabric: FabricConfig) -> None:
        self.fabric = fabric
        self.tiles = Tiles(fabric)
        inside = fabric_pins(fabric)
        members = {name: member for name, member in self.tiles.signature.members.items() if name not in inside}
        # Scripts are longer than the memories of small tiles, and go through the same port.
        members["configuration"] = In(
            ConfigurationPort(
                tile=True,
                index_width=max(fabric.index_width, bits_for(EVENTS)),
                plane_width=max(fabric.plane_width, bits_for(3)),
                read_back=fabric.read_back,
            )
        )
        super().__init__(members | {"steps_done": Out(len(fabric.tiles) + 1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = self.tiles
        wiring.connect(m, wiring.flipped(self.i), tiles.i)
        wiring.connect(m, tiles.o, wiring.flipped(self.o))
        for name, member in tiles.configuration.signature.members.items():
            outside, inside = getattr(self.configuration, name), getattr(tiles.configuration, name)
            m.d.comb += outside.eq(inside) if member.flow is Out else inside.eq(outside)
        m.d.comb += [tiles.clear.eq(self.clear), tiles.reset.eq(self.reset)]
        port, looked_at = self.configuration, []
        for tile, parameters in self.fabric.tiles_of(AerTileParameters).items():
            m.submodules[f"chip_{tile}"] = chip = Chip(parameters)
            looked_at.append(chip.looked_at)
            for name in ("request", "address", "acknowledge"):
                ours, theirs = getattr(tiles, f"aer_{tile}_{name}"), getattr(chip, name)
                gives = chip.signature.members[name].flow is Out
                m.d.comb += ours.eq(theirs) if gives else theirs.eq(ours)
            mine = port.write_enable & (port.tile == CHIPS + tile)
            m.d.comb += [
                chip.script_enable.eq(Cat(mine & (port.plane == plane) for plane in range(3))),
                chip.script_index.eq(port.index),
                chip.script_data.eq(port.write_data),
            ]
        m.d.comb += self.steps_done.eq(Cat(tiles.steps_done, Cat(looked_at).xor()))  # that bit belongs to no tile
        return m
