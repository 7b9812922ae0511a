"""Model of the host bridge: the board's half of the message protocol, for tests with and without RTL.

:mod:`spikeloom.sim.host.messages` is the host's half; ``docs/host-protocol.md`` describes the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.host.messages import (
    ADDRESS_BYTES,
    AXON_BYTES,
    COUNT_BYTES,
    DISTANCE_BITS,
    SKIP_UNIT,
    VALUE_BYTES,
    ConfigurationAddress,
    Opcode,
)
from spikeloom.sim.lib.registers import MOST_MEMORIES

__all__ = [
    "ADDRESS_ERROR",
    "AXON_ERROR",
    "MESSAGE_ERROR",
    "VALUE_ERROR",
    "BridgeModel",
    "Read",
    "Spike",
    "Tick",
    "Write",
]

_REQUESTS = (Opcode.WRITE, Opcode.READ, Opcode.WRITE_WORDS, Opcode.READ_WORDS)

MESSAGE_ERROR = 1
"""Flag in the register ``error``: a byte that starts no known message was skipped."""
AXON_ERROR = 2
"""Flag in the register ``error``: a spike or skip beyond the last axon was dropped."""
ADDRESS_ERROR = 4
"""Flag in the register ``error``: a byte beyond the addresses of the fabric was not written, or read as 0."""
VALUE_ERROR = 8
"""Flag in the register ``error``: a value with more bits than those of the fabric's packets was dropped."""


@dataclass(frozen=True)
class Spike:
    """A spike for ``axon`` with a value."""

    axon: int
    value: int = 1


@dataclass(frozen=True)
class Tick:
    """The end of a step and, with ``last``, of its sample."""

    last: bool


@dataclass(frozen=True)
class Write:
    """A write of bytes to the configuration port; those that `BridgeModel.reaches` excludes are dropped."""

    address: ConfigurationAddress
    data: bytes


@dataclass(frozen=True)
class Read:
    """A read of ``count`` bytes from the configuration port; those that `BridgeModel.reaches` excludes are 0."""

    address: ConfigurationAddress
    count: int


