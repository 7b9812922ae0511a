"""Adders with a choice inside: one carry cell a bit on ECP5, where synthesis takes two; plain sums elsewhere.

A bit of ECP5's carry cell CCU2C makes ``sum = p ^ carry`` with any function ``p`` of four inputs A, B, C and D; where
``p`` is 0 it sends on the carry ``p(A, B, 0, 0)``. So it adds A and any function f(B, C, D) that is 0 where C and D are
both 0. Take ``p = A ^ f``: then ``p(A, B, 0, 0)`` is A, and where ``p`` is 0 both addends equal A, so A is the carry.
Synthesis never finds this: it makes adders of two inputs before it knows what these are.
"""

import enum
from typing import TypeVar

from amaranth.hdl import Const, Instance, Module, Signal, Value, ValueLike

__all__ = ["Operand", "add", "is_ecp5"]

_Bits = TypeVar("_Bits", Value, int)


class Operand(enum.Enum):
    """The second addend, bit by bit, as a function of three inputs."""

    CHOOSE = 0
    """``c`` where ``b`` is 1, else ``d``."""
    GATE = 1
    """``c`` where ``b`` is 1, else 0; ``d`` is not used."""
    NEGATE = 2
    """Where ``d`` is 1: ``c``, inverted where ``b`` is 1; else 0. With ``b`` as carry this adds or subtracts ``c``."""

    def bits(self, b: _Bits, c: _Bits, d: _Bits) -> _Bits:
        """The function itself, of values of the same width or of the numbers 0 and 1."""
        match self:
            case Operand.CHOOSE:
                return (b & c) | (~b & d)
            case Operand.GATE:
                return b & c
            case _:
                return (b ^ c) & d


def is_ecp5(platform: object) -> bool:
    """Whether a design is elaborated for ECP5; boards and the size measurement say so by ``platform.family``."""
    return getattr(platform, "family", None) == "ecp5"


def add(
    m: Module,
    platform: object,
    a: Value,
    operand: Operand,
    b: ValueLike,
    c: ValueLike,
    d: ValueLike = 1,
    *,
    carry: ValueLike = 0,
) -> Signal:
    """``a + operand(b, c, d) + carry``, modulo the width of ``a``.

    ``b``, ``c`` and ``d`` are as wide as ``a``, or one bit that counts for each bit of ``a``. A ``carry`` that is no
    constant takes a carry cell of its own.
    """
    width = len(a)
    inputs = []
    for value in (b, c, d):
        bits = Value.cast(value)
        assert len(bits) in (1, width), f"an input must have 1 or {width} bits, not {len(bits)}"
        inputs.append(bits if len(bits) == width else bits.replicate(width))
    total = Signal(width)
    if not is_ecp5(platform):
        m.d.comb += total.eq(a + operand.bits(*inputs).as_unsigned() + carry)
        return total
    init = 0
    for index in range(16):
        at_a, *rest = (index >> place & 1 for place in range(4))
        init |= (at_a ^ operand.bits(*rest)) << index
    columns = [list(bits) for bits in (Value.cast(a), *inputs)]
    for column in columns:
        column += [Const(0)] * (width % 2)
    chain: Value = Value.cast(carry)
    for place in range(0, width, 2):
        following, sums = Signal(), Signal(2)
        ports = {
            f"i_{name}{half}": column[place + half]
            for name, column in zip("ABCD", columns, strict=True)
            for half in range(2)
        }
        m.submodules += Instance(
            "CCU2C",
            p_INIT0=Const(init, 16),
            p_INIT1=Const(init, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=chain,
            o_S0=sums[0],
            o_S1=sums[1],
            o_COUT=following,
            **ports,
        )
        m.d.comb += total[place : place + 2].eq(sums)
        chain = following
    return total
