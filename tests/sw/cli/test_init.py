"""``spikeloom init``."""

from pathlib import Path

from harness.cli import sentence

from spikeloom.cli.app import main
from spikeloom.cli.project import read_project


def test_init_writes_what_the_other_commands_read(network, capsys):
    main(["init", network, "--weight-bits", "5", "--core", "lanes=2", "--core", "bias=yes", "--inputs", "random:3"])
    assert read_project(Path("spikeloom.toml")) == {
        "network": network,
        "weight_bits": "5",
        "core": ["lanes=2", "bias=yes"],
        "inputs": "random:3",
        "seed": "0",
    }
    capsys.readouterr()
    main(["check"])
    assert "net: 64 inputs" in capsys.readouterr().out
    message = sentence(capsys, "init", network)
    assert message == "spikeloom.toml already exists; edit it, or remove it first"
