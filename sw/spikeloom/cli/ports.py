"""Connection to a board, as given by ``--port``."""

from __future__ import annotations

from pathlib import Path

from spikeloom.datasets.inputs import InputError
from spikeloom.host.transport import SerialTransport, TcpTransport, Transport, VirtualSerialTransport
from spikeloom.host.udp import UdpTransport
from spikeloom.host.usb import open_usb
from spikeloom.sim.host.ethernet import DEFAULT_PORT
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["BOARD_UDP", "check_port", "transport_to"]

BOARD_UDP = "board-udp://"
"""Prefix of the address of a board on Ethernet."""


def check_port(port: str | None) -> str:
    """Return ``port``; raise `InputError` if it is missing."""
    if port is None:
        raise InputError("a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000")
    return port


def transport_to(port: str | None, baud_rate: int) -> Transport:
    """Return the transport for a serial port, for the port of a simulated board, for ``HOST:PORT``, for ``usb``, or for
    ``board-udp://ADDRESS``.

    ``usb`` is the only board with a USB device of the default numbers, ``usb:VID:PID`` one with other numbers, and
    ``usb:VID:PID:SERIAL`` the one with this serial number. ``board-udp://ADDRESS:PORT`` is a board on Ethernet with
    another UDP port than the default. Raises `InputError` without a port, and for a port number out of range.
    """
    port = check_port(port)
    if port.startswith(BOARD_UDP):
        return _udp(port)
    if port == "usb" or port.startswith("usb:"):
        numbers = port.removeprefix("usb").removeprefix(":")
        vendor, _, rest = numbers.partition(":")
        product, _, serial = rest.partition(":")
        return open_usb(UsbParameters.from_text(f"{vendor}:{product}", serial) if numbers else UsbParameters())
    host, colon, number = port.rpartition(":")
    if colon and number.isdecimal():
        if not 0 < int(number) < 1 << 16:
            raise InputError(f"port must be HOST:PORT with a number from 1 to 65535, not {port!r}")
        return TcpTransport(host, int(number))
    clock = Path(port).with_name("clock") if Path(port).is_symlink() else None
    if clock is not None and clock.is_file():  # the link that `spikeloom serve` prints
        return VirtualSerialTransport(port, clock)
    return SerialTransport(port, baud_rate)


def _udp(port: str) -> UdpTransport:
    address, colon, number = port.removeprefix(BOARD_UDP).partition(":")
    if not address or (colon and not (number.isdecimal() and 0 < int(number) < 1 << 16)):
        raise InputError(
            f"port must be {BOARD_UDP}ADDRESS or {BOARD_UDP}ADDRESS:PORT with a number from 1 to 65535, not {port!r}"
        )
    return UdpTransport(address, int(number) if colon else DEFAULT_PORT)
