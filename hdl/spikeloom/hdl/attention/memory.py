"""Memories of the attention engine: blocks of words, and bit matrices that are set by events."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.block_queue import READ_LATENCY
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.lib.words import bits_for

__all__ = ["EventMatrix", "SpikeBlocks"]

BLOCKS = 4
"""Capacity of `SpikeBlocks`: one block is being read, one may still be in use, one waits to be read and one is being
written. With fewer blocks a source that never stalls would have to wait."""


class SpikeBlocks(wiring.Component):
    """Blocks of words, written sequentially and read repeatedly in any order.

    Parameters
    ----------
    width, words
        Width of a word in bits, and number of words of a block, a power of two.

    Members
    -------
    i : Stream(width), in
        Words, block after block.
    available : Signal, out
        A complete block has not been claimed yet.
    claim : Signal, in
        Reserve the available block for reading.
    index : Signal(range(words)), in
    data : Signal(width), out
        The word ``index`` of the current block, `READ_LATENCY` cycles later.
    release : Signal, in
        The current block has been read; ``index`` refers to the next one from the next cycle on.
    """

    def __init__(self, width: int, words: int) -> None:
        self._width, self._words = width, words
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "available": Out(1),
                "claim": In(1),
                "release": In(1),
                "index": In(range(words)),
                "data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = BlockMemory(self._width, BLOCKS * self._words)
        bits = bits_for(self._words)
        # Word and block in one counter: both are powers of two, so it wraps around by itself.
        write = Signal(range(BLOCKS * self._words))
        block = Signal(range(BLOCKS))
        # Complete blocks that are not claimed, and blocks that are occupied: a claimed block stays occupied until
        # `release`.
        complete, used = Signal(range(BLOCKS + 1), name="complete"), Signal(range(BLOCKS + 1), name="used")
        full = Signal()
        push, whole = Signal(), Signal()
        m.d.comb += [
            push.eq(self.i.valid & self.i.ready),
            whole.eq(push & write[:bits].all()),
            memory.write_address.eq(write),
            memory.write_data.eq(self.i.payload),
            memory.write_enable.eq(push),
            memory.address.eq(self.index | (block << bits)),
            self.data.eq(memory.data),
            self.i.ready.eq(~full),
        ]
        m.d.sync += [
            write.eq(write + push),
            block.eq(block + self.release),
            complete.eq(complete + whole - self.claim),
            used.eq(used + whole - self.release),
            self.available.eq((self.available & ~((complete == 1) & self.claim)) | whole),
            full.eq((full | ((used == BLOCKS - 1) & whole)) & ~self.release),
        ]
        return m


class EventMatrix(wiring.Component):
    """Two matrices of spikes, one for each parity of the step; events set single bits in any order, one per cycle.

    An event reads a word, sets a bit and writes the word back. If a preceding event on the same word is still in the
    pipeline, its result is forwarded. A word may be read from the third cycle after its last event on. While the
    matrix of a parity is being read, there must be no events of that parity.

    Parameters
    ----------
    width, words
        Width of a word in bits, and number of words of a matrix.

    Members
    -------
    valid, event_parity : Signal, in
    event_address : Signal(bits_for(words)), in
    event_bit : Signal(bits_for(width)), in
        An event: the parity of its step, the address of the word, and the bit.
    parity : Signal, in
    address : Signal(bits_for(words)), in
        Parity of the step and address of a word to read.
    data : Signal(width), out
        The word, `READ_LATENCY` cycles later.
    clear : Signal, in
        This is the last read of the word at ``address``, which then becomes 0.
    """

    def __init__(self, width: int, words: int) -> None:
        self._width, self._words = width, words
        address, bit = bits_for(words), bits_for(width)
        super().__init__(
            {
                "valid": In(1),
                "event_parity": In(1),
                "event_address": In(address),
                "event_bit": In(bit),
                "parity": In(1),
                "address": In(address),
                "clear": In(1),
                "data": Out(self._width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address_bits, bit_bits = len(self.address), len(self.event_bit)

        # The pipeline of an event: its address is at the memory when the event arrives, its word follows two cycles on.
        valid = Signal(READ_LATENCY)
        parity = [Signal(name=f"parity_{cycle}") for cycle in range(READ_LATENCY)]
        address = [Signal(address_bits, name=f"address_{cycle}") for cycle in range(READ_LATENCY)]
        bit = [Signal(bit_bits, name=f"bit_{cycle}") for cycle in range(READ_LATENCY)]
        one_before, two_before = (Signal(READ_LATENCY, name=f"{name}_before") for name in ("one", "two"))
        written = [Signal(self._width, name=f"written_{cycle}", reset_less=True) for cycle in range(2)]
        m.d.sync += [
            valid.eq((valid << 1) | self.valid),
            *(
                later.eq(earlier)
                for kind, first in ((parity, self.event_parity), (address, self.event_address), (bit, self.event_bit))
                for later, earlier in zip(kind, [first, *kind], strict=False)
            ),
        ]
        same = [
            known & (self.event_parity == parity[cycle]) & (self.event_address == address[cycle])
            for cycle, known in enumerate(valid)
        ]
        m.d.sync += [one_before.eq((one_before << 1) | same[0]), two_before.eq((two_before << 1) | same[1])]

        # The words of the events one and two cycles earlier are not written yet when an event reads. The flags above
        # select the changed word from `written` instead.

        # A word is cleared in the cycle after its last read.
        clearing, cleared = Signal(), Signal(address_bits)
        clearing_parity = Signal()
        m.d.sync += [clearing.eq(self.clear), cleared.eq(self.address), clearing_parity.eq(self.parity)]
        chosen = [Signal(name=f"chosen_{cycle}") for cycle in range(READ_LATENCY)]
        m.d.sync += [chosen[0].eq(self.parity), chosen[1].eq(chosen[0])]

        # The parity is delayed with the read, since the next access may be of the other parity.
        word, changed = Signal(self._width), Signal(self._width)
        found = []
        for number in range(2):
            m.submodules[f"memory_{number}"] = memory = BlockMemory(self._width, self._words)
            found.append(memory.data)
            setting = valid[-1] & (parity[-1] == number)
            erasing = clearing & (clearing_parity == number)
            m.d.comb += [
                # Each memory serves one use at a time: while a step of its parity is read, no events of that parity
                # come.
                memory.address.eq(Mux(self.valid & (self.event_parity == number), self.event_address, self.address)),
                memory.write_address.eq(Mux(erasing, cleared, address[-1])),
                memory.write_data.eq(Mux(erasing, 0, changed)),
                memory.write_enable.eq(setting | erasing),
            ]
        m.d.comb += [
            self.data.eq(Mux(chosen[-1], found[1], found[0])),
            word.eq(Mux(parity[-1], found[1], found[0])),
            changed.eq(
                Mux(one_before[-1], written[0], Mux(two_before[-1], written[1], word)) | (1 << bit[-1])[: self._width]
            ),
        ]
        m.d.sync += [written[0].eq(changed), written[1].eq(written[0])]
        return m
