"""The USB device of a board and its descriptors: a serial port at full speed, or an interface of its own at high speed.

Linux, macOS and Windows 10 include the driver for serial ports (CDC-ACM), so a board at full speed appears as one
without any installation. At high speed, the bytes go through two bulk endpoints that libusb opens; descriptors of
Microsoft OS 2.0 let Windows load its driver WinUSB for them. ``docs/usb.md`` describes both.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "BULK_PACKETS_PER_MS",
    "DATA_ENDPOINT",
    "DEFAULT_PRODUCT",
    "DEFAULT_VENDOR",
    "FLASH_DIGITS",
    "FULL_SPEED_HZ",
    "HIGH_SPEED_HZ",
    "HIGH_SPEED_PACKETS",
    "HIGH_SPEED_PACKET_BYTES",
    "NOTIFICATION_ENDPOINT",
    "PACKET_BYTES",
    "SERIAL_INDEX",
    "SERIAL_PLACE",
    "WINDOWS_REQUEST",
    "WINDOWS_SET",
    "Descriptor",
    "UsbParameters",
]

DEFAULT_VENDOR, DEFAULT_PRODUCT = 0x1209, 0x0001
"""VID and PID that pid.codes reserves for tests: free for private use, but not for devices that are given to others."""

FULL_SPEED_HZ = 12_000_000
"""Bits per second at full speed."""
PACKET_BYTES = 64
"""Maximum packet size of the control and bulk endpoints in bytes, the largest at full speed."""
BULK_PACKETS_PER_MS = 19
"""Maximum number of 64-byte bulk packets in a full-speed frame of 1 ms, if nothing else uses the bus."""

HIGH_SPEED_HZ = 60_000_000
"""Bytes per second at high speed, and the clock of ULPI."""
HIGH_SPEED_PACKET_BYTES = 512
"""Maximum packet size of the bulk endpoints at high speed in bytes; that of the control endpoint stays 64."""
HIGH_SPEED_PACKETS = 13
"""Maximum number of 512-byte bulk packets in a microframe of 125 us, if nothing else uses the bus."""

DATA_ENDPOINT = 1
"""Number of the bulk endpoints that carry the bytes, one in each direction."""
NOTIFICATION_ENDPOINT = 2
"""Interrupt endpoint to the host, which the class requires. The board never sends anything on it."""

WINDOWS_REQUEST, WINDOWS_SET = 1, 7
"""Vendor request with which Windows asks for the descriptors of Microsoft OS 2.0, and its index for all of them."""
_WINDOWS_8_1 = 0x06030000
_WINDOWS_CAPABILITY = "D8DD60DF-4589-4CC7-9CD2-659D9E648A9F"  # of a device with descriptors of Microsoft OS 2.0
_INTERFACE_GUID = "{7A9F0E66-3B52-4D0C-9C55-0B7F4E0D51B6}"  # by which programs on Windows find the interface

FLASH_DIGITS = 16
"""Hexadecimal digits of the ID of a flash chip."""
SERIAL_INDEX, SERIAL_PLACE = 3, 16
"""Index of the descriptor with the serial number, and the byte of the device descriptor that names it."""

_USB_2_1 = 0x0210  # the first version with capabilities
_LONGEST_TEXT = 126  # of a string descriptor: its length is one byte


class Descriptor:
    """Types of descriptors."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    QUALIFIER = 6
    OTHER_SPEED = 7
    BOS = 15


