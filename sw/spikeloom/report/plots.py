"""Plots of spikes and membranes: steps to the right, lowest neuron at the bottom, as in `spikeloom.report.raster`.

A plot is an SVG in units of steps and neurons (or units of the membrane), so that zooming only changes its ``viewBox``.
The script of the page adds the numbers at the axes, because it knows the visible range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.report.collect import Report
from spikeloom.report.text import markup

__all__ = ["plots_section"]

_HALF = 0.4  # half the width of a mark, in steps
_MARKS = f'transform="translate({-_HALF:g} .5)"'  # to the middle of a neuron, half a mark before the step
_MOST_LINES = 64  # maximum number of membranes in a plot
_MOST_KEYS = 16  # maximum number of lines in a legend
_LEAST_HEIGHT, _MOST_HEIGHT, _ROW = 110, 300, 9  # height of a plot and of a neuron in it, in pixels


def plots_section(report: Report) -> str:
    """Return the section with spikes and membranes of the shown samples."""
    options = "".join(f'<option value="{n}">{_sample_name(report, n)}</option>' for n in report.shown)
    drawn = "".join(f'<div class="sample" data-sample="{n}">{_sample(report, n)}</div>' for n in report.shown)
    return (
        f'<section><h2>Spikes and membranes</h2><label>Show <select id="sample">{options}</select></label>'
        '<p class="soft">Drag over a plot to zoom in, double-click to see all again; with the keyboard, + and &minus; '
        "zoom, arrows move and 0 resets. The steps of all plots move together.</p>"
        f"{drawn}</section>"
    )


def _sample_name(report: Report, number: int) -> str:
    if report.labels is None:
        return f"sample {number}, answer {report.answers[number]}"
    right = "" if report.labels[number] == report.answers[number] else " (wrong)"
    return f"sample {number}, label {report.labels[number]}, answer {report.answers[number]}{right}"


def _sample(report: Report, number: int) -> str:
    differs = {c.population: c.differs[:, number] for c in report.comparisons}
    plots = [_spikes(name, spikes[:, number], differs.get(name)) for name, spikes in report.spikes.items()]
    plots += [_membranes(name, membranes[:, number]) for name, membranes in report.membranes.items()]
    return "".join(plots)


def _spikes(name: str, spikes: NDArray[np.bool_], differs: NDArray[np.bool_] | None) -> str:
    """Draw a raster of ``spikes`` ``(T, n)``; differences from the hardware have another colour."""
    steps, neurons = spikes.shape
    said = f"{int(spikes.sum()):,} spikes of {neurons:,} neurons in {steps:,} steps"
    drawn = f'<path d="{_marks(spikes)}" {_MARKS}/>'
    if differs is not None:
        said += f", {int(differs.sum()):,} differ in hardware"
        drawn += f'<path class="differs" d="{_marks(differs)}" {_MARKS}/>'
    height = min(_MOST_HEIGHT, max(_LEAST_HEIGHT, _ROW * neurons))
    return _plot(name, said, "neuron", drawn, steps, -0.5, neurons - 0.5, height)


def _marks(where: NDArray[np.bool_]) -> str:
    """Return a line per ``(step, neuron)``; row 0 is the last neuron, because y grows downwards."""
    last = where.shape[1] - 1
    return "".join(f"M{step} {last - neuron}h{2 * _HALF:g}" for step, neuron in np.argwhere(where).tolist())


def _membranes(name: str, membranes: NDArray[np.int64]) -> str:
    """Draw one line per neuron of ``membranes`` ``(T, n)``, with the values at the end of each step."""
    steps, neurons = membranes.shape
    seen = membranes[:, :_MOST_LINES]
    low, high = int(seen.min()), int(seen.max())
    margin = max(1.0, 0.05 * (high - low))
    bottom, top = low - margin, high + margin
    lines = "".join(
        f'<polyline style="stroke:{_colour(neuron, seen.shape[1])}" '
        f'points="{" ".join(f"{step},{top - value:g}" for step, value in enumerate(trace))}">'
        f"<title>neuron {neuron}</title></polyline>"
        for neuron, trace in enumerate(seen.T.tolist())
    )
    said = f"membranes of {neurons:,} neurons in units of the model"
    if neurons > _MOST_LINES:
        said = f"membranes of the first {_MOST_LINES} of {neurons:,} neurons in units of the model"
    if steps == 1:  # a line of one point would be invisible
        lines = "".join(
            f'<polyline style="stroke:{_colour(neuron, seen.shape[1])}" '
            f'points="-.4,{top - value:g} .4,{top - value:g}"/>'
            for neuron, value in enumerate(seen[0].tolist())
        )
    key = ""
    if neurons <= _MOST_KEYS:
        listed = "".join(
            f'<span class="key" style="background:{_colour(neuron, neurons)}"></span>{neuron}'
            for neuron in range(neurons)
        )
        key = f'<p class="soft keys">neuron {listed}</p>'
    return _plot(name, said, "membrane", lines, steps, bottom, top, 180, key)


def _colour(neuron: int, neurons: int) -> str:
    return f"hsl({360 * neuron / neurons:.0f} 65% 50%)"


def _plot(
    name: str, said: str, unit: str, drawn: str, steps: int, bottom: float, top: float, height: int, key: str = ""
) -> str:
    buttons = "".join(
        f'<button type="button" data-key="{key}" aria-label="{label} {markup(name)}">{sign}</button>'
        for key, sign, label in (("+", "+", "zoom into"), ("-", "&minus;", "zoom out of"), ("0", "all", "show all of"))
    )
    return (
        f'<figure class="plot"><figcaption><span class="name">{markup(name)}</span> '
        f'<span class="soft where">{said}</span>{buttons}</figcaption>'
        f'<div class="up">{unit}</div><div class="ys"></div>'
        f'<div class="area" tabindex="0" role="img" aria-label="{markup(name)}: {said}" data-unit="{unit}" '
        f'data-range="-0.5 {steps - 0.5:g} {bottom:g} {top:g}" style="height:{height}px">'
        f'<svg viewBox="-0.5 0 {steps} {top - bottom:g}" preserveAspectRatio="none" '
        f'aria-hidden="true">{drawn}</svg></div>'
        f'<div class="xs"></div><div class="along">step</div>{key}</figure>'
    )
