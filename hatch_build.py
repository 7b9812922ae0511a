"""Build hook: compiles ``samples.c``, the inner loops of the host driver, where there is a C compiler.

The library is loaded with ctypes, so it needs no headers and fits every Python. Without a compiler, on Windows, or with
``SPIKELOOM_PURE=1`` in the environment, the wheel holds Python only, and the driver uses NumPy.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("sim/spikeloom/sim/host/samples.c")
LIBRARY = SOURCE.with_name("libsamples.so")


def compile_library(root: Path, library: Path) -> bool:
    """Compile the library; return False if there is no compiler that can."""
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if os.name != "posix" or shutil.which(compiler[0]) is None:
        return False
    source = root / SOURCE
    checksum = f"-DSOURCE={zlib.crc32(source.read_bytes())}u"
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder, library.name)
        command = [*compiler, "-std=c99", "-O2", "-fPIC", "-shared", checksum, str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{source.name} is left out, because {compiler[0]} cannot compile it: {done.stderr}", file=sys.stderr)
            return False
        made.replace(library)  # at once: another process may be loading it
    return True


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to wheels, and puts it beside its source for editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        self._folder = Path(tempfile.mkdtemp())
        pure = self.target_name != "wheel" or os.environ.get("SPIKELOOM_PURE") == "1"
        if version == "editable":
            if pure or not compile_library(root, root / LIBRARY):
                (root / LIBRARY).unlink(missing_ok=True)
        elif not pure and compile_library(root, self._folder / LIBRARY.name):
            build_data["force_include"][str(self._folder / LIBRARY.name)] = str(Path(*LIBRARY.parts[1:]))
            build_data["pure_python"] = False
            # Any Python 3, but this system and processor.
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._folder)
