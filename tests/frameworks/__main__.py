"""`make frameworks`: networks of every framework, exported, run, and compared with the float model and the integers.

For each framework, an environment is created in ``build/frameworks/env-NAME`` from the pinned requirements, its
recorder writes recordings into ``build/frameworks/recordings/NAME``, and each recording is replayed. Finished parts are
not repeated unless the requirements or the recorder change. Verdicts are in ``build/frameworks/summary.json``. With
``--keep``, the recordings replace those of the repository, and the table in docs/frameworks.md is written again.

The exit status is 1 if a recording misses a bar of `frameworks.replay.verdict_of`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from frameworks.replay import FRAMEWORKS, RECORDINGS, Verdict, read, recordings, verdict_of
from frameworks.table import PAGE, filled

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "frameworks"


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _say(text: str, begin: float) -> None:
    print(f"[{time.monotonic() - begin:4.0f} s] {text}", flush=True)


def _run(command: Sequence[str | Path], **environment: str) -> None:
    subprocess.run(list(map(str, command)), check=True, env=os.environ | environment)


def _environment(name: str, begin: float) -> Path:
    """Create the environment of a framework if it does not exist; return its Python."""
    folder = BUILD / f"env-{name}"
    python = folder / "bin" / "python"
    first = [] if name == "spyx" else [HERE / "requirements" / "torch.txt"]
    own = HERE / "requirements" / f"{name}.txt"
    stamp, digest = folder / "requirements.sha256", _digest(*first, own)
    if stamp.exists() and stamp.read_text() == digest:
        _say(f"{name}: the environment is there", begin)
        return python
    _say(f"{name}: making {folder.relative_to(ROOT)}, up to 300 MB to download", begin)
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", folder])
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--progress-bar", "on"]
    for requirements in first:
        _run([*pip, "-r", requirements])
    _run([*pip, "--no-deps", "-r", own])
    stamp.write_text(digest)
    return python


def _record(name: str, python: Path, begin: float) -> Path:
    """Run the recorder of a framework if its recordings do not exist; return their folder."""
    folder = BUILD / "recordings" / name
    sources = [HERE / "recorders" / file for file in ("common.py", "torch_layers.py", f"record_{name}.py")]
    stamp = BUILD / "recordings" / f"{name}.sha256"
    digest = _digest(*sources, *(HERE / "requirements" / f"{file}.txt" for file in ("torch", name)))
    if stamp.exists() and stamp.read_text() == digest:
        _say(f"{name}: the recordings are there", begin)
        return folder
    _say(f"{name}: recording", begin)
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-W", "ignore", sources[-1], folder], OMP_NUM_THREADS="1", JAX_PLATFORMS="cpu")
    stamp.write_text(digest)
    return folder


def _verdicts(name: str, folder: Path, begin: float) -> list[Verdict]:
    found = [verdict_of(read(path)) for path in recordings(folder.parent, name)]
    for verdict in found:
        if not verdict.kept:
            _say(f"{name}: {verdict.feature} misses its bar: {verdict.text}", begin)
    counts = {kind: sum(v.verdict == kind for v in found) for kind in ("equal", "differs", "refused")}
    _say(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()), begin)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=FRAMEWORKS, action="append", help="one framework; may be repeated")
    parser.add_argument("--keep", action="store_true", help="replace the recordings and the table of the repository")
    given = parser.parse_args()
    names = [name for name in FRAMEWORKS if not given.only or name in given.only]
    begin = time.monotonic()
    verdicts: list[Verdict] = []
    for name in names:
        folder = _record(name, _environment(name, begin), begin)
        verdicts += _verdicts(name, folder, begin)
        if given.keep:
            shutil.rmtree(RECORDINGS / name, ignore_errors=True)
            shutil.copytree(folder, RECORDINGS / name)
    summary = BUILD / "summary.json"
    summary.write_text(json.dumps([verdict.entry for verdict in verdicts], indent=1) + "\n")
    if given.keep:
        kept = [verdict_of(read(path)) for path in recordings()]
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    missed = sum(not verdict.kept for verdict in verdicts)
    _say(f"{len(verdicts)} recordings, {missed} miss their bar: {summary.relative_to(ROOT)}", begin)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
