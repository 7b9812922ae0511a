"""A block with registers at its ports, in a design with two pins: for place and route without out-of-context mode."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BetweenPins"]


class BetweenPins(wiring.Component):
    """Design in which a shift register drives all inputs of ``block``, and another one is XORed with all of its
    outputs.

    Synthesis therefore cannot remove any part of the block, and no path through the block ends at a pin. Each port bit
    costs a register, and each output bit also a lookup table.

    Members
    -------
    shift_in : Signal(1), in
        Input of both shift registers.
    shift_out : Signal(1), out
        Last bit of the second shift register.
    """

    def __init__(self, block: Any) -> None:
        self._block = block
        super().__init__({"shift_in": In(1), "shift_out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = block = self._block
        ports = [(member.flow, Value.cast(value)) for _, member, value in block.signature.flatten(block)]
        inputs, outputs = (Cat(value for flow, value in ports if flow == wanted) for wanted in (In, Out))
        given, taken = Signal(len(inputs)), Signal(len(outputs))
        # Each concatenation is one bit longer than its register, so the assignment drops the last bit: a shift.
        m.d.sync += [
            given.eq(Cat(self.shift_in, given)),
            taken.eq(Cat(self.shift_in, taken) ^ outputs),
        ]
        m.d.comb += [inputs.eq(given), self.shift_out.eq(taken[-1])]
        return m
