"""Descriptors of the USB device, and the parameters in them."""

import uuid
from dataclasses import replace

import pytest

from spikeloom.sim.host.usb import (
    DATA_ENDPOINT,
    NOTIFICATION_ENDPOINT,
    PACKET_BYTES,
    SERIAL_INDEX,
    SERIAL_PLACE,
    Descriptor,
    UsbParameters,
)


def parts_of(configuration):
    """The descriptors inside the configuration descriptor, split by their lengths."""
    parts = []
    while configuration:
        parts.append(configuration[: configuration[0]])
        configuration = configuration[configuration[0] :]
    return parts


def test_descriptors_have_their_lengths_and_types():
    descriptors = UsbParameters(vendor=0x1234, product=0x5678, serial="ab").descriptors
    for (kind, _), content in descriptors.items():
        assert content[1] == kind
        if kind != Descriptor.CONFIGURATION:
            assert content[0] == len(content)
    device = descriptors[Descriptor.DEVICE, 0]
    assert len(device) == 18
    assert device[7] == PACKET_BYTES
    assert device[8:12] == bytes.fromhex("34127856")
    texts = [descriptors[Descriptor.STRING, index][2:].decode("utf-16-le") for index in device[14:17]]
    assert texts == ["spikeloom", "spikeloom board", "ab"]
    assert UsbParameters().descriptors[Descriptor.DEVICE, 0][16] == 0
    assert len(UsbParameters().descriptors) == len(descriptors) - 1


def test_a_configuration_with_two_interfaces_and_three_endpoints():
    content = UsbParameters().descriptors[Descriptor.CONFIGURATION, 0]
    head, *parts = parts_of(content)
    assert int.from_bytes(head[2:4], "little") == len(content)
    assert head[4] == 2
    # Drivers find both interfaces by this association.
    (association,) = [part for part in parts if part[1] == 11]
    assert (association[2], association[3]) == (0, 2), "the first interface, and their number"
    assert tuple(association[4:7]) == (0x02, 0x02, 0x00)
    interfaces = [part for part in parts if part[1] == 4]
    assert [(part[2], part[4], part[5]) for part in interfaces] == [(0, 1, 0x02), (1, 2, 0x0A)]
    # Functional descriptors of the communication interface: version 1.10, no call management, line coding and control
    # lines, and the union of both interfaces.
    functions = [tuple(part[2:]) for part in parts if part[1] == 0x24]
    assert functions == [(0, 0x10, 0x01), (1, 0, 1), (2, 0b0010), (6, 0, 1)]
    endpoints = {part[2]: (part[3], int.from_bytes(part[4:6], "little")) for part in parts if part[1] == 5}
    assert endpoints == {
        0x80 | NOTIFICATION_ENDPOINT: (3, 8),
        DATA_ENDPOINT: (2, PACKET_BYTES),
        0x80 | DATA_ENDPOINT: (2, PACKET_BYTES),
    }


FAST = UsbParameters(vendor=0x1234, product=0x5678, serial="ab", high_speed=True)


def test_descriptors_of_high_speed_by_value():
    """The bytes by the tables of USB 2.0 (9.6), of the capabilities of USB 2.1, and of Microsoft OS 2.0."""
    expected = {
        Descriptor.DEVICE: "12 01 1002 00 00 00 40 3412 7856 0001 01 02 03 01",
        Descriptor.CONFIGURATION: """
            09 02 2000 01 01 00 80 fa
            09 04 00 00 02 ff 00 00 00
            07 05 01 02 0002 00
            07 05 81 02 0002 00
        """,
        Descriptor.QUALIFIER: "0a 06 1002 00 00 00 40 01 00",
        Descriptor.OTHER_SPEED: """
            09 07 2000 01 01 00 80 fa
            09 04 00 00 02 ff 00 00 00
            07 05 01 02 4000 00
            07 05 81 02 4000 00
        """,
        Descriptor.BOS: """
            05 0f 2100 01
            1c 10 05 00 df60ddd8 8945 c74c 9cd2 659d9e648a9f 00000306 a200 01 00
        """,
    }
    for kind, content in expected.items():
        assert FAST.descriptors[kind, 0] == bytes.fromhex(content)
    at_full_speed = {
        Descriptor.CONFIGURATION: expected[Descriptor.CONFIGURATION].replace("0002 00", "4000 00"),
        Descriptor.OTHER_SPEED: expected[Descriptor.OTHER_SPEED].replace("4000 00", "0002 00"),
    }
    changed = {(kind, 0): bytes.fromhex(content) for kind, content in at_full_speed.items()}
    assert FAST.full_speed_descriptors == FAST.descriptors | changed
    slow = UsbParameters(serial="ab").descriptors
    assert UsbParameters(serial="ab").full_speed_descriptors == slow
    strings = {key: content for key, content in slow.items() if key[0] == Descriptor.STRING}
    assert {key: content for key, content in FAST.descriptors.items() if key[0] == Descriptor.STRING} == strings
    assert len(FAST.descriptors) == len(expected) + len(strings)
    assert (FAST.packet_bytes, UsbParameters().packet_bytes) == (512, 64)


