"""USB devices around the device core of LUNA: a serial port (CDC-ACM) at full speed, bulk endpoints at high speed.

::

    pins ═ PHY ═ UTMI ═ UsbDevice ══ bytes ══ asynchronous FIFOs ══ bytes ══ link
    └──────── usb_io, usb ───────────────────────────┘└────────── sync ────────┘

`UsbLine` is the transport with its pins. The domain ``usb_io`` runs at 48 MHz, four times the bit rate, and ``usb`` at
12 MHz, with both clocks from the same PLL. The fabric keeps its own clock, ``sync``, which is unrelated to them.

At high speed, the PHY is a chip: `UlpiLine` has its pins (ULPI), and the domain ``usb`` its clock, 60 MHz. If the host
does not answer the chirp of the device, both stay at full speed, with the clock of high speed.

Bytes to the host are sent in packets of 64, or 512 at high speed. A shorter packet, or a packet without data, makes the
host's driver deliver the data; it is sent only where a frame of the link ends and no other frame follows.

LUNA is under the BSD licence and an optional dependency, so it is imported when a design is elaborated.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Fragment, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.crossing import cross
from spikeloom.hdl.host.flash_id import FLASH_PINS, ID_BITS, FlashId
from spikeloom.sim.host.usb import (
    DATA_ENDPOINT,
    HIGH_SPEED_PACKET_BYTES,
    NOTIFICATION_ENDPOINT,
    PACKET_BYTES,
    SERIAL_INDEX,
    SERIAL_PLACE,
    WINDOWS_REQUEST,
    WINDOWS_SET,
    Descriptor,
    UsbParameters,
)

__all__ = [
    "PATIENCE",
    "ULPI_PATIENCE",
    "ULPI_PINS",
    "USB_PINS",
    "PhyRegisters",
    "UlpiDevice",
    "UlpiLine",
    "UsbDevice",
    "UsbLine",
    "UsbPhy",
    "connect_serial_pins",
    "serial_pins",
]

PATIENCE = 24
"""Cycles of ``usb``, 2 us, for which the end of a frame waits for the next frame before its packet is closed."""
ULPI_PATIENCE = 120
"""The same at high speed."""

ULPI_PINS = {"data_i": In(8), "data_o": Out(8), "data_oe": Out(1), "dir": In(1), "nxt": In(1), "stp": Out(1)}
"""Members of a component with the pins of a PHY; `UlpiLine` describes them."""

PhyRegisters = tuple[tuple[int, int], ...]
"""Address and value of each register of a PHY."""

_PHY_PINS = {"dp_i": In(1), "dn_i": In(1), "dp_o": Out(1), "dn_o": Out(1), "oe": Out(1)}

USB_PINS = {**_PHY_PINS, "pullup": Out(1)}
"""Members of a component with the pins of a device; `UsbLine` describes them."""

_FLASH_ID = {"number": In(ID_BITS), "has_number": In(1), "attaches": In(1)}

_UTMI_TO_DEVICE = {"rx_data": 8, "rx_valid": 1, "rx_active": 1, "tx_ready": 1, "line_state": 2}
_UTMI_FROM_DEVICE = {"tx_data": 8, "tx_valid": 1, "op_mode": 2, "term_select": 1}


def serial_pins(parameters: UsbParameters) -> dict[str, Any]:
    """Return the members with the pins of the flash chip, for a component that reads its serial number there."""
    return FLASH_PINS if parameters.flash_serial else {}


def connect_serial_pins(inner: Any, outer: Any, parameters: UsbParameters) -> list[Any]:
    """Return the assignments that lead `serial_pins` of a component to those of the one around it."""
    if not parameters.flash_serial:
        return []
    return [
        inner.flash_cipo.eq(outer.flash_cipo),
        *(getattr(outer, name).eq(getattr(inner, name)) for name in ("flash_cs", "flash_clk", "flash_copi")),
    ]


class UsbDevice(wiring.Component):
    """The device at its UTMI interface, in the domain ``usb`` at 12 MHz.

    A reset of the bus, or a configuration set by the host, empties both endpoints and restarts their data toggles; the
    host link retransmits the bytes that are lost by this.

    Parameters
    ----------
    parameters
        Contents of the descriptors.

    Members
    -------
    rx_data : Signal(8), in
    rx_valid, rx_active : Signal, in
        Bytes of a packet from the host, without SYNC and end of packet.
    tx_data : Signal(8), out
    tx_valid : Signal, out
    tx_ready : Signal, in
        Bytes of a packet to the host.
    line_state : Signal(2), in
        Levels of D+ and D-.
    op_mode : Signal(2), out
    term_select : Signal, out
        Control of the PHY: normal operation if ``op_mode`` is 0, and the pull-up of D+.
    o : Stream(8), out
        Bytes from the host.
    i : Stream(8), in
        Bytes to the host, as frames that end with a zero byte.
    number : Signal(64), in
    has_number : Signal, in
        ID of the flash chip, and whether it has one, with ``flash_serial`` only. They do not change after ``attaches``.
    attaches : Signal, in
        Attaches the device to the bus, with ``flash_serial`` only.
    """

    def __init__(self, parameters: UsbParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                **{name: In(width) for name, width in _UTMI_TO_DEVICE.items()},
                **{name: Out(width) for name, width in _UTMI_FROM_DEVICE.items()},
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                **(_FLASH_ID if parameters.flash_serial else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        device, from_host, to_host = _add_device(m, self, _utmi, platform)
        utmi = device.utmi
        m.d.comb += [getattr(utmi, name).eq(getattr(self, name)) for name in _UTMI_TO_DEVICE]
        m.d.comb += [getattr(self, name).eq(getattr(utmi, name)) for name in _UTMI_FROM_DEVICE]
        m.d.comb += [
            device.connect.eq(self.attaches if self.parameters.flash_serial else 1),
            utmi.vbus_valid.eq(1),
            utmi.session_end.eq(0),
        ]
        _connect_bytes(m, self, from_host, to_host, PATIENCE)
        return m


class UlpiDevice(wiring.Component):
    """The device at high speed, at the pins of its PHY, in the domain ``usb`` at 60 MHz.

    It chirps in each reset. If the host does not answer, it has full speed until the next reset: descriptors and
    packets are those of this speed.

    Parameters
    ----------
    parameters
        Contents of the descriptors; ``high_speed`` is set.
    registers
        Address and value of each register of the PHY, beside those of the standard, that is written first.

    Members
    -------
    data_i : Signal(8), in
    data_o : Signal(8), out
    data_oe : Signal, out
    dir, nxt : Signal, in
    stp : Signal, out
        ULPI, synchronous to the clock. The PHY must be out of reset when the domain is.
    o : Stream(8), out
        Bytes from the host.
    i : Stream(8), in
        Bytes to the host, as frames that end with a zero byte.
    number : Signal(64), in
    has_number : Signal, in
        ID of the flash chip, and whether it has one, with ``flash_serial`` only. They do not change after ``attaches``.
    attaches : Signal, in
        Attaches the device to the bus, with ``flash_serial`` only.
    """

    def __init__(self, parameters: UsbParameters, *, registers: PhyRegisters = ()) -> None:
        self.parameters, self.registers = replace(parameters, high_speed=True), registers
        of_flash = _FLASH_ID if parameters.flash_serial else {}
        super().__init__({**ULPI_PINS, "o": Out(stream.Signature(8)), "i": In(stream.Signature(8)), **of_flash})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = SimpleNamespace(
            data=SimpleNamespace(i=self.data_i, o=self.data_o, oe=self.data_oe),
            dir=SimpleNamespace(i=self.dir),
            nxt=SimpleNamespace(i=self.nxt),
            stp=SimpleNamespace(o=self.stp),
        )
        # The board has its supply from the bus, or a supply of its own: either way, LUNA need not watch VBUS.
        platform = SimpleNamespace(ignore_phy_vbus=True, device="", ulpi_extra_registers=dict(self.registers))
        device, from_host, to_host = _add_device(m, self, lambda: bus, platform)
        m.d.comb += device.connect.eq(self.attaches if self.parameters.flash_serial else 1)
        _connect_bytes(m, self, from_host, to_host, ULPI_PATIENCE)
        return m


def _utmi() -> Any:
    from luna.gateware.interface.utmi import UTMIInterface

    return UTMIInterface()


def _add_device(m: Module, component: Any, make_bus: Callable[[], Any], platform: object) -> tuple[Any, Any, Any]:
    """Add LUNA's device to ``m`` of ``component``; return it, and its byte streams from and to the host."""
    # LUNA 0.2.3 uses deprecated names of Amaranth. The versions of both are pinned, so the warnings would not help a
    # user.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        is_full = Signal()  # the bulk endpoints are those of full speed
        device, changed, from_host, to_host, slow_to_host = _luna_device(component, make_bus(), is_full)
        m.submodules.device = Fragment.get(device, platform)
    if slow_to_host is not None:
        # Chosen when the host configures the device, which empties both endpoints: a device that is suspended has full
        # speed until it resumes, and must keep its bytes.
        with m.If(changed):
            m.d.usb += is_full.eq(_is_full(device))
        to_host = _either(m, is_full, slow_to_host, to_host)
    return device, from_host, to_host


