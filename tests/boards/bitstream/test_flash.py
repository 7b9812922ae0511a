"""Loading a bitstream into a board, with stand-ins for the tools."""

import os
import stat
from types import SimpleNamespace

import pytest

from spikeloom.boards.bitstream.flash import _LIBRARIES, FlashError, flash, flash_command
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.cli.app import main


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    """A folder with builds, and a PATH with only the programs that the tests put there."""
    for board in BOARDS.values():
        folder = tmp_path / "build" / board.name
        folder.mkdir(parents=True)
        (folder / f"{board.name}{board.flow.suffix}").write_bytes(b"bits")
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def put_tool(name, script):
    path = os.path.join("bin", name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + script)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def test_the_tool_gets_the_bitstream():
    put_tool("openFPGALoader", 'echo "got $@"')
    said = []
    flash("ulx3s-85f", announce=said.append)
    assert said == ["got --board ulx3s build/ulx3s-85f/ulx3s-85f.bit"]


def test_the_command(capsys):
    put_tool("iceprog", "echo done")
    main(["flash", "icebreaker"])
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["done"]
    assert shown.out.splitlines() == ["icebreaker is loaded", "spikeloom run --board icebreaker --port ..."]


def test_no_bitstream(tmp_path):
    message = r"^.*icebreaker.bin does not exist; build it with: spikeloom bitstream --board icebreaker$"
    with pytest.raises(FlashError, match=message):
        flash("icebreaker", tmp_path / "nothing")


@pytest.mark.parametrize("board", [board for board in BOARDS.values() if not board.obstacle], ids=lambda b: b.name)
def test_a_missing_tool_is_named_with_where_it_is(board, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: ())
    name = board.flash_command[0]
    where = "it is not a package" if name == "sh" else "(pip|apt) install|the program is on"
    with pytest.raises(FlashError, match=f"^loading {board.name} needs {name}, which is not installed: ({where})"):
        flash_command(board, tmp_path / "x")


def test_the_tool_of_a_python_package(tmp_path, monkeypatch):
    script = SimpleNamespace(module="json.tool", attr="main")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group, name: [script] * (name[:4] == "open"))
    command = flash_command(BOARDS["ulx3s-85f"], tmp_path / "x")
    assert command[1:3] == ["-c", "import sys, json.tool; sys.exit(json.tool.main())"]
    assert command[3:] == ["--board", "ulx3s", str(tmp_path / "x")]


def test_missing_libraries_are_named_with_their_packages():
    put_tool(
        "openFPGALoader",
        """
echo "$PWD/bin/openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file"
exit 127""",
    )
    message = "^openFPGALoader needs libusb-1.0.so.0, which is not installed: apt install libusb-1.0-0$"
    with pytest.raises(FlashError, match=message):
        flash("ulx3s-85f", announce=lambda line: None)
    lines = "".join(f"echo '\t{library} => not found'\n" for library in _LIBRARIES)
    put_tool("ldd", lines + "echo '\tlibc.so.6 => /lib/libc.so.6 (0x1)'")
    with pytest.raises(FlashError, match=f"apt install {' '.join(_LIBRARIES.values())}$"):
        flash("ulx3s-85f", announce=lambda line: None)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("unable to open ftdi device: -4 (usb_open() failed)", "^iceprog has no permission for the board's USB dev"),
        (
            "Can't find iCE FTDI USB device",
            "^iceprog failed to load icebreaker with status 2: Can't find iCE FTD",
        ),
        ("", "^iceprog failed to load icebreaker with status 2: it said nothing$"),
    ],
)
def test_a_tool_that_fails(said, message):
    put_tool("iceprog", f'echo "{said}"; exit 2')
    with pytest.raises(FlashError, match=message):
        flash("icebreaker", announce=lambda line: None)
