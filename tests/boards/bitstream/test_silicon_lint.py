"""Known defects of block RAM in silicon are found in netlists from Yosys; each is planted in a small design."""

import json
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib.wiring import Component, In, Out
from harness.mutations import mutated

from spikeloom.boards.bitstream.builder import BuildError, build_board
from spikeloom.boards.bitstream.silicon_lint import lint
from spikeloom.boards.families import pll
from spikeloom.boards.families.flow import ECP5, GOWIN, ICE40
from spikeloom.boards.qor.measure import run_tool
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.hdl.host import link
from spikeloom.hdl.host.frames import FrameSender
from spikeloom.hdl.lib import byte_memory
from spikeloom.hdl.lib.byte_memory import ByteMemory
from spikeloom.sim.host.link import LinkParameters

CLOCK_HZ = 24e6
FAMILIES = {
    "ecp5": (ECP5, "synth_ecp5 -top top", "DP16KD"),
    "gowin": (GOWIN, "synth_gowin -top top", "DPX9B"),
    "ice40": (ICE40, "synth_ice40 -top top", "SB_RAM40_4K"),
}
WITH_RESET = mutated(
    byte_memory,
    "self.data.eq(registered_read(m, memory, self.address)),",
    "*([m.d.sync.__iadd__(self.data.eq((read := memory.read_port(domain='comb')).data))] and []),\n"
    "            read.addr.eq(self.address),",
)
"""The byte memory of an earlier version: the register of its read port has a reset."""


def netlist(folder, family, design):
    """The netlist that Yosys makes of ``design``, which must contain block RAM."""
    flow, synthesis, block_ram = FAMILIES[family]
    (folder / "top.il").write_text(rtlil.convert(design, name="top", emit_src=False))
    run_tool(flow, "yosys", ["-q", "-p", f"read_rtlil top.il; {synthesis}; write_json top.json"], folder)
    text = (folder / "top.json").read_text()
    kinds = [cell["type"] for cell in json.loads(text)["modules"]["top"]["cells"].values()]
    assert any(kind.startswith(block_ram) for kind in kinds), f"there must be a {block_ram}"
    return text


@pytest.mark.parametrize("family", ["ecp5", "gowin"])
def test_a_read_reset_that_is_driven_is_found(tmp_path, family):
    assert lint(netlist(tmp_path, family, ByteMemory(1024)), clock_hz=CLOCK_HZ) == []
    (finding,) = lint(netlist(tmp_path, family, WITH_RESET.ByteMemory(1024)), clock_hz=CLOCK_HZ)
    pin = "RST[AB]" if family == "ecp5" else "RESET[AB]?"
    assert re.fullmatch(rf"read reset {pin} of block RAM \S+ must be constant 0, but is driven", finding)


def test_the_host_link_has_none(tmp_path, monkeypatch):
    design = link.Link(LinkParameters(), bytes(16))
    assert lint(netlist(tmp_path, "ecp5", design), clock_hz=CLOCK_HZ) == []
    # With the earlier memories, these are the two rings, and the memory of the sender, which has the identity in it.
    monkeypatch.setattr(link, "ByteMemory", WITH_RESET.ByteMemory)
    monkeypatch.setitem(FrameSender.elaborate.__globals__, "ByteMemory", WITH_RESET.ByteMemory)
    findings = lint(netlist(tmp_path, "ecp5", link.Link(LinkParameters(), bytes(16))), clock_hz=CLOCK_HZ)
    assert sorted(re.search(r"RAM (\w+)", finding)[1] for finding in findings) == [
        "receive_ring",
        "sender",
        "transmit_ring",
    ]


def test_read_before_write_is_found_on_gowin(tmp_path):
    text = netlist(tmp_path, "gowin", ByteMemory(1024))
    content = json.loads(text)
    (block,) = (cell for cell in content["modules"]["top"]["cells"].values() if cell["type"] == "DPX9B")
    for mode, count in ((0, 0), (1, 0), (2, 1)):
        block["parameters"]["WRITE_MODE0"] = f"{mode:032b}"
        findings = lint(json.dumps(content), clock_hz=CLOCK_HZ)
        assert len(findings) == count
        assert all(re.fullmatch(r"WRITE_MODE0 of block RAM \S+ must be 0 or 1, not 2 \(.*\)", f) for f in findings)


class Started(Component):
    """A byte memory in a domain with the PLL, as on the boards, or in one that starts immediately."""

    source: In(1)
    write: In(8)
    read: Out(8)

    def __init__(self, *, with_pll=True):
        self.with_pll = with_pll
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        if self.with_pll:
            pll.pll_clock(m, "ice40", 12e6, CLOCK_HZ, self.source)
        else:
            m.domains.sync = ClockDomain("sync", reset_less=True)
            m.submodules.clock = Instance("SB_HFOSC", i_CLKHFEN=Const(1), i_CLKHFPU=Const(1), o_CLKHF=ClockSignal())
        m.submodules.memory = memory = ByteMemory(256)
        place = Signal(8)
        m.d.sync += [place.eq(place + self.write), self.read.eq(memory.data)]
        m.d.comb += [
            memory.write_enable.eq(place[0]),
            memory.write_address.eq(place),
            memory.write_data.eq(self.write),
            memory.address.eq(place),
        ]
        return m


def reset_cycles(folder, design):
    """The cycles after which the reset ends according to the only finding, out of 72; None without a finding."""
    findings = lint(netlist(folder, "ice40", design), clock_hz=CLOCK_HZ)
    text = r"reset of an iCE40 with block RAM must last at least 3 us after configuration, 72 clock cycles, not (\d+)"
    cycles = [int(re.fullmatch(text, finding)[1]) for finding in findings]
    return cycles[0] if cycles else None


def test_a_reset_that_is_too_short_for_block_ram_is_found(tmp_path, monkeypatch):
    assert reset_cycles(tmp_path, Started()) is None
    monkeypatch.setattr(pll, "START_SECONDS", 3.1e-6)
    assert reset_cycles(tmp_path, Started()) is None
    monkeypatch.setattr(pll, "START_SECONDS", 2e-6)
    assert 48 <= reset_cycles(tmp_path, Started()) <= 52, "the wait, and what synchronises the reset"
    assert reset_cycles(tmp_path, Started(with_pll=False)) <= 1, "there is no reset but that of a register by itself"


class Faulty(Component):
    """A serial line through a memory whose read reset is driven."""

    rx: In(1)
    tx: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = WITH_RESET.ByteMemory(1024)
        m.d.sync += memory.write_address.eq(memory.write_address + 1)
        m.d.comb += [
            memory.write_enable.eq(1),
            memory.write_data.eq(self.rx.replicate(8)),
            memory.address.eq(memory.write_address + 1),
            self.tx.eq(memory.data.xor()),
        ]
        return m


def test_a_build_is_refused(tmp_path):
    with pytest.raises(BuildError, match=r"^Netlist for ulx3s-12f does not work on silicon: read reset RST[AB] of "):
        build_board(BOARDS["ulx3s-12f"], tmp_path, design=lambda board, identity: Faulty(), announce=lambda text: None)
    assert not list(tmp_path.glob("*.bit"))
