"""SDRAM commands as in every data sheet, and the mode register."""

import pytest

from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, BURST, SdramCommand, mode_register


def test_the_pins_of_each_command():
    """RAS#, CAS#, WE# as in the truth tables: low means active."""
    active = {
        command: "".join(n for n, bit in zip("RCW", (4, 2, 1), strict=True) if not command & bit)
        for command in SdramCommand
    }
    assert active == {
        SdramCommand.LOAD_MODE: "RCW",
        SdramCommand.REFRESH: "RC",
        SdramCommand.PRECHARGE: "RW",
        SdramCommand.ACTIVATE: "R",
        SdramCommand.WRITE: "CW",
        SdramCommand.READ: "C",
        SdramCommand.STOP: "W",
        SdramCommand.NOP: "",
    }
    assert AUTO_PRECHARGE == 0x400


def test_mode_register():
    assert mode_register(3) == 0x31
    assert [mode_register(2, burst) for burst in (1, 2, 4, 8)] == [0x20, 0x21, 0x22, 0x23]
    assert BURST == 2
    for latency in (1, 4):
        with pytest.raises(ValueError, match=rf"^cas_latency must be 2 or 3, not {latency}$"):
            mode_register(latency)
    for burst in (0, 3, 5, 9, 16):
        with pytest.raises(ValueError, match=rf"^burst must be 1, 2, 4 or 8, not {burst}$"):
            mode_register(2, burst)
