"""Every command, option and make target in the pages exists."""

import re
from pathlib import Path

import pytest
import typer.main

from spikeloom.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
OPTIONS = {
    name: {"--help", *(text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts))}
    for name, command in typer.main.get_command(app).commands.items()
}


def commands(page):
    """The commands on ``page``, in blocks and in backticks, each as its name and the rest of its line."""
    joined = re.sub(r"\\\n\s*", " ", page)  # a command in several lines
    blocks = re.findall(r"^```sh\n(.*?)^```", joined, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", joined)
    found = (re.match(r"spikeloom +([a-z-]+)([^#;|>]*)", line) for line in lines)
    return [match.groups() for match in found if match]


def unknown(page):
    """The commands and options on ``page`` that the command line does not have."""
    found = []
    for command, rest in commands(page):
        if command not in OPTIONS:
            found.append(command)
            continue
        given = re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)
        found += [f"{command} {option}" for option in given if option not in OPTIONS[command]]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_and_options_exist(page):
    assert unknown(page.read_text()) == []


def test_what_does_not_exist_is_found():
    text = "```sh\nspikeloom chek net.nir\nspikeloom run net.nir --prt x \\\n  --images 3 --sed 1 # --none\n```\n"
    assert unknown(text + "`spikeloom flash BOARD --port x`") == ["chek", "run --prt", "run --sed", "flash --port"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_options_in_the_text_exist(page):
    """An option named without its command must be an option of some command."""
    known = {"--version"}.union(*OPTIONS.values())
    assert set(re.findall(r"`(--[a-z][a-z-]*)", page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_exist(page):
    rules = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    assert {"test", "simulate"} < targets
    assert set(re.findall(r"(?:^|`)make\s+([a-z][a-z-]*)", page.read_text(), re.MULTILINE)) <= targets


def test_pages_name_many_commands():
    found = [command for page in PAGES for command, _ in commands(page.read_text())]
    assert len(found) > 50
    assert set(found) > {"check", "run", "bitstream", "serve", "flash"}
