"""What is compiled once per machine and user: shared libraries and simulator binaries, by a hash of all that made them.

They lie in ``$XDG_CACHE_HOME/spikeloom``, or else ``~/.cache/spikeloom``. A library that is loaded is code that runs as
the user, so the folder is the user's alone (mode 0700, and refused if it belongs to, or can be written by, anybody
else), and a file is used only if its checksum is that of the file that was made; otherwise it is made again. Each entry
has a lock, so that two processes never make the same one at once. Beyond 2 GiB the least recently used entries go.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["LIMIT_BYTES", "Cache", "CacheError", "user_cache"]

LIMIT_BYTES = 2 << 30
"""Size of all entries together from which on the least recently used are removed."""

_LOCK, _SUM, _SCRATCH = ".lock", ".sha256", ".scratch"
_SOURCE = ".cc"  # beside what is being made


class CacheError(RuntimeError):
    """The cache folder cannot be trusted or used. The message is one sentence."""


def user_cache() -> Cache:
    """The cache of this user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of the XDG base directories says that a relative path is to be ignored.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return Cache(home / "spikeloom")


class Cache:
    """Files by name in one folder.

    Parameters
    ----------
    folder
        Where they are. It is made if it is not there; `CacheError` if it is there and somebody else could write to it.
    limit
        Bytes of all entries together; the least recently used go first.
    """

    def __init__(self, folder: Path, *, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit = limit
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise CacheError(f"the cache folder {folder} must be a folder; remove what is there")
        if found.st_uid != os.geteuid():
            raise CacheError(f"the cache folder {folder} must belong to you, not to user {found.st_uid}; remove it")
        if found.st_mode & 0o022:
            raise CacheError(
                f"the cache folder {folder} must be writable by you only; remove it, or what others put in it"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)

    def get(self, name: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
        """The file ``name`` and whether it was made now, by ``make``, which is called with the path to write."""
        path = self.folder / name
        with self._locked(name):
            made = not self._is_whole(path)
            if made:
                self._make(path, make)
            os.utime(path)  # it is the most recently used
        if made:
            self._trim(keep=name)
        return path, made

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        scratch = path.with_name(path.name + _SCRATCH)
        try:
            make(scratch)
            digest = _digest(scratch)
            path.unlink(missing_ok=True)
            path.with_name(path.name + _SUM).write_text(digest + "\n")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

    def _is_whole(self, path: Path) -> bool:
        try:
            expected = path.with_name(path.name + _SUM).read_text().strip()
            return path.lstat().st_uid == os.geteuid() and _digest(path) == expected
        except (OSError, ValueError):
            return False

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of an entry; `BlockingIOError` if it is held and there is no time to wait."""
        path = self.folder / (name + _LOCK)
        while True:
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                try:
                    same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
                except FileNotFoundError:
                    same = False
                if same:  # else the entry was removed meanwhile, and its lock with it
                    yield
                    return

    def _trim(self, *, keep: str) -> None:
        """Remove the least recently used entries until the rest is small enough; none that is in use."""
        entries = []
        for path in self.folder.iterdir():
            if path.suffix not in (_LOCK, _SUM, _SCRATCH, _SOURCE) and path.is_file():
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    entries.append((found.st_mtime_ns, path.name, found.st_size))
        total = sum(size for _, _, size in entries)
        for _, name, size in sorted(entries):
            if total <= self.limit:
                return
            if name == keep:
                continue
            with contextlib.suppress(BlockingIOError), self._locked(name, wait=False):
                for suffix in ("", _SUM, _LOCK):
                    (self.folder / (name + suffix)).unlink(missing_ok=True)
                total -= size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
