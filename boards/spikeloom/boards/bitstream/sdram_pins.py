"""An SDRAM at the pins of a board: registers in the I/O cells, and the clock of the chip.

All outputs, the output enables of the data, and the inputs are registers of the I/O cells, one more than the controller
has in each direction (`spikeloom.boards.targets.board.PIN_REGISTERS`). The clock leaves through a double data rate
output of the same cells, inverted: its rising edge is half a cycle behind the edges of all other outputs, so that chip
and FPGA each have about half a cycle of setup and of hold time. This output has a clock of its own from the same PLL,
which can be delayed step by step. Nothing else has it, so that no path within the FPGA depends on the phase: the other
choice, registers of the inputs with a clock that moves, would need a crossing to the clock of the controller at every
phase. ``docs/sdram.md`` has the calculation.
"""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import io

from spikeloom.boards.families.pll import SDRAM_CHIP_DOMAIN, sdram_clocks
from spikeloom.boards.targets.board import BoardDescription

__all__ = ["connect_sdram"]

_DOMAIN = "sdram"


def connect_sdram(
    m: Module, platform: Any, board: BoardDescription, pins: Any, oscillator: Value, phase_step: Value
) -> None:
    """Connect ``pins``, a `spikeloom.hdl.sdram.controller.SdramPinSignature`, to the SDRAM of ``board``, and add the
    clock domain ``sdram`` to ``m``. ``oscillator`` is the clock at the PLLs. A falling edge of ``phase_step`` delays
    the clock of the chip by one step."""
    assert board.sdram is not None
    hz = board.sdram.clock_hz
    for clock in sdram_clocks(m, board.flow.pll, board.oscillator_hz, hz, oscillator, phase_step):
        platform.add_clock_constraint(clock, hz)
    chip = platform.request("sdram", board.sdram.number, dir="-")

    def output(name: str, value: Value) -> None:
        buffer = io.FFBuffer("o", getattr(chip, name), o_domain=_DOMAIN)
        m.submodules[f"sdram_{name}"] = buffer
        m.d.comb += buffer.o.eq(value)

    # The ports invert pins that are active low, and the levels of the command are those of the pins.
    write_enable, column, row, select = pins.command
    # Every command has the chip selected, NOP included, so a select that is tied low on the board loses nothing.
    for name, level in (("we", write_enable), ("cas", column), ("ras", row), ("cs", select)):
        if name != "cs" or hasattr(chip, name):
            output(name, ~level)
    output("ba", pins.bank)
    output("a", pins.address)
    if board.sdram.masks:
        output("dqm", pins.mask)
    if hasattr(chip, "clk_en"):
        m.submodules.sdram_clk_en = clock_enable = io.Buffer("o", chip.clk_en)
        m.d.comb += clock_enable.o.eq(1)
    m.submodules.sdram_clk = clock_pin = io.DDRBuffer("o", chip.clk, o_domain=SDRAM_CHIP_DOMAIN)
    m.submodules.sdram_dq = data = io.FFBuffer("io", chip.dq, i_domain=_DOMAIN, o_domain=_DOMAIN)
    m.d.comb += [
        # Low in the first half of the cycle, high in the second.
        clock_pin.o[0].eq(0),
        clock_pin.o[1].eq(1),
        data.o.eq(pins.data_o),
        data.oe.eq(pins.data_enable),
        pins.data_i.eq(data.i),
    ]
