"""FPGA devices and their resources."""

from dataclasses import dataclass

from spikeloom.boards.families.flow import ECP5, GOWIN, ICE40, Flow

__all__ = ["DEVICES", "Device"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Device:
    """An FPGA device.

    Parameters
    ----------
    name : str
        Name of the device as used by its vendor, without package and speed grade.
    flow : Flow
        Tools for the device.
    lut, ff : int
        Number of four-input lookup tables and of flip-flops.
    ram : int
        Number of block RAMs.
    ram_bits : int
        Size of a block RAM in bits, including parity bits.
    dsp : int
        Number of multipliers, of 18 x 18 bits, or 16 x 16 on an iCE40.
    lut_ram : int
        Number of memories of 16 words of 4 bits that can be made of lookup tables.
    single_port_ram : int
        Number of single-port RAMs of 16,384 words of 16 bits.
    """

    name: str
    flow: Flow
    lut: int
    ff: int
    ram: int
    ram_bits: int
    dsp: int
    lut_ram: int
    single_port_ram: int = 0


def _ecp5(name: str, lut: int, ram: int, dsp: int) -> Device:
    return Device(name=name, flow=ECP5, lut=lut, ff=lut, ram=ram, ram_bits=18 * 1024, dsp=dsp, lut_ram=lut // 4)


def _ice40(name: str, lut: int, ram: int, dsp: int = 0, single_port_ram: int = 0) -> Device:
    return Device(
        name=name,
        flow=ICE40,
        lut=lut,
        ff=lut,
        ram=ram,
        ram_bits=4 * 1024,
        dsp=dsp,
        lut_ram=0,
        single_port_ram=single_port_ram,
    )


def _gowin(name: str, lut: int, ff: int, ram: int, dsp: int, lut_ram: int) -> Device:
    return Device(name=name, flow=GOWIN, lut=lut, ff=ff, ram=ram, ram_bits=18 * 1024, dsp=dsp, lut_ram=lut_ram)


DEVICES = {
    device.name: device
    for device in (
        # The 12F is sold as a smaller device, but has the die of the 25F, and the open tools use all of it.
        _ecp5("LFE5U-12F", 24_288, 56, 28),
        _ecp5("LFE5U-25F", 24_288, 56, 28),
        _ecp5("LFE5U-45F", 43_848, 108, 72),
        _ecp5("LFE5U-85F", 83_640, 208, 156),
        _ecp5("LFE5UM-45F", 43_848, 108, 72),
        _ecp5("LFE5UM5G-45F", 43_848, 108, 72),
        _ecp5("LFE5UM5G-85F", 83_640, 208, 156),
        _ice40("iCE40LP1K", 1_280, 16),
        _ice40("iCE40HX1K", 1_280, 16),
        # Likewise: sold as 4K, but the open tools use all 8K of the die.
        _ice40("iCE40HX4K", 7_680, 32),
        _ice40("iCE40LP8K", 7_680, 32),
        _ice40("iCE40HX8K", 7_680, 32),
        _ice40("iCE40UP5K", 5_280, 30, 8, single_port_ram=4),
        _gowin("GW1N-1", 1_152, 864, 4, 0, 0),
        _gowin("GW1NR-9C", 8_640, 6_480, 26, 20, 270),
        _gowin("GW2A-18C", 20_736, 15_552, 46, 48, 648),
        _gowin("GW5AST-138B", 138_240, 138_240, 340, 298, 17_280),
    )
}
"""Devices by name."""
