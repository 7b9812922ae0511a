"""SDRAM at the pins of boards: registers in the I/O cells, constraints, and boards that cannot have it."""

import dataclasses
import functools
import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Component, In, Out

from spikeloom.boards.bitstream.builder import board_plan
from spikeloom.boards.targets.board import PIN_REGISTERS
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.hdl.sdram.controller import SdramPinSignature
from spikeloom.hdl.sdram.crossing import SdramCrossing
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.sdram.weights import MEMORY_TO_CORE

WITH_SDRAM = {name: board for name, board in BOARDS.items() if board.sdram is not None}
CORE = CoreParameters(lanes=4, neurons=64, axons=128, weight_words=1 << 20, weight_memory="sdram")


def streaming(board, **changes):
    slow = dataclasses.replace(board, pll_hz=60e6)
    return dataclasses.replace(slow, fabric=FabricConfig(core=CORE, sdram=board.sdram_parameters), **changes)


class Memory(Component):
    """A controller at the pins of a board with a serial line, without anything behind it."""

    def __init__(self, parameters):
        self._crossing = SdramCrossing(parameters)
        members = {"rx": In(1), "tx": Out(1), "sdram": Out(SdramPinSignature(parameters))}
        super().__init__({**members, "sdram_phase_step": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crossing = crossing = self._crossing
        wiring.connect(m, crossing.pins, wiring.flipped(self.sdram))
        m.d.comb += [crossing.port.requests.valid.eq(self.rx), self.tx.eq(crossing.port.words.payload[0])]
        m.d.comb += [crossing.port.phase_step.eq(self.rx), self.sdram_phase_step.eq(crossing.phase_step)]
        return m


@functools.cache
def plan_of(name):
    board = WITH_SDRAM[name]
    return board_plan(board, bytes(16), design=lambda board, identity: Memory(board.sdram_parameters))


@pytest.mark.parametrize("name", WITH_SDRAM)
def test_pins_are_in_registers_of_the_io_cells(name):
    board, plan = WITH_SDRAM[name], plan_of(name)
    constraints, netlist = plan.files["top.lpf"], plan.files["top.il"]
    p = board.sdram_parameters
    width, addresses = p.chip.width, p.chip.row_bits
    # Command, banks, addresses, masks and data; each bit of the data has an input and its output enable.
    tied = {"cs", "clk_en", "dqm"} if name == "colorlight-5a75b" else set()
    outputs = 3 + (not tied) + p.chip.bank_bits + addresses + (0 if tied else width // 8) + width
    cells = {
        cell: len(re.findall(rf"cell \\{cell} ", netlist)) for cell in ("OFS1P3DX", "IFS1P3DX", "ODDRX1F", "EHXPLLL")
    }
    assert cells["IFS1P3DX"] == width
    assert cells["OFS1P3DX"] >= outputs
    assert (cells["ODDRX1F"], cells["EHXPLLL"]) == (1, 2)
    for pin in ("clk", "clk_en", "cs", "we", "ras", "cas", "ba", "a", "dq", "dqm"):
        assert (f"sdram_0__{pin}__io" in constraints) == (pin not in tied)
    for clock in ("sdram_clock", "sdram_chip_clock"):
        assert f'NET "{clock}" {float(p.clock_hz)} HZ' in constraints
    assert p.read_delay == PIN_REGISTERS
    assert p.masks == (not tied)


def test_the_boards_with_sdram():
    """Data pins and megabytes of the smallest chip."""
    found = {name: board.sdram_parameters.chip for name, board in WITH_SDRAM.items()}
    assert {name: (chip.width, chip.bytes >> 20) for name, chip in found.items()} == {
        **dict.fromkeys((f"ulx3s-{size}f" for size in (12, 25, 45, 85)), (16, 32)),
        "icesugar-pro": (16, 32),
        "icepi-zero": (16, 32),
        "colorlight-5a75b": (32, 4),
    }


def test_the_clock_of_the_fabric_is_slower_than_that_of_the_memory():
    fast = WITH_SDRAM["ulx3s-12f"]
    lowered = fast.with_fabric(FabricConfig(core=CORE, sdram=fast.sdram_parameters))
    assert lowered.clock_hz <= fast.sdram.clock_hz / MEMORY_TO_CORE < fast.clock_hz
    assert (
        fast.with_fabric(FabricConfig(core=dataclasses.replace(CORE, weight_memory="block", weight_words=64))).clock_hz
        == fast.clock_hz
    )
    board = streaming(WITH_SDRAM["ulx3s-85f"], pll_hz=60e6)
    most = board.sdram_parameters.clock_hz / MEMORY_TO_CORE
    assert most * 0.97 < board.with_clock(500e6).clock_hz <= most
    with pytest.raises(
        ValueError, match=r"^Clock of ulx3s-85f must be at most 100 MHz for its SDRAM at 110 MHz, not 120 "
    ):
        dataclasses.replace(board, pll_hz=120e6)


def test_boards_that_cannot_have_it():
    ulx3s = WITH_SDRAM["ulx3s-12f"]
    fabric = FabricConfig(core=CORE, sdram=ulx3s.sdram_parameters)
    with pytest.raises(ValueError, match=r"^Fabric of orangecrab-25f must have its weights in block RAM, because the "):
        dataclasses.replace(BOARDS["orangecrab-25f"], fabric=fabric)
    other = FabricConfig(core=CORE, sdram=dataclasses.replace(ulx3s.sdram_parameters, read_delay=0))
    with pytest.raises(
        ValueError, match=r"^SDRAM of the fabric of ulx3s-12f must be that of the board, SdramParameters"
    ):
        ulx3s.with_fabric(other)
    with pytest.raises(ValueError, match=r"^Board ulx3s-12f must have pll_hz, because its fabric has SDRAM$"):
        dataclasses.replace(ulx3s, fabric=fabric, usb=None, pll_hz=None)
    with pytest.raises(
        ValueError,
        match=r"^Link of ulx3s-12f must be uart for a fabric with SDRAM, because the two PLLs of LFE5U-12F are those "
        r"of the fabric and of the SDRAM$",
    ):
        streaming(ulx3s).with_link("usb")
    assert streaming(WITH_SDRAM["ulx3s-45f"]).with_link("usb").fabric.sdram is not None


@pytest.mark.parametrize("name", WITH_SDRAM)
def test_the_clock_of_the_chip_can_be_delayed(name):
    """Its PLL output, and only that of the pin, is the one that `phase_step` delays; it begins aligned with the
    other."""
    board = WITH_SDRAM[name]
    netlist = plan_of(name).files["top.il"]
    plls = re.findall(r"cell \\EHXPLLL (.*?)\n  end", netlist, re.DOTALL)
    (pll,) = (text for text in plls if "CLKOS2" in text)
    parameters = dict(re.findall(r"parameter (?:signed )?\\(\S+) (\S+)", pll))
    ports = dict(re.findall(r"connect \\(\S+) (.+)", pll))
    assert parameters["DPHASE_SOURCE"] == '"ENABLED"'
    for setting in ("DIV", "CPHASE", "FPHASE", "ENABLE"):
        assert parameters[f"CLKOS2_{setting}"] == parameters[f"CLKOS_{setting}"]
    assert board.sdram_parameters.phases == 8 * int(parameters["CLKOS_DIV"])
    # Output 1 is CLKOS2; direction 0 is later.
    assert [ports[f"PHASE{pin}"] for pin in ("SEL1", "SEL0", "DIR", "LOADREG")] == ["1'0", "1'1", "1'0", "1'0"]
    assert "'" not in ports["PHASESTEP"]
    cells = re.findall(r"cell \\(ODDRX1F|OFS1P3DX|IFS1P3DX) (.*?)\n  end", netlist, re.DOTALL)
    clocks = [(cell, net) for cell, text in cells for net in re.findall(r"connect \\SCLK (\S+)", text)]
    assert len(clocks) == len(cells)
    (of_chip,) = (net for cell, net in clocks if cell == "ODDRX1F")
    # Beside it, the output enable of the same pin.
    assert [cell for cell, net in clocks if net == of_chip] == ["ODDRX1F", "OFS1P3DX"]
    assert len({net for _, net in clocks}) == 2
