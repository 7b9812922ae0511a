"""Conventions of all dataclasses: they are frozen, and their fields are keyword-only, except in a few small ones.

Conventions of registers: one that needs no reset has none. The values that users rely on equal the kept ones."""

import ast
import dataclasses
import importlib
import inspect
import json
from pathlib import Path

import pytest
from harness import defaults

ROOT = Path(__file__).parents[1]
POSITIONAL = {
    *(
        "sim.core.row_reader.Group",
        "sim.core.row_reader.Word",
        "sim.lib.memory.Memory",
        "sim.lib.words.Field",
        "sim.lib.words.WordLayout",
    ),
    *(f"sim.host.bridge.{name}" for name in ("Read", "Spike", "Tick", "Write")),
    *("sim.sdram.device.SdramPins", "sim.sdram.parameters.ScheduledRead", "sim.sdram.parameters.Segment"),
    *("sim.network.sparse.SparseMatrix", "hdl.core.lane.LaneTiming", "hdl.core.lane._Leaked"),
}
BY_IDENTITY = {
    *(f"sim.core.{name}" for name in ("features.Feature", "neuron.NeuronParameters", "neuron.NeuronState")),
    *(f"sim.network.network.{name}" for name in ("QuantisedConnection", "QuantisedNetwork")),
    *("sim.network.attention.QuantisedAttention", "sim.network.population.QuantisedPopulation"),
    *("sim.network.projection.Projection", "sim.network.sparse.SparseMatrix", "sim.lib.contents.Contents"),
    *("sim.network.reference.ReferenceResult", "sim.host.messages.Messages"),
}
"""Classes compared by identity: they hold arrays, whose comparison has no single truth value, or functions."""
OWN_INIT = {"sim.fabric.fabric.FabricConfig"}


def dataclasses_of(portion):
    for path in sorted((ROOT / portion / "spikeloom").rglob("*.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT / portion).with_suffix("").parts))
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and "__dataclass_params__" in vars(kind):
                yield f"{module.__name__}.{kind.__qualname__}".removeprefix("spikeloom."), kind


@pytest.fixture(scope="module")
def found():
    return dict(entry for portion in ("sim", "hdl") for entry in dataclasses_of(portion))


def test_no_dataclass_changes(found):
    assert len(found) > 40
    assert [name for name, kind in found.items() if not kind.__dataclass_params__.frozen] == []


def test_fields_are_given_by_name(found):
    positional = {name for name, kind in found.items() if not all(field.kw_only for field in dataclasses.fields(kind))}
    assert positional == POSITIONAL


def test_dataclasses_with_arrays_are_compared_by_identity(found):
    assert {name for name, kind in found.items() if not kind.__dataclass_params__.eq} == BY_IDENTITY


def test_fields_make_the_arguments(found):
    assert {name for name, kind in found.items() if not kind.__dataclass_params__.init} == OWN_INIT


def test_a_field_that_is_set_is_found(found):
    @dataclasses.dataclass
    class Changing:
        field: int = 0

    assert not Changing.__dataclass_params__.frozen  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found["sim.host.bridge.Spike"](1).axon = 2


def resets(text):
    """The values given as ``reset_less``, in the order of the text."""
    return [
        ast.unparse(keyword.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "reset_less"
    ]


def test_registers_that_need_no_reset_have_none():
    """A data register with a reset behaves the same, but costs logic, and keeps a block RAM from absorbing it.

    Simulation therefore cannot detect such a reset: False is the default, and is never written.
    """
    found = [value for path in sorted((ROOT / "hdl").rglob("*.py")) for value in resets(path.read_text())]
    assert len(found) > 30
    assert set(found) == {"True"}
    assert resets("a = Signal(4, reset_less=False)") == ["False"]


def test_numbers_of_the_interface_are_as_kept():
    """A new number is a change for users: it is written to the file deliberately, with an entry in the changelog."""
    kept = json.loads(defaults.KEPT.read_text())
    found = defaults.found()
    assert sum(len(values) for values in found.values()) > 300
    for module in kept | found:
        assert found.get(module) == kept.get(module), "python -m harness.defaults, in tests, writes the file again"
