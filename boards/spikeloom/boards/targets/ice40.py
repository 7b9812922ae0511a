"""Boards with a Lattice iCE40."""

from amaranth_boards.blackice import BlackIcePlatform
from amaranth_boards.blackice_ii import BlackIceIIPlatform
from amaranth_boards.fomu_hacker import FomuHackerPlatform
from amaranth_boards.fomu_pvt import FomuPVTPlatform
from amaranth_boards.ice40_hx1k_blink_evn import ICE40HX1KBlinkEVNPlatform
from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform
from amaranth_boards.ice40_up5k_b_evn import ICE40UP5KBEVNPlatform
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.icebreaker_bitsy import ICEBreakerBitsyPlatform
from amaranth_boards.icestick import ICEStickPlatform
from amaranth_boards.icesugar import ICESugarPlatform
from amaranth_boards.icesugar_nano import ICESugarNanoPlatform
from amaranth_boards.nandland_go import NandlandGoPlatform
from amaranth_boards.tinyfpga_bx import TinyFPGABXPlatform
from amaranth_boards.upduino_v1 import UpduinoV1Platform
from amaranth_boards.upduino_v2 import UpduinoV2Platform
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from spikeloom.boards.targets.board import FT2232H_BAUD, BoardDescription, SerialPins, UsbPins

__all__ = ["ICE40_BOARDS"]

_TOO_SMALL = "its 1,280 lookup tables are too few for the host link"
_BAD_CLOCK = "its only clock is the FPGA's oscillator, whose error of up to 10 % is too large for a serial line"
_NO_PINS = "it has no pins for a serial line except its touch pads"
_ICEPROG = ("iceprog", "{bitstream}")


class _UpduinoWithCrystal(UpduinoV3Platform):
    """Board with the jumper OSC closed, which connects the 12 MHz oscillator to pin 20.

    The error of the FPGA's oscillator, which is the default, may be 10 %, too large for a serial link.
    """

    default_clk = "clk12"


def _without(name: str, title: str, device_name: str, platform: type, obstacle: str) -> BoardDescription:
    return BoardDescription(
        name=name,
        title=title,
        device_name=device_name,
        platform=platform,
        obstacle=obstacle,
        flash_command=_ICEPROG,
    )


ICE40_BOARDS = (
    BoardDescription(
        name="icebreaker",
        title="1BitSquared iCEBreaker",
        device_name="iCE40UP5K",
        platform=ICEBreakerPlatform,
        most_baud_rate=FT2232H_BAUD,
        pll_hz=27e6,
        pll_pad=True,
        flash_command=_ICEPROG,
    ),
    BoardDescription(
        name="icebreaker-bitsy",
        title="1BitSquared iCEBreaker bitsy",
        device_name="iCE40UP5K",
        platform=ICEBreakerBitsyPlatform,
        pll_hz=27e6,
        pll_pad=True,
        serial=SerialPins(rx="0", tx="1", connector=("edge", 0), where="edge pins P0 (RX) and P1 (TX)"),
        flash_command=("dfu-util", "--device", "1d50:6146", "--alt", "0", "--download", "{bitstream}"),
    ),
    BoardDescription(
        name="icesugar",
        title="Muse Lab iCESugar 1.5",
        device_name="iCE40UP5K",
        platform=ICESugarPlatform,
        pll_hz=27e6,
        pll_pad=True,
        flash_command=("icesprog", "{bitstream}"),
    ),
    BoardDescription(
        name="upduino-v3",
        title="tinyVision UPduino 3",
        device_name="iCE40UP5K",
        platform=_UpduinoWithCrystal,
        pll_hz=27e6,
        serial=SerialPins(rx="46", tx="47", where="pins 46 (RX) and 47 (TX), with the jumper OSC closed"),
        flash_command=_ICEPROG,
    ),
    _without("upduino-v1", "Gnarly Grey UPduino 1", "iCE40UP5K", UpduinoV1Platform, _BAD_CLOCK),
    _without("upduino-v2", "Gnarly Grey UPduino 2", "iCE40UP5K", UpduinoV2Platform, _BAD_CLOCK),
    BoardDescription(
        name="up5k-b-evn",
        title="Lattice iCE40UP5K-B-EVN",
        device_name="iCE40UP5K",
        platform=ICE40UP5KBEVNPlatform,
        pll_hz=27e6,
        pll_pad=True,
        serial=SerialPins(rx="9", tx="10", connector=("pmod", 0), where="PMOD pins 9 (RX) and 10 (TX)"),
        flash_command=_ICEPROG,
    ),
    BoardDescription(
        name="hx8k-b-evn",
        title="Lattice iCE40HX8K-B-EVN",
        device_name="iCE40HX8K",
        platform=ICE40HX8KBEVNPlatform,
        most_baud_rate=FT2232H_BAUD,
        pll_hz=69e6,
        flash_command=_ICEPROG,
    ),
    BoardDescription(
        name="tinyfpga-bx",
        title="TinyFPGA BX",
        device_name="iCE40LP8K",
        platform=TinyFPGABXPlatform,
        pll_hz=45e6,
        serial=SerialPins(rx="1", tx="2", connector=("gpio", 0), where="pins 1 (RX) and 2 (TX)"),
        usb=UsbPins(where="its USB connector"),
        flash_command=("tinyprog", "--program", "{bitstream}"),
    ),
    BoardDescription(
        name="blackice",
        title="myStorm BlackIce",
        device_name="iCE40HX4K",
        platform=BlackIcePlatform,
        pll_hz=69e6,
        pll_pad=True,
        flash_command=("sh", "-c", "cat '{bitstream}' > /dev/ttyACM0"),
    ),
    BoardDescription(
        name="blackice-ii",
        title="myStorm BlackIce II",
        device_name="iCE40HX4K",
        platform=BlackIceIIPlatform,
        pll_hz=69e6,
        pll_pad=True,
        flash_command=("sh", "-c", "cat '{bitstream}' > /dev/ttyACM0"),
    ),
    _without("icestick", "Lattice iCEstick", "iCE40HX1K", ICEStickPlatform, _TOO_SMALL),
    _without("icesugar-nano", "Muse Lab iCESugar-nano", "iCE40LP1K", ICESugarNanoPlatform, _TOO_SMALL),
    _without("nandland-go", "Nandland Go Board", "iCE40HX1K", NandlandGoPlatform, _TOO_SMALL),
    _without("hx1k-blink-evn", "Lattice iCEblink40-HX1K", "iCE40HX1K", ICE40HX1KBlinkEVNPlatform, _TOO_SMALL),
    _without("fomu-hacker", "Fomu Hacker", "iCE40UP5K", FomuHackerPlatform, _NO_PINS),
    _without("fomu-pvt", "Fomu PVT", "iCE40UP5K", FomuPVTPlatform, _NO_PINS),
)