@dataclass(frozen=True, kw_only=True)
class UsbParameters:
    """Numbers that identify a USB device.

    Parameters
    ----------
    vendor, product : int
        Numbers of vendor and product (VID and PID), 16 bits each.
    serial : str
        Serial number, of printable ASCII characters; empty for none. Two devices with the same numbers and the same
        serial number must not be connected to one host.
    flash_serial : bool
        Whether the serial number is the ID of the flash chip on the board, in 16 hexadecimal digits; a board whose chip
        has none has no serial number. ``serial`` is empty then.
    high_speed : bool
        Whether the device has a PHY for high speed. At a port without it, the device has full speed.
    """

    vendor: int = DEFAULT_VENDOR
    product: int = DEFAULT_PRODUCT
    serial: str = ""
    flash_serial: bool = False
    high_speed: bool = False

    def __post_init__(self) -> None:
        for name in ("vendor", "product"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not 0 < value < 1 << 16:
                raise ValueError(f"{name} must be from 1 to 0xffff, not {value:#x}")
        if not isinstance(self.serial, str):
            raise TypeError(f"serial must be text, not {self.serial!r}")
        if len(self.serial) > _LONGEST_TEXT or not self.serial.isascii() or not self.serial.isprintable():
            raise ValueError(
                f"serial must have at most {_LONGEST_TEXT} printable ASCII characters, not {self.serial!r}"
            )

        if self.serial and self.flash_serial:
            raise ValueError(f"serial must be left out where it is that of the flash chip, not {self.serial!r}")

    @classmethod
    def from_text(cls, number: str, serial: str = "", *, flash_serial: bool = False) -> "UsbParameters":
        """Return the parameters for ``VID:PID`` in hexadecimal digits. Raises ``ValueError``."""
        vendor, colon, product = number.partition(":")
        try:
            if not colon:
                raise ValueError
            return cls(vendor=int(vendor, 16), product=int(product, 16), serial=serial, flash_serial=flash_serial)
        except ValueError as error:
            if str(error).startswith("serial"):
                raise
            raise ValueError(
                f"USB number must be VID:PID in hexadecimal digits, such as 1209:0001, not {number!r}"
            ) from error

    @property
    def number(self) -> str:
        """``VID:PID`` as other tools write it, such as ``"1209:0001"``."""
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def packet_bytes(self) -> int:
        """Maximum packet size of the bulk endpoints in bytes, at the highest speed of the device."""
        return HIGH_SPEED_PACKET_BYTES if self.high_speed else PACKET_BYTES

    @property
    def descriptors(self) -> dict[tuple[int, int], bytes]:
        """The descriptors of the device, its configuration and its strings, by type and index.

        With a PHY for high speed, those that it has at this speed: also those for the other speed, and the
        capabilities, which lead to `windows_set`. The place of a serial number from the flash chip holds zeros.
        """
        serial = "0" * FLASH_DIGITS if self.flash_serial else self.serial
        texts = ["spikeloom", "spikeloom board", *([serial] if serial else [])]
        found = {
            (Descriptor.DEVICE, 0): self._device(),
            (Descriptor.CONFIGURATION, 0): (
                _bulk_configuration(Descriptor.CONFIGURATION, HIGH_SPEED_PACKET_BYTES)
                if self.high_speed
                else _configuration()
            ),
            (Descriptor.STRING, 0): _described(Descriptor.STRING, *_word(0x0409)),  # texts are in English
        }
        for index, text in enumerate(texts, 1):
            found[Descriptor.STRING, index] = _described(Descriptor.STRING, *text.encode("utf-16-le"))
        if self.high_speed:
            found[Descriptor.QUALIFIER, 0] = _described(
                Descriptor.QUALIFIER, *_word(_USB_2_1), 0, 0, 0, PACKET_BYTES, 1, 0
            )
            found[Descriptor.OTHER_SPEED, 0] = _bulk_configuration(Descriptor.OTHER_SPEED, PACKET_BYTES)
            found[Descriptor.BOS, 0] = self._capabilities()
        return found

    @property
    def full_speed_descriptors(self) -> dict[tuple[int, int], bytes]:
        """The same at a port with full speed only: a device with a PHY for high speed has smaller packets there."""
        if not self.high_speed:
            return self.descriptors
        return self.descriptors | {
            (Descriptor.CONFIGURATION, 0): _bulk_configuration(Descriptor.CONFIGURATION, PACKET_BYTES),
            (Descriptor.OTHER_SPEED, 0): _bulk_configuration(Descriptor.OTHER_SPEED, HIGH_SPEED_PACKET_BYTES),
        }

    @property
    def windows_set(self) -> bytes:
        """The descriptor set of Microsoft OS 2.0: the driver is WinUSB, and programs find it by a GUID."""
        name = "DeviceInterfaceGUIDs\0".encode("utf-16-le")
        guids = f"{_INTERFACE_GUID}\0\0".encode("utf-16-le")
        several_texts = 7
        parts = _windows(3, b"WINUSB".ljust(16, b"\0")) + _windows(
            4, bytes(_word(several_texts) + _word(len(name))) + name + bytes(_word(len(guids))) + guids
        )
        header_bytes = 10
        return _windows(0, _WINDOWS_8_1.to_bytes(4, "little") + bytes(_word(header_bytes + len(parts)))) + parts

    def _capabilities(self) -> bytes:
        capability, platform = 16, 5
        windows = _described(
            *(capability, platform, 0),
            *uuid.UUID(_WINDOWS_CAPABILITY).bytes_le,
            *_WINDOWS_8_1.to_bytes(4, "little"),
            *_word(len(self.windows_set)),
            *(WINDOWS_REQUEST, 0),
        )
        header_bytes = 5
        return _described(Descriptor.BOS, *_word(header_bytes + len(windows)), 1) + windows

    def _device(self) -> bytes:
        return _described(
            Descriptor.DEVICE,
            *_word(_USB_2_1 if self.high_speed else 0x0200),  # version of USB
            # An association groups the interfaces of the serial port; without it, Windows finds none.
            *((0, 0, 0) if self.high_speed else (0xEF, 0x02, 0x01)),
            PACKET_BYTES,
            *_word(self.vendor),
            *_word(self.product),
            *_word(0x0100),  # version of the device
            *(
                1,
                2,
                SERIAL_INDEX if self.serial or self.flash_serial else 0,
            ),  # texts: manufacturer, product, serial number
            1,  # configurations
        )


def _described(*content: int) -> bytes:
    """A descriptor: its length, its type, and the rest."""
    return bytes((1 + len(content), *content))


def _word(value: int) -> tuple[int, int]:
    return value & 0xFF, value >> 8


def _windows(kind: int, content: bytes) -> bytes:
    """A descriptor of Microsoft OS 2.0: length and type have 16 bits."""
    return bytes(_word(4 + len(content)) + _word(kind)) + content


_INTERFACE, _ENDPOINT, _BULK = 4, 5, 2


def _bulk_configuration(kind: int, packet_bytes: int) -> bytes:
    """One interface of no standard class, with a bulk endpoint in each direction."""
    return _whole_configuration(
        kind,
        (
            (_INTERFACE, 0, 0, 2, 0xFF, 0, 0, 0),
            (_ENDPOINT, DATA_ENDPOINT, _BULK, *_word(packet_bytes), 0),
            (_ENDPOINT, 0x80 | DATA_ENDPOINT, _BULK, *_word(packet_bytes), 0),
        ),
        interfaces=1,
    )


def _configuration() -> bytes:
    interface, endpoint, association, of_class = _INTERFACE, _ENDPOINT, 11, 0x24
    bulk, interrupt = _BULK, 3
    return _whole_configuration(
        Descriptor.CONFIGURATION,
        (
            (association, 0, 2, 0x02, 0x02, 0x00, 0),
            # The communication interface, which the class inherits from modems. Its protocol is "none": with the modem
            # protocol, some programs would send modem commands to every connected board.
            (interface, 0, 0, 1, 0x02, 0x02, 0x00, 0),
            (of_class, 0, *_word(0x0110)),
            (of_class, 1, 0, 1),
            (of_class, 2, 0b10),  # line coding and control lines may be set
            (of_class, 6, 0, 1),
            (endpoint, 0x80 | NOTIFICATION_ENDPOINT, interrupt, *_word(8), 255),
            # The data interface.
            (interface, 1, 0, 2, 0x0A, 0x00, 0x00, 0),
            (endpoint, DATA_ENDPOINT, bulk, *_word(PACKET_BYTES), 0),
            (endpoint, 0x80 | DATA_ENDPOINT, bulk, *_word(PACKET_BYTES), 0),
        ),
        interfaces=2,
    )


def _whole_configuration(kind: int, contents: Iterable[tuple[int, ...]], *, interfaces: int) -> bytes:
    parts = b"".join(_described(*content) for content in contents)
    header = 9
    power = 250  # in units of 2 mA: the current that a port must supply
    return bytes((header, kind, *_word(header + len(parts)), interfaces, 1, 0, 0x80, power)) + parts
