"""Arithmetic that synthesis does not map well to an ECP5, instantiated there and described behaviourally elsewhere.

* `add`: adders that select their operands in the carry cell itself, with one carry cell per bit instead of two.
* `choose`: a multiplexer with one lookup table per bit, kept apart from the logic of its select inputs. Synthesis would
  merge both into larger tables.
* `multiply`: a product with the registers of the multiplier cell, which synthesis leaves unused. Its delay of 3.9 ns
  then has a cycle of its own.
* `register_copies`, `far_copies`: registers with equal contents, which synthesis would merge.

A bit of ECP5's carry cell CCU2C computes ``sum = p ^ carry`` with any function ``p`` of four inputs A, B, C and D. If
``p`` is 0, its carry output is ``p(A, B, 0, 0)``. It can therefore add any e(A, B) and any f(B, C, D) that is 0 if C
and D are both 0: with ``p = e ^ f``, ``p(A, B, 0, 0)`` is e, and if ``p`` is 0, both addends equal e, so e is the
carry. Synthesis never finds this mapping, because it creates two-input adders before it knows their operands.
"""

import enum
from collections.abc import Sequence
from typing import Any, TypeAlias

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value, ValueLike, signed

__all__ = [
    "MOST_COPIES",
    "Operand",
    "Product",
    "ProductAdders",
    "add",
    "choose",
    "far_copies",
    "far_cycles",
    "is_ecp5",
    "multiply",
    "register_copies",
]

Bits: TypeAlias = Any
"""Values of the same width, or the numbers 0 and 1; the functions of an `Operand` take and return either."""


class Operand(enum.Enum):
    """The two addends, bit by bit. The first one is ``a`` unless stated otherwise."""

    CHOOSE = 0
    """Second addend: ``c`` where ``b`` is 1, else ``d``."""
    GATE = 1
    """Second addend: ``c`` where ``b`` is 1, else 0; ``d`` is unused."""
    NEGATE = 2
    """Second addend: 0 where ``d`` is 0, else ``c``, inverted where ``b`` is 1. With ``b`` as carry this adds or
    subtracts ``c``."""
    INVERT_FIRST = 3
    """First addend: ``a``, inverted where ``b`` is 1. Second addend: ``c`` where ``d`` is 1, else 0."""
    GATE_BOTH = 4
    """First addend: ``a`` where ``b`` is 1, else 0. Second addend: ``c`` where ``d`` is 1, else 0."""

    def first(self, a: Bits, b: Bits) -> Bits:
        """The first addend; the arguments are values of the same width, or the numbers 0 and 1."""
        match self:
            case Operand.INVERT_FIRST:
                return a ^ b
            case Operand.GATE_BOTH:
                return a & b
            case _:
                return a

    def second(self, b: Bits, c: Bits, d: Bits) -> Bits:
        """The second addend."""
        match self:
            case Operand.CHOOSE:
                return (b & c) | (~b & d)
            case Operand.GATE:
                return b & c
            case Operand.NEGATE:
                return (b ^ c) & d
            case _:
                return c & d


