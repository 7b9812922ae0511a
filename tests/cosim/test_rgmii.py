"""The Ethernet device at its RGMII pins in Verilog, with a model of the PHY that others wrote, cocotbext-eth."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from harness.mutations import mutated
from harness.packets import BOARD
from harness.rgmii_cells import simulated_cells

from spikeloom.hdl.host import rgmii
from spikeloom.hdl.host.ethernet import EthernetLine
from spikeloom.simulators.verilator import SimulationError


class RgmiiBoard(wiring.Component):
    """The pins of a PHY with the Ethernet device behind them."""

    rx_control: In(1)
    rx_nibble: In(4)
    tx_clock: Out(1)
    tx_clock_late: In(1)  # that clock with the delay of a board, made by the bench for its PHY
    tx_control: Out(1)
    tx_nibble: Out(4)
    o: Out(stream.Signature(8))
    i: In(stream.Signature(8))

    def __init__(self, module=rgmii):
        self.module = module
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.pins = pins = self.module.Rgmii()
        m.submodules.line = line = EthernetLine(BOARD)
        wiring.connect(m, line.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), line.i)
        m.d.comb += [
            pins.rx_control.eq(self.rx_control),
            pins.rx_nibble.eq(self.rx_nibble),
            self.tx_clock.eq(pins.tx_clock),
            self.tx_control.eq(pins.tx_control),
            self.tx_nibble.eq(pins.tx_nibble),
            line.rx_data.eq(pins.rx_data),
            line.rx_valid.eq(pins.rx_valid),
            line.rx_error.eq(pins.rx_error),
            pins.tx_data.eq(line.tx_data),
            pins.tx_valid.eq(line.tx_valid),
        ]
        return m


def test_packets_with_the_phy_of_cocotbext_eth(monkeypatch, verilog, run_bench):
    simulated_cells(monkeypatch)
    run_bench(verilog(RgmiiBoard(), "rgmii"), "rgmii", "rgmii_bench", tests=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.tx_data[place], self.tx_data[4 + place]", "self.tx_data[4 + place], self.tx_data[place]"),
        ("self.rx_error.eq(rising ^ falling)", "self.rx_error.eq(0)"),
    ],
    ids=["halves of a byte", "errors"],
)
def test_a_planted_bug_is_found(monkeypatch, verilog, run_bench, old, new):
    broken = mutated(rgmii, old, new)
    simulated_cells(monkeypatch)
    monkeypatch.setattr(broken, "Instance", rgmii.Instance)
    with pytest.raises(SimulationError, match="failed in"):
        run_bench(verilog(RgmiiBoard(broken), "rgmii"), "rgmii", "rgmii_bench", tests=2)
