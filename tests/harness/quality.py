"""A block that is quick to measure, and results of a block and of a board."""

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from spikeloom.boards.qor.boards import BoardQuality
from spikeloom.boards.qor.measure import Block, Quality


class Counter(Component):
    """An eight-bit counter that reads the platform, as designs with FPGA-specific parts do."""

    step: In(4)
    count: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + self.step)
        assert platform.family == "ecp5"
        return m


COUNTER = Block(name="counter", variant="8-bits", make=Counter)
SEEDS = {"1": 140.0, "2": 151.0, "3": 150.0, "4": 163.0, "5": 149.0}
"""Their median is 150."""

QUALITY = Quality(lut=100, ff=8, ram=0, dsp=0, seeds=SEEDS, tools=["yosys 1"], netlist="0a" * 16, commit="1b" * 20)
BOARD = BoardQuality(
    lut=4000,
    ff=2000,
    ram=31,
    dsp=0,
    clock_mhz=60.0,
    seeds={"1": 64.0, "2": 66.0, "3": 68.0},
    clocks={"clk": 66.0},
    neurons=64,
    synapses=8192,
    tools=["yosys 1"],
    netlist="0a" * 16,
    commit="1b" * 20,
)
