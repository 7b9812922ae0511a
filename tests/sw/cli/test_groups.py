"""Groups of options: every command that takes a network has the same ones, with the same defaults."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer

from spikeloom.cli.app import main
from spikeloom.cli.commands import app
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Conversion, Hardware, Loading, Samples

WITH_A_NETWORK = {
    "init": (Loading, Hardware, Samples),
    "check": (Loading, Hardware),
    "place": (Loading, Hardware, Samples),
    "report": (Loading, Hardware, Samples),
    "simulate": (Loading, Hardware, Samples),
    "generate": (Loading, Hardware),
    "bitstream": (Loading, Hardware),
    "run": (Loading, Hardware, Samples),
    "explore": (Conversion,),
}


@pytest.mark.parametrize("name", WITH_A_NETWORK)
def test_a_command_that_takes_a_network_has_the_common_options(name):
    command = typer.main.get_command(app).commands[name]
    options = {parameter.name: parameter for parameter in command.params}
    for group in WITH_A_NETWORK[name]:
        for field in fields(group):
            assert options[field.name].default == field.default
            assert "--" + field.name.replace("_", "-") in options[field.name].opts
    assert {"network", "networks"} & set(options)


def test_no_other_command_takes_a_network():
    commands = typer.main.get_command(app).commands
    takes = {name for name, command in commands.items() if {"network", "networks"} & {p.name for p in command.params}}
    assert takes == set(WITH_A_NETWORK)


def test_a_group_is_made_of_its_options():
    @dataclass(frozen=True, kw_only=True)
    class Size:
        width: Annotated[int, typer.Option()] = 3
        tall: Annotated[bool, typer.Option("--tall")] = False

    made = []
    small = typer.Typer()

    @small.command()
    @grouped
    def paint(colour: str, *, size: Size, thick: bool = False) -> None:
        made.append((colour, size, thick))

    small(["red", "--tall", "--width", "5"], standalone_mode=False)
    small(["blue", "--thick"], standalone_mode=False)
    assert made == [("red", Size(width=5, tall=True), False), ("blue", Size(), True)]


@pytest.mark.parametrize("name", [*WITH_A_NETWORK, "flash", "serve", "boards", "info", "mnist"])
def test_help(name, capsys):
    main([name, "-h"])
    short = capsys.readouterr().out
    main([name, "--help"])
    assert capsys.readouterr().out == short
    assert "Usage: spikeloom " + name in short
