"""Boards of other packages are found by entry point, and faulty packages are named."""

import dataclasses
import sys

import pytest

from spikeloom.boards.targets.registry import BOARDS, all_boards, find_board


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package whose entry point leads to an expression; the registry forgets it afterwards."""

    def package(expression):
        (tmp_path / "other_boards.py").write_text(
            "import dataclasses\nfrom spikeloom.boards.targets.registry import BOARDS\n"
            "def named(name): return dataclasses.replace(BOARDS['icebreaker'], name=name)\n"
            f"found = {expression}\n"
        )
        metadata = tmp_path / "other_boards-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-boards\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[spikeloom.boards]\nmine = other_boards:found\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        all_boards.cache_clear()

    yield package
    sys.modules.pop("other_boards", None)
    all_boards.cache_clear()


def test_without_packages_the_boards_are_those_described_here():
    assert all_boards() == BOARDS


@pytest.mark.parametrize("expression", ["named('workbench')", "[named('workbench'), named('bench-2')]"])
def test_boards_of_a_package(install, expression):
    install(expression)
    board = find_board("workbench")
    assert board == dataclasses.replace(BOARDS["icebreaker"], name="workbench")
    assert ("bench-2" in all_boards()) == ("bench-2" in expression)
    assert set(BOARDS) < set(all_boards())


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "named('icebreaker')",
            r"^Board 'icebreaker' of entry point 'other_boards:found' must have a name of its",
        ),
        (
            "3",
            r"^Entry point 'other_boards:found' of the group spikeloom.boards must lead to .*, not 3$",
        ),
        (
            "1 / 0",
            r"^Entry point 'other_boards:found' of the group .* must be importable: division by zero;",
        ),
    ],
)
def test_faulty_packages_are_named(install, expression, message):
    install(expression)
    with pytest.raises(ValueError, match=message):
        find_board("workbench")
    assert find_board("icebreaker") is BOARDS["icebreaker"]  # boards described here do not depend on packages


def test_an_unknown_board_is_compared_with_all(install):
    install("named('workbench')")
    with pytest.raises(
        ValueError, match=r"^Board must be one that 'spikeloom boards' lists, perhaps workbench, not 'work"
    ):
        find_board("workbenchs")
