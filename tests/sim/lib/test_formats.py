"""Format numbers: content without one has format 1; newer formats and refused older ones are named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from spikeloom.sim.lib.files import FileError
from spikeloom.sim.lib.formats import FORMATS, Format

SOME = Format(name="some.json", number=4, oldest=2, remedy="write it again")


def test_formats_in_range_are_read():
    assert [SOME.check({"format": number}) for number in (2, 3, 4)] == [2, 3, 4]
    assert SOME.check({"format": np.int64(3)}) == SOME.check({"format": np.array(3)}) == 3
    assert SOME.entry == {"format": 4}


def test_text_begins_with_the_number_in_each_entry():
    assert SOME.text({"a": 1}) == '{\n  "format": 4,\n  "a": 1\n}\n'
    assert json.loads(SOME.text([{"a": 1}, {"a": 2}])) == [{"format": 4, "a": 1}, {"format": 4, "a": 2}]
    assert SOME.text([]) == "[]\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "some.json has format 1, expected 2 to 4; write it again"),
        ({"format": 1}, "some.json has format 1, expected 2 to 4; write it again"),
        (
            {"format": 5},
            "some.json has format 5, expected 2 to 4: it was written by a newer version; update spikeloom",
        ),
        *(
            ({"format": value}, f"format of some.json must be a positive integer, not {value!r}")
            for value in (0, -1, True, 2.0, "2", None, [2])
        ),
        ({"format": np.ones(2)}, "format of some.json must be a positive integer, not array([1., 1.])"),
    ],
    ids=str,
)
def test_other_formats_are_refused_by_name(content, message):
    with pytest.raises(FileError, match=f"^{re.escape(message)}$"):
        SOME.check(content)


def test_one_number_is_no_range():
    with pytest.raises(FileError, match=r"^it has format 2, expected 1: it was written by a newer version; update "):
        Format(name="some.json").check({"format": 2}, "it")


def test_bounds_and_remedy_of_a_format():
    with pytest.raises(ValueError, match=r"^oldest must be from 1 to 2, not 3$"):
        Format(name="some.json", number=2, oldest=3)
    with pytest.raises(ValueError, match=r"^remedy must be given where older formats of some\.json are refused$"):
        Format(name="some.json", number=2, oldest=2)


def test_what_this_version_writes_it_reads():
    for each in FORMATS:
        assert each.check(each.entry) == each.number
        assert each.oldest == 1, "docs/formats.md says that files without a number are read"


def test_the_page_has_the_numbers():
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith(("| `", "| output"))]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert len(rows) == len(FORMATS)
    for each, (_, content, _, number, reads, _) in zip(FORMATS, rows, strict=True):
        assert number == str(each.number), content
        span = str(each.number) if each.oldest == each.number else f"{each.oldest} to {each.number}"
        assert reads == ("never read" if content.startswith(("output of `--json`", "`summary.json`")) else span), (
            content
        )
