"""The project file: stored options that the command line overrides, none of which writes files or opens devices."""

import os
from pathlib import Path

import pytest
from harness.cli import refused, sentence, write_network

from spikeloom.cli.app import main
from spikeloom.cli.commands import app
from spikeloom.cli.console import out
from spikeloom.cli.project import KEYS, project_text, read_project


def options_in(text):
    Path("spikeloom.toml").write_text(text)
    return read_project(Path("spikeloom.toml"))


def test_a_project_gives_what_the_command_line_leaves_out(network, capsys):
    Path("spikeloom.toml").write_text(f'network = "{network}"\nweight-bits = 4\nfabric = "medium"\n')
    main(["check"])
    said = capsys.readouterr()
    assert "fabric medium" in said.out
    assert "as 4-bit integers: " in said.out
    assert "net: 64 inputs" in said.out
    assert "spikeloom.toml: fabric, network, weight-bits" in said.err
    main(["check", "--fabric", "small", "--weight-bits", "8"])
    said = capsys.readouterr().out
    assert "fabric small" in said
    assert "4-bit" not in said


def test_another_folder_is_named(network, capsys, tmp_path):
    """Paths are relative to the project's folder; parent folders are never searched."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_network(folder / "own.nir", hidden=5)
    (folder / "spikeloom.toml").write_text('network = "own.nir"\n')
    for project in (folder, folder / "spikeloom.toml"):
        main(["check", "--project", str(project)])
        assert "own: 64 inputs, 15 neurons" in capsys.readouterr().out
    (folder / "below").mkdir()
    os.chdir(folder / "below")
    main(["check"])
    assert "digits-mlp" in capsys.readouterr().out


def test_the_core_and_the_encoder_are_tables():
    found = options_in('[core]\nlanes = 2\nbias = true\n[encoder]\nkind = "latency"\nsteps = 8\nbits = 4\n')
    assert found == {"core": ["lanes=2", "bias=yes"], "encoder": "latency:steps=8,bits=4"}


def test_an_encoder_that_is_named(network, capsys):
    Path("spikeloom.toml").write_text('[encoder]\nkind = "latency"\nsteps = 9\nbits = 4\n')
    main(["run", network, "--backend", "reference", "--fabric", "small", "--images", "3"])
    assert "encoded as spikes of 9 steps x 3 samples" in capsys.readouterr().err
    options = ["--backend", "reference", "--fabric", "small", "--encoder"]
    assert "kind of an encoder must be" in sentence(capsys, "run", network, *options, "no:steps=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output = 'x'", "spikeloom.toml: keys must be network, preset, "),
        ("port = '/dev/null'", "spikeloom.toml: keys must be network, preset, "),
        ("weight_bits = 4", "not 'weight_bits'"),
        ("network", "spikeloom.toml must be TOML ("),
        ("a = " + "[" * 5000, "spikeloom.toml must "),
        ("mesh = [1]", "spikeloom.toml: mesh must be text or a number, not [1]"),
        ("core = 5", "spikeloom.toml: core must be a table of fields, not 5"),
        ("layer = 5", "spikeloom.toml: layer must be a table of options for each node, not 5"),
        ("layer.hidden = 'zero'", "spikeloom.toml: layer must be a table of options for each node, not {"),
        ("weight-bits = 'many'", "weight bits must be BITS or NAME=BITS,..., such as 8,lif1=4, not 'many'"),
        ("#" * 70_000, "must have at most 65,536 bytes, not 70,000"),
    ],
)
def test_what_is_wrong_in_a_project_is_one_sentence(network, capsys, text, message):
    Path("spikeloom.toml").write_text(text)
    assert message in sentence(capsys, "check", network)


def test_rules_of_single_layers(network, capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 300)  # a table of one line per population
    Path("spikeloom.toml").write_text('[layer.hidden]\nreset = "subtract"\nreset-delay = 1\n')
    main(["check", network])
    captured = capsys.readouterr()
    assert "spikeloom.toml: layer" in captured.err
    text = " ".join(captured.out.split())
    assert text.count("the step after subtracts 1") == 1
    assert text.count("then v = 0") == 1


def test_a_project_that_is_not_there(network, capsys, tmp_path):
    message = refused(capsys, "check", network, "--project", tmp_path / "none.toml")
    assert message == f"project file {tmp_path / 'none.toml'} does not exist; spikeloom init writes one"


def test_keys_are_options_of_the_commands():
    import typer

    options = {name for name in typer.main.get_command(app).commands["run"].params for name in name.opts}
    assert {f"--{key}" for key in KEYS if key != "network"} <= options


def test_any_text_survives_the_file():
    text = 'a"b\\c\nd\x7f\u202eß'
    Path("spikeloom.toml").write_text(project_text({"preset": text}), encoding="utf-8")
    assert read_project(Path("spikeloom.toml"))["preset"] == text


def test_the_page_lists_all_keys():
    text = (Path(__file__).parents[3] / "docs" / "project-file.md").read_text()
    table = text.split("## Keys")[1].split("## Rules")[0]
    listed = [key for line in table.splitlines() if line.startswith("| `") for key in line.split("|")[1].split(", ")]
    assert sorted(key.strip(" `") for key in listed) == sorted(KEYS)


def test_the_example_of_the_page_is_a_project(capsys):
    text = (Path(__file__).parents[3] / "docs" / "project-file.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    found = options_in(example)
    assert found["core"] == ["lanes=4"]
    assert found["encoder"] == "latency:steps=8,bits=4"
    Path("spikeloom.toml").unlink()
    write_network("net.nir")
    Path("spikeloom.toml").write_text(example)
    main(["run", "--backend", "reference", "--images", "2"])
    assert "2 samples" in capsys.readouterr().err


def test_bits_per_weight_as_a_number_a_text_or_a_table():
    for text, options in (
        ("weight-bits = 4", "4"),
        ("weight-bits = '8,hidden=4'", "8,hidden=4"),
        ("[weight-bits]\nhidden = 4\nclass = 8\n", "hidden=4,class=8"),
    ):
        Path("spikeloom.toml").write_text(text)
        assert read_project(Path("spikeloom.toml")) == {"weight_bits": options}
