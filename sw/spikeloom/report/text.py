"""Text of users on a page: names of populations and networks come from files, and those from strangers."""

from __future__ import annotations

from html import escape

__all__ = ["markup", "visible"]

_LONGEST = 80


def visible(text: str, longest: int = _LONGEST) -> str:
    """``text`` with all that is not printable written out, such as ``\\\\x1b``, and not longer than ``longest``.

    Not printable are, beside control characters, those that turn the direction of what follows or take no space.
    """
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def markup(text: str, longest: int = _LONGEST) -> str:
    """``text`` as HTML, in an element or in a quoted attribute."""
    return escape(visible(text, longest), quote=True)
