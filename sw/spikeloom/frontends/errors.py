"""The error for a file or module that cannot be loaded."""

from __future__ import annotations

__all__ = ["LoadError"]


class LoadError(ValueError):
    """A network that cannot be read faithfully, at whichever front door. The message is one sentence."""
