"""Packages of Debian or Ubuntu inside the virtual environment: downloaded and unpacked, without root.

``python -m spikeloom.simulators.debian PROGRAM PACKAGE`` unpacks a package unless the program is on PATH already.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["FOLDER", "find_program", "unpack"]

FOLDER = Path(sys.prefix) / "debian"


def unpack(package: str) -> None:
    """Download and unpack a package into `FOLDER`. Raises ``OSError`` or ``CalledProcessError`` where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True, text=True)
        for file in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", file, FOLDER], check=True, capture_output=True, text=True)


def find_program(name: str) -> str | None:
    """The path of a program on PATH or, if there is none, of an unpacked one."""
    unpacked = FOLDER / "usr" / "bin" / name
    return shutil.which(name) or (str(unpacked) if unpacked.exists() else None)


def _main(program: str, package: str) -> None:
    if find_program(program) is not None:
        return
    print(f"Unpacking the package {package} into {FOLDER}")
    try:
        unpack(package)
    except (OSError, subprocess.CalledProcessError):
        print(f"That failed. To have {program}, have it installed: apt install {package}", file=sys.stderr)


if __name__ == "__main__":
    _main(*sys.argv[1:])
