"""A full disk, simulated for all code that writes files for users."""

import errno
import os

__all__ = ["contents", "fill_the_disk"]


def fill_the_disk(monkeypatch):
    """Let every file fail when it is flushed, as systems with delayed allocation do."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)


def contents(folder):
    """Every file below ``folder`` with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
