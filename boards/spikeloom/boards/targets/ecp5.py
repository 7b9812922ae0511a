"""Boards with a Lattice ECP5."""

from amaranth.build import Attrs
from amaranth.vendor import LatticePlatform
from amaranth_boards.butterstick import ButterStickPlatform
from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform
from amaranth_boards.ecp5_5g_evn import ECP55GEVNPlatform
from amaranth_boards.ecpix5 import ECPIX545Platform, ECPIX585Platform
from amaranth_boards.icepi_zero import IcepiZero1_3Platform
from amaranth_boards.icesugar_pro import ICESugarProPlatform
from amaranth_boards.logicbone import Logicbone85FPlatform, LogicbonePlatform
from amaranth_boards.orangecrab_r0_1 import OrangeCrabR0_1Platform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import ULPIResource
from amaranth_boards.supercon19badge import Supercon19BadgePlatform
from amaranth_boards.ulx3s import ULX3S_12F_Platform, ULX3S_25F_Platform, ULX3S_45F_Platform, ULX3S_85F_Platform
from amaranth_boards.versa_ecp5 import VersaECP5Platform
from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform

from spikeloom.boards.targets.board import (
    FT231X_BAUD,
    FT2232H_BAUD,
    BoardDescription,
    EthernetPins,
    SdramPins,
    SerialPins,
    SupplyPins,
    UlpiPins,
    UsbPins,
)
from spikeloom.boards.targets.cynthion import CYNTHION_PHY_REGISTERS, CynthionPlatform
from spikeloom.sim.host.identity import LinkKind

__all__ = ["ECP5_BOARDS"]


class _Supercon19Badge(Supercon19BadgePlatform):
    """Works around amaranth-boards 0.0.21, which passes each option twice here, so that no build accepts them."""

    toolchain_prepare = LatticePlatform.toolchain_prepare


class _ButterStick(ButterStickPlatform):
    """Its PHY with the standard of an I/O bank at 1.8 V, as in the board's bootloader."""

    resources = [
        *(resource for resource in ButterStickPlatform.resources if resource.name != "usb"),
        ULPIResource(
            "ulpi",
            0,
            data="B9 C6 A7 E9 A8 D9 C10 C7",
            clk="B6",
            clk_dir="o",
            dir="A6",
            nxt="B8",
            stp="C8",
            rst="C9",
            rst_invert=True,
            attrs=Attrs(IO_TYPE="LVCMOS18", SLEWRATE="FAST"),
        ),
    ]


_GENERAL_HZ = {
    "LFE5U-12F": 108e6,
    "LFE5U-25F": 108e6,
    "LFE5U-45F": 75e6,
    "LFE5U-85F": 81e6,
    "LFE5UM-45F": 75e6,
    "LFE5UM5G-45F": 132e6,
    "LFE5UM5G-85F": 132e6,
}
"""Clock at which the general fabric meets timing: LFE5U at speed grade 6, LFE5UM5G at grade 8."""

_FILLED = ("LFE5U-12F", "LFE5U-25F", "LFE5U-85F")
"""FPGAs of speed grade 6 whose clock has been measured with a general fabric that fills them."""

_SDRAM_HZ = 110_000_000
"""Clock of SDRAM, which place and route reaches at speed grade 6."""


def _ulx3s(size: int, platform: type) -> BoardDescription:
    return BoardDescription(
        name=f"ulx3s-{size}f",
        title=f"Radiona ULX3S {size}F",
        device_name=f"LFE5U-{size}F",
        platform=platform,
        pll_hz=_GENERAL_HZ[f"LFE5U-{size}F"],
        fills_device=f"LFE5U-{size}F" in _FILLED,
        most_baud_rate=FT231X_BAUD,
        usb=UsbPins(where="the connector US2"),
        sdram=SdramPins(chip="ulx3s", clock_hz=_SDRAM_HZ, more_column_bits=1),
        flash_command=("openFPGALoader", "--board", "ulx3s", "{bitstream}"),
    )


# Feather pins marked RX and TX.
_FEATHER = SerialPins(rx="0", tx="1", connector=("io", 0), where="Feather pins 0 (RX) and 1 (TX)")
_ORANGECRAB_FLASH = ("dfu-util", "--alt", "0", "--download", "{bitstream}")


