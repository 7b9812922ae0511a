"""Generates parts of the documentation from `spikeloom.sim.core.features` and the integer neuron.

Comments in a page mark the start and end of each generated part. ``python -m spikeloom.sim.core.feature_tables
docs/neuron-models.md docs/loading.md`` updates the text between them; a test checks that it is current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from spikeloom.sim.core import neuron
from spikeloom.sim.core.features import FEATURES, GENERAL_LEVELS, Feature
from spikeloom.sim.lib.files import write_whole

__all__ = ["PARTS", "feature_table", "filled", "key_table", "recurrence"]


def recurrence() -> str:
    """The step of a neuron: the first literal block of the docstring of `spikeloom.sim.core.neuron`."""
    # Taken from the docstring, so that the page and the specification are the same text.
    text = (neuron.__doc__ or "").partition("::\n")[2]
    lines = []
    for line in text.splitlines():
        # The first line that is not indented ends the block; empty lines belong to it.
        if line and not line.startswith("    "):
            break
        lines.append(line)
    return "\n".join(lines).strip("\n") + "\n"


def feature_table() -> str:
    """The table of features in Markdown, with one row per feature."""
    head = (
        "feature",
        "what it does",
        "field of the core",
        "fields of `NeuronParameters`",
        "state",
        "from NIR",
        "general fabrics",
    )
    rows = [
        (
            feature.name,
            feature.meaning,
            f"`{feature.flag}`" if feature.flag else "always there",
            _names(feature.fields),
            _names(field.name for field in feature.state) or "none",
            feature.nir,
            _general(feature),
        )
        for feature in FEATURES
    ]
    return _table(head, rows)


def key_table() -> str:
    """The table of the metadata keys of spiking NIR nodes in Markdown, with one row per key."""
    rows = []
    for keys in (feature.keys for feature in FEATURES):
        # `MetadataKey`: a file has all keys of a feature or none.
        both = f"; both {' and '.join(f'`{key.name}`' for key in keys)} or neither" if len(keys) > 1 else ""
        rows += [(f"`{key.name}`", f"{key.meaning}; {key.numbers.value}{both}") for key in keys]
    return _table(("key", "value"), rows)


PARTS = {"recurrence": recurrence, "features": feature_table, "keys": key_table}
"""The generated parts, by the name in their comments."""

_PLACE = re.compile(r"(?P<begin><!-- generated: (?P<name>\w+) -->\n)(?P<text>.*?)(?P<end><!-- end -->\n)", re.DOTALL)


def filled(page: str) -> str:
    """The text of a page with its generated parts updated."""
    return _PLACE.sub(lambda place: f"{place['begin']}\n{PARTS[place['name']]()}\n{place['end']}", page)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _general(feature: Feature) -> str:
    """The general fabrics that have a feature."""
    if not feature.flag:
        return "all"
    if not feature.general:
        return "none"
    # A level includes everything of the levels before it, so the first one names all that follow.
    first = GENERAL_LEVELS.index(next(iter(feature.general)))
    return "all" if first == 0 else ", ".join(GENERAL_LEVELS[first:])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(paths: Sequence[str]) -> None:
    """Fill the pages ``paths``."""
    for path in map(Path, paths):
        write_whole(path, filled(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
