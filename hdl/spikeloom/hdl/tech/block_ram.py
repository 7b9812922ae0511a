"""Block RAM with its output register, instantiated where synthesis would map it badly, inferred elsewhere.

A row of an iCE40 block RAM has 16 bits, and a word narrower than 16 bits shares its row with others. The model of this
block RAM in Lattice's simulation library compares rows, not addresses: in the cycle in which a word is written, a read
of another word of its row gives X. Words that may be read in such a cycle therefore have a row each. On the other
FPGAs only a read of the word itself is undefined (``docs/verification.md`` quotes the documents).
"""

from collections.abc import Sequence
from functools import cached_property

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.tech.ecp5_carry import is_ecp5
from spikeloom.hdl.tech.ram import block_memory, registered_read
from spikeloom.sim.lib.words import bits_for

__all__ = ["WORDS_PER_ROW", "BlockMemory"]

WORDS_PER_ROW = 16
"""Maximum number of words that share a row of an inferred block RAM; their addresses differ in the lowest four bits
only."""


class BlockMemory(wiring.Component):
    """Block RAM with its output register: ``data`` follows ``address`` by ``latency`` cycles, by default two.

    The clock-to-output delay of an ECP5 block RAM is 5.8 ns without its output register and 1.0 ns with it, but
    synthesis never infers this register. The block RAMs of an ECP5 are therefore instantiated here, side by side and as
    narrow as the depth requires, so that no multiplexer follows them. On an iCE40 they are instantiated with one word,
    or 16 bits of it, per row, unless ``shared_rows`` is set. On other FPGAs the memory is inferred.

    A read in the cycle of a write to the same word, or in the cycle before, may return the old or the new word.

    If the depth exceeds that of one block RAM of an ECP5, a multiplexer behind the output registers selects among
    several. On an iCE40 it is in front of them.

    Parameters
    ----------
    width, depth
        Width in bits, and number of words.
    pipelined
        Register the output of this multiplexer, if there is one. ``latency`` is then 3, and both enables must stay
        high.
    part
        Number of bits per bit of ``write_enable``: 8, or the whole word.
    words
        Initial contents, from index 0 on.
    shared_rows
        The user guarantees that no word is read while another word of its row (`WORDS_PER_ROW`) is written, or
        that the word read then is not used. Rows may then hold several words, which takes fewer block RAMs of an iCE40.

    Members
    -------
    write_address : Signal(bits_for(depth)), in
    write_data : Signal(width), in
    write_enable : Signal(-(-width // part)), in
        Write port; the word is stored at the end of the cycle. ``write_enable`` has one bit per part of the word.
    address : Signal(bits_for(depth)), in
    enable : Signal, in
        Read port; the word is read at the end of the cycle if ``enable`` is high.
    output_enable : Signal, in
    data : Signal(width), out
        Output register; it takes the word read if ``output_enable`` is high, which requires ``enable``.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        part: int | None = None,
        words: Sequence[int] = (),
        pipelined: bool = False,
        shared_rows: bool = False,
    ) -> None:
        self.width, self.depth, self.words, self.shared_rows = width, depth, words, shared_rows
        self.latency = 3 if pipelined and depth > 1 << _BLOCKS[-1][1] else 2
        self.part = part or width
        super().__init__(
            {
                "write_address": In(bits_for(depth)),
                "write_data": In(width),
                "write_enable": In(-(-width // self.part)),
                "address": In(bits_for(depth)),
                "enable": In(1, init=1),
                "output_enable": In(1, init=1),
                "data": Out(width),
            }
        )

    @cached_property
    def memory(self) -> Memory:
        """The memory used on other FPGAs and in simulation."""
        return block_memory(self.width, self.depth, self.words, shared_rows=self.shared_rows)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_ecp5(platform):
            self._instantiate(m)
            return m
        if _is_ice40(platform) and not self.shared_rows and self.width * self.depth > self._rows_ice40():
            self._instantiate_rows(m)
            return m
        m.submodules.memory = self.memory
        # The last part may be shorter than the others, which one memory port cannot express. A write enable per bit
        # avoids splitting the memory.
        write = self.memory.write_port(granularity=1 if self.part < self.width else None)
        m.d.comb += [write.addr.eq(self.write_address), write.data.eq(self.write_data)]
        if self.part < self.width:
            m.d.comb += write.en.eq(Cat(enable.replicate(self.part) for enable in self.write_enable)[: self.width])
        else:
            m.d.comb += write.en.eq(self.write_enable)
        read = registered_read(m, self.memory, self.address, enable=self.enable)
        output = Signal(self.width, reset_less=True)
        with m.If(self.output_enable):
            m.d.sync += output.eq(read)
        # Elsewhere no multiplexer follows the memory; the register keeps the latency equal on all FPGAs and in
        # simulation.
        domain = m.d.comb if self.latency == 2 else m.d.sync
        domain += self.data.eq(output)
        return m

    def _rows_ice40(self) -> int:
        """Number of bits up to which Yosys maps a memory of an iCE40 to flip-flops: 64 per block RAM that it would
        take."""
        return 64 * -(-self.width // _ICE40_WIDTH) * -(-self.depth // _ICE40_DEPTH)

    def _instantiate_rows(self, m: Module) -> None:
        """Instantiate block RAMs of an iCE40 with 256 rows, each with 16 bits of one word, in several blocks if they
        are deep."""
        used = min(len(self.address), bits_for(_ICE40_DEPTH))
        block_count = -(-self.depth // _ICE40_DEPTH)
        outputs = []
        for block in range(block_count):
            # All blocks read in every cycle, but only the addressed one may write.
            here = self.write_address[used:] == block if block_count > 1 else Const(1)
            word = Signal(self.width, name=f"data_{block}")
            outputs.append(word)
            held = self.words[block * _ICE40_DEPTH : (block + 1) * _ICE40_DEPTH]
            for number, first in enumerate(range(0, self.width, _ICE40_WIDTH)):
                bits = range(first, min(first + _ICE40_WIDTH, self.width))
                unused = _ICE40_WIDTH - len(bits)
                read = Signal(_ICE40_WIDTH, name=f"read_{block}_{number}")
                m.d.comb += word[first : first + len(bits)].eq(read)
                # A bit of the mask is low where the bit is written. Without parts the clock enable suffices.
                enables = Cat(self.write_enable[bit // self.part] for bit in bits)
                memory = sum((value >> first & 0xFFFF) << _ICE40_WIDTH * row for row, value in enumerate(held))
                m.submodules[f"block{block}_{number}"] = Instance(
                    "SB_RAM40_4K",
                    p_READ_MODE=0,
                    p_WRITE_MODE=0,
                    **{f"p_INIT_{row:X}": Const(memory >> 256 * row & (1 << 256) - 1, 256) for row in range(16)},
                    i_RCLK=ClockSignal(),
                    i_RE=Const(1),
                    i_RCLKE=self.enable,
                    i_RADDR=Cat(self.address[:used], Const(0, 11 - used)),
                    o_RDATA=read,
                    i_WCLK=ClockSignal(),
                    i_WE=Const(1),
                    i_WCLKE=enables.any() & here if self.part < self.width else self.write_enable & here,
                    i_WADDR=Cat(self.write_address[:used], Const(0, 11 - used)),
                    i_WDATA=Cat(self.write_data[first : first + len(bits)], Const(0, unused)),
                    i_MASK=Cat(~enables, Const(0, unused)) if self.part < self.width else Const(0, _ICE40_WIDTH),
                )
        read_word: Value = outputs[0]
        if block_count > 1:
            # The selection is held in the same cycles as the words that it selects among.
            chosen = Signal(range(block_count))
            with m.If(self.enable):
                m.d.sync += chosen.eq(self.address[used:])
            read_word = Array(outputs)[chosen]
        # An iCE40 block RAM has no output register.
        output = Signal(self.width, reset_less=True)
        with m.If(self.output_enable):
            m.d.sync += output.eq(read_word)
        domain = m.d.comb if self.latency == 2 else m.d.sync
        domain += self.data.eq(output)

    def _instantiate(self, m: Module) -> None:
        """Instantiate the block RAMs of an ECP5, each with a slice of the word, in several blocks if they are deep."""
        # The widest configuration that is deep enough needs the fewest block RAMs and no multiplexer. Only memories
        # deeper than the last one are divided into blocks.
        bits, address_bits = next(shape for shape in _BLOCKS if self.depth <= 1 << shape[1] or shape[0] == 1)
        block_count = -(-self.depth >> address_bits) if self.depth > 1 << address_bits else 1
        lanes = max(1, bits // 9)  # nine-bit bytes of a block RAM with individual write enables
        slices = []  # the bits of the word in each block RAM, as (first, count) of each of its bytes
        if self.part < self.width:
            parts = [(first, min(8, self.width - first)) for first in range(0, self.width, 8)]
            # Narrower than a byte: each byte is spread over several block RAMs, which share its write enable.
            if bits < 9:
                slices = [[(f, min(bits, first + n - f))] for first, n in parts for f in range(first, first + n, bits)]
            else:
                slices = [parts[place : place + lanes] for place in range(0, len(parts), lanes)]
        else:
            # With one write enable for the whole word, all nine bits of a byte are used.
            step = min(bits, 9)
            parts = [(first, min(step, self.width - first)) for first in range(0, self.width, step)]
            slices = [parts[place : place + lanes] for place in range(0, len(parts), lanes)]
        # Every block is read in each cycle and the selection is made behind them, so the address needs no decoder.
        outputs = []
        for block in range(block_count):
            here = self.write_address[address_bits:] == block if block_count > 1 else Const(1)
            word = Signal(self.width, name=f"data_{block}")
            outputs.append(word)
            held = self.words[block << address_bits : (block + 1) << address_bits]
            for number, fields in enumerate(slices):
                # Writes do need the block's number, or they would go to all blocks.
                enables = [self.write_enable[first // self.part] & here for first, _ in fields]
                m.submodules[f"block{block}_{number}"] = self._block(
                    m, bits, address_bits, fields, enables, word, _initial_values(held, fields, bits)
                )
        if block_count == 1:
            m.d.comb += self.data.eq(outputs[0])
        else:
            chosen = [Signal(range(block_count), name=f"chosen_{cycle}") for cycle in (1, 2)]
            if self.latency == 3:
                m.d.sync += [
                    chosen[0].eq(self.address[address_bits:]),
                    chosen[1].eq(chosen[0]),
                    self.data.eq(Array(outputs)[chosen[1]]),
                ]
            else:
                # The selection is held in the same cycles as the words that it selects among.
                with m.If(self.enable):
                    m.d.sync += chosen[0].eq(self.address[address_bits:])
                with m.If(self.output_enable):
                    m.d.sync += chosen[1].eq(chosen[0])
                m.d.comb += self.data.eq(Array(outputs)[chosen[1]])

    def _block(
        self,
        m: Module,
        bits: int,
        address_bits: int,
        fields: list[tuple[int, int]],
        enables: list[Value],
        word: Signal,
        initial: dict[str, Const],
    ) -> Instance:
        """Instantiate one block RAM: written through port A (if 36 bits wide, both ports), read through port B."""
        write_data, read_data = [Const(0)] * 36, [Signal(name=f"bit_{place}") for place in range(36)]
        stride = min(bits, 9)
        for place, (first, count) in enumerate(fields):
            for bit in range(count):
                write_data[place * stride + bit] = self.write_data[first + bit]
                m.d.comb += word[first + bit].eq(read_data[place * stride + bit])
        # The address pins below the word address are unused, or serve as byte enables in wide configurations.
        unused = 14 - address_bits
        ports: dict[str, object] = {}
        for pin in range(14):
            low = pin - unused
            ports[f"i_ADA{pin}"] = self.write_address[low] if 0 <= low < len(self.write_address) else Const(0)
            ports[f"i_ADB{pin}"] = self.address[low] if 0 <= low < len(self.address) else Const(0)
        if bits >= 18:
            for pin in range(bits // 9):
                ports[f"i_ADA{pin}"] = enables[pin] if pin < len(enables) else Const(0)
        for pin in range(18):
            ports[f"i_DIA{pin}"] = write_data[pin]
            ports[f"i_DIB{pin}"] = write_data[18 + pin]
            if bits == 36:
                ports[f"o_DOA{pin}"] = read_data[pin]
                ports[f"o_DOB{pin}"] = read_data[18 + pin]
            else:
                ports[f"o_DOB{pin}"] = read_data[pin]
        parameters = {
            f"p_{name}_{port}": value
            for port in "AB"
            for name, value in (
                ("DATA_WIDTH", bits),
                ("REGMODE", "OUTREG"),
                ("CSDECODE", "0b000"),
                ("WRITEMODE", "NORMAL"),
            )
        } | {f"p_{name}": value for name, value in initial.items()}
        for port in "AB":
            ports |= {
                f"i_CLK{port}": ClockSignal(),
                f"i_OCE{port}": self.output_enable,
                f"i_RST{port}": Const(0),
                **{f"i_CS{port}{pin}": Const(0) for pin in range(3)},
            }
        ports |= {
            "i_CEA": Const(1),
            "i_WEA": Const(1) if bits >= 18 else enables[0],
            "i_CEB": self.enable,
            "i_WEB": Const(0),
        }
        return Instance("DP16KD", p_RESETMODE="SYNC", p_ASYNC_RESET_RELEASE="SYNC", p_GSR="AUTO", **parameters, **ports)


_BLOCKS = ((36, 9), (18, 10), (9, 11), (4, 12), (2, 13), (1, 14))
"""Configurations of an ECP5 block RAM: width of a word, width of the address."""


_ICE40_WIDTH, _ICE40_DEPTH = 16, 256
"""An iCE40 block RAM: bits of a row, and rows."""


def _is_ice40(platform: object) -> bool:
    """Whether a design is elaborated for an iCE40: boards and size measurements set ``platform.family``."""
    return str(getattr(platform, "family", None)).lower() == "ice40"


def _initial_values(words: Sequence[int], fields: list[tuple[int, int]], bits: int) -> dict[str, Const]:
    """The parameters ``INITVAL_00`` to ``INITVAL_3F`` of an ECP5 block RAM; none if all words are zero.

    Each parameter has 16 entries of 20 bits, with two nine-bit bytes in their lower 18 bits. A word of 36 bits takes
    two entries; a word of less than 9 bits takes part of a byte, without its ninth bit. ``fields`` as in `_block`.
    """
    stride = min(bits, 9)
    per_byte = 8 // bits if bits < 9 else 1
    memory = 0
    for index, word in enumerate(words):
        held = sum((word >> first & (1 << count) - 1) << place * stride for place, (first, count) in enumerate(fields))
        byte, part = divmod(index, per_byte) if bits < 9 else (index * bits // 9, 0)
        for more in range(max(1, bits // 9)):
            half, at = (byte + more) % 2, (byte + more) // 2
            memory |= (held >> 9 * more & 0x1FF) << 20 * at + 9 * half + part * bits
    width = 16 * 20
    values = {f"INITVAL_{row:02X}": memory >> width * row & (1 << width) - 1 for row in range(64)}
    return {name: Const(value, width) for name, value in values.items()} if memory else {}