def is_ecp5(platform: object) -> bool:
    """Whether a design is elaborated for an ECP5: boards and size measurements set ``platform.family``."""
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
    """The sum of the two addends of ``operand`` and of ``carry``, truncated to the width of ``a``.

    ``b``, ``c`` and ``d`` are as wide as ``a``, or a single bit that applies to every bit of ``a``. A ``carry`` that is
    not constant takes two more bits of carry cells if the width is even, one if it is odd.
    """
    width = len(a)
    inputs = []
    for value in (b, c, d):
        bits = Value.cast(value)
        assert len(bits) in (1, width), f"an input must have 1 or {width} bits, not {len(bits)}"
        inputs.append(bits if len(bits) == width else bits.replicate(width))
    total = Signal(width)
    if not is_ecp5(platform):
        m.d.comb += total.eq(operand.first(a, inputs[0]).as_unsigned() + operand.second(*inputs).as_unsigned() + carry)
        return total
    init = 0
    for index in range(16):
        # The table of p = e ^ f: bit `index` is its value for the inputs A (lowest) to D.
        at_a, *rest = (index >> place & 1 for place in range(4))
        init |= (operand.first(at_a, rest[0]) ^ operand.second(*rest)) << index
    # One column of bits per input pin A, B, C and D; cells then take them two at a time.
    columns = [list(bits) for bits in (Value.cast(a), *inputs)]
    inits = [init] * width
    chain, sums = Value.cast(carry), list(total)
    if width % 2 and not isinstance(chain, Const):
        # The half cell that an odd width leaves free takes the carry input: if C is 1, `p` is 0, and A is the carry.
        for column, value in zip(columns, (chain, Const(0), Const(1), Const(1)), strict=True):
            column.insert(0, value)
        inits.insert(0, 0x000A)
        sums.insert(0, Signal())
        chain = Const(0)
    elif width % 2:
        for column in columns:
            column.append(Const(0))
        inits.append(init)
        sums.append(Signal())
    # A cell has two bits. The padding of an odd width is at one end of the chain.
    for place in range(0, len(sums), 2):
        following = Signal()
        ports = {
            f"i_{name}{half}": column[place + half]
            for name, column in zip("ABCD", columns, strict=True)
            for half in range(2)
        }
        m.submodules += Instance(
            "CCU2C",
            p_INIT0=Const(inits[place], 16),
            p_INIT1=Const(inits[place + 1], 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=chain,
            o_S0=sums[place],
            o_S1=sums[place + 1],
            o_COUT=following,
            **ports,
        )
        chain = following
    return total


def choose(m: Module, platform: object, same: Value, which: Value, a: Value, b: Value) -> Signal:
    """All bits ``which`` if ``same``, else ``b`` if ``which``, else ``a``; as wide as ``a`` and ``b``."""
    chosen = Signal(len(a))
    if not is_ecp5(platform):
        m.d.comb += chosen.eq(Mux(same, which.replicate(len(a)), Mux(which, b, a)))
        return chosen
    # Instantiated, because synthesis would merge the logic of `same` into larger tables.
    init = 0
    for index in range(16):
        at_a, at_b, at_which, at_same = (index >> place & 1 for place in range(4))
        init |= (at_which if at_same else at_b if at_which else at_a) << index
    for bit in range(len(a)):
        m.submodules += Instance(
            "LUT4", p_INIT=Const(init, 16), i_A=a[bit], i_B=b[bit], i_C=which, i_D=same, o_Z=chosen[bit]
        )
    return chosen


# Width of a factor of the multiplier cell MULT18X18D.
MULTIPLIER_WIDTH = 18


def multiply(m: Module, platform: object, a: Value, b: Value, *, clear: ValueLike = 0) -> Value:
    """The product of the signed ``a`` and ``b``, two cycles later; 0 in the cycle after ``clear`` is 1."""
    product = Signal(signed(len(a) + len(b)), reset_less=True)
    if not is_ecp5(platform) or max(len(a), len(b)) > MULTIPLIER_WIDTH:
        # Registers before and behind the product, as inside the multiplier cell. Factors that are too wide for one cell
        # are left to synthesis.
        factors = [Signal(value.shape(), reset_less=True) for value in (a, b)]
        m.d.sync += [factor.eq(value) for factor, value in zip(factors, (a, b), strict=True)]
        with m.If(clear):
            m.d.sync += product.eq(0)
        with m.Else():
            m.d.sync += product.eq(factors[0] * factors[1])
        return product
    bits = Signal(2 * MULTIPLIER_WIDTH)
    ports: dict[str, ValueLike] = {}
    for name, value in (("A", a), ("B", b)):
        # Both factors are extended by their sign to the 18 bits of the cell.
        for place in range(MULTIPLIER_WIDTH):
            ports[f"i_{name}{place}"] = value[min(place, len(value) - 1)]
            ports[f"i_C{place}"] = Const(0, 1)
        ports |= {f"i_SIGNED{name}": Const(1, 1), f"i_SOURCE{name}": Const(0, 1)}
    # Only the output register has a reset in use: `clear` costs no logic behind the product.
    for place in range(4):
        ports |= {f"i_CE{place}": Const(1, 1), f"i_RST{place}": clear if place == 0 else Const(0, 1)}
    parameters = {
        f"p_REG_{register}_{pin}": value
        for register, clock, reset in (
            ("INPUTA", "CLK0", "RST1"),
            ("INPUTB", "CLK0", "RST1"),
            ("INPUTC", "NONE", "RST1"),
            ("PIPELINE", "NONE", "RST1"),
            ("OUTPUT", "CLK0", "RST0"),
        )
        for pin, value in (("CLK", clock), ("CE", "CE0"), ("RST", reset))
    }
    m.submodules += Instance(
        "MULT18X18D",
        p_RESETMODE="SYNC",
        p_GSR="DISABLED",
        i_CLK0=ClockSignal(),
        **parameters,
        **ports,
        **{f"o_P{place}": bit for place, bit in enumerate(bits)},
    )
    m.d.comb += product.eq(bits)
    return product


Product = tuple[ValueLike, ValueLike]
"""Two bits to be multiplied (ANDed)."""


class ProductAdders:
    """Sums ``x + y + z`` with products of two bits for each bit of ``x`` and ``y`` and for the single bit ``z``.

    On ECP5 all sums of an object share one chain of carry cells. A sum of ``n`` places takes ``n + 1`` bits, products
    and carry output included: the first bit outputs the carry of the preceding sum (its ``p`` is 0) and passes on the
    product ``z`` of its own sum. Sums that depend on each other can therefore share a chain, in order of dependency.
    Place and route adds four bits at the ends of each chain, whatever its length.
    """

    def __init__(self, m: Module, platform: object) -> None:
        self._m = m
        self._ecp5 = is_ecp5(platform)
        self._cells: list[tuple[int, tuple[ValueLike, ...], Value]] = []
        self._carry: Value = Signal()

    def add(self, places: Sequence[tuple[Product, Product]], product: Product) -> Signal:
        """The sum, one bit wider than ``places``: pairs (product of ``x``, product of ``y``), the lowest bit first."""
        total = Signal(len(places) + 1, name="total")
        if not self._ecp5:
            x = Cat(Value.cast(a) & b for (a, b), _ in places)
            y = Cat(Value.cast(c) & d for _, (c, d) in places)
            self._m.d.comb += total.eq(x + y + (Value.cast(product[0]) & product[1]))
            return total
        # The bit between two sums outputs the carry of the preceding one and starts the next with `product`.
        self._cells.append((_BETWEEN, (*product, 0, 1), self._carry))
        self._cells += [(_BOTH, (*x, *y), total[place]) for place, (x, y) in enumerate(places)]
        self._carry = total[-1]
        return total

    def close(self) -> None:
        """Create the cells, after the last `add`."""
        cells, chain = self._cells, None
        # Half a cell is left over. It outputs the last carry, which otherwise leaves at `COUT`.
        if len(cells) % 2:
            cells.append((_BETWEEN, (0, 0, 0, 1), self._carry))
            self._carry = Signal()
        for number in range(0, len(cells), 2):
            following = Signal() if number + 2 < len(cells) else self._carry
            ports = {
                f"i_{name}{half}": Value.cast(value)
                for half in range(2)
                for name, value in zip("ABCD", cells[number + half][1], strict=True)
            }
            self._m.submodules += Instance(
                "CCU2C",
                p_INIT0=Const(cells[number][0], 16),
                p_INIT1=Const(cells[number + 1][0], 16),
                p_INJECT1_0="NO",
                p_INJECT1_1="NO",
                i_CIN=Const(0) if chain is None else chain,
                o_S0=cells[number][2],
                o_S1=cells[number + 1][2],
                o_COUT=following,
                **ports,
            )
            chain = following


_BOTH = 0x7888
"""``p`` is ``(A & B) ^ (C & D)``."""

_BETWEEN = 0x0008
"""``p`` is 0 if D is 1, and ``A & B`` is the carry."""


def register_copies(m: Module, platform: object, value: ValueLike, count: int) -> list[Signal]:
    """``count`` registers that all sample ``value`` in each cycle, so that each drives only part of the load.

    Synthesis merges equal registers. On ECP5 they are therefore instantiated cells, which it does not analyse.
    """
    value = Value.cast(value)
    # Without a reset, like the instantiated flip-flops below, whose reset input is tied to 0.
    copies = [Signal(len(value), name=f"copy_{number}", reset_less=True) for number in range(count)]
    # A single register has no equal to be merged with.
    if count == 1 or not is_ecp5(platform):
        m.d.sync += [copy.eq(value) for copy in copies]
        return copies
    for copy in copies:
        for bit in range(len(value)):
            m.submodules += Instance(
                "TRELLIS_FF",
                p_GSR="DISABLED",
                p_CEMUX="1",
                p_CLKMUX="CLK",
                p_LSRMUX="LSR",
                p_REGSET="RESET",
                i_CLK=ClockSignal(),
                i_CE=Const(1),
                i_LSR=Const(0),
                i_DI=value[bit],
                o_Q=copy[bit],
            )
    return copies


MOST_COPIES = 4
"""Maximum number of registers of `far_copies` that one register drives."""


def far_cycles(count: int) -> int:
    """Delay of `far_copies` in cycles; a single copy is the value itself."""
    return 0 if count == 1 else 1 + far_cycles(-(-count // MOST_COPIES))


def far_copies(m: Module, platform: object, value: ValueLike, count: int) -> list[Value]:
    """``count`` copies of ``value`` for distant parts of a design, `far_cycles` later: a tree of registers.

    ``count`` is a power of two.
    """
    value = Value.cast(value)
    if count == 1:
        return [value]
    # A tree of registers: each level multiplies the number of copies by at most `MOST_COPIES`.
    sources = far_copies(m, platform, value, -(-count // MOST_COPIES))
    return [copy for source in sources for copy in register_copies(m, platform, source, count // len(sources))]
