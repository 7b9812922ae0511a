"""Compiler cache for Verilator's own library: ``python object_cache.py FOLDER g++ ARGUMENTS...``.

For each binary, Verilator's makefile compiles Verilator's own library again, which is the same for all designs and
takes longer than a small design. The makefile calls this program in front of the compiler (``OBJCACHE``). Objects of
that library are kept in ``FOLDER`` under a hash of everything that goes into them; other files are passed to the
compiler unchanged.
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
    """Run the compiler ``command``, or copy its result from ``folder``. Return the exit status."""
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
            # Renaming is atomic: other processes see the complete object or none.
            shutil.copyfile(target, Path(scratch, "object")).replace(cached)
    else:
        shutil.copyfile(cached, target)
    return 0


def _digest(command: Sequence[str], target: Path, source: Path) -> str:
    """Return a hash, 16 hexadecimal digits, of the compiler, its arguments, the source and the headers beside it."""
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True).stdout
    # The target is a scratch path, different in each build.
    arguments = [argument for argument in command if argument != str(target)]
    digest = hashlib.sha256("\0".join((version, *arguments)).encode())
    for path in (source, *sorted(source.parent.glob("*.h"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
