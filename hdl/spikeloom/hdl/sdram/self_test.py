"""Self-test of an SDRAM and probe of its size, once after the initialisation.

`spikeloom.sim.sdram.weights` describes the phases. Each writes all of its patterns, starts the LFSR again, and compares
what it reads. The test cannot hang: the controller answers every read, with whatever is at its pins.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.sdram.controller import request_layout, write_layout
from spikeloom.sim.sdram.weights import TEST_BURSTS, TEST_SEED, TEST_TAPS, WeightMemoryParameters

__all__ = ["SelfTest"]

_PHASES = 3
_BLOCK = 2
"""The phase of consecutive bursts."""


class SelfTest(wiring.Component):
    """Tests the memory and probes its size.

    Parameters
    ----------
    parameters
        Words and bursts.

    Members
    -------
    ready : Signal, in
        The chip is initialised: the test may begin.
    requests : Stream(request_layout(sdram)), out
    writes : Stream(write_layout(sdram)), out
    bursts : Stream(sdram.burst_bits), in
        The memory.
    done : Signal, out
        The test has ended, and the signals below have their final values.
    wrong : Signal(sdram.burst_bits), out
        Bits of a burst that were wrong at least once.
    larger : Signal(sdram.more_column_bits + sdram.more_row_bits), out
        The address bits that only some chips have: whether this one has them.
    """

    def __init__(self, parameters: WeightMemoryParameters) -> None:
        self.parameters = parameters
        p = parameters.sdram
        super().__init__(
            {
                "ready": In(1),
                "requests": Out(stream.Signature(request_layout(p))),
                "writes": Out(stream.Signature(write_layout(p))),
                "bursts": In(stream.Signature(p.burst_bits)),
                "done": Out(1),
                "wrong": Out(p.burst_bits),
                "larger": Out(p.more_column_bits + p.more_row_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters.sdram
        bits = p.burst_bits
        seed = TEST_SEED & (1 << bits) - 1
        top = 1 << p.address_bits - 1
        phase = Signal(range(_PHASES))
        reading = Signal()
        address = Signal(p.address_bits, init=top)
        state = Signal(bits, init=seed)
        left = Signal(range(TEST_BURSTS))  # bursts of the request after this one
        is_block = phase == _BLOCK
        inverted = phase == 1
        pattern = Signal(bits)
        m.d.comb += [
            pattern.eq(state ^ inverted.replicate(bits)),
            self.requests.payload.address.eq(Mux(is_block, 0, address)),
            self.requests.payload.count.eq(Mux(is_block, TEST_BURSTS - 1, 0)),
            self.requests.payload.write.eq(~reading),
            self.writes.payload.data.eq(pattern),
        ]

        # Compared in two stages: the differences first, then what they mean. At an address that only larger chips have,
        # a smaller chip returns the pattern of address 0. Where neither pattern is found, the bits that differ from
        # both of them are wrong, so that one wrong pin is reported as one.
        compared = Signal()
        extra = Signal(len(self.larger))
        difference, base_difference = Signal(bits), Signal(bits)
        base = self.parameters.base_pattern ^ inverted.replicate(bits)
        m.d.sync += [
            compared.eq(self.bursts.valid & self.bursts.ready),
            difference.eq(self.bursts.payload ^ pattern),
            base_difference.eq(self.bursts.payload ^ base),
            extra.eq(Mux(is_block, 0, address[p.least_address_bits :])),
        ]
        larger, wrong = Signal(len(self.larger), init=-1), Signal(bits)
        common = difference & base_difference
        m.d.comb += [self.larger.eq(larger), self.wrong.eq(wrong)]
        with m.If(compared):
            with m.If(~extra.any()):
                m.d.sync += wrong.eq(wrong | difference)
            with m.Elif(base_difference == 0):
                m.d.sync += larger.eq(larger & ~extra)
            with m.Else():
                m.d.sync += wrong.eq(wrong | Mux(common.any(), common, difference))

        step, finished = Signal(), Signal()
        with m.If(step):
            m.d.sync += [
                state.eq((state >> 1) ^ Mux(state[0], TEST_TAPS[bits], 0)),
                address.eq(address >> 1),
                left.eq(left - 1),
            ]
        m.d.comb += finished.eq(Mux(is_block, left == 0, address == 0))
        with m.FSM():
            with m.State("WAIT"), m.If(self.ready):
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.requests.valid.eq(1)
                m.d.sync += left.eq(TEST_BURSTS - 1)
                with m.If(self.requests.ready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += [
                    self.writes.valid.eq(~reading),
                    self.bursts.ready.eq(reading),
                    step.eq(Mux(reading, self.bursts.valid, self.writes.ready)),
                ]
                with m.If(step):
                    with m.If(finished):
                        m.next = "NEXT"
                    with m.Elif(~is_block):
                        m.next = "REQUEST"
            with m.State("NEXT"):
                m.d.sync += [state.eq(seed), address.eq(top), reading.eq(~reading)]
                m.next = "REQUEST"
                with m.If(reading):
                    m.d.sync += phase.eq(phase + 1)
                    with m.If(is_block):
                        m.next = "DONE"
            with m.State("DONE"):
                # The last comparison is complete: its second stage was in the cycle of NEXT.
                m.d.comb += self.done.eq(1)
        return m
