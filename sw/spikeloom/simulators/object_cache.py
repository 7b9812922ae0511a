"""Compiles C++, but for what was compiled before: ``python object_cache.py FOLDER g++ ARGUMENTS...``.

Verilator's makefile compiles Verilator's own library, which is the same for all designs, into each binary, and that
takes longer than to compile a small design. It calls this program in front of the compiler (``OBJCACHE``). An object of
that library is kept in ``FOLDER`` under a name made of everything that goes into it; all else is compiled as it is.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]


def main(folder: Path, command: Sequence[str]) -> int:
    """Run the compiler's ``command``, or take what it would write from ``folder``; returns the exit status."""
    sources = [Path(argument) for argument in command if argument.endswith(".cpp") and os.path.isabs(argument)]
    if len(sources) != 1 or "-o" not in command or not sources[0].name.startswith("verilated"):
        return subprocess.run(command, check=False).returncode
    target = Path(command[command.index("-o") + 1])
    cached = folder / f"{_digest(command, target, sources[0])}.o"
    if not cached.exists():
        status = subprocess.run(command, check=False).returncode
        if status or not target.is_file():
            return status
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            # Written beside and renamed: other processes see it whole or not at all.
            shutil.copyfile(target, Path(scratch, "object")).replace(cached)
    else:
        shutil.copyfile(cached, target)
    return 0


def _digest(command: Sequence[str], target: Path, source: Path) -> str:
    """16 hexadecimal digits that change with the compiler, its arguments, and the headers beside the source."""
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True).stdout
    arguments = [argument for argument in command if argument != str(target)]
    digest = hashlib.sha256("\0".join((version, *arguments)).encode())
    for path in (source, *sorted(source.parent.glob("*.h"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
