"""Transport over USB: the serial port (CDC-ACM) that a board with a USB device of its own offers.

To the operating system it is a serial port, found by the numbers of the device. It has no baud rate: data move at the
speed of the bus, 19 packets of 64 bytes per millisecond at full speed.
"""

from collections.abc import Iterable
from typing import Any

from spikeloom.host.transport import LinkError, SerialTransport
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["UsbTransport", "find_port"]


def find_port(usb: UsbParameters, *, ports: Iterable[Any] | None = None) -> str:
    """Return the serial port of the USB device with the vendor, product and, if given, serial number of ``usb``.

    ``ports`` are the ports of the machine as pyserial lists them; default: those present now. Raises `LinkError`
    if there is none or more than one.
    """
    if ports is None:
        from serial.tools.list_ports import comports

        ports = comports()
    found = {
        port.device: port.serial_number or ""
        for port in ports
        if (port.vid, port.pid) == (usb.vendor, usb.product) and usb.serial in ("", port.serial_number)
    }
    named = f"{usb.number}{f' and serial number {usb.serial}' if usb.serial else ''}"
    if not found:
        raise LinkError(f"no USB device has the numbers {named}; connect the board, or give its port with --port")
    if len(found) > 1:
        listed = ", ".join(f"{device} ({serial})" if serial else device for device, serial in sorted(found.items()))
        raise LinkError(f"several USB devices have the numbers {named}: {listed}; give one of these ports with --port")
    return next(iter(found))


class UsbTransport(SerialTransport):
    """Serial port of a USB device.

    Parameters
    ----------
    usb
        Vendor and product number of the device, and its serial number if there are several.
    port
        Name of the port; default: that of the only such device.
    """

    round_trip_s = 0.004  # two frames of the bus in each direction

    def __init__(self, usb: UsbParameters, *, port: str | None = None) -> None:
        # The rate is sent to the device, which ignores it.
        super().__init__(port or find_port(usb), 1_000_000)
        self.settings = ()

    def next_setting(self) -> None:
        """Do nothing: there is only one setting."""