class BridgeModel:
    """Decodes the host's bytes and encodes the board's.

    Parameters
    ----------
    axon_width
        Width of the axons in packets, 1 to 16 bits.
    index_width, plane_width
        Widths of the index, 1 to 32 bits, and of the byte lane, 1 to 10 bits, on the fabric's configuration port.
    value_width
        Width of the values that the host may send, 2 to 16 bits; 0 if it may send spikes only.

    The attribute ``error`` is the register of that name.
    """

    def __init__(self, axon_width: int, *, index_width: int = 18, plane_width: int = 10, value_width: int = 0) -> None:
        for name, value, high in (
            ("axon_width", axon_width, 8 * AXON_BYTES),
            ("index_width", index_width, 32),
            ("plane_width", plane_width, 10),
        ):
            if not 1 <= value <= high:
                raise ValueError(f"{name} must be from 1 to {high}, not {value!r}")
        # One bit of two's complement cannot hold the value 1.
        if value_width not in (0, *range(2, 17)):
            raise ValueError(f"value_width must be 0 or from 2 to 16, not {value_width!r}")
        self.axon_width, self.index_width, self.plane_width = axon_width, index_width, plane_width
        self.value_width = value_width
        self.error = 0
        self._bytes = bytearray()
        self._previous_in = -1
        self._previous_out = -1

    def from_host(self, data: bytes) -> list[Spike | Tick | Write | Read]:
        """Decode ``data`` and return the requests of the messages that it completes."""
        self._bytes += data
        requests: list[Spike | Tick | Write | Read] = []
        while self._bytes:
            opcode = self._bytes[0]
            # None for an incomplete message, whose bytes stay in the buffer until the rest arrives.
            size: int | None = 1
            if opcode in _REQUESTS:
                size = self._request(opcode, requests)
            # SKIP and SPIKE fill the upper three quarters of the codes.
            elif opcode >= Opcode.SKIP:
                self._move(opcode, requests)
            elif self.value_width and (opcode == Opcode.VALUE or opcode & ~7 == Opcode.RUN):
                size = self._values(opcode, requests)
            elif opcode in (Opcode.TICK, Opcode.TICK_LAST):
                self._previous_in = -1
                requests.append(Tick(opcode == Opcode.TICK_LAST))
            else:
                # Only this byte is skipped, since the length of an unknown message is unknown.
                self.error |= MESSAGE_ERROR
            if size is None:
                break
            del self._bytes[:size]
        return requests

    def reaches(self, address: ConfigurationAddress, offset: int) -> bool:
        """Whether the fabric has the address of the byte ``offset`` of a WRITE or READ.

        An index beyond the port excludes its byte only. A memory number, byte lane or word size beyond the port
        excludes the whole message.
        """
        # The highest byte lane that the message uses, in either order.
        lane = max(address.plane, address.word_bytes - 1)
        index, _ = address.place(offset)
        return address.memory < MOST_MEMORIES and not lane >> self.plane_width and not index >> self.index_width

    def _request(self, opcode: int, requests: list[Spike | Tick | Write | Read]) -> int | None:
        """Decode a WRITE or READ and return its size; None if it is incomplete."""
        header = 1 + ADDRESS_BYTES + COUNT_BYTES
        if len(self._bytes) < header:
            return None
        is_write = opcode in (Opcode.WRITE, Opcode.WRITE_WORDS)
        is_words = opcode in (Opcode.WRITE_WORDS, Opcode.READ_WORDS)
        count = int.from_bytes(self._bytes[1 + ADDRESS_BYTES : header], "little")
        # A READ has a count but no data.
        size = header + count * is_write
        if len(self._bytes) < size:
            return None
        address = ConfigurationAddress.decode(bytes(self._bytes[1 : 1 + ADDRESS_BYTES]), words=is_words)
        requests.append(Write(address, bytes(self._bytes[header:size])) if is_write else Read(address, count))
        # The index only rises, so the last byte is beyond the port if any is.
        if count and not self.reaches(address, count - 1):
            self.error |= ADDRESS_ERROR
        return size

    def _values(self, opcode: int, requests: list[Spike | Tick | Write | Read]) -> int | None:
        """Decode a VALUE or a RUN and return its size; None if it is incomplete."""
        header = 1 + AXON_BYTES
        bits, is_signed, count = 8 * VALUE_BYTES, True, 1
        if opcode != Opcode.VALUE:
            bits, is_signed = 1 << (opcode & 3), bool(opcode & 4)
            count = int.from_bytes(self._bytes[header : header + COUNT_BYTES], "little")
            header += COUNT_BYTES
        # For an incomplete header the count is too small, but so is the buffer: the size includes the whole header.
        size = header + -(-count * bits // 8)
        if len(self._bytes) < size:
            return None
        axon = int.from_bytes(self._bytes[1 : 1 + AXON_BYTES], "little")
        number = int.from_bytes(self._bytes[header:size], "little")
        for place in range(count):
            value = number >> bits * place & (1 << bits) - 1
            # Sign extension: subtract 2**bits if the top bit is set.
            value -= (is_signed and value >> bits - 1) << bits
            is_axon = axon + place < 1 << self.axon_width
            is_value = -(1 << self.value_width - 1) <= value < 1 << self.value_width - 1
            # A value of 0 is neither an event nor an error, even for an axon that does not exist.
            if value and is_axon and is_value:
                requests.append(Spike(axon + place, value))
            elif value:
                self.error |= AXON_ERROR * (not is_axon) | VALUE_ERROR * (not is_value)
        return size

    def _move(self, opcode: int, requests: list[Spike | Tick | Write | Read]) -> None:
        is_spike = opcode >= Opcode.SPIKE
        distance = (opcode & 0x7F) + 1 if is_spike else ((opcode & 0x3F) + 1) << DISTANCE_BITS
        axon = self._previous_in + distance
        # `previous` stays, so that further spikes of the step still have a defined axon.
        if axon >= 1 << self.axon_width:
            self.error |= AXON_ERROR
            return
        self._previous_in = axon
        if is_spike:
            requests.append(Spike(axon))

    def spike(self, axon: int) -> bytes:
        """Encode a spike: one byte if its axon is within 128 of the previous one, otherwise the full axon."""
        # Only a larger axon has a distance. Tiles of a mesh may interleave their spikes in any order.
        distance = axon - self._previous_out - 1
        self._previous_out = axon
        if 0 <= distance < SKIP_UNIT:
            return bytes([Opcode.SPIKE | distance])
        return bytes([Opcode.ABSOLUTE]) + axon.to_bytes(AXON_BYTES, "little")

    def value(self, axon: int, value: int) -> bytes:
        """Encode a membrane, or a graded spike with its value.

        It does not affect the distance of the next spike.
        """
        number = axon.to_bytes(AXON_BYTES, "little") + value.to_bytes(VALUE_BYTES, "little", signed=True)
        return bytes([Opcode.VALUE]) + number

    def ahead(self) -> bytes:
        """Encode a switch to the step after the next TICK, or back."""
        return bytes([Opcode.AHEAD])

    def tick(self, last: bool) -> bytes:
        """Encode the end of a step."""
        self._previous_out = -1
        return bytes([Opcode.TICK_LAST if last else Opcode.TICK])

    def read_data(self, data: bytes) -> bytes:
        """Encode the reply to a `Read`."""
        return bytes([Opcode.READ]) + len(data).to_bytes(COUNT_BYTES, "little") + data
