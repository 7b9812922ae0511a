"""Draws the figures of the documentation: ``python docs/figures/render.py`` makes an SVG of each JSON file beside it.

Two kinds of text are drawn:

* a timing diagram, in WaveJSON as WaveDrom reads it (``signal``, each with ``name``, ``wave`` and ``data``; of the wave
  characters ``p 0 1 x z = . |``); ``head`` and ``foot`` with ``text``; groups and edges are not drawn;
* a block diagram: ``blocks`` with a place and a size in the units of a grid, ``frames`` around some of them, and
  ``arrows`` from side to side (``"core.right"``), by way of points if they are not straight.

The pictures have no colours of their own but greys and one accent, and adapt to light and dark pages.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

STYLE = """<style>
svg.figure { color: #1f2328; --fill: #f3f5f8; --accent: #3b5bdb; --faint: #6e7885; }
@media (prefers-color-scheme: dark) {
  svg.figure { color: #e6e8eb; --fill: #24292f; --accent: #8fa5ff; --faint: #939dab; }
}
.figure text { font: 13px system-ui, sans-serif; fill: currentColor; }
.figure text.small { font-size: 11px; }
.figure text.name { font-family: ui-monospace, monospace; font-size: 12px; }
.figure text.faint { fill: var(--faint); }
.figure .line { stroke: currentColor; fill: none; stroke-width: 1.4; }
.figure .grid { stroke: var(--faint); fill: none; stroke-width: 0.6; stroke-dasharray: 2 3; }
.figure .block, .figure .value { stroke: currentColor; fill: var(--fill); stroke-width: 1.2; }
.figure .optional { stroke-dasharray: 5 3; }
.figure .frame { stroke: var(--faint); fill: none; stroke-width: 1; }
.figure .unknown { stroke: var(--faint); fill: var(--faint); fill-opacity: 0.25; stroke-width: 1; }
.figure .arrow { stroke: var(--accent); fill: none; stroke-width: 1.6; }
.figure .tip { fill: var(--accent); }
</style>"""


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    body = "\n".join([STYLE, f"<title>{escape(title)}</title>", *parts])
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="figure" role="img">\n{body}\n</svg>\n'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _path(points: list[tuple[float, float]], kind: str, close: bool = False) -> str:
    steps = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<{"polygon" if close else "polyline"} points="{steps}" class="{kind}"/>'


# Timing diagrams

_CYCLE, _LANE, _HIGH, _SLOPE = 56, 30, 18, 4


def timing(source: dict[str, Any]) -> str:
    """The SVG of a timing diagram."""
    signals = source["signal"]
    names = [signal.get("name", "") for signal in signals]
    left = 18 + 7.4 * max(map(len, names))
    cycles = max(len(signal.get("wave", "")) for signal in signals)
    cycle = _CYCLE * source.get("config", {}).get("hscale", 1)
    top = 24 if "head" in source else 10
    bottom = top + _LANE * len(signals)
    parts = []
    if "head" in source:
        parts.append(_text(left + cycle * cycles / 2, 15, source["head"]["text"]))
    for number in range(cycles + 1):
        parts.append(_path([(left + number * cycle, top - 4), (left + number * cycle, bottom)], "grid"))
    for number in range(cycles):
        parts.append(_text(left + (number + 0.5) * cycle, bottom + 12, str(number), "small faint"))
    for row, signal in enumerate(signals):
        base = top + _LANE * row + _HIGH + 4
        parts.append(_text(left - 10, base - 4, names[row], "name", "end"))
        parts += _wave(signal.get("wave", ""), list(signal.get("data", [])), left, base, cycle)
    return _svg(left + cycle * cycles + 12, bottom + 20, source.get("title", "timing diagram"), parts)


def _spans(wave: str) -> list[tuple[str, int, int]]:
    """The states of a wave, each with its first cycle and the one after its last."""
    spans: list[tuple[str, int, int]] = []
    for cycle, state in enumerate(wave):
        if state in ".|" and spans:
            spans[-1] = (spans[-1][0], spans[-1][1], cycle + 1)
        elif spans and state == spans[-1][0] and state in "p01xz":
            spans[-1] = (state, spans[-1][1], cycle + 1)
        else:
            spans.append((state, cycle, cycle + 1))
    return spans


def _wave(wave: str, data: list[str], left: float, base: float, cycle: float) -> list[str]:
    parts: list[str] = []
    levels: list[tuple[float, float]] = []
    for state, first, last in _spans(wave):
        x, end = left + first * cycle, left + last * cycle
        if state in "01":
            y = base - _HIGH * int(state)
            levels += [(x + _SLOPE if levels else x, y), (end, y)]
            continue
        if levels:
            parts.append(_path(levels, "line"))
            levels = []
        if state == "p":
            for number in range(first, last):
                edge, half = left + number * cycle, left + (number + 0.5) * cycle
                levels += [(edge, base), (edge, base - _HIGH), (half, base - _HIGH), (half, base)]
            levels.append((end, base))
            parts.append(_path(levels, "line"))
            levels = []
        elif state == "z":
            parts.append(_path([(x, base - _HIGH / 2), (end, base - _HIGH / 2)], "line"))
        else:
            middle = base - _HIGH / 2
            inside = x + _SLOPE, end - _SLOPE
            shape = [(x, middle), (inside[0], base - _HIGH), (inside[1], base - _HIGH)]
            shape += [(end, middle), (inside[1], base), (inside[0], base)]
            parts.append(_path(shape, "unknown" if state == "x" else "value", close=True))
            if state != "x" and data:
                parts.append(_text((x + end) / 2, middle + 4, data.pop(0), "small"))
    if levels:
        parts.append(_path(levels, "line"))
    for number, state in enumerate(wave):
        if state == "|":
            x = left + (number + 0.5) * cycle
            parts.append(_text(x, base - _HIGH / 2 + 4, "≈", ""))
    return parts


# Block diagrams

_UNIT = 24


def blocks(source: dict[str, Any]) -> str:
    """The SVG of a block diagram."""
    width, height = (_UNIT * side for side in source["size"])
    boxes = {
        name: [_UNIT * number for number in block["at"] + block["size"]] for name, block in source["blocks"].items()
    }
    tip = re.sub(r"\W+", "-", source["title"].lower())  # several pictures may stand in one page
    parts = [f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" ']
    parts[0] += 'orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" class="tip"/></marker></defs>'
    for frame in source.get("frames", []):
        x, y, w, h = (_UNIT * number for number in frame["at"] + frame["size"])
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="8" class="frame"/>')
        parts.append(_text(x + 10, y + 17, frame["label"], "small faint", "start"))
    for name, block in source["blocks"].items():
        x, y, w, h = boxes[name]
        kind = "block optional" if block.get("optional") else "block"
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="4" class="{kind}"/>')
        lines = block.get("label", name).split("\n")
        for number, line in enumerate(lines):
            at = y + h / 2 + 4.5 + 15 * (number - (len(lines) - 1) / 2)
            parts.append(_text(x + w / 2, at, line, "" if number == 0 else "small"))
    for arrow in source.get("arrows", []):
        points = [_end(arrow["from"], boxes), *([_UNIT * x, _UNIT * y] for x, y in arrow.get("via", []))]
        points.append(_end(arrow["to"], boxes))
        steps = " ".join(f"{x:g},{y:g}" for x, y in points)
        both = f' marker-start="url(#{tip})"' if arrow.get("both") else ""
        parts.append(f'<polyline points="{steps}" class="arrow" marker-end="url(#{tip})"{both}/>')
        if "label" in arrow:
            x, y = (_UNIT * number for number in arrow["label_at"])
            parts.append(_text(x, y, arrow["label"], "small"))
    return _svg(width, height, source["title"], parts)


def _end(place: str, boxes: dict[str, list[float]]) -> tuple[float, float]:
    """A point on a side of a block: ``name.side`` is its middle, ``name.side+1`` a unit further right or down."""
    name, side = place.split(".", 1)
    shift = 0.0
    for sign in "+-":
        if sign in side:
            side, distance = side.split(sign)
            shift = float(sign + distance) * _UNIT
    x, y, w, h = boxes[name]
    return {
        "left": (x, y + h / 2 + shift),
        "right": (x + w, y + h / 2 + shift),
        "top": (x + w / 2 + shift, y),
        "bottom": (x + w / 2 + shift, y + h),
    }[side]


def render(path: Path) -> str:
    """The SVG of the JSON file ``path``."""
    source = json.loads(path.read_text())
    return timing(source) if "signal" in source else blocks(source)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.json")):
        path.with_suffix(".svg").write_text(render(path))
