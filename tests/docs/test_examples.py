"""Every name that the examples in the pages import exists."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def names_of(module):
    """The names in a module, taken from its source if it imports PyTorch, which these tests do without."""
    try:
        return set(dir(import_module(module)))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
    body = ast.parse(Path(find_spec(module).origin).read_text()).body
    return {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def missing(text):
    """The project's names that the Python examples of a page import and that do not exist."""
    names = []
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spikeloom":
                found = names_of(node.module)
                names += [f"{node.module}.{name.name}" for name in node.names if name.name not in found]
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_imports(page):
    assert missing(page.read_text()) == []


def test_a_name_that_has_moved_is_found():
    text = "```python\nfrom spikeloom.sim.core.parameters import CoreParameters, Nothing\n```\n"
    assert missing(text) == ["spikeloom.sim.core.parameters.Nothing"]
    text = "```python\nfrom spikeloom.train.layers import Dense, Nothing\n```\n"
    assert missing(text) == ["spikeloom.train.layers.Nothing"]
