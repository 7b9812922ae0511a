"""The configuration port of a tile, and register banks made from their declaration."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.registers import REGISTER_SPACE, RegisterMap
from spikeloom.sim.lib.words import bits_for

__all__ = ["ConfigurationPort", "RegisterBank"]

INDEX_BITS = bits_for(REGISTER_SPACE)


class ConfigurationPort(Signature):
    """How the host reaches registers and memories of a tile, one byte per cycle; as the host bridge sees it.

    A write happens at the end of the cycle in which ``write_enable`` is high. Of reads only registers know: one cycle
    after ``memory`` and ``index`` have been presented ``read_data`` is valid, and 0 where there is no register.

    Parameters
    ----------
    tile
        The port is that of several tiles, and says by ``tile`` which one is meant. They are further away: `latency`.

    Members
    -------
    tile : Signal(8), out
        The tile that is meant, of a port of several tiles.
    write_enable : Signal, out
        Write at the end of this cycle.
    memory : Signal(4), out
    plane : Signal(10), out
    index : Signal(18), out
        The memory, which byte of the word, and the word; of registers ``index`` counts bytes.
    write_data : Signal(8), out
        The byte to write.
    read_data : Signal(8), in
        The byte that was read.
    """

    def __init__(self, *, tile: bool = False) -> None:
        super().__init__(
            {
                **({"tile": Out(8)} if tile else {}),
                "write_enable": Out(1),
                "memory": Out(4),
                "plane": Out(10),
                "index": Out(18),
                "write_data": Out(8),
                "read_data": In(8),
            }
        )


class RegisterBank(wiring.Component):
    """The registers of a tile.

    Parameters
    ----------
    register_map
        Which ones.
    contents
        What they have after a reset, where it is not what the map says. Raises ``ValueError`` if they cannot.

    Members
    -------
    configuration : ConfigurationPort, in
        From the host.
    *one for each register, by its name*
        In for what the host reads only: the value to be read. Out for all others: the value written. One whose access
        is ``pulse`` is high for one cycle.
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
        m.d.comb += here.eq((port.memory == self.register_map.register_memory) & (port.index[INDEX_BITS:] == 0))
        index = port.index[:INDEX_BITS]
        for register in self.register_map.registers:
            if register.access == "pulse":
                m.d.sync += getattr(self, register.name).eq(register.reset)
        # First the byte of each word, then the word: that costs half of what choosing among all bytes at once does.
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
        with m.If(~here):
            m.d.sync += port.read_data.eq(0)
        return m
