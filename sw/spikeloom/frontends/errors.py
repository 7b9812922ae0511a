"""Exception for a file or module that cannot be loaded."""

from __future__ import annotations

__all__ = ["LoadError"]


class LoadError(ValueError):
    """A network that a frontend cannot load faithfully. The message is one sentence."""
