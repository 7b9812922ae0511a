"""The configuration port of a tile, and register banks made from their declaration."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.sim.registers import REGISTER_MEMORY, REGISTER_SPACE, RegisterMap
from spikeloom.sim.words import bits_for

__all__ = ["ConfigurationPort", "RegisterBank"]

INDEX_BITS = bits_for(REGISTER_SPACE)


class ConfigurationPort(Signature):
    """How the host reaches registers and memories of a tile, a byte a cycle; as the host bridge sees it.

    A write happens at the end of the cycle in which ``write_enable`` is high. Of reads only registers know: one cycle
    after ``memory`` and ``index`` have been presented ``read_data`` is valid, and 0 where there is no register.
    """

    def __init__(self) -> None:
        super().__init__(
            {
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

    Members
    -------
    configuration
        From the host.
    *one for each register, by its name*
        In for what the host reads only: the value to be read. Out for all others: the value written. One whose access
        is ``pulse`` is high for one cycle.
    """

    def __init__(self, register_map: RegisterMap) -> None:
        self.register_map = register_map
        members = {
            r.name: Out(r.width_bits, init=r.reset) if r.writable else In(r.width_bits) for r in register_map.registers
        }
        super().__init__({"configuration": In(ConfigurationPort()), **members})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.configuration
        here = Signal()
        m.d.comb += here.eq((port.memory == REGISTER_MEMORY) & (port.index[INDEX_BITS:] == 0))
        index = port.index[:INDEX_BITS]
        for register in self.register_map.registers:
            if register.access == "pulse":
                m.d.sync += getattr(self, register.name).eq(register.reset)
        read_data = Signal(8)
        with m.Switch(index):
            for register in self.register_map.registers:
                value = getattr(self, register.name)
                for byte in range(register.size):
                    part = value[8 * byte : 8 * byte + 8]
                    with m.Case(register.offset + byte):
                        if register.readable:
                            m.d.comb += read_data.eq(part)
                        if register.writable:
                            with m.If(port.write_enable & here):
                                m.d.sync += part.eq(port.write_data)
        m.d.sync += port.read_data.eq(read_data)
        with m.If(~here):
            m.d.sync += port.read_data.eq(0)
        return m
