"""Imports point downwards without cycles, private names stay in their module, and every module has a test."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTIONS = ("sim", "hdl", "boards", "sw")


def modules(portion):
    """The source files of a portion, as paths from the root; those of packages themselves contain only a docstring."""
    paths = (path.relative_to(ROOT) for path in (ROOT / portion / "spikeloom").rglob("*.py"))
    return sorted(path for path in paths if path.name != "__init__.py")


EVERY = [path for portion in PORTIONS for path in modules(portion)]


def name_of(path):
    return ".".join(path.with_suffix("").parts[1:])


def place_of(path):
    """The packages and the file of a module below its portion: ``("host", "link.py")``."""
    return path.parts[2:] if path.parts[0] == "sw" else path.parts[3:]


def order_of(text, portion):
    """The rank of each package of a portion, from CONTRIBUTING.md; the lowest is 0."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{portion}:"))
    layers = line.split(":", 1)[1].split("<")
    return {name.strip(): rank for rank, layer in enumerate(layers) for name in layer.split(",")}


def imports(tree, *, at_once=False) -> Iterator[tuple[str, str]]:
    """The imports from the project, each as module and name.

    With ``at_once``, only imports that run with the module: not inside functions, and not for type checkers.
    """
    for node in ast.iter_child_nodes(tree):
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if (
            at_once
            and isinstance(node, ast.If)
            and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        ):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spikeloom":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "spikeloom")
        yield from imports(node, at_once=at_once)


def upward(source, place, order, prefix):
    """The imports of ``source``, in the package ``place``, that do not point downwards in the portion of ``prefix``."""
    wrong = []
    for module, name in imports(ast.parse(source)):
        if not f"{module}.".startswith(prefix):
            continue
        package = (f"{module}.{name}".removeprefix(prefix)).split(".")[0]
        if package in order and package != place and order[package] >= order[place]:
            wrong.append(f"{module} ({name})")
    return wrong


@pytest.mark.parametrize("portion", PORTIONS)
def test_imports_point_downwards(portion):
    order = order_of((ROOT / "CONTRIBUTING.md").read_text(), portion)
    prefix = "spikeloom." if portion == "sw" else f"spikeloom.{portion}."
    found = (place_of(path.relative_to(ROOT)) for path in (ROOT / portion).rglob("__init__.py"))
    packages = {place[0] for place in found if len(place) > 1}
    assert packages == set(order), "CONTRIBUTING.md must name every package"
    wrong = {
        str(path): upward((ROOT / path).read_text(), place_of(path)[0], order, prefix) for path in modules(portion)
    }
    assert not {path: found for path, found in wrong.items() if found}


def test_a_planted_import_upwards_is_found():
    order = {"lib": 0, "host": 1, "noc": 1, "core": 2}
    for text in ("from spikeloom.sim.core.neuron import step", "def f():\n    import spikeloom.sim.noc.mesh"):
        assert upward(text, "host", order, "spikeloom.sim.")
    for text in (
        "from spikeloom.sim.lib.words import bits_for",
        "from spikeloom.sim.host.link import Frame",
        "import re",
    ):
        assert not upward(text, "host", order, "spikeloom.sim.")


def graph_of(sources):
    """The modules that each module imports at import time; ``sources`` maps names of modules to their text."""
    return {
        module: {
            found
            for imported, name in imports(ast.parse(text), at_once=True)
            for found in (f"{imported}.{name}", imported)
            if found in sources
        }
        for module, text in sources.items()
    }


def test_no_import_goes_in_a_circle():
    sources = {name_of(path): (ROOT / path).read_text() for path in EVERY}
    graph = graph_of(sources)
    assert sum(map(len, graph.values())) > 500
    tuple(TopologicalSorter(graph).static_order())
    planted = graph_of({"spikeloom.a": "from spikeloom import b", "spikeloom.b": "from spikeloom.a import x"})
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(planted).static_order())


def foreign_private_names(source):
    """Uses of a private name of something that another module defines."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            if isinstance(node.ctx, ast.Store):
                own.add(node.attr)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            found.append((node.attr, f"{node.lineno}: {ast.unparse(node)}"))
    found = [text for name, text in found if name not in own]
    return found + [f"import {name}" for _, name in imports(tree) if name.startswith("_")]


def test_private_names_stay_in_their_module():
    found = {str(path): foreign_private_names((ROOT / path).read_text()) for path in EVERY}
    assert not {path: names for path, names in found.items() if names}
    for text in ("def f(board):\n    board._link.send(b'')", "from spikeloom.host.driver import _address"):
        assert foreign_private_names(text)
    assert not foreign_private_names("class A:\n    def f(self, a):\n        self._x = a._x")


def test_of(path):
    """The path of the test of a module: ``sim/spikeloom/sim/host/link.py`` in ``tests/sim/host/test_link.py``."""
    *packages, file = place_of(path)
    return Path("tests", path.parts[0], *packages, f"test_{file.removesuffix('.py').strip('_')}.py")


test_of.__test__ = False  # type: ignore[attr-defined]

DECLARATIONS = {
    "boards/spikeloom/boards/families/device.py": "tests/boards/bitstream/test_real_boards.py",
    "boards/spikeloom/boards/targets/board.py": "tests/boards/bitstream/test_builder.py",
    "boards/spikeloom/boards/targets/ecp5.py": "tests/boards/bitstream/test_builder.py",
    "boards/spikeloom/boards/targets/gowin.py": "tests/boards/bitstream/test_builder.py",
    "boards/spikeloom/boards/targets/ice40.py": "tests/boards/bitstream/test_builder.py",
    "hdl/spikeloom/hdl/noc/packet.py": "tests/hdl/noc/test_router.py",
    "sim/spikeloom/sim/aer/registers.py": "tests/sim/fabric/test_register_maps.py",
    "sim/spikeloom/sim/attention/registers.py": "tests/sim/fabric/test_register_maps.py",
    "sim/spikeloom/sim/fabric/kinds.py": "tests/sim/lib/test_tile.py",
    "sim/spikeloom/sim/host/registers.py": "tests/sim/fabric/test_register_maps.py",
    "sim/spikeloom/sim/network/population.py": "tests/sim/network/test_network.py",
    "sim/spikeloom/sim/noc/registers.py": "tests/sim/fabric/test_register_maps.py",
    "sw/spikeloom/compiler/ports.py": "tests/sw/compiler/test_aer_ports.py",
    "sw/spikeloom/compiler/program.py": "tests/sw/compiler/test_place.py",
    "sw/spikeloom/frontends/errors.py": "tests/sw/frontends/test_nir.py",
    "sw/spikeloom/host/protocols.py": "tests/sw/host/test_driver.py",
}
"""Modules that only declare, with the test that covers each."""


def test_every_module_has_a_test():
    without = {str(path) for path in EVERY if not (ROOT / test_of(path)).is_file()}
    assert not without - set(DECLARATIONS), "a module needs a test file of its own"
    assert not set(DECLARATIONS) - {str(path) for path in EVERY}, "what is listed must be there"
    assert not set(DECLARATIONS) - without, "what has a test file of its own is not listed"
    assert {test for test in DECLARATIONS.values() if not (ROOT / test).is_file()} == set()
