# amaranth: UnusedElaboratable=no
"""RGMII at its pins, with models of the cells: nibbles at both edges, errors, and packets through the whole device."""

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module
from amaranth.sim import Simulator
from harness.packets import BOARD, HOSTS, arp_request, echo_request
from harness.rgmii_cells import simulated_cells

from spikeloom.hdl.host.ethernet import EthernetLine
from spikeloom.hdl.host.rgmii import Rgmii
from spikeloom.sim.host.ethernet import ETHERNET_HZ, EthernetModel

PERIOD_S = 1 / ETHERNET_HZ
PREAMBLE = bytes([0x55] * 7 + [0xD5])


class Device(Elaboratable):
    """The pins of a PHY with the device behind them."""

    def __init__(self):
        self.pins, self.line = Rgmii(), EthernetLine(BOARD)

    def elaborate(self, platform):
        m = Module()
        m.submodules.pins, m.submodules.line = pins, line = self.pins, self.line
        m.d.comb += [
            line.rx_data.eq(pins.rx_data),
            line.rx_valid.eq(pins.rx_valid),
            line.rx_error.eq(pins.rx_error),
            pins.tx_data.eq(line.tx_data),
            pins.tx_valid.eq(line.tx_valid),
        ]
        return m


def exchanged(frames, *, error=None):
    """Send frames through the pins; return those that come back. ``error`` is the place of a byte with an error.

    As from a PHY, lines change a quarter of a period before the edge at which they are sampled.
    """
    device = Device()
    pins = device.pins
    simulator = Simulator(device)
    simulator.add_clock(PERIOD_S, domain="ethernet")  # rises after half a period
    simulator.add_clock(1 / 90e6, domain="sync")
    found, current = [], bytearray()

    async def send(ctx):
        await ctx.delay(PERIOD_S / 4)
        for frame in frames:
            for place, byte in enumerate(PREAMBLE + frame):
                ctx.set(pins.rx_nibble, byte & 0xF)
                ctx.set(pins.rx_control, 1)
                await ctx.delay(PERIOD_S / 2)
                ctx.set(pins.rx_nibble, byte >> 4)
                ctx.set(pins.rx_control, int(place != error))
                await ctx.delay(PERIOD_S / 2)
            ctx.set(pins.rx_control, 0)
            await ctx.delay(200 * PERIOD_S)

    async def collect(ctx):
        await ctx.delay(PERIOD_S * 3 / 4)  # a quarter after the rising edge
        while True:
            low, control, clock = ctx.get(pins.tx_nibble), ctx.get(pins.tx_control), ctx.get(pins.tx_clock)
            assert clock == 1
            await ctx.delay(PERIOD_S / 2)
            assert ctx.get(pins.tx_clock) == 0
            assert ctx.get(pins.tx_control) == control, "no errors are sent"
            if control:
                current.append(low | ctx.get(pins.tx_nibble) << 4)
            elif current:
                found.append(bytes(current))
                current.clear()
            await ctx.delay(PERIOD_S / 2)

    simulator.add_testbench(send)
    simulator.add_testbench(collect, background=True)
    simulator.run()
    return found


def test_packets_at_the_pins(monkeypatch):
    simulated_cells(monkeypatch)
    frames = [arp_request(HOSTS[0]), echo_request(HOSTS[1], bytes(range(40)))]
    model = EthernetModel(BOARD)
    assert exchanged(frames) == [PREAMBLE + model.receive(frame).frame for frame in frames]
    assert exchanged(frames[:1], error=20) == []


def test_widths():
    """A nibble at the pins, a byte at GMII."""
    rgmii = Rgmii()
    widths = {"rx_nibble": 4, "tx_nibble": 4, "rx_data": 8, "tx_data": 8}
    singles = ("rx_control", "tx_clock", "tx_control", "rx_valid", "rx_error", "tx_valid")
    found = {name: len(getattr(rgmii, name)) for name in rgmii.signature.members}
    assert found == widths | dict.fromkeys(singles, 1)


def test_delays(monkeypatch):
    """In steps of 25 ps: the data from the PHY, and the clock to it."""
    steps = simulated_cells(monkeypatch)
    rgmii = Rgmii(rx_delay_s=2e-9, tx_delay_s=1.5e-9)
    Fragment.get(rgmii, None)
    assert steps["rx_control_delayed"] == steps["rx_nibble_3_delayed"] == 80
    assert steps["tx_clock"] == 60
    assert steps["tx_control"] == 0
    for name in ("rx_delay_s", "tx_delay_s"):
        for wrong in (-1e-12, 3.2e-9):
            with pytest.raises(ValueError, match=f"^{name} must be from 0 to 3.175e-09 s, not "):
                Rgmii(**{name: wrong})
