"""Transports over USB: the serial port (CDC-ACM) of a board at full speed, the bulk endpoints of one with a PHY.

Both are found by the numbers of the device. Neither has a baud rate: data move at the speed of the bus, 19 packets of
64 bytes per millisecond at full speed, 13 of 512 per 125 us at high speed. Bulk endpoints, also those of a board with a
PHY at a port without high speed, need libusb, through the package ``libusb1``, which is imported when a device is
looked for.
"""

import importlib.util
import threading
import time
from collections.abc import Iterable
from typing import Any

from spikeloom.host.transport import LinkError, SerialTransport, Transport
from spikeloom.sim.host.usb import DATA_ENDPOINT, UsbParameters

__all__ = ["BulkTransport", "UsbTransport", "find_port", "open_usb"]


class _NoDeviceError(LinkError):
    """No device has the numbers."""


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
    if not found:
        raise _NoDeviceError(
            f"no USB device has the numbers {_named(usb)}; connect the board, or give its port with --port"
        )
    if len(found) > 1:
        raise _several(usb, found, "give one of these ports with --port")
    return next(iter(found))


def _named(usb: UsbParameters) -> str:
    return f"{usb.number}{f' and serial number {usb.serial}' if usb.serial else ''}"


def _several(usb: UsbParameters, found: dict[str, str], remedy: str) -> LinkError:
    listed = ", ".join(f"{device} ({serial})" if serial else device for device, serial in sorted(found.items()))
    return LinkError(f"several USB devices have the numbers {_named(usb)}: {listed}; {remedy}")


def open_usb(usb: UsbParameters) -> Transport:
    """Return the transport to the only board with the numbers of ``usb``, at either speed.

    Raises `LinkError` if there is none or more than one, and if the one at high speed cannot be opened.
    """
    bulk = BulkTransport.find(usb)
    try:
        port = find_port(usb)
    except _NoDeviceError as error:
        if bulk is not None:
            return bulk
        if not BulkTransport.is_available():
            raise LinkError(f"{error}; a board at high speed needs: pip install 'spikeloom[usb]'") from error
        raise
    except LinkError:
        if bulk is not None:
            bulk.close()
        raise
    if bulk is None:
        return UsbTransport(usb, port=port)
    bulk.close()
    raise _several(usb, {port: "", bulk.name: ""}, "give the port or the serial number of one with --port")


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


class BulkTransport(Transport):
    """Bulk endpoints of a USB device with a PHY for high speed, through libusb; `find` opens one.

    A thread reads all the time: a device whose data are not requested would have to wait for the next call.

    Parameters
    ----------
    name
        Name of the device, for messages.
    context, handle
        The open context and device of the package ``libusb1``. The transport closes both.
    """

    round_trip_s = 0.001  # two microframes in each direction, and the delays of an operating system

    _READ_BYTES = 16384
    _READ_MS = 50
    _WRITE_MS = 2000  # a board always accepts bytes: a write that blocks means a lost device
    _CLASS = 0xFF

    def __init__(self, name: str, context: Any, handle: Any) -> None:
        import usb1

        self.name = name
        self._timeout, self._error = usb1.USBErrorTimeout, usb1.USBError
        self._context, self._handle = context, handle
        self._incoming = bytearray()
        self._failure: Exception | None = None
        self._is_closed = False
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read_on, name=f"reads {name}", daemon=True)
        self._reader.start()

    @staticmethod
    def is_available() -> bool:
        """Whether the package ``libusb1`` is installed."""
        return importlib.util.find_spec("usb1") is not None

    @classmethod
    def find(cls, usb: UsbParameters) -> "BulkTransport | None":
        """Return the only device with the numbers of ``usb`` and an interface of this kind; None if there is none.

        None without the package ``libusb1`` too. Raises `LinkError` if there are several, or if it cannot be opened.
        """
        try:
            import usb1

            context = usb1.USBContext()
            context.open()
        except (ImportError, OSError):  # the package, or the library that it loads
            return None
        handle = transport = None
        try:
            found = [
                device
                for device in context.getDeviceIterator(skip_on_error=True)
                if (device.getVendorID(), device.getProductID()) == (usb.vendor, usb.product)
                and any(setting.getClass() == cls._CLASS for setting in device.iterSettings())
            ]
            serials = {}
            for device in found:
                opened = device.open()
                name = f"bus {device.getBusNumber()}, device {device.getDeviceAddress()}"
                serial = (opened.getSerialNumber() or "") if device.getSerialNumberDescriptor() else ""
                if usb.serial not in ("", serial):
                    opened.close()
                    continue
                serials[name] = serial
                if handle is not None:
                    handle.close()
                handle = opened
            if len(serials) > 1:
                raise _several(usb, serials, "give the serial number of one with --port usb:VID:PID:SERIAL")
            if handle is not None:
                handle.claimInterface(0)
                transport = cls(f"USB device {_named(usb)}", context, handle)
            return transport
        except usb1.USBErrorAccess as error:
            raise LinkError(
                f"the USB device {_named(usb)} must be accessible to this user; docs/usb.md has a rule for udev"
            ) from error
        except usb1.USBError as error:
            raise LinkError(
                f"the USB device {_named(usb)} must be free to use, with the driver WinUSB on Windows ({error})"
            ) from error
        finally:
            if transport is None:
                context.close()  # closes its devices too

    def _read_on(self) -> None:
        while not self._is_closed:
            try:
                data = bytes(self._handle.bulkRead(DATA_ENDPOINT, self._READ_BYTES, timeout=self._READ_MS))
            except self._timeout as error:
                data = bytes(error.received)
            except self._error as error:
                with self._arrived:
                    self._failure = error
                    self._arrived.notify()
                return
            if data:
                with self._arrived:
                    self._incoming += data
                    self._arrived.notify()

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._handle.bulkWrite(DATA_ENDPOINT, data, timeout=self._WRITE_MS) :]
        except self._error as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"the {self.name} has disappeared ({error})")

    def read(self, timeout_s: float) -> bytes:
        with self._arrived:
            if not self._incoming and self._failure is None:
                self._arrived.wait(timeout_s)
            if not self._incoming and self._failure is not None:
                raise self._lost(self._failure)
            data = bytes(self._incoming)
            self._incoming.clear()
            return data

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reader.join()
            self._handle.close()
            self._context.close()
