"""Cache of compiled code per user: shared libraries and simulator binaries, by a hash of everything they are made from.

The cache is ``$XDG_CACHE_HOME/spikeloom``, by default ``~/.cache/spikeloom``. A loaded library is code that runs with
the permissions of the user. The folder is therefore private (mode 0700; it is refused if it has another owner or others
can write to it), and a file is used only if its checksum equals that of the file that was built; otherwise it is built
again. Each entry has a lock, so that two processes never build the same entry at once. Above 2 GiB, the least recently
used entries are removed.
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
"""Maximum total size of the entries; above it the least recently used ones are removed."""

_LOCK, _SUM, _SCRATCH = ".lock", ".sha256", ".scratch"
_SOURCE = ".cc"  # source file of an entry that is being built


class CacheError(RuntimeError):
    """The cache folder cannot be trusted or used. The message is one sentence."""


def user_cache() -> Cache:
    """Return the cache of this user. Raises `CacheError` if its folder cannot be trusted."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification requires that relative paths are ignored.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return Cache(home / "spikeloom")


class Cache:
    """Files by name in one folder.

    Parameters
    ----------
    folder
        Folder of the cache, created if missing. `CacheError` if it is not a folder, belongs to another user, or is
        writable by others.
    limit
        Maximum total size of the entries in bytes.
    """

    def __init__(self, folder: Path, *, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit = limit
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()  # not stat: a symbolic link could point to a folder of another user
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
        """Return the path of the entry ``name``, and whether it was built now.

        If it is missing or damaged, ``make`` is called with the path to write; its errors are passed on.
        """
        path = self.folder / name
        with self._locked(name):
            made = not self._is_whole(path)
            if made:
                self._make(path, make)
            os.utime(path)  # the time of modification serves as the time of last use
        if made:
            self._trim(keep=name)
        return path, made

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        scratch = path.with_name(path.name + _SCRATCH)
        try:
            make(scratch)
            digest = _digest(scratch)
            # The checksum is written before the file appears: an interruption leaves no file with a stale checksum.
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
        """Hold the lock of an entry. Raises `BlockingIOError` if another process holds it, without ``wait``."""
        path = self.folder / (name + _LOCK)
        while True:
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                try:
                    same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
                except FileNotFoundError:
                    same = False
                if same:  # otherwise the entry and its lock file were removed in the meantime
                    yield
                    return

    def _trim(self, *, keep: str) -> None:
        """Remove the least recently used entries beyond the limit, except ``keep`` and locked ones."""
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
