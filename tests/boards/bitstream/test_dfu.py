"""The USB DFU suffix."""

from spikeloom.boards.bitstream.dfu import dfu_suffix


def test_a_dfu_suffix():
    """For an OrangeCrab, as defined by USB DFU 1.1; its CRC covers everything before it."""
    suffix = dfu_suffix(b"bitstream", 0x1209, 0x5AF0)
    assert suffix[:12] == bytes.fromhex("ffff f05a 0912 0001 554644 10")
    crc = 0xFFFFFFFF
    for byte in b"bitstream" + suffix[:12]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    assert suffix[12:] == crc.to_bytes(4, "little")
