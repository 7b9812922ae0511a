"""Every port of a component is documented with type and direction; sources and docstrings agree."""

import ast
import importlib
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
    """The direction of each member that is named in a signature of the class."""
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


def value_of(text, namespace):
    """The integer value of an expression in a module, None if it is not an integer or depends on parameters."""
    try:
        value = eval(text, dict(namespace))
    except Exception:
        return None
    return value if type(value) is int else None


def widths_declared(component, namespace):
    """The type of each member whose width is given in the signature as a number or by constants of the module:
    ``Signal``, ``Signal(8)``, ``Stream(8)``."""
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
                width = value_of(ast.unparse(shape), namespace)
                if width is not None:
                    found[key.value] = kind if (kind, width) == ("Signal", 1) else f"{kind}({width})"
    return found


def types_documented(component, namespace):
    """The type that the docstring gives for each member, without its direction, and with numbers for constants."""
    _, _, members = (ast.get_docstring(component) or "").partition("Members\n-------\n")
    found = {}
    for names, kind, width in re.findall(r"^([\w, ]+) : (\w+)(?:\((.*)\))?.*\b(?:in|out)$", members, re.MULTILINE):
        number = value_of(width, namespace)
        whole = f"{kind}({width if number is None else number})" if width else kind
        found.update(dict.fromkeys(names.split(", "), whole))
    return found


def other_widths(text, namespace=None):
    names = namespace or {}
    return [
        f"{component.name}: {name} is {types_documented(component, names).get(name, 'not documented')}, declared {kind}"
        for component in components(ast.parse(text))
        for name, kind in widths_declared(component, names).items()
        if types_documented(component, names).get(name) != kind
    ]


def namespace_of(path):
    """The namespace of the module at ``path``."""
    portion = path.parents[[parent.name for parent in path.parents].index("spikeloom") + 1]
    return vars(importlib.import_module(".".join(path.relative_to(portion).with_suffix("").parts)))


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
    assert other_widths(path.read_text(encoding="utf-8"), namespace_of(path)) == []


def test_the_components_are_found():
    assert sum(len(declared(c)) for path in FILES for c in components(ast.parse(path.read_text()))) > 250
    widths = [
        (widths_declared(component, namespace_of(path)), widths_declared(component, {}))
        for path in FILES
        for component in components(ast.parse(path.read_text()))
    ]
    assert sum(len(numbers) for _, numbers in widths) > 150
    assert sum(len(constants) - len(numbers) for constants, numbers in widths) > 12


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
    constant = text.replace("Out(stream.Signature(8))", "Out(stream.Signature(4 * BYTES))")
    assert other_widths(constant, {"BYTES": 2}) == []
    assert other_widths(constant, {"BYTES": 3}) == ["Wire: o is Stream(8), declared Stream(12)"]
