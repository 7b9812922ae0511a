"""USB DFU suffix of a file, as added by `dfu-suffix` of dfu-util (USB DFU 1.1, appendix B)."""

import struct
import zlib

__all__ = ["dfu_suffix"]

_ANY = 0xFFFF
_DFU_VERSION = 0x0100
_LENGTH = 16


def dfu_suffix(content: bytes, vendor: int, product: int) -> bytes:
    """Return the 16 bytes to append to ``content`` for the device with this USB vendor and product.

    They are device, product, vendor and DFU version, the letters UFD, the length of the suffix, and a CRC-32 of
    everything before it, without the final inversion.
    """
    suffix = struct.pack("<HHHH3sB", _ANY, product, vendor, _DFU_VERSION, b"UFD", _LENGTH)
    return suffix + struct.pack("<I", zlib.crc32(content + suffix) ^ 0xFFFFFFFF)