def _is_full(device: Any) -> Any:
    from luna.gateware.usb.usb2 import USBSpeed

    return device.speed == USBSpeed.FULL


def _either(m: Module, choice: Signal, first: Any, second: Any) -> Any:
    """Return a stream that leads to ``first`` while ``choice`` is high, else to ``second``."""
    chosen = SimpleNamespace(payload=Signal(8), last=Signal(), valid=Signal(), ready=Signal())
    for stream_of_endpoint, holds in ((first, choice), (second, ~choice)):
        m.d.comb += [
            stream_of_endpoint.payload.eq(chosen.payload),
            stream_of_endpoint.last.eq(chosen.last),
            stream_of_endpoint.valid.eq(chosen.valid & holds),
        ]
    m.d.comb += chosen.ready.eq(Mux(choice, first.ready, second.ready))
    return chosen


def _connect_bytes(m: Module, component: Any, from_host: Any, to_host: Any, patience_cycles: int) -> None:
    """Connect the streams of LUNA's endpoints with those of ``component``, and decide where packets end."""
    m.d.comb += [
        component.o.valid.eq(from_host.valid),
        component.o.payload.eq(from_host.payload),
        from_host.ready.eq(component.o.ready),
    ]

    # The last byte taken is held back until another one follows, or until it has ended a frame and nothing has followed
    # for a while: then it ends the packet.
    held, is_held = Signal(8), Signal()
    patience = Signal(range(patience_cycles + 1))
    leaves = Signal()
    m.d.comb += [
        to_host.payload.eq(held),
        to_host.last.eq(~component.i.valid),
        to_host.valid.eq(is_held & (component.i.valid | ((held == 0) & (patience == 0)))),
        leaves.eq(to_host.valid & to_host.ready),
        component.i.ready.eq(~is_held | leaves),
    ]
    with m.If(component.i.ready):
        m.d.usb += [is_held.eq(component.i.valid), held.eq(component.i.payload), patience.eq(patience_cycles)]
    with m.Elif(patience != 0):
        m.d.usb += patience.eq(patience - 1)


