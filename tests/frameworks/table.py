"""Table of frameworks and features in docs/frameworks.md, generated from the verdicts on the recordings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from frameworks.replay import FRAMEWORKS, Verdict

__all__ = ["PAGE", "filled", "tables"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"

_TITLES = {
    "snntorch": "snnTorch",
    "norse": "Norse",
    "spikingjelly": "SpikingJelly",
    "sinabs": "sinabs",
    "rockpool": "Rockpool",
    "spyx": "Spyx",
}
_PLACE = re.compile(r"(?P<begin><!-- generated: frameworks -->\n).*?(?P<end>\n<!-- end -->)", re.DOTALL)


def tables(verdicts: Sequence[Verdict]) -> str:
    """Return one table per framework, with a row per feature."""
    parts = []
    for name in FRAMEWORKS:
        rows = [verdict for verdict in verdicts if verdict.framework == name]
        if not rows:
            continue
        lines = [
            f"## {_TITLES[name]} {rows[0].version}",
            "",
            "| feature | result | cells | float model differs | integers differ | note |",
            "|---|---|---:|---:|---:|---|",
        ]
        for row in rows:
            counts = [f"{number:,}" if row.cells else "" for number in (row.cells, row.differing, row.integers)]
            note = row.note.replace("|", "\\|")
            lines.append(f"| {row.feature} | {row.verdict} | {' | '.join(counts)} | {note} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def filled(page: str, verdicts: Sequence[Verdict]) -> str:
    """Return the text of the page with its tables updated."""
    return _PLACE.sub(lambda place: f"{place['begin']}\n{tables(verdicts)}\n{place['end']}", page)
