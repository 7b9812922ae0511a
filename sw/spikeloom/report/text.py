"""Escaping of untrusted text, such as names of populations and networks, for the page."""

from __future__ import annotations

from html import escape

__all__ = ["markup", "visible"]

_LONGEST = 80


def visible(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` of at most ``longest`` characters, with unprintable ones escaped, such as ``\\\\x1b``.

    Unprintable are control characters, and those that change the text direction or take no space.
    """
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def markup(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` escaped for an HTML element or a quoted attribute."""
    return escape(visible(text, longest), quote=True)
