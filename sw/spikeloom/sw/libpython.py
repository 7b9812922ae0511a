"""Python's shared library, which cocotb needs: the system's, or a copy inside the virtual environment.

Debian and Ubuntu keep it in a package of its own, which a fresh system lacks. ``python -m spikeloom.sw.libpython``
makes the copy where it is needed: it downloads that package and unpacks it, both of which anybody may do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["copy_of_package", "find"]

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_COPY = Path(sys.prefix) / "libpython"


def find() -> str | None:
    """The path of the shared library, or None. The variable ``LIBPYTHON_LOC`` goes before all."""
    import find_libpython

    if "LIBPYTHON_LOC" in os.environ:
        return os.environ["LIBPYTHON_LOC"]
    copies = sorted(_COPY.glob(f"usr/lib/**/libpython{_VERSION}.so.1.0"))
    return find_libpython.find_libpython() or (str(copies[0]) if copies else None)


def copy_of_package() -> None:
    """Download and unpack the distribution's package. Raises ``OSError`` or ``CalledProcessError`` where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["apt-get", "download", f"libpython{_VERSION}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, _COPY], check=True, capture_output=True, text=True)


def _main() -> None:
    if find() is not None:
        return
    print(f"This Python comes without its shared library: unpacking the package libpython{_VERSION} into {_COPY}")
    try:
        copy_of_package()
    except (OSError, subprocess.CalledProcessError):
        print(f"That failed. To simulate, have it installed: apt install libpython{_VERSION}", file=sys.stderr)


if __name__ == "__main__":
    _main()
