"""The LIF core with standard bus interfaces: packets over AXI4-Stream, configuration over AXI4-Lite.

A packet is one transfer of 64 bits, independent of the widths of the core::

    bits    63 .. 32   31 .. 8   7 .. 4   3      2        1 .. 0
            value      axon      0        last   parity   kind

``value`` is signed. ``m_axis_tlast`` is high with a TICK, so a DMA engine ends a transfer with each step.

The configuration space has 128 bytes::

    0x00 .. 0x3f   the registers of the core (docs/registers.md)
    0x40           memory: number of the memory to write
    0x44           plane: byte lane of its words
    0x48           index: number of the word
    0x4c           data: writing the lowest byte stores it and increments index

Writes honour their strobes. Other addresses respond with SLVERR; memories cannot be read back.
"""

from dataclasses import replace

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.lib.registers import ConfigurationPort
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.registers import REGISTER_SPACE

__all__ = ["AxiConfiguration", "AxiLifCore"]

# 128 bytes of configuration space, up to `END` in use.
ADDRESS_BITS = 7
PACKET_BITS = 64
# The widths of the fields in a transfer, whatever the core's own widths are.
AXON_BITS = 24
VALUE_BITS = 32
MEMORY, PLANE, INDEX, DATA, END = 0x40, 0x44, 0x48, 0x4C, 0x50
# Response codes of AXI4.
OKAY, SLVERR = 0, 2

_SLAVE = {
    "awaddr": In(ADDRESS_BITS),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(32),
    "wstrb": In(4),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDRESS_BITS),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(32),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}


