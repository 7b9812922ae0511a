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

__all__ = ["AXON_ERROR", "MESSAGE_ERROR", "BridgeModel", "Read", "Spike", "Tick", "Write"]

MESSAGE_ERROR = 1
"""Flag in the register ``error``: a byte that starts no known message was skipped."""
AXON_ERROR = 2
"""Flag in the register ``error``: a spike or skip beyond the last axon was dropped."""


@dataclass(frozen=True)
class Spike:
    """A spike for ``axon``."""

    axon: int


@dataclass(frozen=True)
class Tick:
    """The end of a step and, with ``last``, of its sample."""

    last: bool


@dataclass(frozen=True)
class Write:
    """A write of bytes to the configuration port."""

    address: ConfigurationAddress
    data: bytes


@dataclass(frozen=True)
class Read:
    """A read of ``count`` bytes from the configuration port."""

    address: ConfigurationAddress
    count: int


class BridgeModel:
    """Decodes the host's bytes and encodes the board's, for packets with axons of ``axon_width`` bits."""

    def __init__(self, axon_width: int) -> None:
        if not 1 <= axon_width <= 8 * AXON_BYTES:
            raise ValueError(f"axon_width must be from 1 to {8 * AXON_BYTES}, not {axon_width!r}")
        self.axon_width = axon_width
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
            size = 1
            if opcode in (Opcode.WRITE, Opcode.READ):
                header = 1 + ADDRESS_BYTES + COUNT_BYTES
                if len(self._bytes) < header:
                    break
                address = ConfigurationAddress.decode(bytes(self._bytes[1 : 1 + ADDRESS_BYTES]))
                count = int.from_bytes(self._bytes[1 + ADDRESS_BYTES : header], "little")
                size = header + count * (opcode == Opcode.WRITE)
                if len(self._bytes) < size:
                    break
                if opcode == Opcode.WRITE:
                    requests.append(Write(address, bytes(self._bytes[header:size])))
                else:
                    requests.append(Read(address, count))
            elif opcode >= Opcode.SKIP:
                self._move(opcode, requests)
            elif opcode in (Opcode.TICK, Opcode.TICK_LAST):
                self._previous_in = -1
                requests.append(Tick(opcode == Opcode.TICK_LAST))
            else:
                self.error |= MESSAGE_ERROR
            del self._bytes[:size]
        return requests

    def _move(self, opcode: int, requests: list[Spike | Tick | Write | Read]) -> None:
        is_spike = opcode >= Opcode.SPIKE
        distance = (opcode & 0x7F) + 1 if is_spike else ((opcode & 0x3F) + 1) << DISTANCE_BITS
        axon = self._previous_in + distance
        if axon >= 1 << self.axon_width:
            self.error |= AXON_ERROR
            return
        self._previous_in = axon
        if is_spike:
            requests.append(Spike(axon))

    def spike(self, axon: int) -> bytes:
        """Encode a spike: one byte if its axon is within 128 of the previous one, otherwise the full axon."""
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
