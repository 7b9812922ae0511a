"""The tables of features in the pages agree with `FEATURES`."""

from pathlib import Path

import pytest
from harness.full_disk import contents, fill_the_disk

from spikeloom.sim.core.feature_tables import PARTS, feature_table, filled, key_table, main, recurrence
from spikeloom.sim.core.features import FEATURES, MODEL_KEYS

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {"neuron-models.md": ("recurrence", "features"), "loading.md": ("keys",)}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_in_step(name):
    page = (DOCS / name).read_text(encoding="utf-8")
    for part in PAGES[name]:
        assert f"<!-- generated: {part} -->\n\n{PARTS[part]()}\n<!-- end -->\n" in page, (
            f"python -m spikeloom.sim.core.feature_tables docs/{name}"
        )
    assert filled(page) == page


def test_a_full_disk_keeps_the_older_page(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("older\n\n<!-- generated: keys -->\n\nolder\n<!-- end -->\n")
    before = contents(tmp_path)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        with pytest.raises(OSError, match="No space left on device"):
            main([str(page)])
    assert contents(tmp_path) == before
    main([str(page)])
    assert key_table() in page.read_text()


def test_parts_hold_everything():
    assert recurrence().startswith("    hold    = refractory_count > 0\n")
    assert recurrence().endswith("    refractory_count = refractory if spike else max(refractory_count - 1, 0)\n")
    assert len(feature_table().splitlines()) == 2 + len(FEATURES)
    assert len(key_table().splitlines()) == 2 + len(MODEL_KEYS)


def test_other_text_stays():
    page = (
        "before\n<!-- generated: keys -->\nold\n<!-- end -->\nbetween\n<!-- generated: keys -->\n<!-- end -->\nafter\n"
    )
    part = f"<!-- generated: keys -->\n\n{key_table()}\n<!-- end -->\n"
    assert filled(page) == f"before\n{part}between\n{part}after\n"