class AxiConfiguration(wiring.Component):
    """AXI4-Lite slave for a configuration port; processes one transfer at a time, one byte per cycle.

    Members
    -------
    awaddr, araddr : Signal(ADDRESS_BITS), in
    awvalid, wvalid, bready, arvalid, rready : Signal, in
    awready, wready, bvalid, arready, rvalid : Signal, out
    wdata : Signal(32), in
    wstrb : Signal(4), in
    rdata : Signal(32), out
    bresp, rresp : Signal(2), out
        AXI4-Lite channels.
    configuration : ConfigurationPort, out
        Configuration port of a tile.
    """

    def __init__(self) -> None:
        super().__init__({**_SLAVE, "configuration": Out(ConfigurationPort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.configuration
        address = Signal(ADDRESS_BITS)
        data = Signal(32)
        strobe = Signal(4)
        # Counts to 5: read data follow the index by one cycle, so that four bytes take five cycles.
        byte = Signal(range(6))
        memory, plane, index = Signal.like(port.memory), Signal.like(port.plane), Signal.like(port.index)
        of_registers = Signal()
        known = Signal()
        # The response is SLVERR (2) for unknown addresses, else OKAY (0).
        m.d.comb += [
            of_registers.eq(address < REGISTER_SPACE),
            known.eq(address < END),
            port.memory.eq(memory),
            port.plane.eq(plane),
            port.index.eq(index),
            port.write_data.eq(data[:8]),
            self.bresp.eq(~known << 1),
            self.rresp.eq(~known << 1),
            self.rdata.eq(data),
        ]
        # Registers are memory 0, addressed by byte: the word address of the bus plus the number of the current byte.
        # The memories are reached through four registers, so that the slave needs few address bits whatever their size.
        with m.If(of_registers):
            m.d.comb += [
                port.memory.eq(0),
                port.plane.eq(0),
                port.index.eq(Cat((byte + Cat(Const(0, 2), address[2:]))[:ADDRESS_BITS])),
            ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += byte.eq(0)
                # Address and data of a write are accepted together, so neither channel needs its own state.
                with m.If(self.awvalid & self.wvalid):
                    m.d.comb += [self.awready.eq(1), self.wready.eq(1)]
                    m.d.sync += [address.eq(self.awaddr), data.eq(self.wdata), strobe.eq(self.wstrb)]
                    m.next = "WRITE"
                with m.Elif(self.arvalid):
                    m.d.comb += self.arready.eq(1)
                    m.d.sync += [address.eq(self.araddr), data.eq(0)]
                    m.next = "READ"
            with m.State("WRITE"):
                # The lowest byte comes first; data and strobes shift down by one byte per cycle.
                is_data = address[2:] == DATA >> 2
                m.d.comb += port.write_enable.eq(strobe[0] & (of_registers | (is_data & (byte == 0))))
                m.d.sync += [byte.eq(byte + 1), data.eq(data >> 8), strobe.eq(strobe >> 1)]
                # The index advances by itself, so that a memory is loaded with one write per byte.
                with m.If((byte == 0) & is_data & strobe[0]):
                    m.d.sync += index.eq(index + 1)
                for place, register in ((MEMORY, memory), (PLANE, plane), (INDEX, index)):
                    for number in range(-(-len(register) // 8)):
                        part = register[8 * number : 8 * number + 8]
                        with m.If((address[2:] == place >> 2) & (byte == number) & strobe[0]):
                            m.d.sync += part.eq(data[:8])
                # Always four cycles: bytes without a strobe are passed over.
                with m.If(byte == 3):
                    m.next = "WRITTEN"
            # The response is held until the master takes it, as AXI requires.
            with m.State("WRITTEN"):
                m.d.comb += self.bvalid.eq(1)
                with m.If(self.bready):
                    m.next = "IDLE"
            with m.State("READ"):
                # Read data follow the index by one cycle: four bytes take five cycles.
                m.d.sync += byte.eq(byte + 1)
                with m.If(byte != 0):
                    m.d.sync += data.eq(Cat(data[8:], port.read_data & of_registers.replicate(8)))
                with m.If(byte == 4):
                    with m.Switch(address[2:]):
                        for place, register in ((MEMORY, memory), (PLANE, plane), (INDEX, index)):
                            with m.Case(place >> 2):
                                m.d.sync += data.eq(register)
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.rvalid.eq(1)
                with m.If(self.rready):
                    m.next = "IDLE"
        return m


class AxiLifCore(wiring.Component):
    """A LIF core with AXI ports, in the clock domain of the bus.

    Parameters
    ----------
    parameters
        Sizes and features of the core, whose ``read_back`` is ignored.

    Members
    -------
    aclk, aresetn : Signal, in
        Clock and synchronous active-low reset.
    s_axis_tdata : Signal(PACKET_BITS), in
    s_axis_tvalid : Signal, in
    s_axis_tready : Signal, out
        Packets for the core, AXI4-Stream.
    m_axis_tdata : Signal(PACKET_BITS), out
    m_axis_tvalid : Signal, out
    m_axis_tready : Signal, in
    m_axis_tlast : Signal, out
        Packets from the core, AXI4-Stream.
    s_axi_*
        Configuration: the AXI4-Lite ports of `AxiConfiguration`.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        if parameters.streamed:
            raise ValueError("weight_memory must be 'block' or 'single-port' for a core with AXI ports, not 'sdram'")
        # The configuration space offers no way to read memories.
        self.core = LifCore(replace(parameters, read_back=False))
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axis_tdata": In(PACKET_BITS),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(PACKET_BITS),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                **{f"s_axi_{name}": member for name, member in _SLAVE.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(local=True)
        # AXI's reset is low when active and synchronous here, as the whole core has one clock domain.
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.core = core = self.core
        m.submodules.configuration = slave = AxiConfiguration()
        wiring.connect(m, slave.configuration, core.configuration)
        for name, member in _SLAVE.items():
            here, there = getattr(self, f"s_axi_{name}"), getattr(slave, name)
            m.d.comb += there.eq(here) if member.flow is In else here.eq(there)

        given, taken = core.i.payload, core.o.payload
        source = self.s_axis_tdata
        sent = Cat(
            taken.kind.as_value(),
            taken.parity,
            taken.last,
            Const(0, 4),
            _extended(taken.axon, AXON_BITS),
            _extended(taken.value, VALUE_BITS),
        )
        # An assignment would silently truncate a longer word, and extend a shorter one by zeros.
        assert len(sent) == PACKET_BITS
        m.d.comb += [
            core.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(core.i.ready),
            given.kind.eq(source[0:2]),
            given.parity.eq(source[2]),
            given.last.eq(source[3]),
            given.axon.eq(source[8 : 8 + AXON_BITS]),
            given.value.eq(source[32:].as_signed()),
            self.m_axis_tvalid.eq(core.o.valid),
            core.o.ready.eq(self.m_axis_tready),
            self.m_axis_tdata.eq(sent),
            # A TICK ends the packets of a step, so that a DMA engine downstream gets one transfer per step.
            self.m_axis_tlast.eq(taken.kind == PacketKind.TICK),
        ]
        return m


def _extended(value, width: int):
    """``value`` extended to ``width`` bits, by its sign if it is signed."""
    sign = value[-1] if value.shape().signed else Const(0)
    return Cat(value, sign.replicate(width - len(value)))
