"""The configuration port of a tile, and register banks generated from their declaration."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.registers import INDEX_WIDTH, PLANE_WIDTH, REGISTER_SPACE, RegisterMap
from spikeloom.sim.lib.words import bits_for

__all__ = ["ConfigurationPort", "RegisterBank"]

INDEX_BITS = bits_for(REGISTER_SPACE)


class ConfigurationPort(Signature):
    """Access of the host to registers and memories of a tile, one byte per cycle. Directions are those of the bridge.

    A write takes effect at the end of the cycle in which ``write_enable`` is high. ``read_data`` is 0 at addresses that
    cannot be read. For a register it is valid one cycle after ``memory`` and ``index``.

    Parameters
    ----------
    tile
        The port serves several tiles, selected by ``tile``. Their read data take more cycles, one for each stage on the
        way there and back.
    index_width, plane_width
        Widths of ``index`` and ``plane``.
    read_back
        Memories can be read too, while nothing runs: ``read_data`` is valid ``READ_BACK_CYCLES`` after the address,
        during which ``reading`` and the address must not change.

    Members
    -------
    tile : Signal(8), out
        Number of the addressed tile, in a port of several tiles.
    write_enable : Signal, out
        Write at the end of this cycle.
    memory : Signal(4), out
    plane : Signal(plane_width), out
    index : Signal(index_width), out
        Number of the memory, byte lane and word. For registers ``index`` counts bytes.
    write_data : Signal(8), out
        The byte to write.
    reading : Signal, out
        A memory may be read, in a port with ``read_back``.
    read_data : Signal(8), in
        Read data.
    """

    def __init__(
        self,
        *,
        tile: bool = False,
        index_width: int = INDEX_WIDTH,
        plane_width: int = PLANE_WIDTH,
        read_back: bool = False,
    ) -> None:
        super().__init__(
            {
                **({"tile": Out(8)} if tile else {}),
                "write_enable": Out(1),
                "memory": Out(4),
                "plane": Out(plane_width),
                "index": Out(index_width),
                "write_data": Out(8),
                **({"reading": Out(1)} if read_back else {}),
                "read_data": In(8),
            }
        )


class RegisterBank(wiring.Component):
    """The registers of a tile.

    Parameters
    ----------
    register_map
        Declaration of the registers.
    contents
        Reset values that differ from the declaration. Raises ``ValueError`` for a value that does not fit.

    Members
    -------
    configuration : ConfigurationPort, in
        Access for the host.
    *one for each register, by its name*
        An input for read-only registers: the value to be read. An output for all others: the value written. Registers
        with ``pulse`` access return to their reset value after one cycle.
    """

    def __init__(self, register_map: RegisterMap, contents: Contents = NOTHING) -> None:
        self.register_map = register_map
        for name, value in contents.registers.items():
            register_map.register(name).encode(value)
        members = {
            r.name: Out(r.width_bits, init=contents.registers.get(r.name, r.reset)) if r.writable else In(r.width_bits)
            for r in register_map.registers
        }
        super().__init__({"configuration": In(ConfigurationPort()), **members})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.configuration
        here = Signal()
        # The whole index is compared, because the registers would otherwise repeat throughout the index space.
        m.d.comb += here.eq((port.memory == self.register_map.register_memory) & (port.index[INDEX_BITS:] == 0))
        index = port.index[:INDEX_BITS]
        for register in self.register_map.registers:
            # Before the writes below, which override it in the cycle of a write.
            if register.access == "pulse":
                m.d.sync += getattr(self, register.name).eq(register.reset)
        # Selecting the byte within each word first, then the word, takes half the logic of one multiplexer over all
        # bytes.
        words: dict[int, dict[int, Value]] = {}
        for register in self.register_map.registers:
            value = getattr(self, register.name)
            for place in range(register.offset, register.offset + register.size):
                first = 8 * (place - register.offset)
                if register.readable:
                    words.setdefault(place // 4, {})[place % 4] = value[first : first + 8]
                if register.writable:
                    with m.If(port.write_enable & here & (index == place)):
                        m.d.sync += value[first : first + 8].eq(port.write_data)
        read_data = Signal(8)
        with m.Switch(index[2:]):
            for number, word in words.items():
                with m.Case(number):
                    parts = Cat(Cat(word.get(byte, Const(0)), Const(0, 8))[:8] for byte in range(4))
                    m.d.comb += read_data.eq(parts.word_select(index[:2], 8))
        m.d.sync += port.read_data.eq(read_data)
        # Other register memories drive 0, so that several banks can share a port through an OR.
        with m.If(~here):
            m.d.sync += port.read_data.eq(0)
        return m
