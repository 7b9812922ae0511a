"""``spikeloom flash``: the loaded bitstream and the output."""

import pytest
from harness.cli import sentence

from spikeloom.boards.bitstream import flash as flash_module
from spikeloom.cli.app import main


@pytest.mark.parametrize(("options", "folder"), [([], None), (["--build", "elsewhere"], "elsewhere")])
def test_the_board_and_the_folder_are_passed_on(monkeypatch, capsys, options, folder):
    asked = []

    def flash(board, build, *, announce):
        asked.append((board, build if build is None else str(build)))
        announce("writing")

    monkeypatch.setattr(flash_module, "flash", flash)
    main(["flash", "icebreaker", *options])
    shown = capsys.readouterr()
    assert asked == [("icebreaker", folder)]
    assert shown.out == "icebreaker is loaded\nspikeloom run --board icebreaker --port ...\n"
    assert shown.err.strip() == "writing"


def test_without_a_build_the_remedy_is_named(capsys):
    message = "build/icebreaker/icebreaker.bin does not exist; build it with: spikeloom bitstream --board icebreaker"
    assert sentence(capsys, "flash", "icebreaker") == message


def test_an_unknown_board(capsys):
    assert sentence(capsys, "flash", "zzz") == "Board must be one that 'spikeloom boards' lists, not 'zzz'"
