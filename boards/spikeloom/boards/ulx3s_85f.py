"""Radiona ULX3S with an ECP5-85F: 84 k LUTs, 208 block RAMs, FT231X serial port, 25 MHz oscillator."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from spikeloom.boards.board import BoardDescription
from spikeloom.boards.flow import ECP5
from spikeloom.sim.fabric import FABRICS

__all__ = ["BOARD"]

BOARD = BoardDescription(
    name="ulx3s-85f",
    title="Radiona ULX3S 85F",
    device="LFE5U-85F-6BG381C",
    platform=ULX3S_85F_Platform,
    flow=ECP5,
    fabric=FABRICS["medium"],
    baud_rate=1_000_000,
    flash_command=("openFPGALoader", "--board", "ulx3s", "{bitstream}"),
)
