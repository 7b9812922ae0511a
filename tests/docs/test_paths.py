"""Every file path in the pages exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
)
FOLDERS = {"boards", "docs", "examples", "hdl", "models", "qor", "sim", "sw", "tests", ".ci", ".github"}
"""A path from the top of the repository begins with one of these."""


def missing(text):
    """The paths in backticks that do not exist; ``*`` matches anything, a name in capitals any word."""
    paths = []
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)):
        if not re.fullmatch(r"[\w.*/+-]+", quoted):
            continue  # a command, an expression
        pattern = re.sub(r"\b[A-Z]{2,}\b", "*", quoted)
        first = quoted.split("/")[0]
        if first in FOLDERS and "/" in quoted:
            found = any(ROOT.glob(pattern.rstrip("/")))
        elif re.fullmatch(r"(?!__)[\w-]+\.(py|cc|cpp)", quoted):
            # A bare file name of a source: the page must say where it is.
            found = False
        else:
            continue
        if not found:
            paths.append(quoted)
    return paths


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_exist(page):
    assert missing(page.read_text()) == []


def test_what_is_missing_is_found():
    text = "`sim/spikeloom/sim/core/neuron.py` `qor/board-NAME.json` `hdl/neurons.py` `rows.py` `a / b`\n"
    text += "```\n`x.py`\n```\n"
    assert missing(text) == ["hdl/neurons.py", "rows.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_linked_files_exist(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
