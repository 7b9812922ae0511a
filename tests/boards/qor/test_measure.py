"""Quality of results: a measurement of a small block, the bounds, the tolerances, the kept files."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

import spikeloom.boards.qor.blocks
from spikeloom.boards.qor.blocks import BLOCKS
from spikeloom.boards.qor.boards import (
    MEASURED,
    BoardQuality,
    board_changes,
    board_file_name,
    board_status,
    kept_quality,
)
from spikeloom.boards.qor.measure import ECP5_85F, ICE40_UP5K, Block, Quality, changes, main, measure, missed_bounds
from spikeloom.boards.targets.registry import BOARDS


class Counter(Component):
    """Eight bits that count; they look at the platform, as designs with parts of their own for an FPGA do."""

    step: In(4)
    count: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + self.step)
        assert platform.family == "ecp5"
        return m


class PlainCounter(Counter):
    """On any FPGA."""

    def elaborate(self, platform):
        assert platform.device == "iCE40UP5K"
        return super().elaborate(ECP5_85F)


COUNTER = Block(name="counter", variant="8-bits", make=Counter)
QUALITY = Quality(lut=100, ff=8, ram=0, dsp=0, fmax_mhz=150.0, seeds={"1": 150.0}, tools=["yosys 1"])


def test_measures_a_block():
    quality = measure(COUNTER, seeds=(1, 2))
    assert quality.ff == 8
    assert 8 <= quality.lut <= 16
    assert quality.ram == quality.dsp == 0
    assert list(quality.seeds) == ["1", "2"]
    assert quality.fmax_mhz == max(quality.seeds.values()) > 100
    assert [tool.split()[0] for tool in quality.tools] == ["yosys", "nextpnr-ecp5"]
    assert Quality.from_json(quality.to_json()) == quality


def test_measures_a_block_between_pins():
    """Where place and route needs pins: the ports' 12 registers and lookup tables count."""
    quality = measure(dataclasses.replace(COUNTER, device=ICE40_UP5K, make=PlainCounter), seeds=(1,))
    assert quality.ff == 8 + 4 + 8
    assert 8 + 8 <= quality.lut <= 8 + 4 + 8 + 4
    assert quality.fmax_mhz > 30
    assert quality.tools[1].startswith("nextpnr-ice40 ")


def test_a_block_that_no_tool_takes_is_an_error():
    block = dataclasses.replace(COUNTER, options="-no-such-option")
    with pytest.raises(RuntimeError, match=r"^yosys must take the block, and failed: ERROR: Command syntax error"):
        measure(block)


def test_bounds():
    block = dataclasses.replace(COUNTER, maximum_lut=99, minimum_fmax_mhz=151)
    assert missed_bounds(block, QUALITY) == [
        "counter 8-bits: lut must be at most 99, not 100",
        "counter 8-bits: fmax_mhz must be at least 151, not 150.0",
    ]
    assert missed_bounds(dataclasses.replace(COUNTER, maximum_lut=100, minimum_fmax_mhz=150), QUALITY) == []


def test_tolerances():
    assert changes(COUNTER, QUALITY, dataclasses.replace(QUALITY, lut=105, fmax_mhz=135.0)) == []
    assert changes(COUNTER, QUALITY, dataclasses.replace(QUALITY, lut=106, fmax_mhz=134.9)) == [
        "counter 8-bits: lut has grown from 100 to 106",
        "counter 8-bits: fmax_mhz has fallen from 150.0 to 134.9",
    ]


