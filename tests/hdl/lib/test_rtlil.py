"""The text of a netlist: its ports, and that it does not depend on the process."""

import os
import re
import subprocess
import sys

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.lib.rtlil import to_rtlil

HASHES = """
import hashlib
from spikeloom.hdl.host.ethernet import EthernetLine
from spikeloom.hdl.host.usb import UsbLine
from spikeloom.hdl.lib.rtlil import to_rtlil
from spikeloom.sim.host.ethernet import EthernetParameters
from spikeloom.sim.host.usb import UsbParameters
for design in (UsbLine(UsbParameters()), EthernetLine(EthernetParameters().station(bytes(16)))):
    print(hashlib.sha256(to_rtlil(design).encode()).hexdigest())
"""


class Registers(Component):
    """One register per domain, each the input of the next one; ``names`` are the domains."""

    def __init__(self, names):
        self.names = names
        super().__init__({"i": In(2), "o": Out(2), "spare": Out(1)})

    def elaborate(self, platform):
        m = Module()
        value = self.i
        for name in self.names:
            following = Signal(2, name=f"in_{name}")
            m.d[name] += following.eq(value)
            value = following
        m.d.comb += self.o.eq(value)
        return m


def inputs(text):
    """Names of the inputs, in the order of their numbers."""
    found = re.findall(r"^  wire width \d+ input (\d+) +\\(\w+)$", text, re.MULTILINE)
    return [name for _, name in sorted(found, key=lambda port: int(port[0]))]


@pytest.mark.parametrize("names", [(), ("sync",), ("usb",)], ids=lambda names: "-".join(names) or "none")
def test_a_design_with_one_clock_is_converted_as_amaranth_does(names):
    expected = rtlil.convert(Registers(names), name="top", emit_src=False)
    assert to_rtlil(Registers(names)) == expected
    assert "src" not in expected


def test_clocks_are_in_the_order_of_their_names():
    text = to_rtlil(Registers(("usb", "sync", "ethernet", "b", "a")), name="several")
    clocks = [f"{name}_{kind}" for name in ("a", "b", "ethernet") for kind in ("clk", "rst")]
    assert inputs(text) == ["i", *clocks, "clk", "rst", "usb_clk", "usb_rst"]
    assert "module \\several" in text


def test_a_netlist_does_not_depend_on_the_process():
    """Two processes in which sets of texts have different orders."""
    orders, hashes = set(), set()
    script = HASHES + "print(list({'usb', 'usb_io', 'sync'}), file=__import__('sys').stderr)"
    for hash_seed in ("1", "3"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
        hashes.add(done.stdout)
        orders.add(done.stderr)
    assert len(orders) == 2
    assert len(hashes) == 1
    assert len(set(hashes.pop().split())) == 2
