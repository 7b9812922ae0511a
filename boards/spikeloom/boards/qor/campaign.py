"""Measurement of what is stale in ``qor/``; it can be interrupted and resumed.

The hash of each netlist is computed without synthesis. Because this takes minutes for all of them, the hashes are
remembered with a hash of all sources that netlists are generated from.

Each finished seed is stored in a folder that is named after the hash of the netlist and the versions of the tools, and
is never measured again. A kept file is written when all of its seeds are finished, and only in a checkout without
uncommitted changes of these sources: it names the commit whose sources generate the netlist.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from spikeloom.boards.bitstream.steps import run_seeds
from spikeloom.boards.qor.figures import Figures, Measured, stale
from spikeloom.boards.qor.measure import hash_of
from spikeloom.sim.lib.files import json_from, read_text, write_whole

__all__ = [
    "SOURCES",
    "STORE",
    "DirtyError",
    "Subject",
    "commit_of",
    "in_history",
    "measure",
    "netlists",
    "reasons",
    "source_hash",
]

STORE = Path("build/qor")

SOURCES = ("hdl", "sim", "boards", "pyproject.toml")
"""Paths in the checkout that determine netlists and tools."""


class DirtyError(RuntimeError):
    """No commit can be named for a measurement. The message is one sentence."""


class Subject(Protocol):
    """Something to measure."""

    title: str
    file_name: str
    seeds: int

    def read(self, text: str) -> Any:
        """Parse a kept file. Raises ``ValueError`` for other content."""
        ...

    def tools(self) -> list[str]:
        """Return the tools that determine the figures, with their versions."""
        ...

    def netlist(self) -> str:
        """Return the hash of the netlist, and of the commands that it goes through."""
        ...

    def synthesise(self, folder: Path, announce: Callable[[str], None]) -> None:
        """Write the files that `route` needs into ``folder``."""
        ...

    def route(self, folder: Path, seed: int) -> Measured:
        """Place and route with ``seed``."""
        ...

    def stop(self, seed: int) -> None:
        """End the place and route of ``seed``."""
        ...

    def figures(self, measured: dict[int, Measured], netlist: str, commit: str) -> Figures:
        """Return the figures to be kept."""
        ...

    def wrong(self, kept: Any, quality: Any) -> list[str]:
        """Return one sentence for each problem with the figures, compared with those that were kept."""
        ...


@functools.cache
def source_hash() -> str:
    """Return the hash of all sources that netlists are generated from, and of the versions of their packages.

    They are read once: what is on the disk later may not be what this process has loaded.
    """
    digest = hashlib.sha256()
    for package in ("hdl", "sim", "boards"):
        for portion in importlib.import_module(f"spikeloom.{package}").__path__:
            for path in sorted(Path(portion).rglob("*")):
                if path.suffix in (".py", ".json"):
                    digest.update(f"{package}/{path.relative_to(portion)}\n".encode() + path.read_bytes())
    for name in ("amaranth", "amaranth-boards"):
        digest.update(importlib.metadata.version(name).encode())
    return digest.hexdigest()


def netlists(
    subjects: Sequence[Subject],
    *,
    store: Path = STORE,
    jobs: int = 1,
    netlist_of: Callable[[Subject], Callable[[], str]] = lambda subject: subject.netlist,
    announce: Callable[[str], None] = print,
) -> dict[str, str]:
    """Return the hash of the netlist of each subject by its title, in ``jobs`` processes.

    ``netlist_of`` returns a function that computes it; to be sent to other processes, it must be picklable.
    """
    path, sources = store / "netlists.json", source_hash()
    known: dict[str, str] = {}
    if path.exists():
        content = json_from(read_text(path), str(path))
        known = content["netlists"] if content["sources"] == sources else {}
    missing = [subject for subject in subjects if subject.title not in known]
    if missing:
        announce(f"generating {len(missing)} netlist{'s' * (len(missing) > 1)}: up to five minutes for all of them")
        if jobs > 1:
            with ProcessPoolExecutor(jobs) as pool:
                futures = {subject.title: pool.submit(netlist_of(subject)) for subject in missing}
                known |= {title: future.result() for title, future in futures.items()}
        else:
            known |= {subject.title: netlist_of(subject)() for subject in missing}
        store.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"sources": sources, "netlists": known}, indent=2) + "\n")
    return {subject.title: known[subject.title] for subject in subjects}


def reasons(
    subjects: Iterable[Subject],
    folder: Path,
    hashes: Callable[[Sequence[Subject]], dict[str, str]],
    is_known: Callable[[str], bool],
) -> dict[str, str]:
    """Return, for each stale subject, its title and the reason.

    ``hashes`` is called only for subjects that may be current, because it is slow. ``is_known`` tells whether a commit
    is in the history: after a rebase it may not be, and then the file is written again from the stored seeds.
    """
    found: dict[str, str] = {}
    candidates: list[tuple[Subject, Figures]] = []
    for subject in subjects:
        path = folder / subject.file_name
        kept = subject.read(path.read_text()) if path.exists() else None
        if reason := stale(kept, kept.netlist if kept else "", subject.tools(), subject.seeds):
            found[subject.title] = reason
        elif kept is not None and not is_known(kept.commit):
            found[subject.title] = f"the commit {kept.commit[:10]} is not in the history"
        elif kept is not None:
            candidates.append((subject, kept))
    netlist = hashes([subject for subject, _ in candidates]) if candidates else {}
    for subject, kept in candidates:
        if reason := stale(kept, netlist[subject.title], subject.tools(), subject.seeds):
            found[subject.title] = reason
    return found


def commit_of(root: Path) -> str:
    """Return the commit of the checkout at ``root``. Raises `DirtyError` if `SOURCES` differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise DirtyError("figures are kept only in a git checkout, because they name its commit")
        return done.stdout

    if changed := git("status", "--porcelain", "--", *SOURCES).splitlines():
        raise DirtyError(
            f"{len(changed)} file{'s' * (len(changed) > 1)} of {', '.join(SOURCES)} differ from the commit; "
            "finished seeds are stored: commit, then run make qor again to keep the figures"
        )
    return git("rev-parse", "HEAD").strip()


