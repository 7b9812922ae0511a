"""Pareto front of outcomes, their table, and a picture of the front as a self-contained SVG.

A point is on the front of its board if no other one there is at least as good in every *objective* and better in one.
Boards are not compared with each other: lookup tables of different families are different things, and clocks too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from itertools import pairwise

from spikeloom.explore.points import weight_bits_text
from spikeloom.explore.study import Estimate, Outcome

__all__ = ["Objective", "Rate", "front", "objectives_for", "picture"]


class Rate(Enum):
    """Which images per second count: those of the board, often limited by its serial line, or those of the core, for
    designs whose input does not come over a line."""

    BOARD = "board"
    CORE = "core"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A figure of an estimate that should be small, or large, with its name and unit in words."""

    title: str
    of: Callable[[Estimate], float]
    is_cost: bool

    def cost(self, outcome: Outcome) -> float:
        """Return a number that is smaller for a better ``outcome``."""
        assert outcome.estimate is not None
        return self.of(outcome.estimate) * (1 if self.is_cost else -1)


_ENERGY = Objective(title="energy per image, nJ (estimate)", of=lambda e: e.energy_nj, is_cost=True)
_LOGIC = Objective(title="lookup tables (estimate)", of=lambda e: e.lut, is_cost=True)
_MEMORY = Objective(title="block RAMs (estimate)", of=lambda e: e.ram + e.single_port, is_cost=True)
_RATES = {
    Rate.BOARD: Objective(title="images per second (estimate)", of=lambda e: e.images_per_second, is_cost=False),
    Rate.CORE: Objective(
        title="images per second of the core (estimate)", of=lambda e: e.core_images_per_second, is_cost=False
    ),
}


def objectives_for(rate: Rate) -> tuple[Objective, ...]:
    """Return the objectives beside the accuracy; the first three are drawn."""
    return _ENERGY, _RATES[rate], _LOGIC, _MEMORY


def front(outcomes: Iterable[Outcome], objectives: Sequence[Objective] | None = None) -> list[Outcome]:
    """Return the points on the front of their board, in their order; of points with equal figures, the first.

    Points without an estimate are left out. Default: the objectives for the rate of the board.
    """
    objectives = objectives_for(Rate.BOARD) if objectives is None else objectives
    fitting = [outcome for outcome in outcomes if outcome.estimate is not None]
    figures = [(-outcome.quality, *(objective.cost(outcome) for objective in objectives)) for outcome in fitting]
    kept = []
    for number, (outcome, own) in enumerate(zip(fitting, figures, strict=True)):
        rivals = (
            other
            for place, (rival, other) in enumerate(zip(fitting, figures, strict=True))
            if rival.point.board == outcome.point.board and (other != own or place < number)
        )
        if not any(all(a <= b for a, b in zip(other, own, strict=True)) for other in rivals):
            kept.append(outcome)
    return kept


# The palette of Okabe and Ito, which people with the common kinds of colour blindness can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A00", "#777777")
_PANEL_WIDTH, _PANEL_HEIGHT = 300, 240
_LEFT, _TOP, _GAP, _BOTTOM = 62, 46, 34, 48
_PANELS = 3
_STYLE = (
    "svg{background:#fff;color:#1b2330}text{font:12px system-ui,sans-serif;fill:currentColor}"
    ".title{font-weight:600;font-size:14px}.frame{fill:none;stroke:#8893a5}.grid{stroke:#8893a5;opacity:.25}"
    ".front{fill:none;stroke-width:1.5;opacity:.8}.other{fill:none;opacity:.45}"
    "@media(prefers-color-scheme:dark){svg{background:#181e28;color:#e7ebf2}}"
)


def picture(outcomes: Sequence[Outcome], title: str, quality: str, rate: Rate = Rate.BOARD) -> str:
    """Return an SVG with a panel each for energy, rate and lookup tables: ``quality`` (its name) upwards, a point per
    outcome.

    Filled points are on the front of their board for all objectives; lines are the front of the two figures of the
    panel alone. Raises ``ValueError`` if no outcome has an estimate.
    """
    fitting = [outcome for outcome in outcomes if outcome.estimate is not None]
    if not fitting:
        raise ValueError("at least one outcome must fit its board, but none does")
    boards = list(dict.fromkeys(outcome.point.board for outcome in fitting))
    colours = {board: _COLOURS[number % len(_COLOURS)] for number, board in enumerate(boards)}
    # Points of several boards may coincide, so those of the first board are drawn the largest.
    radii = {board: 3 + min(6, 1.5 * (len(boards) - 1 - number)) for number, board in enumerate(boards)}
    objectives = objectives_for(rate)
    best = {id(outcome) for outcome in front(fitting, objectives)}
    drawn = objectives[:_PANELS]
    low, high = _padded([100 * outcome.quality for outcome in fitting])
    width = _LEFT + len(drawn) * _PANEL_WIDTH + (len(drawn) - 1) * _GAP + 20
    height = _TOP + _PANEL_HEIGHT + _BOTTOM + 18 * -(-len(boards) // 4) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><style>{_STYLE}</style><title>{_text(title)}</title>'
        f'<text class="title" x="{_LEFT}" y="20">{_text(title)}</text>'
        f'<text x="{_LEFT}" y="37">filled: on the front of its board, for all objectives together</text>'
        f'<text transform="translate(14 {_TOP + _PANEL_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{_text(quality)}, %</text>"
    ]
    for number, objective in enumerate(drawn):
        left = _LEFT + number * (_PANEL_WIDTH + _GAP)
        parts.append(_panel(fitting, objective, left, (low, high), colours, radii, best, with_numbers=number == 0))
    for number, board in enumerate(boards):
        x, y = _LEFT + 220 * (number % 4), _TOP + _PANEL_HEIGHT + _BOTTOM + 10 + 18 * (number // 4)
        parts.append(
            f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colours[board]}"/>'
            f'<text x="{x + 10}" y="{y}">{_text(board)}</text>'
        )
    return "".join(parts) + "</svg>\n"


