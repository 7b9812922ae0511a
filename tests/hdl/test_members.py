"""Every port of a component is documented, with its type and its direction: the sources and their docstrings agree."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "hdl").rglob("*.py")), ROOT / "sw" / "spikeloom" / "simulators" / "harness.py"]


def components(tree):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("Component" in ast.unparse(base) for base in node.bases)
    ]


def declared(component):
    """The direction of each member that stands by its name in a signature of the class."""
    return {
        key.value: ast.unparse(value.func).lower()
        for node in ast.walk(component)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Call) and ast.unparse(value.func) in ("In", "Out")
    }


def documented(component):
    """The direction of each member that the docstring names."""
    _, _, members = (ast.get_docstring(component) or "").partition("Members\n-------\n")
    found = {}
    for names, direction in re.findall(r"^([\w, ]+) : .*\b(in|out)$", members, re.MULTILINE):
        found.update(dict.fromkeys(names.split(", "), direction))
    return found


def widths_declared(component):
    """What each member is whose width stands in the signature as a number: ``Signal``, ``Signal(8)``, ``Stream(8)``."""
    found = {}
    for node in ast.walk(component):
        pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
        for key, value in pairs:
            if (
                isinstance(key, ast.Constant)
                and isinstance(value, ast.Call)
                and ast.unparse(value.func) in ("In", "Out")
            ):
                shape, kind = value.args[0], "Signal"
                if isinstance(shape, ast.Call) and ast.unparse(shape.func) == "stream.Signature":
                    shape, kind = shape.args[0], "Stream"
                if isinstance(shape, ast.Constant):
                    found[key.value] = kind if (kind, shape.value) == ("Signal", 1) else f"{kind}({shape.value})"
    return found


def types_documented(component):
    """What the docstring says that each member is, without its direction."""
    _, _, members = (ast.get_docstring(component) or "").partition("Members\n-------\n")
    found = {}
    for names, kind in re.findall(r"^([\w, ]+) : (\w+(?:\([^)]*\))?).*\b(?:in|out)$", members, re.MULTILINE):
        found.update(dict.fromkeys(names.split(", "), kind))
    return found


def other_widths(text):
    return [
        f"{component.name}: {name} is {types_documented(component).get(name, 'not documented')}, declared {kind}"
        for component in components(ast.parse(text))
        for name, kind in widths_declared(component).items()
        if types_documented(component).get(name) != kind
    ]


def disagreements(text):
    return [
        f"{component.name}: {name} is {documented(component).get(name, 'not documented')}, declared {direction}"
        for component in components(ast.parse(text))
        for name, direction in declared(component).items()
        if documented(component).get(name) != direction
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_ports_are_documented_as_they_are_declared(path):
    assert disagreements(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_ports_are_as_wide_as_they_are_documented(path):
    assert other_widths(path.read_text(encoding="utf-8")) == []


def test_the_components_are_found():
    assert sum(len(declared(c)) for path in FILES for c in components(ast.parse(path.read_text()))) > 250
    assert sum(len(widths_declared(c)) for path in FILES for c in components(ast.parse(path.read_text()))) > 150


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("i : Stream(8), in", "i : Stream(8), out", "Wire: i is out, declared in"),
        ("    o : Stream(8), out\n", "", "Wire: o is not documented, declared out"),
    ],
)
def test_what_disagrees_is_found(old, new, complaint):
    text = '''
class Wire(wiring.Component):
    """A wire.

    Members
    -------
    i : Stream(8), in
    o : Stream(8), out
        Bytes.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})
'''
    assert disagreements(text) == []
    assert disagreements(text.replace(old, new)) == [complaint]
    assert other_widths(text) == []
    wider = text.replace('"o": Out(stream.Signature(8))', '"o": Out(2)')
    assert other_widths(wider) == ["Wire: o is Stream(8), declared Signal(2)"]
