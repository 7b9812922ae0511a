"""Frames to an Ethernet PHY: datagrams with frames of the host link, and answers to requests.

::

    frames of the link ─▶ ring ───────┐
    echo requests ─▶ memory ──────────┤ payload
    answers ─▶ headers, checksums ────┴─▶ bytes ─▶ padding, FCS, gap ─▶ GMII

A frame is sent when all of it is in the ring, because its length and the sum of its words stand in its headers. While
it is sent, the next one arrives in the place that becomes free. What a header contains at the next position is looked
up from tables made of the model's own frames. One adder of 16 bits computes both checksums of a frame while the
preamble and the first bytes are sent.
"""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.host.ethernet_receiver import Address, Answer, AnswerKind
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ram import DistributedMemory
from spikeloom.sim.host.ethernet import (
    ECHO_BYTES,
    ETHERNET_HEADER,
    FCS_BYTES,
    IPV4_HEADER,
    PREAMBLE,
    REFUSAL,
    SMALLEST_FRAME,
    UDP_HEADER,
    Protocol,
    Station,
    checksum,
)

__all__ = ["GAP_CYCLES", "RING_BYTES", "EthernetSender"]

GAP_CYCLES = 12
RING_BYTES = 2048
"""Bytes of the ring for frames of the link, one block RAM of an ECP5; at least eight of them stay free."""

_ECHO_KEPT = 4  # bytes of an ICMP message that are not stored: type, code, checksum
_HEADERS = len(PREAMBLE) + ETHERNET_HEADER + IPV4_HEADER
_DATA_PLACE = _HEADERS + UDP_HEADER
_ECHO_PLACE = _HEADERS + _ECHO_KEPT
_REFUSAL_BYTES = len(REFUSAL) + 6
_SHORTEST = len(PREAMBLE) + SMALLEST_FRAME - FCS_BYTES
_STARTING = 3  # states from one frame to the next, in addition to its gap

# Lengths from the content of the Ethernet frame on.
_ARP_LENGTH = 28
_REFUSAL_LENGTH = IPV4_HEADER + UDP_HEADER + _REFUSAL_BYTES


def _sum(content: bytes) -> int:
    """The one's complement sum of the 16-bit words of ``content``, without the final complement."""
    return checksum(content) ^ 0xFFFF


def _chosen(number: Value, values: Sequence[Value]) -> Value:
    """Return the one of ``values`` with this ``number``, as a tree of multiplexers: synthesis would build a longer path
    from a case for each number."""
    level = list(values)
    for bit in number:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [Mux(bit, high, low) for low, high in pairs] + level[len(level) & ~1 :]
    return level[0]


