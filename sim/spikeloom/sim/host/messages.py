"""Messages between host and board, carried by the byte streams of the link. This module is the host's half.

A spike usually takes one byte, the distance to the axon of the previous spike. ``docs/host-protocol.md`` lists the
messages; :mod:`spikeloom.sim.host.bridge` is the board's half.

Encoding and decoding are vectorised in NumPy over a whole sample or all received bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ADDRESS_BYTES",
    "AXON_BYTES",
    "COUNT_BYTES",
    "LARGEST_COUNT",
    "VALUE_BYTES",
    "ConfigurationAddress",
    "MessageDecoder",
    "MessageError",
    "Messages",
    "Opcode",
    "encode_events",
    "encode_read",
    "encode_spikes",
    "encode_values",
    "encode_write",
]

LARGEST_COUNT = 0xFFFF
"""Maximum number of bytes in one WRITE or READ."""

ADDRESS_BYTES = 8
COUNT_BYTES = 2
AXON_BYTES = 2
VALUE_BYTES = 3

LARGEST_INDEX = 0xFFFFFFFF
LARGEST_AXON = 256**AXON_BYTES - 1
LARGEST_VALUE = (1 << 8 * VALUE_BYTES - 1) - 1

RUN_BITS = (1, 2, 4, 8)
"""Widths of the values in a RUN."""

DISTANCE_BITS = 7
SKIP_UNIT = 1 << DISTANCE_BITS
LARGEST_SKIP = 64


class Opcode(IntEnum):
    """The first byte of a message. In SPIKE and SKIP it also holds a number, in TICK a flag."""

    WRITE = 0x01
    READ = 0x02
    """To the host: the read data."""
    WRITE_WORDS = 0x05
    READ_WORDS = 0x06
    """To the board only: like WRITE and READ, but the data are whole words."""
    ABSOLUTE = 0x10
    """To the host only: a spike with its full axon."""
    VALUE = 0x11
    """A graded spike with its value; to the host also a membrane."""
    AHEAD = 0x12
    """To the host only: switches between the step that the next TICK ends and the step after it, for the messages that
    follow. A TICK switches back."""
    RUN = 0x18
    """To the board only: the values of consecutive axons. Bits 0 and 1 hold the logarithm of their width in bits, bit 2
    whether they are signed."""
    TICK = 0x20
    TICK_LAST = 0x21
    SKIP = 0x40
    SPIKE = 0x80


class MessageError(ValueError):
    """Malformed message from the board."""


@dataclass(frozen=True, kw_only=True)
class ConfigurationAddress:
    """The first byte of a WRITE or READ on the configuration port of a tile, and the order of the bytes after it.

    Parameters
    ----------
    tile, memory
        Numbers of the tile and of its memory, 0 to 255.
    index
        Number of the word, 32 bits.
    plane
        Byte lane, 16 bits. All bytes belong to this lane, of the words ``index``, ``index + 1``, ...
    word_bytes
        Bytes of a word, 1 to 65,536, in *whole-word order*: the bytes are those of word ``index``, lowest first, then
        those of word ``index + 1``, ...; ``plane`` is 0. The default, 0, is byte-lane order.

    Words of a fabric have at most 1,024 bytes.
    """

    tile: int
    memory: int = 0
    plane: int = 0
    index: int = 0
    word_bytes: int = 0

    def __post_init__(self) -> None:
        for name, high in (
            ("tile", 0xFF),
            ("memory", 0xFF),
            ("plane", 0 if self.word_bytes else 0xFFFF),
            ("index", LARGEST_INDEX),
            ("word_bytes", 0x10000),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not 0 <= value <= high:
                raise ValueError(f"{name} must be from 0 to {high}, not {value!r}")

    def encode(self) -> bytes:
        """The eight bytes of this address."""
        lane = self.word_bytes - 1 if self.word_bytes else self.plane
        numbers = ((self.tile, 1), (self.memory, 1), (self.index, 4), (lane, 2))
        return b"".join(int(number).to_bytes(size, "little") for number, size in numbers)

    @classmethod
    def decode(cls, data: bytes, *, words: bool = False) -> ConfigurationAddress:
        """The address in the eight bytes ``data``; ``words`` for an address in whole-word order.

        Raises ``ValueError`` for another number of bytes.
        """
        if len(data) != ADDRESS_BYTES:
            raise ValueError(f"an address must be {ADDRESS_BYTES} bytes, not {len(data)}")
        index, lane = int.from_bytes(data[2:6], "little"), int.from_bytes(data[6:], "little")
        order = {"word_bytes": lane + 1} if words else {"plane": lane}
        return cls(tile=data[0], memory=data[1], index=index, **order)

    def place(self, offset: int) -> tuple[int, int]:
        """The ``(index, plane)`` of the byte ``offset`` of the data."""
        if not self.word_bytes:
            return self.index + offset, self.plane
        word, plane = divmod(offset, self.word_bytes)
        return self.index + word, plane


def _request(opcode: Opcode, words: Opcode, address: ConfigurationAddress, count: int) -> bytes:
    if not 0 <= count <= LARGEST_COUNT:
        raise ValueError(f"count must be from 0 to {LARGEST_COUNT}, not {count!r}")
    # The index of the last byte must fit as well.
    most = LARGEST_INDEX + address.index - address.place(max(count - 1, 0))[0]
    if address.index > most:
        raise ValueError(f"index must be at most {most} for {count} bytes, not {address.index!r}")
    chosen = words if address.word_bytes else opcode
    return bytes([chosen]) + address.encode() + count.to_bytes(COUNT_BYTES, "little")


def encode_write(address: ConfigurationAddress, data: bytes) -> bytes:
    """Encode a write of ``data`` from ``address`` on, in the order that the address specifies.

    Raises ``ValueError`` for more than `LARGEST_COUNT` bytes or an index of more than 32 bits.
    """
    return _request(Opcode.WRITE, Opcode.WRITE_WORDS, address, len(data)) + bytes(data)


def encode_read(address: ConfigurationAddress, count: int) -> bytes:
    """Encode a read of ``count`` bytes from ``address`` on, in the order that the address specifies.

    Raises ``ValueError`` as `encode_write` does.
    """
    return _request(Opcode.READ, Opcode.READ_WORDS, address, count)


def encode_events(
    steps: ArrayLike, axons: ArrayLike, count: int, *, largest_axon: int = LARGEST_AXON, last: bool = True
) -> bytes:
    """Encode one sample of ``count`` steps with spikes ``(step, axon)`` in any order.

    ``steps`` and ``axons`` are ``(n,)`` integers. Each step ends with a TICK; ``last`` sets its flag in the final one.
    Raises ``ValueError`` if a step or an axon is out of range or if an axon fires twice in a step.
    """
    step, axon = _events(steps, "steps"), _events(axons, "axons")
    if step.shape != axon.shape:
        raise ValueError(f"steps and axons must have the same length, not {step.shape[0]} and {axon.shape[0]}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count!r}")
    _check_range("step", step, count - 1)
    _check_range("axon", axon, largest_axon)
    # By step, then by axon: distances are then never negative.
    order = np.lexsort((axon, step))
    return _encode_sorted(step[order], axon[order], count, last)


def encode_spikes(
    spikes: ArrayLike, axons: ArrayLike | None = None, *, largest_axon: int = LARGEST_AXON, last: bool = True
) -> bytes:
    """Encode one sample with the spikes ``(T, n)``, 0 or 1, of ``n`` inputs.

    ``axons`` ``(n,)`` is the axon of each input, by default its index. Otherwise like `encode_events`, including the
    exceptions; ``ValueError`` also for spikes other than 0 and 1.
    """
    array = np.asarray(spikes)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"spikes must have shape (T, n) with at least one step and input, not {array.shape}")
    if array.dtype != np.bool_:
        if not np.issubdtype(array.dtype, np.number) or not np.isin(array, (0, 1)).all():
            raise ValueError("spikes must be 0 or 1, not other values")
        array = array.astype(np.bool_)
    numbers = _axons(axons, array.shape[1], largest_axon)
    order = np.argsort(numbers, kind="stable")
    # `nonzero` goes row by row, so that spikes come out sorted by step and axon.
    step, position = np.nonzero(array[:, order])
    return _encode_sorted(step, numbers[order][position], len(array), last)


def encode_values(
    values: ArrayLike, axons: ArrayLike | None = None, *, largest_axon: int = LARGEST_AXON, last: bool = True
) -> bytes:
    """Encode one sample with the values ``(T, n)`` of ``n`` inputs, integers of up to 24 bits; 0 is no event.

    The shortest of three forms is chosen for the sample: RUNs over all axons with an event, with 1, 2, 4 or 8 bits per
    value; a VALUE per event; SPIKEs if all values are 0 or 1. ``axons`` as for `encode_spikes`.

    Raises ``TypeError`` for values that are not integers, and ``ValueError`` for another shape, for a value or axon out
    of range, and for an axon that belongs to two inputs.
    """
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"values must have shape (T, n) with at least one step and input, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"values must be integers, not {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < -LARGEST_VALUE - 1 or high > LARGEST_VALUE:
        wrong = low if low < -LARGEST_VALUE - 1 else high
        raise ValueError(f"value must be from {-LARGEST_VALUE - 1} to {LARGEST_VALUE}, not {wrong}")
    numbers = _axons(axons, array.shape[1], largest_axon)
    order = np.argsort(numbers, kind="stable")
    numbers, array = numbers[order], array[:, order].astype(np.int64)
    # Two inputs with the same axon could both have a value in one step, but an axon takes one value per step.
    twice = np.flatnonzero(np.diff(numbers) == 0)
    if twice.size:
        raise ValueError(f"axons must be different, not {numbers[twice[0]]} twice")
    # Inputs that never have a value need no place in a RUN.
    used = array.any(axis=0)
    numbers, array = numbers[used], array[:, used]
    forms = [_as_values(array, numbers, last)]
    if low >= 0 and high <= 1:
        step, position = np.nonzero(array)
        forms.append(_encode_sorted(step, numbers[position], len(array), last))
    is_signed = low < 0
    width = next((bits for bits in RUN_BITS if -(1 << bits - 1) * is_signed <= low and high < 1 << bits - is_signed), 0)
    if width:
        forms.append(_as_runs(array, numbers, width, is_signed, last))
    return min(forms, key=len)


def _as_values(array: NDArray[np.int64], axons: NDArray[np.int64], last: bool) -> bytes:
    """Encode values ``(T, n)`` as a VALUE per event."""
    step, position = np.nonzero(array)
    size = 1 + AXON_BYTES + VALUE_BYTES
    message = np.full(size * len(step) + len(array), Opcode.TICK, np.uint8)
    first = size * np.arange(len(step)) + step  # after one TICK per earlier step
    message[first] = Opcode.VALUE
    # Axon and value as one number, whose bytes are written in turn. A negative value keeps its low bytes.
    number = axons[position] | array[step, position] << 8 * AXON_BYTES
    for byte in range(AXON_BYTES + VALUE_BYTES):
        message[first + 1 + byte] = number >> 8 * byte & 0xFF
    if last:
        message[-1] = Opcode.TICK_LAST
    return message.tobytes()


def _as_runs(array: NDArray[np.int64], axons: NDArray[np.int64], bits: int, is_signed: bool, last: bool) -> bytes:
    """Encode values ``(T, n)`` of ascending axons as RUNs, which cover the same axons in each step."""
    # A gap between axons is filled with zeros, or ends the run where a new header is shorter. The very last axon has a
    # run of its own: all 65,536 of them are one more than a run can count.
    header = 1 + AXON_BYTES + COUNT_BYTES
    cuts = ((np.diff(axons) - 1) * bits > 8 * header) | (axons[1:] == LARGEST_AXON)
    starts = [0, *(np.flatnonzero(cuts) + 1), len(axons)] if len(axons) else []
    opcode = Opcode.RUN | is_signed << 2 | bits.bit_length() - 1
    columns = []
    for begin, end in pairwise(starts):
        first, count = int(axons[begin]), int(axons[end - 1] - axons[begin]) + 1
        # Axons in a gap have the value 0, which is no event.
        dense = np.zeros((len(array), count), np.int64)
        dense[:, axons[begin:end] - first] = array[:, begin:end]
        places = (dense[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(len(array), -1)
        start = bytes([opcode]) + first.to_bytes(AXON_BYTES, "little") + count.to_bytes(COUNT_BYTES, "little")
        columns.append(np.broadcast_to(np.frombuffer(start, np.uint8), (len(array), header)))
        columns.append(np.packbits(places, axis=1, bitorder="little"))
    message = np.concatenate([*columns, np.full((len(array), 1), Opcode.TICK, np.uint8)], axis=1)
    if last:
        message[-1, -1] = Opcode.TICK_LAST
    return message.tobytes()


def _axons(axons: ArrayLike | None, inputs: int, largest_axon: int) -> NDArray[np.int64]:
    """Return the checked axon of each input."""
    numbers = np.arange(inputs) if axons is None else _events(axons, "axons")
    if numbers.shape != (inputs,):
        raise ValueError(f"axons must be {inputs:,}, one for each input, not {numbers.shape[0]:,}")
    _check_range("axon", numbers, largest_axon)
    return numbers


def _events(values: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    # An empty list becomes an array of floats.
    if not array.size:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {array.ndim}")
    return array.astype(np.int64)


def _check_range(name: str, values: NDArray[np.int64], high: int) -> None:
    outside = values[(values < 0) | (values > high)]
    if outside.size:
        raise ValueError(f"{name} must be from 0 to {high}, not {int(outside[0])}")


def _encode_sorted(step: NDArray[np.intp], axon: NDArray[np.int64], count: int, last: bool) -> bytes:
    """Encode spikes sorted by step and axon: the SKIPs and the SPIKE of each one, and a TICK after each step."""
    first = np.ones(len(step), np.bool_)
    first[1:] = step[1:] != step[:-1]
    previous = np.empty(len(axon), np.int64)
    previous[1:] = axon[:-1]
    # The first spike of each step has the distance from axon -1.
    previous[first] = -1
    distance = axon - previous - 1
    if distance.size and distance.min() < 0:
        twice = int(np.argmax(distance < 0))
        raise ValueError(f"axon must fire at most once per step, not twice as axon {axon[twice]} in step {step[twice]}")
    skips = distance >> DISTANCE_BITS  # in units of SKIP_UNIT axons
    full, rest = np.divmod(skips, LARGEST_SKIP)
    size = full + (rest > 0) + 1
    # A spike ends at the total size of the spikes up to it plus one TICK per earlier step.
    end = np.cumsum(size) + step
    total = int(size.sum()) + count
    # Bytes that are not overwritten below are SKIPs of the largest distance.
    message = np.full(total, Opcode.SKIP | (LARGEST_SKIP - 1), np.uint8)
    message[end - 1] = Opcode.SPIKE | (distance & (SKIP_UNIT - 1))
    some = rest > 0
    message[end[some] - 2] = Opcode.SKIP | (rest[some] - 1)
    sizes = np.bincount(step, weights=size, minlength=count).astype(np.int64)
    ticks = np.cumsum(sizes + 1) - 1
    message[ticks] = Opcode.TICK
    if last:
        message[-1] = Opcode.TICK_LAST
    return message.tobytes()


@dataclass(frozen=True, kw_only=True, eq=False)
class Messages:
    """The decoded messages of a piece of the stream from the board, in order.

    ``spike_step``, ``spike_axon``: ``(n,)`` int64; the step is the number of TICKs since the start of the decoder.
    ``value_step``, ``value_axon``, ``value``: likewise for VALUEs. ``ticks``: ``(t,)`` bool, whether each TICK is the
    last of its sample. ``reads``: the data of each READ.
    """

    spike_step: NDArray[np.int64]
    spike_axon: NDArray[np.int64]
    value_step: NDArray[np.int64]
    value_axon: NDArray[np.int64]
    value: NDArray[np.int64]
    ticks: NDArray[np.bool_]
    reads: tuple[bytes, ...]


# The length of each message by its first byte. 0 stands for a byte that begins no message to the host.
_UNKNOWN = 0
_LENGTHS = np.full(256, _UNKNOWN, np.int64)
_LENGTHS[Opcode.SPIKE :] = 1
_LENGTHS[Opcode.SKIP : Opcode.SPIKE] = 1
_LENGTHS[[Opcode.AHEAD, Opcode.TICK, Opcode.TICK_LAST]] = 1
_LENGTHS[Opcode.ABSOLUTE] = 1 + AXON_BYTES
_LENGTHS[Opcode.VALUE] = 1 + AXON_BYTES + VALUE_BYTES
_LENGTHS[Opcode.READ] = 1 + COUNT_BYTES  # and its data

_SIZES = tuple(_LENGTHS.tolist())
# Members of an enumeration are slow to look up, and these are needed for every byte.
_SPIKE, _SKIP, _TICK, _TICK_LAST = map(int, (Opcode.SPIKE, Opcode.SKIP, Opcode.TICK, Opcode.TICK_LAST))
_AHEAD, _ABSOLUTE, _VALUE, _READ = map(int, (Opcode.AHEAD, Opcode.ABSOLUTE, Opcode.VALUE, Opcode.READ))
_FEW_BYTES = 1024
"""Number of bytes up to which a loop over messages is faster than a fixed number of NumPy calls."""

_ADVANCE = np.zeros(256, np.int64)
"""By how much a message that begins with this byte advances the axon."""
_ADVANCE[Opcode.SPIKE :] = np.arange(SKIP_UNIT) + 1
_ADVANCE[Opcode.SKIP : Opcode.SPIKE] = (np.arange(LARGEST_SKIP) + 1) * SKIP_UNIT


class MessageDecoder:
    """Decodes the stream from the board incrementally."""

    def __init__(self) -> None:
        self._rest = b""
        self._previous = -1
        self._ahead = 0
        self.steps = 0
        """Number of TICKs so far."""

    @property
    def inside(self) -> bool:
        """Whether the stream ends within a message."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Messages:
        """Return the messages that ``data`` completes; raises `MessageError` for a malformed one."""
        if not data:  # frequent while a closed loop waits
            return _NO_MESSAGES
        data = self._rest + data
        # A READ at the start usually fills most of the bytes, and a loop over messages skips its data at once.
        few = len(data) <= _FEW_BYTES or data[0] == _READ
        return self._feed_few(data) if few else self._feed_many(data)

    def _feed_few(self, data: bytes) -> Messages:
        """Decode message by message, which is faster than many NumPy calls on a few bytes."""
        axon, ahead, step = self._previous, self._ahead, self.steps
        spike_step: list[int] = []
        spike_axon: list[int] = []
        values: list[tuple[int, int, int]] = []
        ticks: list[bool] = []
        reads: list[bytes] = []
        total, start = len(data), 0
        while start < total:
            byte = data[start]
            if byte >= _SPIKE:
                axon += byte - _SPIKE + 1
                spike_step.append(step + ahead)
                spike_axon.append(axon)
                start += 1
                continue
            if byte >= _SKIP:
                axon += (byte - _SKIP + 1) * SKIP_UNIT
                start += 1
                continue
            if byte & 0xFE == _TICK:
                ticks.append(byte == _TICK_LAST)
                step += 1
                axon, ahead = -1, 0
                start += 1
                continue
            if byte == _AHEAD:
                ahead ^= 1
                start += 1
                continue
            size = _SIZES[byte]
            if not size:
                raise MessageError(f"a message must begin with a known byte, not {byte:#04x}")
            if byte == _READ and start + size <= total:
                size += int.from_bytes(data[start + 1 : start + size], "little")
            if start + size > total:
                break
            if byte == _READ:
                reads.append(data[start + 1 + COUNT_BYTES : start + size])
            else:
                number = int.from_bytes(data[start + 1 : start + size], "little", signed=byte == _VALUE)
                if byte == _ABSOLUTE:
                    axon = number
                    spike_step.append(step + ahead)
                    spike_axon.append(axon)
                else:
                    values.append((step + ahead, number & LARGEST_AXON, number >> 8 * AXON_BYTES))
            start += size
        self._rest = data[start:]
        self._previous, self._ahead, self.steps = axon, ahead, step
        of_values = np.array(values, np.int64).reshape(-1, 3) if values else _NO_TRIPLES
        return Messages(
            spike_step=np.array(spike_step, np.int64) if spike_step else _NOTHING,
            spike_axon=np.array(spike_axon, np.int64) if spike_axon else _NOTHING,
            value_step=of_values[:, 0],
            value_axon=of_values[:, 1],
            value=of_values[:, 2],
            ticks=np.array(ticks, np.bool_),
            reads=tuple(reads),
        )

    def _feed_many(self, data: bytes) -> Messages:
        stream = np.frombuffer(data, np.uint8)
        starts, end = _find_messages(stream)
        # An incomplete message waits for the next call.
        self._rest = stream[end:].tobytes()
        opcode = stream if starts is None else stream[starts]
        is_tick = (opcode & 0xFE) == Opcode.TICK
        ticks = np.flatnonzero(is_tick)
        ended = np.cumsum(is_tick)
        step = self._steps_ahead(opcode == Opcode.AHEAD, ticks, ended) + ended + self.steps
        is_spike = opcode >= Opcode.SPIKE
        # The previous axon is set by a TICK, to -1, and by an absolute axon.
        sets, setting = ended, np.full(len(ticks), -1)
        setters = ticks
        if starts is not None:
            is_absolute = opcode == Opcode.ABSOLUTE
            is_spike = is_spike | is_absolute
            sets = np.cumsum(is_tick | is_absolute)
            setters = np.flatnonzero(is_tick | is_absolute)
            setting = np.full(len(setters), -1)
            setting[is_absolute[setters]] = _numbers(stream, starts[is_absolute] + 1, AXON_BYTES)
        # The axon after each message is the last one that was set plus the distances since then.
        travelled = np.cumsum(_ADVANCE[opcode])
        # The first entry continues the step of the previous call.
        base = np.concatenate(([self._previous], setting - travelled[setters]))
        spikes = np.flatnonzero(is_spike)
        axon = base[sets[spikes]] + travelled[spikes]
        if len(opcode):
            self._previous = int(base[-1] + travelled[-1])
            self.steps += len(ticks)
        valued = _NO_VALUES if starts is None else _values_and_reads(stream, starts, opcode, step)
        return Messages(spike_step=step[spikes], spike_axon=axon, ticks=opcode[ticks] == Opcode.TICK_LAST, **valued)

    def _steps_ahead(
        self, turns: NDArray[np.bool_], ticks: NDArray[np.int64], ended: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Whether each message belongs to the step after the next TICK, 0 or 1: the parity of the AHEADs since the last
        TICK."""
        if not self._ahead and not turns.any():
            return np.zeros(1, np.int64)  # broadcast
        # Subtracting the count at the last TICK restarts the parity there.
        turned = np.cumsum(turns) + self._ahead
        ahead = turned - np.concatenate(([0], turned[ticks]))[ended] & 1
        self._ahead = int(ahead[-1]) if len(ahead) else self._ahead
        return ahead


def _values_and_reads(
    stream: NDArray[np.uint8], starts: NDArray[np.int64], opcode: NDArray[np.uint8], step: NDArray[np.int64]
) -> dict[str, Any]:
    """The fields of `Messages` that come from messages of several bytes."""
    is_value = opcode == Opcode.VALUE
    place = starts[is_value]
    value = _numbers(stream, place + 1 + AXON_BYTES, VALUE_BYTES)
    sign = 1 << (8 * VALUE_BYTES - 1)
    reads = starts[opcode == Opcode.READ]
    counts = _numbers(stream, reads + 1, COUNT_BYTES)
    return {
        "value_step": step[is_value],
        "value_axon": _numbers(stream, place + 1, AXON_BYTES),
        # Sign extension without a branch.
        "value": (value ^ sign) - sign,
        "reads": tuple(
            stream[first + 1 + COUNT_BYTES :][:count].tobytes() for first, count in zip(reads, counts, strict=True)
        ),
    }


_NOTHING = np.zeros(0, np.int64)
_NO_TRIPLES = np.zeros((0, 3), np.int64)
_NO_MESSAGES = Messages(
    spike_step=_NOTHING,
    spike_axon=_NOTHING,
    value_step=_NOTHING,
    value_axon=_NOTHING,
    value=_NOTHING,
    ticks=np.zeros(0, np.bool_),
    reads=(),
)
_NO_VALUES: dict[str, Any] = {"value_step": _NOTHING, "value_axon": _NOTHING, "value": _NOTHING, "reads": ()}


def _numbers(stream: NDArray[np.uint8], positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The numbers of ``size`` bytes at ``positions``."""
    number = np.zeros(len(positions), np.int64)
    for byte in range(size):
        number |= stream[positions + byte].astype(np.int64) << (8 * byte)
    return number


def _find_messages(stream: NDArray[np.uint8]) -> tuple[NDArray[np.int64] | None, int]:
    """The start of each complete message of ``stream``, None if every byte is a message, and the end of the last."""
    total = len(stream)
    length = _LENGTHS[stream]
    # Bytes that may begin a message of several bytes; those within an earlier message do not.
    several = np.flatnonzero(length != 1)
    if not len(several):
        return None, total
    reads = np.flatnonzero(stream == Opcode.READ)
    # Elsewhere the count has not arrived completely, and the message is incomplete anyway.
    known = reads[reads + COUNT_BYTES < total]
    length[known] += _numbers(stream, known + 1, COUNT_BYTES)
    # For each of these bytes, the first such byte after the message that it would begin.
    rank = np.concatenate(([0], np.cumsum(length != 1)))
    jump = np.append(rank[np.minimum(several + np.maximum(length[several], 1), total)], len(several))
    # Pointer doubling from the first byte: the jumps double in length in each iteration, so that a logarithmic number
    # of array operations replaces a loop over messages.
    reached = np.zeros(len(jump), np.bool_)
    reached[0] = True
    count = 1
    while True:
        reached[jump[reached]] = True
        found = int(np.count_nonzero(reached))
        if found == count:
            break
        count, jump = found, jump[jump]
    begins = several[reached[:-1]]
    unknown = begins[length[begins] == _UNKNOWN]
    if len(unknown):
        raise MessageError(f"a message must begin with a known byte, not {stream[unknown[0]]:#04x}")
    end = total
    if begins[-1] + length[begins[-1]] > total:
        end = int(begins[-1])
        begins = begins[:-1]
    # +1 after the first byte of each message and -1 at its end: the running sum is 0 outside of messages.
    inside = np.zeros(total + 1, np.int8)
    inside[begins + 1] = 1
    inside[begins + length[begins]] = -1
    return np.flatnonzero(np.cumsum(inside[:end], dtype=np.int8) == 0), end
