"""Quality of whole boards: tolerances, stored files, status."""

import dataclasses
from pathlib import Path

import pytest
from harness.quality import BOARD

from spikeloom.boards.qor.boards import (
    MEASURED,
    BoardQuality,
    board_changes,
    board_file_name,
    board_status,
    kept_quality,
)
from spikeloom.boards.targets.registry import BOARDS


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