def _luna_device(component: Any, bus: Any, is_full: Signal) -> tuple[Any, Any, Any, Any, Any]:
    """Return LUNA's device on ``bus``, a strobe when the host configures it, and its byte streams from and to the host.

    ``component`` has the parameters, and the number of the flash chip.

    With a PHY for high speed, the last stream is that to the host while ``is_full`` is high; else it is None.
    """
    from luna.gateware.stream.generator import ConstantStreamGenerator
    from luna.gateware.usb.request.control import ControlRequestHandler
    from luna.gateware.usb.request.standard import StandardRequestHandler
    from luna.gateware.usb.stream import USBInStreamInterface
    from luna.gateware.usb.usb2.control import USBControlEndpoint
    from luna.gateware.usb.usb2.descriptor import GetDescriptorHandlerBlock
    from luna.gateware.usb.usb2.device import USBDevice
    from luna.gateware.usb.usb2.endpoint import EndpointInterface
    from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
    from luna.gateware.usb.usb2.request import USBRequestHandler
    from usb_protocol.emitters import DeviceDescriptorCollection

    parameters: UsbParameters = component.parameters
    setup_pid, of_class, of_vendor = 0b1101, 1, 2
    set_line_coding, get_line_coding, set_control_lines = 0x20, 0x21, 0x22
    line_coding = (115_200).to_bytes(4, "little") + bytes((0, 0, 8))  # read by some hosts, but without effect

    def starts(interface: Any) -> Any:
        """Whether a control transfer starts."""
        return interface.tokenizer.new_token & (interface.tokenizer.pid == setup_pid)

    class Standard(StandardRequestHandler):
        def elaborate(self, platform: object) -> Any:
            # A transfer that the host has abandoned must not leave the handler in the middle of it.
            return ResetInserter({"usb": starts(self.interface)})(super().elaborate(platform))

        def get_descriptor_handler_submodule(self) -> Any:
            handler = super().get_descriptor_handler_submodule()
            handler = BySpeed(handler) if parameters.high_speed else handler
            return Numbered(handler) if parameters.flash_serial else handler

    class Numbered(Elaboratable):
        """A handler of descriptors that puts the number of the flash chip into their bytes, as digits."""

        def __init__(self, handler: Any) -> None:
            self.handler = handler
            self.value, self.length = handler.value, handler.length
            self.start, self.start_position, self.stall = handler.start, handler.start_position, handler.stall
            self.tx = USBInStreamInterface()

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.handler = self.handler
            m.d.comb += self.handler.tx.attach(self.tx)
            # Both descriptors fit into one packet.
            place = Signal(range(PACKET_BYTES + 1))
            with m.If(self.start):
                m.d.usb += place.eq(0)
            with m.Elif(self.tx.valid & self.tx.ready):
                m.d.usb += place.eq(place + 1)
            header = 2
            # The first of the 16 digits is the highest one.
            digit = Signal(4)
            m.d.comb += digit.eq(component.number.word_select(~((place - header) >> 1)[:4], 4))
            text, described = Descriptor.STRING << 8 | SERIAL_INDEX, Descriptor.DEVICE << 8
            with m.If((self.value == text) & (place >= header) & ~place[0]):
                m.d.comb += self.tx.payload.eq(Mux(digit < 10, ord("0") + digit, ord("A") - 10 + digit))
            with m.If((self.value == described) & (place == SERIAL_PLACE) & ~component.has_number):
                m.d.comb += self.tx.payload.eq(0)
            return m

    class BySpeed(Elaboratable):
        """A handler of descriptors that answers requests for a configuration by the present speed."""

        def __init__(self, handler: Any) -> None:
            self.handler = handler
            self.value = Signal(16)
            self.length, self.start, self.start_position = handler.length, handler.start, handler.start_position
            self.tx, self.stall = handler.tx, handler.stall

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.handler = self.handler
            kind, index = self.value[8:], self.value[:8]
            m.d.comb += self.handler.value.eq(self.value)
            with m.If((kind == Descriptor.CONFIGURATION) | (kind == Descriptor.OTHER_SPEED)):
                # The device has one configuration, so that a host has no use for the place of the other one.
                m.d.comb += self.handler.value[:8].eq(Mux(index == 0, _is_full(device), 2))
            return m

    class SerialPort(USBRequestHandler):
        """The requests of the class, which have no effect on a board but must succeed."""

        def elaborate(self, platform: object) -> Any:
            m = Module()
            interface, setup = self.interface, self.interface.setup
            m.submodules.coding = coding = ConstantStreamGenerator(
                line_coding, domain="usb", stream_type=USBInStreamInterface, max_length_width=3
            )
            with m.If(setup.type == of_class), m.Switch(setup.request):
                with m.Case(set_line_coding, set_control_lines):
                    m.d.comb += interface.claim.eq(1)
                    with m.If(interface.rx_ready_for_response):
                        m.d.comb += interface.handshakes_out.ack.eq(1)
                    with m.If(interface.status_requested):
                        m.d.comb += self.send_zlp()
                with m.Case(get_line_coding):
                    m.d.comb += [
                        interface.claim.eq(1),
                        coding.stream.attach(interface.tx),
                        coding.max_length.eq(len(line_coding)),
                        coding.start.eq(interface.data_requested),
                        interface.handshakes_out.ack.eq(interface.status_requested),
                    ]
            return m

    class Notifications(Elaboratable):
        """An endpoint that never sends data: it answers every request of the host with NAK."""

        def __init__(self) -> None:
            self.interface = EndpointInterface()

        def elaborate(self, platform: object) -> Module:
            m = Module()
            token = self.interface.tokenizer
            asked = token.is_in & token.ready_for_response & (token.endpoint == NOTIFICATION_ENDPOINT)
            m.d.comb += self.interface.handshakes_out.nak.eq(asked)
            return m

    class FromHost(USBStreamOutEndpoint):
        def elaborate(self, platform: object) -> Any:
            return ResetInserter({"usb": restart})(super().elaborate(platform))

    class ToHost(USBStreamInEndpoint):
        def elaborate(self, platform: object) -> Any:
            return ResetInserter({"usb": restart})(super().elaborate(platform))

    class SlowToHost(ToHost):
        """The same at full speed, at a port without high speed."""

    class WindowsSet(ControlRequestHandler):
        """The request for the descriptors of Microsoft OS 2.0."""

        def elaborate(self, platform: object) -> Any:
            m = Module()
            interface, setup = self.interface, self.interface.setup
            content = DeviceDescriptorCollection(automatic_language_descriptor=False)
            content.add_descriptor(parameters.windows_set, index=0, descriptor_type=1)
            m.submodules.content = rom = GetDescriptorHandlerBlock(content, max_packet_length=PACKET_BYTES)
            m.d.comb += [rom.value.eq(1 << 8), rom.length.eq(setup.length)]
            wanted = (setup.type == of_vendor) & (setup.request == WINDOWS_REQUEST) & (setup.index == WINDOWS_SET)
            sent = Signal()  # a packet whose acknowledgement is due
            with m.If(wanted):
                m.d.comb += [
                    interface.claim.eq(1),
                    rom.tx.attach(interface.tx),
                    rom.start.eq(interface.data_requested),
                    interface.handshakes_out.stall.eq(rom.stall),
                    interface.handshakes_out.ack.eq(interface.status_requested),
                ]
            with m.If(setup.received):
                m.d.usb += [rom.start_position.eq(0), interface.tx_data_pid.eq(1), sent.eq(0)]
            with m.Elif(interface.data_requested):
                m.d.usb += sent.eq(1)
            with m.Elif(interface.handshakes_in.ack & sent):
                m.d.usb += [
                    rom.start_position.eq(rom.start_position + PACKET_BYTES),
                    interface.tx_data_pid.eq(~interface.tx_data_pid),
                    sent.eq(0),
                ]
            return m

    device = USBDevice(bus=bus, handle_clocking=False)
    descriptors = DeviceDescriptorCollection(automatic_language_descriptor=False)
    for (kind, index), content in parameters.descriptors.items():
        descriptors.add_descriptor(content, index=index, descriptor_type=kind)
    if parameters.high_speed:
        for kind in (Descriptor.CONFIGURATION, Descriptor.OTHER_SPEED):
            content = parameters.full_speed_descriptors[kind, 0]
            descriptors.add_descriptor(content, index=1, descriptor_type=kind)
    control = USBControlEndpoint(utmi=device.utmi)
    control.add_request_handler(Standard(descriptors))
    control.add_request_handler(WindowsSet() if parameters.high_speed else SerialPort())
    changed = control.interface.config_changed
    restart = device.reset_detected | changed
    # Subclasses, because LUNA names modules after their classes and, if two are of the same class, after addresses in
    # memory. Then no two netlists would be equal.
    from_host = FromHost(endpoint_number=DATA_ENDPOINT, max_packet_size=parameters.packet_bytes)
    if not parameters.high_speed:
        to_host = ToHost(endpoint_number=DATA_ENDPOINT, max_packet_size=PACKET_BYTES)
        for endpoint in (control, Notifications(), from_host, to_host):
            device.add_endpoint(endpoint)
        return device, changed, from_host.stream, to_host.stream, None
    # LUNA's endpoint has packets of one size. Of two, one has the number of the descriptors, the other none of a token.
    number, nowhere = DATA_ENDPOINT, 16
    to_host = ToHost(endpoint_number=Mux(is_full, nowhere, number), max_packet_size=HIGH_SPEED_PACKET_BYTES)
    slow_to_host = SlowToHost(endpoint_number=Mux(is_full, number, nowhere), max_packet_size=PACKET_BYTES)
    for endpoint in (control, from_host, to_host, slow_to_host):
        device.add_endpoint(endpoint)
    return device, changed, from_host.stream, to_host.stream, slow_to_host.stream


