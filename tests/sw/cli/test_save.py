"""``spikeloom save``."""

import json
from pathlib import Path

import numpy as np
import pytest
from harness.cli import refused, write_network
from harness.float_networks import same

from spikeloom.cli.app import main
from spikeloom.datasets.encoders import RateEncoder
from spikeloom.frontends.nir import load

MODEL = """
import numpy as np
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from beside import SIZE

def build(size=SIZE):
    neurons = Population(name="lif", shape=(size,), beta=0.9, threshold=1.0, noise=0.1)
    weights = Connection(source="input", target="lif", weight=np.linspace(-1, 1, 64 * size).reshape(size, 64))
    return Network(name="mine", input_shape=(64,), populations=(neurons,), connections=(weights,), output="lif",
                   time_step_s=1e-3)

class Module:
    def forward(self, x):
        return x

def fails():
    return SIZE / 0

network = build()
number = 3
module = Module()
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "beside.py").write_text("SIZE = 10\n")
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path / "model.py"


def test_options_are_in_the_file(network, capsys):
    options = [
        "--reset",
        "subtract",
        "--reset-delay",
        "1",
        "--layer",
        "hidden:reset=zero",
        "--encoder",
        "rate:steps=5,bits=4",
    ]
    main(["save", network, "saved.nir", *options])
    said = capsys.readouterr().out
    assert "saved.nir: network net with 64 inputs, 18 neurons and 592 synapses" in said
    expected = load(network, reset="subtract", reset_delay=1, layers={"hidden": {"reset": "zero"}})
    saved = load("saved.nir")
    assert saved.encoder == RateEncoder(steps=5, bits=4).settings()
    assert all(same(getattr(saved, name), getattr(expected, name)) for name in ("populations", "connections", "notes"))


def test_commands_say_the_same_of_a_saved_network(network, capsys):
    """Every step equation, weight loss and differing cell equals that of the original."""
    main(["save", network, "saved.nir", "--reset", "subtract", "--reset-delay", "1"])
    capsys.readouterr()
    said = []
    for arguments in ([network, "--reset", "subtract", "--reset-delay", "1"], ["saved.nir"]):
        main(["check", *arguments, "--inputs", "random:3", "--images", "4", "--json"])
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["agreement"]


@pytest.mark.parametrize("name", ["build", "network"])
def test_a_python_file_is_run(model, name, capsys):
    main(["save", f"{model}:{name}", "saved.nir"])
    assert "saved.nir: network mine with 64 inputs, 10 neurons and 640 synapses" in capsys.readouterr().out
    saved = load("saved.nir")
    assert saved.name == "mine"
    assert saved.population("lif").noise == 0.1
    assert np.array_equal(saved.connections[0].weight, np.linspace(-1, 1, 640).reshape(10, 64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":number", "must be a Network or a function that returns one, not a int"),
        (":none", "must be a Network or a function that returns one, not nothing"),
        (
            ":module",
            "must be a Network or a function that returns one, not a torch module; convert it in the file with "
            "from_snntorch or from_torch of spikeloom.api",
        ),
        (":Module", "not a torch module; convert it in the file with from_snntorch or from_torch of spikeloom.api"),
        (":fails", "must run, but stopped in line 18: ZeroDivisionError: division by zero"),
        ("", "must be given with the name of a network in it"),
    ],
)
def test_other_names_are_refused(model, name, message, capsys):
    assert message in refused(capsys, "save", f"{model}{name}", "saved.nir")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nothing_of_this_name",
            "stopped in line 2: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("network = (", "stopped in line 2: SyntaxError: '(' was never closed (model.py, line 2)"),
        ("from broken_beside import network", "stopped in line 2: ValueError: beside"),
    ],
)
def test_a_file_that_does_not_run(model, text, message, capsys):
    model.write_text(f"\n{text}\n")
    (model.parent / "broken_beside.py").write_text("raise ValueError('beside')\n")
    assert refused(capsys, "save", f"{model}:network", "saved.nir") == f"'{model}' must run, but {message}"
    assert not Path("saved.nir").exists()


def test_options_of_the_steps_are_refused_for_a_python_file(model, capsys):
    said = refused(capsys, "save", f"{model}:network", "saved.nir", "--reset-delay", "1")
    assert said.startswith("reset-delay must be left out, because the network in ")
    assert said.endswith(" has the exact steps of its neurons; change it there")
    assert not Path("saved.nir").exists()


def test_the_output_that_a_decision_needs_is_in_the_file(model, capsys):
    model.write_text(
        model.read_text()
        .replace("threshold=1.0, noise=0.1", "threshold=1.0, reset=Reset.NONE")
        .replace("import numpy", "from spikeloom.sim.core.neuron import Reset\nimport numpy")
    )
    main(["save", f"{model}:network", "saved.nir", "--decision", "last-membrane"])
    assert not load("saved.nir").population("lif").spiking


def test_options_that_are_not_kept_are_named(network, capsys):
    main(["save", network, "saved.nir", "--scales", "neuron", "--calibrate", "random:1"])
    printed = " ".join(capsys.readouterr().out.split())  # a terminal of 80 columns wraps the notes
    for name in ("scales", "calibrate"):
        note = f"note: {name} is not kept in the file; give --{name} to the later commands as well"
        assert printed.count(note) == 1


def test_files_that_are_not_there(capsys):
    assert "'none.py' must be a Python file, but does not exist" in refused(capsys, "save", "none.py:net", "saved.nir")
    assert "there is no such file" in refused(capsys, "save", "none.nir", "saved.nir")


def test_an_option_of_the_conversion_is_refused_for_a_saved_file(network, tmp_path, capsys):
    main(["save", network, str(tmp_path / "saved.nir")])
    capsys.readouterr()
    said = refused(capsys, "check", tmp_path / "saved.nir", "--reset", "zero")
    assert said.startswith("reset must be left out, because spikeloom saved the file")
    assert not Path("saved.nir").exists()


def test_a_network_is_not_written_beside_itself_in_parts(tmp_path, network):
    """A source may be its own target."""
    path = write_network(tmp_path / "own.nir")
    expected = load(path)
    main(["save", path, path])
    assert same(load(path), expected)
