"""Measured blocks: their names, and the kept figures within their bounds."""

import re
from pathlib import Path

import pytest

from spikeloom.boards.qor.blocks import BLOCKS
from spikeloom.boards.qor.measure import Quality, missed_bounds


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.file_name)
def test_what_is_kept_holds_the_bounds(block):
    kept = Quality.from_json((Path("qor") / block.file_name).read_text())
    assert missed_bounds(block, kept) == []
    if kept.netlist:  # not written by an older version
        assert list(kept.seeds) == [str(seed) for seed in range(1, block.seeds + 1)]
        assert re.fullmatch("[0-9a-f]{40}", kept.commit)
        assert re.fullmatch("[0-9a-f]{32}", kept.netlist)


def test_blocks_have_names_of_their_own():
    names = [block.file_name for block in BLOCKS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+\.json", name) for name in names)