def in_history(root: Path, commit: str) -> bool:
    """Return whether ``commit`` is in the history of the checkout at ``root``; true where that cannot be known."""

    def git(*words: str) -> tuple[int, str]:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    if git("rev-parse", "--is-shallow-repository") != (0, "false"):
        return True
    return git("merge-base", "--is-ancestor", commit, "HEAD")[0] == 0


def measure(
    subject: Subject, netlist: str, *, store: Path = STORE, jobs: int = 1, announce: Callable[[str], None] = print
) -> dict[int, Measured]:
    """Return the results of all seeds of ``subject``, ``jobs`` at a time; those that are stored are not repeated.

    ``netlist`` is the hash of its netlist. Raises ``RuntimeError`` if a tool fails.
    """
    folder = (store / hash_of([netlist, *subject.tools()])).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    files = {seed: folder / f"measured-{seed}.json" for seed in range(1, subject.seeds + 1)}
    measured = {seed: Measured.from_json(read_text(path)) for seed, path in files.items() if path.exists()}
    missing = [seed for seed in files if seed not in measured]
    if measured:
        announce(f"{subject.title}: {len(measured)} of {subject.seeds} seeds are stored")
    if not missing:
        return measured
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    subject.synthesise(scratch, lambda sentence: announce(f"{subject.title}: {sentence}"))

    def route(seed: int) -> tuple[int, Measured]:
        found = subject.route(scratch, seed)
        write_whole(files[seed], found.to_json())
        fmax = ", ".join(f"{mhz:.1f} MHz" for mhz in found.clocks.values())
        announce(f"{subject.title}: seed {seed} of {subject.seeds}: {fmax} in {found.seconds:.0f} s")
        return seed, found

    measured |= dict(run_seeds(route, missing, jobs=jobs, stop=subject.stop))
    shutil.rmtree(scratch)
    return measured