def _ethernet(*, rx_delay_s: float = 0.0, tx_delay_s: float = 0.0) -> EthernetPins:
    """A PHY whose delays are those with which LiteX drives it, through the same cells."""
    return EthernetPins(where="its Ethernet socket", rx_delay_s=rx_delay_s, tx_delay_s=tx_delay_s)


def _orangecrab(
    name: str, title: str, device_name: str, platform: type, *, pll_hz: float | None = None
) -> BoardDescription:
    return BoardDescription(
        name=name,
        title=title,
        device_name=device_name,
        platform=platform,
        pll_hz=pll_hz or _GENERAL_HZ[device_name],
        fills_device=pll_hz is None,
        serial=_FEATHER,
        usb=UsbPins(where="its USB connector"),
        flash_command=_ORANGECRAB_FLASH,
    )


ECP5_BOARDS = (
    _ulx3s(12, ULX3S_12F_Platform),
    _ulx3s(25, ULX3S_25F_Platform),
    _ulx3s(45, ULX3S_45F_Platform),
    _ulx3s(85, ULX3S_85F_Platform),
    _orangecrab("orangecrab-r0.1", "OrangeCrab r0.1", "LFE5U-25F", OrangeCrabR0_1Platform),
    _orangecrab("orangecrab-25f", "OrangeCrab r0.2 25F", "LFE5U-25F", OrangeCrabR0_2_25FPlatform),
    # Its FPGA has speed grade 8, at which no fabric that fills it has been measured.
    _orangecrab("orangecrab-85f", "OrangeCrab r0.2 85F", "LFE5U-85F", OrangeCrabR0_2_85FPlatform, pll_hz=117e6),
    BoardDescription(
        name="ecpix5-45",
        title="LambdaConcept ECPIX-5 45F",
        device_name="LFE5UM5G-45F",
        platform=ECPIX545Platform,
        most_baud_rate=FT2232H_BAUD,
        usb=UlpiPins(where="its USB-C connector"),
        ethernet=_ethernet(tx_delay_s=2e-9),
        pll_hz=_GENERAL_HZ["LFE5UM5G-45F"],
        flash_command=("openFPGALoader", "--board", "ecpix5", "{bitstream}"),
    ),
    BoardDescription(
        name="ecpix5-85",
        title="LambdaConcept ECPIX-5 85F",
        device_name="LFE5UM5G-85F",
        platform=ECPIX585Platform,
        most_baud_rate=FT2232H_BAUD,
        usb=UlpiPins(where="its USB-C connector"),
        ethernet=_ethernet(tx_delay_s=2e-9),
        pll_hz=_GENERAL_HZ["LFE5UM5G-85F"],
        flash_command=("openFPGALoader", "--board", "ecpix5", "{bitstream}"),
    ),
    BoardDescription(
        name="colorlight-5a75b",
        title="Colorlight 5A-75B 7.0",
        device_name="LFE5U-25F",
        platform=Colorlight_5A75B_R70Platform,
        pll_hz=_GENERAL_HZ["LFE5U-25F"],
        fills_device=True,
        line="the pads of the LED and of connector J19",
        ethernet=_ethernet(rx_delay_s=2e-9),  # the first of two
        # Two chips side by side, with two banks. Select, clock enable and byte masks are tied.
        sdram=SdramPins(chip="colorlight-5a75b", clock_hz=_SDRAM_HZ, masks=False),
        flash_command=("openFPGALoader", "--board", "colorlight", "{bitstream}"),
    ),
    BoardDescription(
        name="icesugar-pro",
        title="Muse Lab iCESugar-pro",
        device_name="LFE5U-25F",
        platform=ICESugarProPlatform,
        pll_hz=_GENERAL_HZ["LFE5U-25F"],
        fills_device=True,
        sdram=SdramPins(chip="icesugar-pro", clock_hz=_SDRAM_HZ),
        flash_command=("icesprog", "{bitstream}"),
    ),
    BoardDescription(
        name="icepi-zero",
        title="Icepi Zero 1.3",
        device_name="LFE5U-25F",
        platform=IcepiZero1_3Platform,
        pll_hz=_GENERAL_HZ["LFE5U-25F"],
        fills_device=True,
        usb=UsbPins(where="the first of its two USB connectors"),
        sdram=SdramPins(chip="icepi-zero", clock_hz=_SDRAM_HZ),
        flash_command=("openFPGALoader", "--board", "icepi-zero", "{bitstream}"),
    ),
    BoardDescription(
        name="versa-ecp5",
        title="Lattice ECP5 Versa",
        device_name="LFE5UM-45F",
        platform=VersaECP5Platform,
        most_baud_rate=FT2232H_BAUD,
        pll_hz=_GENERAL_HZ["LFE5UM-45F"],
        flash_command=("openFPGALoader", "--board", "ecp5_evn", "{bitstream}"),
    ),
    BoardDescription(
        name="versa-ecp5-5g",
        title="Lattice ECP5-5G Versa",
        device_name="LFE5UM5G-45F",
        platform=VersaECP55GPlatform,
        most_baud_rate=FT2232H_BAUD,
        pll_hz=_GENERAL_HZ["LFE5UM5G-45F"],
        flash_command=("openFPGALoader", "--board", "ecp5_evn", "{bitstream}"),
    ),
    BoardDescription(
        name="ecp5-5g-evn",
        title="Lattice ECP5-5G Evaluation Board",
        device_name="LFE5UM5G-85F",
        platform=ECP55GEVNPlatform,
        most_baud_rate=FT2232H_BAUD,
        pll_hz=_GENERAL_HZ["LFE5UM5G-85F"],
        flash_command=("openFPGALoader", "--board", "ecp5_evn", "{bitstream}"),
    ),
    BoardDescription(
        name="supercon19-badge",
        title="Hackaday Supercon 2019 badge",
        device_name="LFE5U-45F",
        platform=_Supercon19Badge,
        pll_hz=_GENERAL_HZ["LFE5U-45F"],
        line="the pins TX and RX of the debug header",
        flash_command=("dfu-util", "--device", "1d50:614b", "--alt", "0", "--download", "{bitstream}"),
    ),
    BoardDescription(
        name="butterstick",
        title="ButterStick r1.0",
        device_name="LFE5UM5G-85F",
        platform=_ButterStick,
        pll_hz=_GENERAL_HZ["LFE5UM5G-85F"],
        serial=SerialPins(rx="S0", tx="S1", connector=("syzygy", 0), where="SYZYGY port 0, S0 (RX) and S1 (TX)"),
        ethernet=_ethernet(rx_delay_s=2e-9),
        usb=UlpiPins(where="its USB-C connector", drives_clock=True),
        # SYZYGY ports 0 and 1, and the bank of the PHY. A port without use has the lowest voltage of the standard.
        supply=SupplyPins(
            volts={LinkKind.UART: (3.3, 1.2, 1.8), LinkKind.USB: (1.2, 1.2, 1.8)},
            feedback_v=0.6,
            set_ohm=13_000,
            feedback_ohm=53_600,
            control_ohm=68_000,
            filter_farad=0.1e-6,
        ),
        flash_command=("dfu-util", "--alt", "0", "--download", "{bitstream}"),
    ),
    BoardDescription(
        name="cynthion",
        title="Great Scott Gadgets Cynthion r1.4",
        device_name="LFE5U-12F",
        platform=CynthionPlatform,
        pll_hz=_GENERAL_HZ["LFE5U-12F"],
        fills_device=True,
        # The debug controller has the port CONTROL, with the serial line and the loader. TARGET C shares its lines with
        # TARGET A.
        usb=UlpiPins(where="its port AUX", drives_clock=True, registers=CYNTHION_PHY_REGISTERS),
        flash_command=("apollo", "configure", "{bitstream}"),
    ),
    BoardDescription(
        name="logicbone-45f",
        title="Logicbone 45F",
        device_name="LFE5UM5G-45F",
        platform=LogicbonePlatform,
        pll_hz=_GENERAL_HZ["LFE5UM5G-45F"],
        serial=SerialPins(rx="12", tx="13", connector=("P9", 0), where="header P9, pins 12 (RX) and 13 (TX)"),
        usb=UsbPins(where="the first of its two USB connectors"),
        flash_command=("dfu-util", "--device", "1d50:615d", "--alt", "0", "--download", "{bitstream}"),
    ),
    BoardDescription(
        name="logicbone-85f",
        title="Logicbone 85F",
        device_name="LFE5UM5G-85F",
        platform=Logicbone85FPlatform,
        pll_hz=_GENERAL_HZ["LFE5UM5G-85F"],
        serial=SerialPins(rx="12", tx="13", connector=("P9", 0), where="header P9, pins 12 (RX) and 13 (TX)"),
        usb=UsbPins(where="the first of its two USB connectors"),
        flash_command=("dfu-util", "--device", "1d50:615d", "--alt", "0", "--download", "{bitstream}"),
    ),
)
