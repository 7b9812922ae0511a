"""Python's shared library, which cocotb needs: from the system, or a copy inside the virtual environment.

On Debian and Ubuntu it is in a separate package, which is not installed by default.
``python -m spikeloom.simulators.libpython`` unpacks that package if necessary (`spikeloom.simulators.debian`).
"""

from __future__ import annotations

import os
import subprocess
import sys

from spikeloom.simulators import debian

__all__ = ["find"]

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def find() -> str | None:
    """Return the path of the shared library, or None. The variable ``LIBPYTHON_LOC`` takes precedence."""
    import find_libpython

    if "LIBPYTHON_LOC" in os.environ:
        return os.environ["LIBPYTHON_LOC"]
    copies = sorted(debian.FOLDER.glob(f"usr/lib/**/libpython{_VERSION}.so.1.0"))
    return find_libpython.find_libpython() or (str(copies[0]) if copies else None)


def _main() -> None:
    if find() is not None:
        return
    print(
        f"This Python comes without its shared library: unpacking the package libpython{_VERSION} into {debian.FOLDER}"
    )
    try:
        debian.unpack(f"libpython{_VERSION}")
    except (OSError, subprocess.CalledProcessError):
        print(f"Unpacking failed; install it with: apt install libpython{_VERSION}", file=sys.stderr)


if __name__ == "__main__":
    _main()
