"""The pages of the boards agree with the board descriptions."""

from pathlib import Path

import pytest
from harness.full_disk import contents, fill_the_disk

from spikeloom.boards.targets.pages import PAGES, main, with_tables
from spikeloom.boards.targets.registry import BOARDS

ROOT = Path(__file__).parents[3]


def test_a_full_disk_keeps_the_older_page(tmp_path, monkeypatch):
    for page in PAGES.values():
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text((ROOT / page).read_text().replace("Mbaud", "baud"))
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        main()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("family", PAGES)
def test_tables_are_those_of_the_boards(family):
    page = (ROOT / PAGES[family]).read_text()
    assert with_tables(page, family) == page, "python -m spikeloom.boards.targets.pages writes them"
    for board in BOARDS.values():
        assert (f"`{board.name}`" in page) == (board.flow.pll == family)


def test_a_page_without_marks():
    with pytest.raises(
        ValueError, match=r"^page must have the marks '<!-- boards: python .* -->' and '<!-- end of boards"
    ):
        with_tables("a page", "ecp5")
