"""Boards with USB: found by vendor and product number, as serial ports or, at high speed, through libusb."""

import contextlib
import os
import queue
import re
import sys
import types

import pytest

from spikeloom.cli.ports import transport_to
from spikeloom.host.transport import LinkError
from spikeloom.host.usb import BulkTransport, UsbTransport, find_port, open_usb
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


class USBError(Exception):
    pass


class USBErrorAccess(USBError):
    pass


class USBErrorTimeout(USBError):
    received = b""


class Device:
    """A device as the package ``libusb1`` shows it, and its open handle: it echoes what it is sent, in pieces."""

    def __init__(self, serial="", *, of_class=0xFF, product=0x0001, refusal=None):
        self.serial, self.of_class, self.product, self.refusal = serial, of_class, product, refusal
        self.claimed, self.is_closed, self.pieces = [], False, queue.Queue()
        self.accepts = 5

    def getVendorID(self):
        return 0x1209

    def getProductID(self):
        return self.product

    def iterSettings(self):
        return iter([types.SimpleNamespace(getClass=lambda: self.of_class)])

    def open(self):
        if self.refusal is not None:
            raise self.refusal
        return self

    def getBusNumber(self):
        return 2

    def getDeviceAddress(self):
        return len(self.serial)

    def getSerialNumberDescriptor(self):
        return 3 if self.serial else 0

    def getSerialNumber(self):
        return self.serial

    def claimInterface(self, number):
        self.claimed.append(number)

    def bulkWrite(self, endpoint, data, timeout):
        assert (endpoint, timeout) == (1, 2000)
        if data.startswith(b"lost"):
            raise USBError("no device")
        piece = bytes(data[: self.accepts])
        self.pieces.put(piece)
        return len(piece)

    def bulkRead(self, endpoint, length, timeout):
        assert (endpoint, length) == (1, 16384)
        try:
            piece = self.pieces.get(timeout=timeout / 1000)
        except queue.Empty:
            raise USBErrorTimeout from None
        if piece == b"gone":
            raise USBError("no device")
        if piece.endswith(b"."):  # a transfer that ends with the time
            timeout_error = USBErrorTimeout()
            timeout_error.received = piece
            raise timeout_error
        return bytearray(piece)

    def close(self):
        self.is_closed = True


@pytest.fixture
def connected(monkeypatch):
    """Put devices on the bus and serial ports into the machine."""

    def connect(*devices, ports=()):
        context = types.SimpleNamespace(
            open=lambda: None, close=lambda: None, getDeviceIterator=lambda skip_on_error: iter(devices)
        )
        library = types.SimpleNamespace(
            USBContext=lambda: context,
            USBError=USBError,
            USBErrorAccess=USBErrorAccess,
            USBErrorTimeout=USBErrorTimeout,
        )
        monkeypatch.setitem(sys.modules, "usb1", library)
        monkeypatch.setattr("serial.tools.list_ports.comports", lambda: list(ports))

    return connect


def all_of(line, count):
    data = b""
    while len(data) < count:
        data += line.read(1.0)
    return data


def test_bytes_through_bulk_endpoints(connected):
    """A write goes on until everything is taken; bytes of a transfer that is not full are not lost."""
    device = Device(serial="7")
    connected(Device(product=2), Device(of_class=2), device)
    with contextlib.closing(transport_to("usb", 0)) as line:
        assert isinstance(line, BulkTransport)
        assert line.name == "USB device 1209:0001"
        assert line.settings == ()
        assert device.claimed == [0]
        assert line.read(0.0) == b""
        line.write(b"to the board.")
        assert all_of(line, 13) == b"to the board."
        assert line.now() > 0
    line.close()
    assert device.is_closed


def test_a_bulk_device_that_disappears(connected):
    device = Device()
    connected(device)
    line = transport_to("usb", 0)
    message = "^the USB device 1209:0001 has disappeared "
    with pytest.raises(LinkError, match=message):
        line.write(b"lost")
    device.pieces.put(b"last")
    device.pieces.put(b"gone")
    assert all_of(line, 4) == b"last"
    with pytest.raises(LinkError, match=message):
        line.read(1.0)
    line.close()


def test_one_of_several_bulk_devices(connected):
    one, other = Device("1"), Device("22")
    connected(one, other)
    message = (
        "several USB devices have the numbers 1209:0001: bus 2, device 1 (1), bus 2, device 2 (22); "
        "give the serial number of one with --port usb:VID:PID:SERIAL"
    )
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        transport_to("usb", 0)
    with contextlib.closing(transport_to("usb:1209:0001:22", 0)) as line:
        assert line.name == "USB device 1209:0001 and serial number 22"
        assert (one.claimed, other.claimed) == ([], [0])
        assert one.is_closed


def test_devices_of_both_speeds(connected):
    connected(Device(), ports=[port("/dev/ttyACM0")])
    message = (
        "several USB devices have the numbers 1209:0001: /dev/ttyACM0, USB device 1209:0001; "
        "give the port or the serial number of one with --port"
    )
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        open_usb(UsbParameters())
    connected(Device(), ports=[port("/dev/ttyACM0", serial="1"), port("/dev/ttyACM1", serial="2")])
    with pytest.raises(LinkError, match=r"^several USB devices .*ttyACM1"):
        open_usb(UsbParameters())


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            USBErrorAccess("denied"),
            "the USB device 1209:0001 must be accessible to this user; docs/usb.md has a rule for udev",
        ),
        (
            USBError("busy"),
            "the USB device 1209:0001 must be free to use, with the driver WinUSB on Windows (busy)",
        ),
    ],
    ids=["permission", "busy"],
)
def test_a_bulk_device_that_cannot_be_opened(connected, refusal, message):
    connected(Device(refusal=refusal))
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        open_usb(UsbParameters())


def test_without_the_package_only_serial_ports_are_found(connected, monkeypatch):
    connected(Device(), ports=OTHER)
    monkeypatch.setitem(sys.modules, "usb1", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = (
        "no USB device has the numbers 1209:0001; connect the board, or give its port with --port; "
        "a board at high speed needs: pip install 'spikeloom[usb]'"
    )
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        open_usb(UsbParameters())


def test_a_serial_port_alone(connected):
    ours, theirs = os.openpty()
    connected(Device(of_class=2), ports=[*OTHER, port(os.ttyname(theirs))])
    with contextlib.closing(open_usb(UsbParameters())) as line:
        assert type(line) is UsbTransport
        line.write(b"to the board")
        assert os.read(ours, 100) == b"to the board"
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
