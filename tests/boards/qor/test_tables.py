"""Tables of kept figures in the pages: they are current and state the number of seeds."""

import dataclasses
from pathlib import Path

import pytest
from harness.quality import BOARD, QUALITY

from spikeloom.boards.qor.tables import PAGES, TABLES, fmax, main, with_tables


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_the_kept_figures(page):
    text = Path(page).read_text()
    assert with_tables(text) == text, "python -m spikeloom.boards.qor.tables"


def test_every_table_is_in_a_page():
    text = "".join(Path(page).read_text() for page in PAGES)
    assert all(f"<!-- kept {name}: " in text for name in TABLES)


def test_the_range_and_the_number_of_seeds_are_shown():
    assert fmax(QUALITY) == "150.0 MHz (140.0 to 163.0, 5 seeds)"
    assert fmax(BOARD) == "66.0 MHz (64.0 to 68.0, 3 seeds)"
    assert fmax(dataclasses.replace(BOARD, seeds={"1": 94.28})) == "94.3 MHz (one seed)"


def test_the_command_writes_what_has_changed(monkeypatch, tmp_path):
    old = "before\n<!-- kept core: command -->\nold\n<!-- end of kept -->\nafter\n"
    (tmp_path / "page.md").write_text(old)
    monkeypatch.setattr("spikeloom.boards.qor.tables.PAGES", (str(tmp_path / "page.md"),))
    main()
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("before\n<!-- kept core: command -->\n\n| lanes | LUT")
    assert text.endswith("|\n\n<!-- end of kept -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match=r"^page must have the marks '<!-- kept NAME"):
        with_tables("no marks")
