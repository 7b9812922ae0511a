"""Single-port RAM of the iCE40 UP5K, replaced by block RAM on other FPGAs."""

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.lib.words import bits_for

__all__ = ["SinglePortMemory"]


class SinglePortMemory(wiring.Component):
    """A `BlockMemory` with a single port: a write replaces the read of its cycle, whose ``data`` are undefined.

    An iCE40 UP5K has four single-port RAMs with 16,384 words of 16 bits, in addition to 30 block RAMs with 256 such
    words. Synthesis never infers them, so they are instantiated here. Other FPGAs use block RAM.

    Parameters
    ----------
    width, depth
        Width in bits, and number of words. Each byte of a word has its own write enable.

    Members
    -------
    write_address : Signal(bits_for(depth)), in
    write_data : Signal(width), in
    write_enable : Signal(-(-width // 8)), in
        Write access; the word is stored at the end of the cycle. ``write_enable`` has one bit per byte of the word.
    address : Signal(bits_for(depth)), in
        Read address, sampled at the end of a cycle without a write.
    data : Signal(width), out
        The word read, ``latency`` cycles after its ``address``.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        self.latency = 2 if depth <= _SINGLE_PORT_DEPTH else 3
        super().__init__(
            {
                "write_address": In(bits_for(depth)),
                "write_data": In(width),
                "write_enable": In(-(-width // 8)),
                "address": In(bits_for(depth)),
                "data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        writes = self.write_enable.any()
        if getattr(platform, "device", None) == "iCE40UP5K":
            self._instantiate(m, writes)
            return m
        m.submodules.memory = memory = BlockMemory(self.width, self.depth, part=8, pipelined=True, shared_rows=True)
        m.d.comb += [
            memory.write_address.eq(self.write_address),
            memory.write_data.eq(self.write_data),
            memory.write_enable.eq(self.write_enable),
            memory.address.eq(self.address),
            self.data.eq(memory.data),
        ]
        if memory.latency == 2:  # deeper block RAMs must stay enabled
            m.d.comb += memory.enable.eq(~writes)
        return m

    def _instantiate(self, m: Module, writes: Value) -> None:
        """Instantiate single-port RAMs, each with two bytes of the word, in several blocks if they are deep."""
        used = bits_for(min(self.depth, _SINGLE_PORT_DEPTH))
        block_count = -(-self.depth // _SINGLE_PORT_DEPTH)
        # One port for both: a write takes it for its cycle.
        address = Mux(writes, self.write_address, self.address)
        outputs = []
        for block in range(block_count):
            # All blocks read in every cycle, but only the addressed one may write.
            here = self.write_address[used:] == block if block_count > 1 else Const(1)
            word = Signal(self.width, name=f"data_{block}")
            outputs.append(word)
            for number, first in enumerate(range(0, self.width, 16)):
                count = min(16, self.width - first)
                enables = self.write_enable[first // 8 : first // 8 + 2]
                read = Signal(16, name=f"read_{block}_{number}")
                m.d.comb += word[first : first + count].eq(read)
                m.submodules[f"block{block}_{number}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=Cat(address[:used], Const(0, 14 - used)),
                    i_DATAIN=Cat(self.write_data[first : first + count], Const(0, 16 - count)),
                    # One mask bit per four data bits. A block with a single byte uses that byte's enable for both
                    # halves.
                    i_MASKWREN=Cat(enables[0].replicate(2), enables[-1].replicate(2)),
                    i_WREN=writes & here,
                    i_CHIPSELECT=Const(1),
                    i_STANDBY=Const(0),
                    i_SLEEP=Const(0),
                    i_POWEROFF=Const(1),  # active low
                    o_DATAOUT=read,
                )
        # The second cycle of `latency`, as the output register of a block RAM.
        output = Signal(self.width, reset_less=True)
        m.d.comb += self.data.eq(output)
        if block_count == 1:
            m.d.sync += output.eq(outputs[0])
        else:
            # The multiplexer between the blocks has a cycle of its own, hence a latency of 3.
            chosen, read = Signal(range(block_count)), Signal(self.width, reset_less=True)
            m.d.sync += [chosen.eq(self.address[used:]), read.eq(Array(outputs)[chosen]), output.eq(read)]


_SINGLE_PORT_DEPTH = 1 << 14
"""Words of one single-port RAM of an iCE40 UP5K."""