def test_windows_finds_its_driver():
    """The set: its header, the name of the driver, and a property with the GUID of the interface."""
    content = FAST.windows_set
    assert content[:10] == bytes.fromhex("0a00 0000 00000306") + len(content).to_bytes(2, "little")
    assert content[10:30] == bytes.fromhex("1400 0300") + b"WINUSB" + bytes(10)
    assert content[30:38] == (len(content) - 30).to_bytes(2, "little") + bytes.fromhex("0400 0700 2a00")
    name, length, guids = content[38:80], content[80:82], content[82:]
    assert name.decode("utf-16-le") == "DeviceInterfaceGUIDs\0"
    assert int.from_bytes(length, "little") == len(guids)
    texts = guids.decode("utf-16-le")
    assert texts.endswith("}\0\0")
    assert str(uuid.UUID(texts[1:-3])).upper() == texts[1:-3]


def test_descriptors_by_value():
    """The bytes by the tables of USB 2.0 (9.6), the ECN on interface associations, and CDC 1.1 (5.2.3)."""
    configuration = """
        09 02 4b00 02 01 00 80 fa
        08 0b 00 02 02 02 00 00
        09 04 00 00 01 02 02 00 00
        05 24 00 1001
        05 24 01 00 01
        04 24 02 02
        05 24 06 00 01
        07 05 82 03 0800 ff
        09 04 01 00 02 0a 00 00 00
        07 05 01 02 4000 00
        07 05 81 02 4000 00
    """
    device = "12 01 0002 ef 02 01 40 0912 0100 0001 01 02 00 01"
    name = "s\0p\0i\0k\0e\0l\0o\0o\0m\0"
    assert UsbParameters().descriptors == {
        (1, 0): bytes.fromhex(device),
        (2, 0): bytes.fromhex(configuration),
        (3, 0): bytes.fromhex("04 03 0904"),
        (3, 1): b"\x14\x03" + name.encode(),
        (3, 2): b"\x20\x03" + (name + " \0b\0o\0a\0r\0d\0").encode(),
    }
    numbered = UsbParameters(vendor=0xFFFF, product=1, serial="x").descriptors
    assert numbered[1, 0] == bytes.fromhex("12 01 0002 ef 02 01 40 ffff 0100 0001 01 02 03 01")
    assert numbered[3, 3] == b"\x04\x03x\0"


def test_the_place_of_a_number_from_the_flash():
    """Sixteen digits in a descriptor that the device names."""
    found = UsbParameters(flash_serial=True)
    assert found.descriptors == UsbParameters(serial="0" * 16).descriptors
    assert found.descriptors[Descriptor.DEVICE, 0][SERIAL_PLACE] == SERIAL_INDEX
    assert UsbParameters.from_text("1d50:6148", flash_serial=True) == replace(found, vendor=0x1D50, product=0x6148)


def test_the_largest_numbers_and_the_longest_text():
    for number in (1, 0xFFFF):
        parameters = UsbParameters(vendor=number, product=number, serial="~" * 126)
        assert (parameters.vendor, parameters.product) == (number, number)
    # Its length fits one byte.
    assert parameters.descriptors[3, 3][:2] == bytes((2 + 2 * 126, 3))


def test_numbers_as_text():
    assert UsbParameters.from_text("1d50:6148") == UsbParameters(vendor=0x1D50, product=0x6148)
    assert UsbParameters.from_text("1d50:6148", "7").serial == "7"
    assert UsbParameters.from_text("1d50:6148").number == "1d50:6148"
    assert UsbParameters().number == "1209:0001"
    for text in ("", "1209", "1209:", "1209:xyz", "0:1", "12345:1", "1209:1:2"):
        with pytest.raises(
            ValueError, match=r"^USB number must be VID:PID in hexadecimal digits, such as 1209:0001, not "
        ):
            UsbParameters.from_text(text)
    with pytest.raises(ValueError, match=r"^serial must have at most 126 printable ASCII characters, not 'ä'$"):
        UsbParameters.from_text("1209:0001", "ä")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"vendor": "1209"}, TypeError, r"^vendor must be an integer, not '1209'$"),
        ({"product": True}, TypeError, r"^product must be an integer, not True$"),
        ({"vendor": 0}, ValueError, r"^vendor must be from 1 to 0xffff, not 0x0$"),
        ({"product": 1 << 16}, ValueError, r"^product must be from 1 to 0xffff, not 0x10000$"),
        ({"serial": 7}, TypeError, r"^serial must be text, not 7$"),
        ({"serial": "a" * 127}, ValueError, r"^serial must have at most 126 printable ASCII characters, not 'a+'$"),
        (
            {"serial": "a", "flash_serial": True},
            ValueError,
            r"^serial must be left out where it is that of the flash chip, not 'a'$",
        ),
        ({"serial": "a\n"}, ValueError, r"^serial must have at most 126 printable ASCII characters, not "),
    ],
)
def test_parameters_that_are_none(wrong, error, message):
    with pytest.raises(error, match=message):
        UsbParameters(**wrong)
