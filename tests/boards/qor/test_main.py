"""The command that measures blocks and boards and compares them with what is stored."""

import dataclasses
import json

import pytest
from boards.qor.test_boards import BOARD
from harness.quality import COUNTER, QUALITY

import spikeloom.boards.qor.__main__ as command
from spikeloom.boards.qor.__main__ import main
from spikeloom.boards.qor.boards import BoardQuality
from spikeloom.boards.qor.measure import ICE40_UP5K


def test_the_command_keeps_results_and_fails_where_one_is_worse(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "BLOCKS", (COUNTER,))
    monkeypatch.setattr(command, "MEASURED", ())
    monkeypatch.setattr(command, "SEEDS", (1,))
    monkeypatch.setattr(command, "measure", lambda block: QUALITY)
    assert main(["--folder", str(tmp_path)]) == 0
    path = tmp_path / "counter-8-bits-ecp5-85f.json"
    assert list(json.loads(path.read_text())) == ["lut", "ff", "ram", "dsp", "fmax_mhz", "seeds", "tools"]
    assert main(["--folder", str(tmp_path), "--only", "counter"]) == 0
    monkeypatch.setattr(command, "measure", lambda block: dataclasses.replace(QUALITY, lut=120))
    assert main(["--folder", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == "counter 8-bits: lut has grown from 100 to 120\n"
    assert "120 (+20)" in captured.out
    other = dataclasses.replace(COUNTER, device=ICE40_UP5K)
    monkeypatch.setattr(command, "BLOCKS", (COUNTER, other))
    monkeypatch.setattr(command, "measure", lambda block: QUALITY)
    assert main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / "counter-8-bits-ice40-up5k.json").exists()
    path.unlink()
    assert main(["--folder", str(tmp_path), "--only", "8-bits-ecp5"]) == 0
    assert path.exists()
    with pytest.raises(SystemExit) as failure:
        main(["--only", "nothing"])
    assert failure.value.code == 2


def test_the_command_builds_boards(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "MEASURED", ("icebreaker", "ulx3s-85f"))
    monkeypatch.setattr(command, "measure_board", lambda name: BOARD)
    assert main(["--folder", str(tmp_path), "--only", "board-icebreaker"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["board-icebreaker.json"]
    assert BoardQuality.from_json((tmp_path / "board-icebreaker.json").read_text()) == BOARD
    slower = dataclasses.replace(BOARD, clock_mhz=57.0)
    monkeypatch.setattr(command, "measure_board", lambda name: slower)
    assert main(["--folder", str(tmp_path), "--only", "board-"]) == 1
    assert capsys.readouterr().err == "board icebreaker: clock_mhz must be 60, and is missed: 57\n"
