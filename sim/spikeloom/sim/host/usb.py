"""The USB device of a board, a serial port (CDC-ACM) at full speed, and its descriptors.

Linux, macOS and Windows 10 include the driver for this class, so the board appears as a serial port without any
installation. ``docs/usb.md`` describes it.
"""

from dataclasses import dataclass

__all__ = [
    "BULK_PACKETS_PER_MS",
    "DATA_ENDPOINT",
    "DEFAULT_PRODUCT",
    "DEFAULT_VENDOR",
    "FULL_SPEED_HZ",
    "NOTIFICATION_ENDPOINT",
    "PACKET_BYTES",
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

DATA_ENDPOINT = 1
"""Number of the bulk endpoints that carry the bytes, one in each direction."""
NOTIFICATION_ENDPOINT = 2
"""Interrupt endpoint to the host, which the class requires. The board never sends anything on it."""

_LONGEST_TEXT = 126  # of a string descriptor: its length is one byte


class Descriptor:
    """Types of descriptors."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3


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
    """

    vendor: int = DEFAULT_VENDOR
    product: int = DEFAULT_PRODUCT
    serial: str = ""

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

    @classmethod
    def from_text(cls, number: str, serial: str = "") -> "UsbParameters":
        """Return the parameters for ``VID:PID`` in hexadecimal digits. Raises ``ValueError``."""
        vendor, colon, product = number.partition(":")
        try:
            if not colon:
                raise ValueError
            return cls(vendor=int(vendor, 16), product=int(product, 16), serial=serial)
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
    def descriptors(self) -> dict[tuple[int, int], bytes]:
        """The descriptors of the device, its configuration and its strings, by type and index."""
        texts = ["spikeloom", "spikeloom board", *([self.serial] if self.serial else [])]
        found = {
            (Descriptor.DEVICE, 0): self._device(),
            (Descriptor.CONFIGURATION, 0): _configuration(),
            (Descriptor.STRING, 0): _described(Descriptor.STRING, *_word(0x0409)),  # texts are in English
        }
        for index, text in enumerate(texts, 1):
            found[Descriptor.STRING, index] = _described(Descriptor.STRING, *text.encode("utf-16-le"))
        return found

    def _device(self) -> bytes:
        return _described(
            Descriptor.DEVICE,
            *_word(0x0200),  # version of USB
            *(0xEF, 0x02, 0x01),  # an association groups the interfaces; without it, Windows finds no serial port
            PACKET_BYTES,
            *_word(self.vendor),
            *_word(self.product),
            *_word(0x0100),  # version of the device
            *(1, 2, 3 if self.serial else 0),  # texts: manufacturer, product, serial number
            1,  # configurations
        )


def _described(*content: int) -> bytes:
    """A descriptor: its length, its type, and the rest."""
    return bytes((1 + len(content), *content))


def _word(value: int) -> tuple[int, int]:
    return value & 0xFF, value >> 8


def _configuration() -> bytes:
    interface, endpoint, association, of_class = 4, 5, 11, 0x24
    bulk, interrupt = 2, 3
    parts = b"".join(
        _described(*content)
        for content in (
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
        )
    )
    header = 9
    power = 250  # in units of 2 mA: the current that a port must supply
    return bytes((header, Descriptor.CONFIGURATION, *_word(header + len(parts)), 2, 1, 0, 0x80, power)) + parts
