"""Tools of a build: how they are found, how versions are distinguished, and their arguments."""

import hashlib
import importlib.metadata
import stat
import sys

import pytest

from spikeloom.boards.families.flow import ECP5, GOWIN, ICE40, Tool, ToolError

ABSENT = Tool(name="nextpnr-none", distribution="yowasp-nextpnr-none")


@pytest.fixture
def program(tmp_path):
    """A program of the user."""
    path = tmp_path / "mine"
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_program_that_a_variable_names(monkeypatch, program):
    assert ABSENT.variable == "NEXTPNR_NONE"
    monkeypatch.setenv("NEXTPNR_NONE", str(program))
    assert ABSENT.command() == [str(program)]
    assert ABSENT.version() == f"nextpnr-none {hashlib.sha256(program.read_bytes()).hexdigest()}"
    before = ABSENT.version()
    program.write_text("#!/bin/bash\n")
    assert ABSENT.version() != before, "another program would give another bitstream"


def test_a_program_on_the_path(monkeypatch, program):
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("NEXTPNR_NONE", "mine")
    assert ABSENT.command() == [str(program)]


@pytest.mark.parametrize("ask", [Tool.command, Tool.version])
def test_a_variable_that_names_no_program(monkeypatch, tmp_path, ask):
    monkeypatch.setenv("NEXTPNR_NONE", str(tmp_path / "none"))
    with pytest.raises(ToolError, match=r"^The environment variable NEXTPNR_NONE must name a program, not '.*/none'$"):
        ask(ABSENT)


@pytest.mark.parametrize("ask", [Tool.command, Tool.version])
def test_what_is_not_installed_is_named_with_the_remedy(monkeypatch, ask):
    monkeypatch.delenv("NEXTPNR_NONE", raising=False)
    message = (
        r"^The build needs nextpnr-none, which is not installed; install it with: pip install 'spikeloom\[boards\]' "
        r"\(or name a program in NEXTPNR_NONE\)$"
    )
    with pytest.raises(ToolError, match=message):
        ask(ABSENT)


def test_a_command_of_a_package_is_called_by_this_python(monkeypatch):
    script = importlib.metadata.EntryPoint("yowasp-nextpnr-none", "some.module:run", "console_scripts")
    asked = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **query: asked.append(query) or (script,))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"1.2 of {name}")
    assert ABSENT.command() == [sys.executable, "-c", "import sys, some.module; sys.exit(some.module.run())"]
    assert ABSENT.version() == "nextpnr-none 1.2 of yowasp-nextpnr-none"
    Tool(name="pack", distribution="packs", script="own-name").command()
    assert [query["name"] for query in asked] == ["yowasp-nextpnr-none", "own-name"]


@pytest.mark.parametrize("flow", [ECP5, ICE40, GOWIN], ids=["ecp5", "ice40", "gowin"])
def test_every_flow_gets_its_clock_and_must_meet_it(flow):
    overrides = flow.platform_overrides(27.5)
    assert overrides["nextpnr_opts"] == "--seed 1 --report nextpnr.json --freq 27.500"
    assert overrides.items() >= flow.overrides.items()
    assert "timing-allow-fail" not in " ".join(overrides.values())
    assert [flow.tool(tool.name) for tool in flow.tools] == list(flow.tools)
    assert ("ff" in flow.resources) == (flow.flip_flop_cells is None), "flip-flops are counted in one place"
    assert next(iter(flow.resources)) == "lut"


def test_the_command_line_of_a_newer_nextpnr_for_gowin():
    given = ["--json", "top.json", "--family", "GW1N-9C", "--cst", "top.cst", "--write", "out.json"]
    wanted = ["--json", "top.json", "--vopt", "family=GW1N-9C", "--vopt", "cst=top.cst", "--write", "out.json"]
    assert GOWIN.arguments("nextpnr-gowin", given) == wanted
    assert GOWIN.arguments("yosys", given) == given
    assert ECP5.arguments("nextpnr-ecp5", given) == given
