"""Every port of a component is documented with type and direction; sources and docstrings agree."""

import ast
import gc
import importlib
import inspect
import re
import warnings
from pathlib import Path

import pytest
from amaranth.hdl import Shape, UnusedElaboratable
from amaranth.lib import data, stream, wiring
from harness.components import EXAMPLES

from spikeloom.hdl.noc.mesh import mesh_packet_layout

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "hdl").rglob("*.py")), ROOT / "sw" / "spikeloom" / "simulators" / "harness.py"]


def components(tree):
    """The classes of components and of interfaces."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(re.search("Component|^(wiring[.])?Signature$", ast.unparse(base)) for base in node.bases)
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


def members_of(component):
    """The members of a component or of an interface."""
    return getattr(component, "signature", component).members


def names_for(component, arguments):
    """What the docstring of ``component`` may name: its module's names, its arguments with their fields, and its own
    attributes."""
    names = {}
    for value in arguments.values():
        for name in dir(value) if hasattr(value, "__dataclass_fields__") else ():
            if not name.startswith("_"):
                names[name] = getattr(value, name)
    attributes = {name: value for name, value in vars(component).items() if name not in members_of(component)}
    given = inspect.signature(type(component)).bind(**arguments)
    given.apply_defaults()
    module = importlib.import_module(type(component).__module__)
    return (
        names
        | vars(module)
        | {"ArrayLayout": data.ArrayLayout, "mesh_packet_layout": mesh_packet_layout}
        | attributes
        | given.arguments
    )


def width_of(value):
    """The width of a shape, of a function that gives the layout of ``parameters``, or of the words of a memory."""
    return value.width if hasattr(value, "fields") else Shape.cast(value).width


def widths_built(component):
    """By name, the width of each signal of ``component``, or of the payload of each stream."""
    found = {}
    for name, member in members_of(component).items():
        if member.is_port:
            found[name] = Shape.cast(member.shape).width
        elif isinstance(member.signature, stream.Signature):
            found[name] = Shape.cast(member.signature.members["payload"].shape).width
    return found


def widths_of_docstring(component, arguments):
    """By name, the width that the docstring of ``component`` gives for each signal or stream, if it is an expression of
    the arguments."""
    names = names_for(component, arguments)
    _, _, members = inspect.getdoc(type(component)).partition("Members\n-------\n")
    found = {}
    members = re.sub(r"\.array\(\w+\), ", ", ", members)  # the width of one element
    grammar = r"^([\w, ]+) : ([\w.]+)(?:\((.*)\))?.*\b(?:in|out)$"
    for listed, kind, width in re.findall(grammar, members, re.MULTILINE):
        # A layout is named as a function of its parameters, or as an attribute.
        text = (width or "1") if kind in ("Signal", "Stream") else f"{kind}({width})" if width else kind
        try:
            value = eval(text, dict(names))
            value = value(names["parameters"]) if inspect.isfunction(value) else value
            found.update(dict.fromkeys(listed.split(", "), width_of(value)))
        except (NameError, TypeError):
            continue
    return found


def needs_no_arguments(made):
    return all(
        parameter.default is not inspect.Parameter.empty for parameter in inspect.signature(made).parameters.values()
    )


def differing_widths(component, arguments):
    documented, built = widths_of_docstring(component, arguments), widths_built(component)
    return [
        f"{name}: documented {documented[name]}, built {width}"
        for name, width in built.items()
        if documented.get(name, width) != width
    ]


@pytest.fixture
def not_elaborated():
    """Amaranth warns when a design that was never elaborated is collected: that is done here, when no test holds it any
    more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        yield
        gc.collect()


@pytest.mark.usefixtures("not_elaborated")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_ports_are_as_wide_as_the_arguments_say(path):
    """The docstrings give the widths as expressions of the arguments, and each is evaluated for several arguments."""
    for node in components(ast.parse(path.read_text())):
        made = namespace_of(path)[node.name]
        for arguments in EXAMPLES.get(node.name, [{}] if needs_no_arguments(made) else []):
            component = made(**arguments)
            assert differing_widths(component, arguments) == [], node.name


@pytest.mark.usefixtures("not_elaborated")
def test_most_widths_are_evaluated():
    """All signals and streams have a width in the docstring, but for streams with several fields."""
    checked, left = 0, set()
    seen = set()
    for path in FILES:
        for node in components(ast.parse(path.read_text())):
            for arguments in EXAMPLES.get(node.name, ())[:1]:
                component = namespace_of(path)[node.name](**arguments)
                evaluated = widths_of_docstring(component, arguments)
                checked += len(evaluated)
                left |= {f"{node.name}.{name}" for name in widths_built(component) if name not in evaluated}
                seen.add(node.name)
    assert seen == set(EXAMPLES)
    assert checked > 300
    several_fields = {"SpikeEmitter.packets", "SpikeEmitter.local", "StreamSequencer.i", "RowArbiter.requests"}
    of_all_tiles = {"LifEngine.sources", "LifEngine.sinks"}
    assert left == several_fields | of_all_tiles


class Wide(wiring.Component):
    """A wire.

    Members
    -------
    i : Signal(1 << bits), in
    o : Stream(bits + MORE), out
    """

    def __init__(self, bits, more=1):
        super().__init__({"i": wiring.In(1 << bits), "o": wiring.Out(stream.Signature(bits + more))})


MORE = 1


@pytest.mark.usefixtures("not_elaborated")
def test_a_width_that_differs_is_found():
    assert differing_widths(Wide(3), {"bits": 3}) == []
    assert differing_widths(Wide(3, 2), {"bits": 3}) == ["o: documented 4, built 5"]
    assert differing_widths(Wide(3), {"bits": 2}) == ["i: documented 4, built 8", "o: documented 3, built 4"]
