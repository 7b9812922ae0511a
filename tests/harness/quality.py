"""A block that is quickly measured, and results of a block and of a board."""

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from spikeloom.boards.qor.boards import BoardQuality
from spikeloom.boards.qor.measure import Block, Quality


class Counter(Component):
    """Eight bits that count; they look at the platform, as designs with parts of their own for an FPGA do."""

    step: In(4)
    count: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + self.step)
        assert platform.family == "ecp5"
        return m


COUNTER = Block(name="counter", variant="8-bits", make=Counter)
QUALITY = Quality(lut=100, ff=8, ram=0, dsp=0, fmax_mhz=150.0, seeds={"1": 150.0}, tools=["yosys 1"])
BOARD = BoardQuality(
    lut=4000,
    ff=2000,
    ram=31,
    dsp=0,
    clock_mhz=60.0,
    fmax_mhz=66.0,
    clocks={"clk": 66.0},
    neurons=64,
    synapses=8192,
    tools=["yosys 1"],
)
