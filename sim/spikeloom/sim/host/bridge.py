"""The host bridge as a model: the board's half of the messages, byte by byte, for tests without RTL and of the RTL.

:mod:`spikeloom.sim.host.messages` is the host's half, ``docs/host-protocol.md`` the readable form.
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
"""In the register ``error``: a byte that begins no message was skipped."""
AXON_ERROR = 2
"""In the register ``error``: a spike or a skip went beyond the last axon, and was dropped."""


@dataclass(frozen=True)
class Spike:
    """A spike for ``axon``."""

    axon: int


@dataclass(frozen=True)
class Tick:
    """A step ends, and with ``last`` its sample too."""

    last: bool


@dataclass(frozen=True)
class Write:
    """Bytes for the configuration port."""

    address: ConfigurationAddress
    data: bytes


@dataclass(frozen=True)
class Read:
    """Bytes wanted from the configuration port."""

    address: ConfigurationAddress
    count: int


class BridgeModel:
    """Takes the host's bytes apart and makes the board's, for packets with axons of ``axon_width`` bits."""

    def __init__(self, axon_width: int) -> None:
        if not 1 <= axon_width <= 8 * AXON_BYTES:
            raise ValueError(f"axon_width must be from 1 to {8 * AXON_BYTES}, not {axon_width!r}")
        self.axon_width = axon_width
        self.error = 0
        self._bytes = bytearray()
        self._previous_in = -1
        self._previous_out = -1

    def from_host(self, data: bytes) -> list[Spike | Tick | Write | Read]:
        """What the messages that ``data`` completes want."""
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
        """A spike for the host: one byte if its axon follows within 128, otherwise in full."""
        distance = axon - self._previous_out - 1
        self._previous_out = axon
        if 0 <= distance < SKIP_UNIT:
            return bytes([Opcode.SPIKE | distance])
        return bytes([Opcode.ABSOLUTE]) + axon.to_bytes(AXON_BYTES, "little")

    def value(self, axon: int, value: int) -> bytes:
        """A membrane, or a graded spike with its value, for the host.

        The next spike counts its distance as if this had not been there.
        """
        number = axon.to_bytes(AXON_BYTES, "little") + value.to_bytes(VALUE_BYTES, "little", signed=True)
        return bytes([Opcode.VALUE]) + number

    def ahead(self) -> bytes:
        """What follows belongs to the step after the next TICK, or no longer."""
        return bytes([Opcode.AHEAD])

    def tick(self, last: bool) -> bytes:
        """The end of a step for the host."""
        self._previous_out = -1
        return bytes([Opcode.TICK_LAST if last else Opcode.TICK])

    def read_data(self, data: bytes) -> bytes:
        """The answer to a `Read`."""
        return bytes([Opcode.READ]) + len(data).to_bytes(COUNT_BYTES, "little") + data
