"""What the commands print: results on standard output, progress and notes on standard error, names of strangers safely.

Names of networks, populations and files come from files of any origin. They are printed as they are,
never as markup, and a character that would move the cursor, change colours or reverse the direction of the text is
printed as its escape sequence.
"""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["JSON_FORMAT", "figures", "note", "notes", "one_line", "out", "print_json", "printable", "progress_bar"]

JSON_FORMAT = 1
"""The "format" of what ``--json`` prints: raised when a key changes its meaning or goes."""


def printable(text: str) -> str:
    """``text`` with every character that is not printable as an escape sequence; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """As `printable`, with the ends of lines escaped as well."""
    return printable(text).replace("\n", "\\n")


class _SafeConsole(Console):
    """A console to which every string is text, not markup."""

    def render_str(self, text: str, **options: Any) -> Text:
        # Everything that is printed as a string, cells and titles of tables included, passes here.
        return super().render_str(printable(text), **options)


out = _SafeConsole(highlight=False, markup=False, emoji=False)
"""Results."""
notes = _SafeConsole(highlight=False, markup=False, emoji=False, stderr=True)
"""Progress, and what is said on the way."""


def note(text: str) -> None:
    """Print a note on standard error, on one line however long it is."""
    notes.print(text, soft_wrap=True)


def progress_bar(title: str) -> Progress:
    """A bar with ``title`` before it, on a terminal; notes can be printed while it is shown."""
    columns = (TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=notes, disable=not notes.is_terminal)


def print_json(content: dict[str, Any]) -> None:
    """Print ``content`` as one JSON object, with the number of its format first."""
    print(json.dumps({"format": JSON_FORMAT, **content}, indent=2, allow_nan=False))


def figures(value: float) -> str:
    """``value`` to three significant figures, written out with separators: 3,100 and 0.0123, never 3.1e+03."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    text = f"{rounded:,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