def test_the_command_keeps_results_and_fails_where_one_is_worse(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(spikeloom.boards.qor.blocks, "BLOCKS", (COUNTER,))
    monkeypatch.setattr("spikeloom.boards.qor.boards.MEASURED", ())
    monkeypatch.setattr("spikeloom.boards.qor.measure.SEEDS", (1,))
    monkeypatch.setattr("spikeloom.boards.qor.measure.measure", lambda block: QUALITY)
    assert main(["--folder", str(tmp_path)]) == 0
    path = tmp_path / "counter-8-bits-ecp5-85f.json"
    assert list(json.loads(path.read_text())) == ["lut", "ff", "ram", "dsp", "fmax_mhz", "seeds", "tools"]
    assert main(["--folder", str(tmp_path), "--only", "counter"]) == 0
    monkeypatch.setattr("spikeloom.boards.qor.measure.measure", lambda block: dataclasses.replace(QUALITY, lut=120))
    assert main(["--folder", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == "counter 8-bits: lut has grown from 100 to 120\n"
    assert "120 (+20)" in captured.out
    other = dataclasses.replace(COUNTER, device=ICE40_UP5K)
    monkeypatch.setattr(spikeloom.boards.qor.blocks, "BLOCKS", (COUNTER, other))
    monkeypatch.setattr("spikeloom.boards.qor.measure.measure", lambda block: QUALITY)
    assert main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / "counter-8-bits-ice40-up5k.json").exists()
    path.unlink()
    assert main(["--folder", str(tmp_path), "--only", "8-bits-ecp5"]) == 0
    assert path.exists()
    with pytest.raises(SystemExit) as failure:
        main(["--only", "nothing"])
    assert failure.value.code == 2


def test_a_kept_file_must_be_whole():
    message = r"^A kept result must be JSON with lut, ff, ram, dsp, fmax_mhz, seeds, tools \("
    with pytest.raises(ValueError, match=message):
        Quality.from_json('{"lut": 3}')
    with pytest.raises(ValueError, match=message):
        Quality.from_json("{")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.file_name)
def test_what_is_kept_holds_the_bounds(block):
    kept = Quality.from_json((Path("qor") / block.file_name).read_text())
    assert missed_bounds(block, kept) == []
    assert kept.fmax_mhz == max(kept.seeds.values())
    if block.name == "lif-core":
        assert list(kept.seeds) == ["1", "2", "3"]


def test_blocks_have_names_of_their_own():
    names = [block.file_name for block in BLOCKS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+\.json", name) for name in names)


BOARD = BoardQuality(
    lut=4000,
    ff=2000,
    ram=31,
    dsp=0,
    clock_mhz=60.0,
    fmax_mhz=66.0,
    clocks={"clk": 66.0},
    neurons=64,
    synapses=8192,
    tools=["yosys 1"],
)


def test_boards_have_tolerances_too():
    assert board_changes("demo", BOARD, BOARD) == []
    better = dataclasses.replace(BOARD, lut=4200, fmax_mhz=60.0, clock_mhz=60.0, neurons=128)
    assert board_changes("demo", BOARD, better) == []
    worse = dataclasses.replace(
        BOARD, lut=4201, ram=33, dsp=1, clock_mhz=57.0, fmax_mhz=59.3, neurons=63, synapses=8191
    )
    assert board_changes("demo", BOARD, worse) == [
        "board demo: clock_mhz must be 60, and is missed: 57",
        "board demo: lut has grown from 4000 to 4201",
        "board demo: ram has grown from 31 to 33",
        "board demo: dsp has grown from 0 to 1",
        "board demo: fmax_mhz has fallen from 66.0 to 59.3",
        "board demo: neurons have become fewer, 63 after 64",
        "board demo: synapses have become fewer, 8191 after 8192",
    ]


def test_the_command_builds_boards(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("spikeloom.boards.qor.boards.MEASURED", ("icebreaker", "ulx3s-85f"))
    monkeypatch.setattr("spikeloom.boards.qor.boards.measure_board", lambda name: BOARD)
    assert main(["--folder", str(tmp_path), "--only", "board-icebreaker"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["board-icebreaker.json"]
    assert BoardQuality.from_json((tmp_path / "board-icebreaker.json").read_text()) == BOARD
    slower = dataclasses.replace(BOARD, clock_mhz=57.0)
    monkeypatch.setattr("spikeloom.boards.qor.boards.measure_board", lambda name: slower)
    assert main(["--folder", str(tmp_path), "--only", "board-"]) == 1
    assert capsys.readouterr().err == "board icebreaker: clock_mhz must be 60, and is missed: 57\n"


def test_a_kept_board_must_be_whole():
    message = (
        r"^A kept board must be JSON with lut, ff, ram, dsp, clock_mhz, fmax_mhz, clocks, neurons, synapses, tools \("
    )
    for text in ("{", '{"lut": 3}'):
        with pytest.raises(ValueError, match=message):
            BoardQuality.from_json(text)


@pytest.mark.parametrize("name", MEASURED)
def test_every_measured_board_is_kept_with_the_clock_of_its_description(name):
    board = BOARDS[name]
    kept = kept_quality(name)
    assert kept is not None
    assert kept.clock_mhz == round(board.clock_hz / 1e6, 3) <= kept.fmax_mhz == min(kept.clocks.values())
    fabric = board.buildable_fabric()
    assert (kept.neurons, kept.synapses) == (fabric.neurons, fabric.synapses)
    assert board_status(board) == f"built, Fmax {kept.fmax_mhz:.1f} MHz"


def test_status_of_other_boards():
    assert kept_quality("icestick") is None
    assert board_status(BOARDS["icestick"]) == BOARDS["icestick"].obstacle
    assert board_status(BOARDS["ulx3s-45f"]) == "not built here yet"
    kept = {path.name for path in Path("qor").glob("board-*.json")}
    assert kept == {board_file_name(name) for name in MEASURED}