def _panel(
    outcomes: Sequence[Outcome],
    objective: Objective,
    left: float,
    bounds: tuple[float, float],
    colours: dict[str, str],
    radii: dict[str, float],
    best: set[int],
    *,
    with_numbers: bool,
) -> str:
    def value(outcome: Outcome) -> float:
        assert outcome.estimate is not None
        return objective.of(outcome.estimate)

    logs = [math.log10(max(value(outcome), 1e-9)) for outcome in outcomes]
    first, last = _padded(logs)
    low, high = bounds

    def x_of(figure: float) -> float:
        return left + _PANEL_WIDTH * (math.log10(max(figure, 1e-9)) - first) / (last - first)

    def y_of(quality: float) -> float:
        return _TOP + _PANEL_HEIGHT * (high - 100 * quality) / (high - low)

    base = _TOP + _PANEL_HEIGHT
    parts = [f'<rect class="frame" x="{left}" y="{_TOP}" width="{_PANEL_WIDTH}" height="{_PANEL_HEIGHT}"/>']
    for tick in _log_ticks(first, last):
        x = x_of(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{base}"/>'
            f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{_number(tick)}</text>'
        )
    for tick in _ticks(low, high):
        y = y_of(tick / 100)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + _PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if with_numbers:
            parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(
        f'<text x="{left + _PANEL_WIDTH / 2}" y="{base + 36}" text-anchor="middle">{_text(objective.title)}</text>'
    )
    for board, colour in colours.items():
        own = [outcome for outcome in outcomes if outcome.point.board == board]
        steps = sorted((value(outcome), outcome.quality) for outcome in front(own, [objective]))
        corners = [f"{x_of(steps[0][0]):.1f} {y_of(steps[0][1]):.1f}"]
        for (former, before), (figure, after) in pairwise(steps):
            # Steps, not slopes: between two points nothing better than the cheaper, or the faster, of them is known.
            turn = (figure, before) if objective.is_cost else (former, after)
            corners += [f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in (turn, (figure, after))]
        parts.append(f'<polyline class="front" stroke="{colour}" points="{" ".join(corners)}"/>')
    for outcome in outcomes:
        colour, radius = colours[outcome.point.board], radii[outcome.point.board]
        look = f'fill="{colour}"' if id(outcome) in best else f'class="other" stroke="{colour}"'
        parts.append(
            f'<circle cx="{x_of(value(outcome)):.1f}" cy="{y_of(outcome.quality):.1f}" r="{radius:g}" {look}>'
            f"<title>{_text(_name(outcome))}</title></circle>"
        )
    return "".join(parts)


def _name(outcome: Outcome) -> str:
    assert outcome.estimate is not None
    assert outcome.score is not None
    estimate, point = outcome.estimate, outcome.point
    kind = "spikes" if point.encoder is None else point.encoder.kind
    return (
        f"{point.board}: {weight_bits_text(point.weight_bits)} bits, {kind}, {outcome.score.steps} steps, "
        f"{estimate.lanes} lanes; {100 * outcome.quality:.2f} %, {estimate.lut:,} lookup tables, "
        f"{estimate.images_per_second:,.0f} images/s, {estimate.energy_nj:,.1f} nJ"
    )


def _text(text: str) -> str:
    # Names of networks come from files: characters that are invisible, or turn the direction of the text, are escaped.
    return escape("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text))


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from ``low`` to ``high``."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(first: float, last: float) -> list[float]:
    """Return round numbers between the powers of ten ``first`` and ``last``: 1, 2, 5 times a power, or powers only."""
    factors = (1,) if last - first > 2.5 else (1, 2, 5)
    powers = range(math.floor(first), math.ceil(last) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    found = [tick for tick in ticks if first <= math.log10(tick) <= last]
    # In a narrow range there may be none.
    return found or [10 ** ((first + last) / 2)]


def _number(value: float) -> str:
    """Format a tick: 200, 5k, 2M."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"
