"""1BitSquared iCEBreaker with an iCE40 UP5K: 5,280 LUTs, 30 block RAMs, FT2232H serial port, 12 MHz oscillator."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from spikeloom.boards.board import BoardDescription
from spikeloom.boards.flow import ICE40
from spikeloom.sim.fabric import FABRICS

__all__ = ["BOARD"]

BOARD = BoardDescription(
    name="icebreaker",
    title="1BitSquared iCEBreaker",
    device="iCE40UP5K-SG48",
    platform=ICEBreakerPlatform,
    flow=ICE40,
    fabric=FABRICS["small"],
    baud_rate=1_000_000,
    flash_command=("iceprog", "{bitstream}"),
)
