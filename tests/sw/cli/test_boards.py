"""``spikeloom boards``."""

from spikeloom.cli.app import main


def test_boards_lists_every_board(capsys):
    main(["boards"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("icebreaker", "ulx3s-85f", "tang-nano-9k", "built"))
