"""Quality of whole boards: tolerances, kept files and status."""

import dataclasses
from pathlib import Path

import pytest
from harness.cores import LEAN
from harness.quality import BOARD

from spikeloom.boards.bitstream.builder import board_identity, board_plan
from spikeloom.boards.bitstream.report import Clock, Used
from spikeloom.boards.bitstream.steps import BuildSteps, Routed
from spikeloom.boards.qor.boards import (
    MEASURED,
    BoardQuality,
    BoardSubject,
    MeasuredBoard,
    board_changes,
    board_status,
    kept_quality,
)
from spikeloom.boards.qor.figures import Measured
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.sim.fabric.fabric import FabricConfig


def test_boards_have_tolerances_too():
    assert board_changes("demo", BOARD, BOARD) == []
    better = dataclasses.replace(BOARD, lut=4200, seeds={"1": 60.0}, clock_mhz=60.0, neurons=128)
    assert board_changes("demo", BOARD, better) == []
    worse = dataclasses.replace(
        BOARD, lut=4201, ram=33, dsp=1, clock_mhz=59.5, seeds={"1": 59.3}, neurons=63, synapses=8191
    )
    assert board_changes("demo", BOARD, worse) == [
        "board demo: the median of the seeds must reach 59.5 MHz, not 59.3 MHz",
        "board demo: clock_mhz has fallen from 60 to 59.5",
        "board demo: lut has grown from 4,000 to 4,201",
        "board demo: ram has grown from 31 to 33",
        "board demo: dsp has grown from 0 to 1",
        "board demo: fmax_mhz has fallen from 66.0 to 59.3",
        "board demo: neurons have fallen from 64 to 63",
        "board demo: synapses have fallen from 8,192 to 8,191",
    ]


def test_a_kept_board_must_be_whole():
    message = (
        r"^A kept board must be JSON with lut, ff, ram, dsp, seeds, tools, clock_mhz, clocks, neurons, "
        r"synapses \("
    )
    for text in ("{", '{"lut": 3}'):
        with pytest.raises(ValueError, match=message):
            BoardQuality.from_json(text)


@pytest.mark.parametrize("measured", MEASURED, ids=lambda measured: measured.title)
def test_every_measured_board_is_kept_with_the_clock_of_its_description(measured):
    board = measured.description()
    kept = kept_quality(measured.name, measured.link)
    assert kept is not None
    assert kept.clock_mhz == round(board.clock_hz / 1e6, 3) <= kept.fmax_mhz
    assert len(kept.seeds) == (measured.seeds if kept.netlist else 1)
    assert all(kept.clocks[clock] >= mhz for clock, mhz in kept.constraints.items())
    fabric = board.buildable_fabric()
    assert (kept.neurons, kept.synapses) == (fabric.neurons, fabric.synapses)
    assert board_status(board) == f"built, Fmax {kept.fmax_mhz:.1f} MHz"


def test_status_of_other_boards():
    assert kept_quality("icestick") is kept_quality("icebreaker", "usb") is None
    assert board_status(BOARDS["icestick"]) == BOARDS["icestick"].obstacle
    assert board_status(BOARDS["ulx3s-45f"]) == "not built here yet"
    kept = {path.name for path in Path("qor").glob("board-*.json")}
    assert kept == {measured.file_name for measured in MEASURED}


def test_a_board_is_measured_as_it_is_built(monkeypatch, tmp_path):
    """The netlist contains the identity of the bitstream; its hash does not depend on it."""
    for name in ("icebreaker", "icesugar"):  # with a fabric that takes less time than the general one
        monkeypatch.setitem(BOARDS, name, dataclasses.replace(BOARDS[name], fabric=FabricConfig(core=LEAN)))
    subject, said = BoardSubject(MeasuredBoard("icebreaker")), []

    def synthesise(steps):
        said.append("synthesis")

    def route(steps, seed):
        clocks = (Clock(name="clk", constraint_mhz=27.0, achieved_mhz=27.0 + seed),)
        used = {name: Used(used=seed, available=None) for name in ("lut", "ff", "ram", "dsp")}
        return Routed(seed=seed, clocks=clocks, resources=used, folder=tmp_path, log=tmp_path)

    monkeypatch.setattr(BuildSteps, "synthesise", synthesise)
    monkeypatch.setattr(BuildSteps, "route", route)
    for _ in range(2):
        subject.synthesise(tmp_path, said.append)
    assert said == ["synthesis"]
    identity = board_identity(BOARDS["icebreaker"])
    assert (tmp_path / "top.il").read_text() == board_plan(BOARDS["icebreaker"], identity).files["top.il"]
    netlist = subject.netlist()
    assert (
        netlist
        == BoardSubject(MeasuredBoard("icebreaker")).netlist()
        != BoardSubject(MeasuredBoard("icesugar")).netlist()
    )
    figures = subject.figures({seed: subject.route(tmp_path, seed) for seed in (3, 1, 2)}, netlist, "1b" * 20)
    assert figures.seeds == {"1": 28.0, "2": 29.0, "3": 30.0}
    assert (figures.fmax_mhz, figures.clocks, figures.lut) == (29.0, {"clk": 29.0}, 2)
    assert (figures.clock_mhz, figures.neurons) == (27.0, BOARDS["icebreaker"].buildable_fabric().neurons)
    assert subject.read(figures.to_json()) == figures
    assert subject.wrong(None, figures) == []
    slow = dataclasses.replace(figures, seeds={"1": 26.9})
    assert subject.wrong(None, slow) == ["board icebreaker: the median of the seeds must reach 27 MHz, not 26.9 MHz"]


def test_another_link_is_another_subject_with_clocks_of_its_own():
    """Fmax is that of the fabric, wherever its clock stands in the list; the other clocks have bounds, too."""
    subject = BoardSubject(MeasuredBoard("orangecrab-85f", "usb"))
    assert (subject.title, subject.file_name) == ("board orangecrab-85f usb", "board-orangecrab-85f-usb.json")
    assert MeasuredBoard("orangecrab-85f").file_name == "board-orangecrab-85f.json"
    constraints = {"usb": 60.0, "clk": 117.0, "bits": 12.0}
    used = {"lut": 1, "ff": 1, "ram": 1, "dsp": 1, "seconds": 1.0, "constraints": constraints}
    measured = {
        1: Measured(clocks={"usb": 59.0, "clk": 120.0, "bits": 90.0}, **used),
        2: Measured(clocks={"usb": 58.5, "clk": 118.0, "bits": 80.0}, **used),
        3: Measured(clocks={"usb": 64.0, "clk": 117.5, "bits": 70.0}, **used),
    }
    figures = subject.figures(measured, "0a" * 16, "1b" * 20)
    assert (figures.fmax_mhz, figures.clocks) == (118.0, {"usb": 59.0, "clk": 118.0, "bits": 80.0})
    assert subject.read(figures.to_json()) == figures
    assert subject.wrong(None, figures) == ["board orangecrab-85f usb: the median of usb must reach 60 MHz, not 59 MHz"]
    assert board_status(BOARDS["ulx3s-45f"].with_link("usb")) == "not built here yet"