class EthernetSender(Component):
    """Sends frames.

    Parameters
    ----------
    station
        The board's addresses.

    Members
    -------
    i : Stream(8), in
        Frames of the link, each ended by a zero byte and shorter than `RING_BYTES` by eight.
    peer : Address, in
    bound : Signal, in
        Where to send them; without ``bound`` they are dropped.
    answer : Answer, in
    answer_pending : Signal, in
    answer_done : Signal, out
        An answer to be sent, which must not change until ``answer_done``.
    byte : Signal(8), in
    store_echo : Signal, in
    begin : Signal, in
        Bytes of an echo request behind its checksum, the first one after ``begin``.
    tx_data : Signal(8), out
    tx_valid : Signal, out
        GMII, with preamble and FCS.
    """

    def __init__(self, station: Station):
        self.station = station
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "peer": In(Address),
                "bound": In(1),
                "answer": In(Answer),
                "answer_pending": In(1),
                "answer_done": Out(1),
                "byte": In(8),
                "store_echo": In(1),
                "begin": In(1),
                "tx_data": Out(8),
                "tx_valid": Out(1),
            }
        )

    def _tables(self) -> dict[int, list[int | str]]:
        """For each kind of frame its bytes, preamble included: constants, or names of the bytes that vary."""
        own = self.station
        fields = {"mac": 6, "ip": 4, "port": 2, "length": 2, "udp": 2, "holder": 6}
        mac, address, port, length, udp_length, holder = (
            [f"{name}{number}" for number in range(size)] for name, size in fields.items()
        )
        own_port = own.port.to_bytes(2, "big")
        start = [*PREAMBLE, *mac, *own.mac]

        def ipv4(protocol: int) -> list[int | str]:
            fixed = [0, 0, 0x40, 0, 64, protocol, "head0", "head1"]
            return [*start, 8, 0, 0x45, 0, *length, *fixed, *own.address, *address]

        udp = [*ipv4(Protocol.UDP), *own_port, *port, *udp_length, "sum0", "sum1"]
        return {
            AnswerKind.ARP: [*start, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, *own.mac, *own.address, *mac, *address],
            AnswerKind.ECHO: [*ipv4(Protocol.ICMP), 0, 0, "sum0", "sum1"],
            AnswerKind.REFUSAL: [*udp, *REFUSAL, *holder],
            AnswerKind.DATA: udp,
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.ring = ring = BlockMemory(8, RING_BYTES)
        m.submodules.echo = echo = DistributedMemory(8, ECHO_BYTES)
        bits = RING_BYTES.bit_length()  # a full ring differs from an empty one

        # Up to two frames are in the ring, or one and the beginning of another. `extent` is the number of their bytes,
        # `words` the sum of their words.
        filling, sending = Signal(), Signal()
        full = Signal(2)
        extent = Array(Signal(bits - 1, name=f"extent_{n}") for n in range(2))
        words = Array(Signal(17, name=f"words_{n}") for n in range(2))
        place, address = Signal(bits), Signal(bits)  # of the next byte to store, and to send
        size, total, is_ended = Signal(bits - 1), Signal(17), Signal()
        # It lags by two cycles, in which two more bytes may come.
        used, is_crowded = Signal(bits), Signal()
        taken = self.i.valid & self.i.ready
        m.d.sync += [used.eq(place - address), is_crowded.eq(used >= RING_BYTES - 8)]
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(filling, 1) & ~is_ended & ~is_crowded),
            ring.write_enable.eq(taken),
            ring.write_address.eq(place),
            ring.write_data.eq(self.i.payload),
        ]
        with m.If(taken):
            # The carry is added with the next byte. An even place in the frame is the high byte of a word.
            addend = Mux(size[0], self.i.payload, Cat(Const(0, 8), self.i.payload))
            m.d.sync += [
                place.eq(place + 1),
                size.eq(size + 1),
                total.eq(total[:16] + addend + total[16]),
                is_ended.eq(self.i.payload == 0),
            ]
        with m.If(is_ended):
            m.d.sync += [
                is_ended.eq(0),
                extent[filling].eq(size),
                words[filling].eq(total),
                full.bit_select(filling, 1).eq(1),
                filling.eq(~filling),
                size.eq(0),
                total.eq(0),
            ]

        # Echo requests, in LUT RAM, which is read like a block RAM with an output register.
        echo_place, echo_address = Signal(range(ECHO_BYTES)), Signal(range(ECHO_BYTES))
        echo_read, echo_byte = Signal(8), Signal(8)
        m.d.comb += [
            echo.write_enable.eq(self.store_echo),
            echo.write_address.eq(echo_place),
            echo.write_data.eq(self.byte),
            echo.address.eq(echo_address),
        ]
        m.d.sync += [echo_read.eq(echo.data), echo_byte.eq(echo_read)]
        with m.If(self.begin):
            m.d.sync += echo_place.eq(0)
        with m.Elif(self.store_echo):
            m.d.sync += echo_place.eq(echo_place + 1)

        # Stage A: the kind and the position of a byte. What headers contain is kept from the start on, because the
        # session may end meanwhile.
        kind = Signal(AnswerKind)
        to = Signal(Address)
        holder = Signal(48)
        length = Signal(16)
        payload_sum = Signal(17)
        index = Signal(range(_SHORTEST))
        left = Signal(signed(17))  # bytes behind the current one; negative in the padding
        spent = Signal()  # it is zero or negative
        reading = Signal()  # the byte is one of the payload, in a memory, or of the padding
        answered = Signal()  # the last frame was an answer, so a datagram comes first
        count = Signal(range(GAP_CYCLES))
        a_frame, a_check, ends = Signal(), Signal(), Signal()
        is_data, is_echo = Signal(), Signal()
        m.d.comb += ring.address.eq(address)
        m.d.sync += [is_data.eq(kind == AnswerKind.DATA), is_echo.eq(kind == AnswerKind.ECHO)]
        with m.If(ends & is_data):
            m.d.sync += [full.bit_select(sending, 1).eq(0), sending.eq(~sending)]
        m.d.comb += self.answer_done.eq(ends & ~is_data)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    to.eq(self.peer),
                    holder.eq(Cat(self.peer.port, self.peer.address)),
                    payload_sum.eq(words[sending]),
                    length.eq(extent[sending] + (IPV4_HEADER + UDP_HEADER)),
                    kind.eq(AnswerKind.DATA),
                    index.eq(0),
                    echo_address.eq(0),
                    reading.eq(0),
                ]
                with m.If(full.bit_select(sending, 1) & (answered | ~self.answer_pending)):
                    m.d.sync += answered.eq(0)
                    with m.If(self.bound):
                        m.next = "LENGTH"
                    with m.Else():
                        m.d.sync += [full.bit_select(sending, 1).eq(0), sending.eq(~sending)]
                        m.d.sync += address.eq(address + extent[sending])
                with m.Elif(self.answer_pending):
                    m.d.sync += [
                        answered.eq(1),
                        kind.eq(self.answer.kind),
                        to.eq(self.answer.to),
                        payload_sum.eq(self.answer.checksum),
                        length.eq(self.answer.length),
                    ]
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                with m.If(kind == AnswerKind.ARP):
                    m.d.sync += length.eq(_ARP_LENGTH)
                with m.If(kind == AnswerKind.REFUSAL):
                    m.d.sync += length.eq(_REFUSAL_LENGTH)
                m.next = "START"
            with m.State("START"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [left.eq(length + (len(PREAMBLE) + ETHERNET_HEADER - 1)), spent.eq(0)]
                m.next = "FRAME"
            with m.State("FRAME"):
                m.d.comb += [a_frame.eq(1), ends.eq(spent & (index == _SHORTEST - 1))]
                m.d.sync += [left.eq(left - 1), spent.eq(left[-1] | ~left[1:].any()), count.eq(0)]
                with m.If(index != _SHORTEST - 1):
                    m.d.sync += index.eq(index + 1)
                with m.If((is_data & (index == _DATA_PLACE - 1)) | (is_echo & (index == _ECHO_PLACE - 1))):
                    m.d.sync += reading.eq(1)
                with m.If(reading & ~left[-1]):
                    m.d.sync += [address.eq(address + is_data), echo_address.eq(echo_address + 1)]
                with m.If(ends):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += a_check.eq(1)
                m.d.sync += count.eq(count + 1)
                with m.If(count == FCS_BYTES - 1):
                    m.d.sync += count.eq(0)
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += count.eq(count + 1)
                with m.If(count == GAP_CYCLES - 1 - _STARTING):
                    m.next = "IDLE"

        variables = self._checksums(
            m, kind=kind, to=to, holder=holder, length=length, payload_sum=payload_sum, index=index
        )

        # Stage B: what the headers contain. A block RAM reads its word here.
        constant = Signal(8)
        chosen = Signal(range(len(variables) + 1))  # 0 for a constant
        numbers = {name: number for number, name in enumerate(variables, 1)}
        m.d.sync += [constant.eq(0), chosen.eq(0)]
        with m.If(a_frame), m.Switch(kind):
            for found, table in self._tables().items():
                with m.Case(found), m.Switch(index):
                    for number, entry in enumerate(table):
                        with m.Case(number):
                            m.d.sync += chosen.eq(numbers[entry]) if isinstance(entry, str) else constant.eq(entry)
        # Stage C: the byte of each source. That of a memory is in its output register.
        fixed, varying = Signal(8), Signal(8)
        m.d.sync += fixed.eq(constant)
        m.d.sync += varying.eq(_chosen(chosen, [Const(0, 8), *variables.values()]))
        # Stage D: one byte. Stage E: the output.
        byte = Signal(8)
        m.d.comb += crc.data.eq(byte)
        delayed = Cat(
            a_frame | a_check,
            a_frame & ~reading & ~index[3:].any(),  # the preamble, which has no part in the FCS
            a_check,
            count[:2],
            reading & is_data & ~left[-1],
            reading & is_echo & ~left[-1],
        )
        stages = [delayed]
        for letter in "bcd":
            stage = Signal(len(delayed), name=f"stage_{letter}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        *_, reads_ring, reads_echo = stages[2]
        m.d.sync += byte.eq(fixed | varying | Mux(reads_ring, ring.data, 0) | Mux(reads_echo, echo_byte, 0))
        is_sent, is_preamble, is_check, number = stages[3][0], stages[3][1], stages[3][2], stages[3][3:5]
        m.d.comb += crc.valid.eq(is_sent & ~is_preamble & ~is_check)
        m.d.sync += [self.tx_valid.eq(is_sent), self.tx_data.eq(Mux(is_check, crc.crc.word_select(number, 8), byte))]
        return m

    def _checksums(
        self,
        m: Module,
        *,
        kind: Signal,
        to: Signal,
        holder: Signal,
        length: Signal,
        payload_sum: Signal,
        index: Signal,
    ) -> dict[str, Value]:
        """Add the adder for checksums to ``m``; return the bytes that vary in headers, by name."""
        own, udp_length = self.station, Signal(16)
        m.d.sync += udp_length.eq(length - IPV4_HEADER)
        address, port = to.address, to.port

        def head(protocol: int) -> int:
            return _sum(bytes((0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol)) + own.address)

        pseudo = own.address + bytes((0, Protocol.UDP)) + own.port.to_bytes(2, "big")
        fixed = {
            "echo head": head(Protocol.ICMP),
            "udp head": head(Protocol.UDP),
            "echo": 0x0800,  # the type changes from 8 to 0
            "refusal": _sum(pseudo + REFUSAL),
            "datagram": _sum(pseudo),
        }
        words: dict[str, Value] = {
            "zero": Const(0, 16),
            "length": length,
            "high": address[16:],
            "low": address[:16],
            "port": port,
            "udp": udp_length,
            "holder high": holder[32:],
            "holder low": holder[16:32],
            "holder port": holder[:16],
            "payload": payload_sum[:16],
            "carry": payload_sum[16],
            **{name: Const(value, 16) for name, value in fixed.items()},
        }
        # A kind has no checksum, or adds these words: first of the IPv4 header, then of what is inside. Zeros are for
        # the carries.
        of_udp = ["high", "low", "port", "udp", "udp"]
        programs = {
            AnswerKind.ECHO: ("echo head", ["echo", "payload"]),
            AnswerKind.REFUSAL: ("udp head", ["refusal", *of_udp, "holder high", "holder low", "holder port"]),
            AnswerKind.DATA: ("udp head", ["datagram", *of_udp, "payload", "carry"]),
        }
        second = 6  # one step for each word of the IPv4 header, and two for carries
        third = second + max(len(content) for _, content in programs.values()) + 2
        # The number of the word, then the word, then the sum: a step each.
        numbers = {name: number for number, name in enumerate(words)}
        number, operand = Signal(range(len(words))), Signal(16)
        m.d.sync += [number.eq(numbers["zero"]), operand.eq(_chosen(number, list(words.values())))]
        with m.Switch(kind):
            for found, (first, content) in programs.items():
                with m.Case(found), m.Switch(index):
                    steps = [first, "length", "high", "low", "zero", "zero", *content]
                    for step, name in enumerate(steps):
                        with m.Case(step):
                            m.d.sync += number.eq(numbers[name])
        events = Cat((index == 0) | (index == second), index == second, index == third)
        soon, now = Signal(len(events)), Signal(len(events))
        m.d.sync += [soon.eq(events), now.eq(soon)]
        restarts, of_head, of_content = now
        total = Signal(17)
        m.d.sync += total.eq(Mux(restarts, 0, total[:16]) + operand + (total[16] & ~restarts))
        head_sum, content_sum = Signal(16), Signal(16)
        with m.If(of_head):
            m.d.sync += head_sum.eq(~total[:16])
        with m.If(of_content):
            # That of the echo is a checksum already. One of 0 would mean that a datagram has none.
            is_kept = (kind == AnswerKind.ECHO) | (total[:16] == 0xFFFF)
            m.d.sync += content_sum.eq(Mux(is_kept, total[:16], ~total[:16]))

        def bytes_of(name: str, value: Value) -> dict[str, Value]:
            size = len(value) // 8
            return {f"{name}{number}": value.word_select(size - 1 - number, 8) for number in range(size)}

        fields = {
            "mac": to.mac,
            "ip": address,
            "port": port,
            "length": length,
            "udp": udp_length,
            "head": head_sum,
            "sum": content_sum,
            "holder": holder,
        }
        return {name: byte for field, value in fields.items() for name, byte in bytes_of(field, value).items()}
