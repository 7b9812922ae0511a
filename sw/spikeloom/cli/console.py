"""Output of the commands: results on standard output, progress and notes on standard error, untrusted names escaped.

Names of networks, populations and files may come from untrusted files. They are printed literally, never as markup;
a character that would move the cursor, change colours or reverse the direction of the text is printed as its escape
sequence.
"""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from spikeloom.sim.lib.formats import JSON_OUTPUT

__all__ = ["figures", "note", "notes", "one_line", "out", "print_json", "printable", "progress_bar"]


def printable(text: str) -> str:
    """Return ``text`` with every unprintable character replaced by its escape sequence, except line ends."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Like `printable`, but also escape line ends."""
    return printable(text).replace("\n", "\\n")


class _SafeConsole(Console):
    """Console that treats every string as plain text, not as markup."""

    def render_str(self, text: str, **options: Any) -> Text:
        # Every printed string passes through here, including cells and titles of tables.
        return super().render_str(printable(text), **options)


out = _SafeConsole(highlight=False, markup=False, emoji=False)
"""Results."""
notes = _SafeConsole(highlight=False, markup=False, emoji=False, stderr=True)
"""Console on standard error for progress and notes."""


def note(text: str) -> None:
    """Print a note on standard error as one line, whatever its length."""
    notes.print(text, soft_wrap=True)


def progress_bar(title: str) -> Progress:
    """Return a progress bar with ``title``, shown on terminals only; notes can be printed while it is shown."""
    columns = (TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=notes, disable=not notes.is_terminal)


def print_json(content: dict[str, Any]) -> None:
    """Print ``content`` as one JSON object, with the number of its format first."""
    print(json.dumps({**JSON_OUTPUT.entry, **content}, indent=2, allow_nan=False))


def figures(value: float) -> str:
    """Format ``value`` with three significant figures and separators: 3,100 and 0.0123, never 3.1e+03."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    text = f"{rounded:,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
