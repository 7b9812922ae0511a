"""The serial port of a USB device: found by vendor and product number, and used without a baud rate."""

import os
import re
import types

import pytest

from spikeloom.cli.ports import transport_to
from spikeloom.host.transport import LinkError
from spikeloom.host.usb import UsbTransport, find_port
from spikeloom.sim.host.usb import UsbParameters


def port(device, vid=0x1209, pid=0x0001, serial=None):
    return types.SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial)


OTHER = [port("/dev/ttyS0", None, None), port("/dev/ttyUSB0", 0x0403, 0x6015, "7")]


def test_the_only_device():
    assert find_port(UsbParameters(), ports=[*OTHER, port("/dev/ttyACM0")]) == "/dev/ttyACM0"
    assert find_port(UsbParameters.from_text("0403:6015"), ports=OTHER) == "/dev/ttyUSB0"


def test_one_of_several():
    ports = [port("/dev/ttyACM0", serial="1"), port("/dev/ttyACM1", serial="2"), *OTHER]
    assert find_port(UsbParameters(serial="2"), ports=ports) == "/dev/ttyACM1"
    message = (
        "several USB devices have the numbers 1209:0001: /dev/ttyACM0 (1), /dev/ttyACM1 (2); "
        "give one of these ports with --port"
    )
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        find_port(UsbParameters(), ports=ports)


def test_no_device():
    message = (
        "no USB device has the numbers 1209:0001 and serial number 3; connect the board, or give its port with --port"
    )
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        find_port(UsbParameters(serial="3"), ports=[*OTHER, port("/dev/ttyACM0", serial="1")])


def test_a_port_without_a_baud_rate():
    ours, theirs = os.openpty()
    line = UsbTransport(UsbParameters(), port=os.ttyname(theirs))
    assert line.settings == ()
    line.next_setting()
    line.write(b"to the board")
    assert os.read(ours, 100) == b"to the board"
    os.write(ours, b"from it")
    assert line.read(1.0) == b"from it"
    line.close()
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize(
    ("given", "numbers"), [("usb", "1209:0001"), ("usb:1d50:6148", "1d50:6148"), ("usb:1d50:6148:a:b", "1d50:6148")]
)
def test_ports_of_the_command_line(given, numbers, monkeypatch):
    """``usb``, followed by the numbers and the serial number."""
    asked = []

    def comports():
        asked.append(given)
        return OTHER

    monkeypatch.setattr("serial.tools.list_ports.comports", comports)
    serial = " and serial number a:b" if given.endswith(":a:b") else ""
    with pytest.raises(LinkError, match=rf"^no USB device has the numbers {numbers}{serial}; "):
        transport_to(given, 0)
    assert asked
    with pytest.raises(ValueError, match=r"^USB number must be VID:PID in hexadecimal digits"):
        transport_to("usb:board", 0)
