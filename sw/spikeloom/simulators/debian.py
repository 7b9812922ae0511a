"""Debian or Ubuntu packages inside the virtual environment: downloaded and unpacked without root permissions.

``python -m spikeloom.simulators.debian PROGRAM PACKAGE`` unpacks ``PACKAGE`` unless ``PROGRAM`` is already available.
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
    """Download a package and unpack it into `FOLDER`. Raises ``OSError`` or ``CalledProcessError`` on failure."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True, text=True)
        for file in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", file, FOLDER], check=True, capture_output=True, text=True)


def find_program(name: str) -> str | None:
    """Return the path of a program on PATH or, failing that, in an unpacked package; None if there is neither."""
    unpacked = FOLDER / "usr" / "bin" / name
    return shutil.which(name) or (str(unpacked) if unpacked.exists() else None)


def _main(program: str, package: str) -> None:
    if find_program(program) is not None:
        return
    print(f"Unpacking the package {package} into {FOLDER}")
    try:
        unpack(package)
    except (OSError, subprocess.CalledProcessError):
        print(f"Unpacking failed; install {program} with: apt install {package}", file=sys.stderr)


if __name__ == "__main__":
    _main(*sys.argv[1:])