class UsbLine(wiring.Component):
    """The transport: USB pins on one side, the byte streams of the link on the other.

    Parameters
    ----------
    parameters
        Contents of the descriptors.

    Members
    -------
    dp_i, dn_i : Signal, in
    dp_o, dn_o, oe : Signal, out
        Levels of D+ and D-, and whether they are driven. The inputs may be asynchronous.
    pullup : Signal, out
        Supply of the 1.5 kOhm pull-up resistor at D+, by which the host detects a device.
    o : Stream(8), out
        Bytes from the host, in the domain ``sync``.
    i : Stream(8), in
        Bytes to the host, in the domain ``sync``.
    flash_cs, flash_clk, flash_copi : Signal, out
    flash_cipo : Signal, in
        The pins of the flash chip, as for `FlashId`, with ``flash_serial`` only.
    """

    def __init__(self, parameters: UsbParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                **USB_PINS,
                **serial_pins(parameters),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.device = device = UsbDevice(self.parameters)
        m.submodules.phy = phy = UsbPhy()
        for name in _UTMI_TO_DEVICE:
            m.d.comb += getattr(device, name).eq(getattr(phy, name))
        for name in _UTMI_FROM_DEVICE:
            m.d.comb += getattr(phy, name).eq(getattr(device, name))
        m.d.comb += [
            phy.dp_i.eq(self.dp_i),
            phy.dn_i.eq(self.dn_i),
            self.dp_o.eq(phy.dp_o),
            self.dn_o.eq(phy.dn_o),
            self.oe.eq(phy.oe),
            self.pullup.eq(device.term_select),
        ]
        if self.parameters.flash_serial:
            _read_flash(m, self, device)
        cross(m, device.o, device.i, self, domain="usb")
        return m


class UlpiLine(wiring.Component):
    """The transport at high speed: the pins of a PHY on one side, the byte streams of the link on the other.

    Parameters
    ----------
    parameters
        Contents of the descriptors; ``high_speed`` is set.
    registers
        Address and value of each register of the PHY, beside those of the standard, that is written first.

    Members
    -------
    data_i, data_o, data_oe, dir, nxt, stp
        The pins of the PHY, as for `UlpiDevice`, in the domain ``usb``.
    o : Stream(8), out
        Bytes from the host, in the domain ``sync``.
    i : Stream(8), in
        Bytes to the host, in the domain ``sync``.
    flash_cs, flash_clk, flash_copi : Signal, out
    flash_cipo : Signal, in
        The pins of the flash chip, as for `FlashId`, with ``flash_serial`` only.
    """

    def __init__(self, parameters: UsbParameters, *, registers: PhyRegisters = ()) -> None:
        self.parameters, self.registers = parameters, registers
        super().__init__(
            {
                **ULPI_PINS,
                **serial_pins(parameters),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.device = device = UlpiDevice(self.parameters, registers=self.registers)
        m.d.comb += [
            *(device.data_i.eq(self.data_i), device.dir.eq(self.dir), device.nxt.eq(self.nxt)),
            *(self.data_o.eq(device.data_o), self.data_oe.eq(device.data_oe), self.stp.eq(device.stp)),
        ]
        if self.parameters.flash_serial:
            _read_flash(m, self, device)
        cross(m, device.o, device.i, self, domain="usb")
        return m


def _read_flash(m: Module, line: Any, device: Any) -> None:
    """Read the ID of the flash chip at the pins of ``line``, and then attach ``device``."""
    m.submodules.flash = flash = FlashId()
    m.d.comb += [
        *connect_serial_pins(flash, line, line.parameters),
        # They change no more when the device attaches.
        *(device.number.eq(flash.number), device.has_number.eq(flash.is_found)),
    ]
    done = Signal()
    m.d.sync += done.eq(flash.is_done)  # a cycle after the flag that belongs to the last bit
    m.submodules.attaches = FFSynchronizer(done, device.attaches, o_domain="usb")


class UsbPhy(wiring.Component):
    """LUNA's PHY for two ordinary I/O pins, with inputs that may be asynchronous.

    Members
    -------
    dp_i, dn_i : Signal, in
    dp_o, dn_o, oe : Signal, out
        As for `UsbLine`.
    rx_data, rx_valid, rx_active, tx_data, tx_valid, tx_ready, line_state, op_mode, term_select
        As for `UsbDevice`, in the other direction.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                **_PHY_PINS,
                **{name: Out(width) for name, width in _UTMI_TO_DEVICE.items()},
                **{name: In(width) for name, width in _UTMI_FROM_DEVICE.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dp, dn = (SimpleNamespace(i=Signal(init=level), o=Signal(), oe=Signal()) for level in (1, 0))
        # LUNA's state machines read the levels directly, so they must not change within a cycle.
        m.submodules.dp_input = FFSynchronizer(self.dp_i, dp.i, o_domain="usb_io", init=1)
        m.submodules.dn_input = FFSynchronizer(self.dn_i, dn.i, o_domain="usb_io", init=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from luna.gateware.interface.gateware_phy import GatewarePHY

            phy = GatewarePHY(io=SimpleNamespace(d_p=dp, d_n=dn))
            m.submodules.phy = Fragment.get(phy, platform)
        m.d.comb += [
            self.dp_o.eq(dp.o),
            self.dn_o.eq(dn.o),
            self.oe.eq(dp.oe),
            self.rx_data.eq(phy.rx_data),
            self.rx_valid.eq(phy.rx_valid),
            self.rx_active.eq(phy.rx_active),
            self.tx_ready.eq(phy.tx_ready),
            # D+ is the low bit. The PHY's own signal has the two bits in reverse order: idle would look like resume.
            self.line_state.eq(Cat(dp.i, dn.i)),
            phy.tx_data.eq(self.tx_data),
            phy.tx_valid.eq(self.tx_valid),
            phy.op_mode.eq(self.op_mode),
            phy.term_select.eq(self.term_select),
        ]
        return m
