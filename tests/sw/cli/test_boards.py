"""``spikeloom boards``."""

import json
import re

from harness.cli import refused

from spikeloom.boards.targets.registry import BOARDS
from spikeloom.cli.app import main


def test_boards_lists_every_board(capsys):
    main(["boards"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("icebreaker", "ulx3s-85f", "tang-nano-9k", "built"))


def test_one_line_per_board_where_the_output_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    main(["boards"])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.split() == ["board", "FPGA", "clock", "fabric", "links", "line", "status"]
    assert [line.split()[0] for line in lines] == list(BOARDS)
    (line,) = (line for line in lines if line.startswith("icebreaker "))
    assert re.search(r"iCE40UP5K +\d+ MHz +\d weights per cycle, [\d,]+ synapses +uart +USB +built, Fmax", line)


def test_boards_as_json(capsys):
    main(["boards", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["format"] == 1
    assert [board["board"] for board in content["boards"]] == list(BOARDS)
    by_name = {board["board"]: board for board in content["boards"]}
    assert by_name["icebreaker"]["fpga"] == "iCE40UP5K"
    assert by_name["icebreaker"]["synapses"] > 1000
    assert by_name["icebreaker"]["links"] == ["uart"]
    assert by_name["icestick"]["links"] == []
    assert not all(board["buildable"] for board in content["boards"])


def test_boards_with_a_link(capsys):
    main(["boards", "--link", "uart", "--json"])
    listed = json.loads(capsys.readouterr().out)["boards"]
    assert [board["board"] for board in listed] == [name for name, board in BOARDS.items() if not board.obstacle]
    assert all("uart" in board["links"] for board in listed)
    message = refused(capsys, "boards", "--link", "i2c")
    assert message.startswith("link must be uart")
    assert message.endswith(", not 'i2c'")
