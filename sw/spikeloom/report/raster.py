"""Raster plots of spikes. Only this module needs matplotlib, and imports it only to draw."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RasterError", "write_raster"]

_INK, _FAINT = "#1b2a41", "#c9d1dc"
_STEP_POINTS = 250.0  # total width of the marks of a row: about half of the panel
_COLOURS = ("#5b6b82", "#0b7285", "#c2410c", "#5f3dc4", "#2b8a3e")
_ROW_INCHES, _LEAST_INCHES, _MOST_INCHES = 0.045, 1.15, 3.4


class RasterError(RuntimeError):
    """The raster cannot be drawn, because matplotlib is missing. The message is one sentence."""


def write_raster(
    path: str | PathLike[str],
    *,
    layers: Mapping[str, ArrayLike],
    title: str,
    membranes: Mapping[str, ArrayLike] | None = None,
    boundaries: Mapping[int, str] | None = None,
) -> None:
    """Write a PNG with one panel per layer, the first layer on top, time in steps from left to right.

    Parameters
    ----------
    path
        PNG file to write.
    layers
        Spikes ``(T, n)`` of 0 and 1 by layer name, all with the same ``T``.
    title
        Title line.
    membranes
        Membranes ``(T, n)`` by name, drawn below the spikes as one line per neuron, in the unit of the model.
    boundaries
        First step and label of each sample, as ``{0: "digit 7", 8: "digit 2"}``.

    Raises ``ValueError`` for wrong shapes or values, and `RasterError` without matplotlib.
    """
    spikes = {name: _spikes(name, layer) for name, layer in layers.items()}
    if not spikes:
        raise ValueError("layers must be one or more, not none")
    traces = {name: np.asarray(trace) for name, trace in (membranes or {}).items()}
    steps = len(next(iter(spikes.values())))
    for name, array in (spikes | traces).items():
        if array.ndim != 2 or array.shape[0] != steps:
            raise ValueError(f"layer {name!r} must have shape ({steps}, n) like the first one, not {array.shape}")
    marks = dict(boundaries or {})
    if any(not 0 <= step < steps for step in marks):
        raise ValueError(f"boundaries must be steps from 0 to {steps - 1}, not {sorted(marks)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RasterError("matplotlib must be installed to draw a raster: pip install matplotlib") from error

    heights = [_height(array.shape[1]) for array in spikes.values()] + [1.3] * len(traces)
    figure = Figure(figsize=(8.0, sum(heights) + 0.3 * len(heights) + 0.75), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: it would choose a backend and keep the figure in memory
    figure.suptitle(title, fontsize=11, color=_INK, fontweight="bold", x=0.01, ha="left")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (name, array), position in zip(panels, spikes.items(), range(len(spikes)), strict=False):
        _draw_spikes(panel, name, array, _COLOURS[position % len(_COLOURS)])
    for panel, (name, array) in zip(panels[len(spikes) :], traces.items(), strict=True):
        _draw_membranes(panel, name, array)
    for panel in panels:
        for step in marks:
            if step:
                panel.axvline(step - 0.5, color=_FAINT, linewidth=0.9, zorder=0)
    _draw_boundaries(panels[0], marks)
    bottom = panels[-1]
    bottom.set_xlim(-0.5, steps - 0.5)
    bottom.set_xlabel("time (steps)", fontsize=9, color=_INK)
    bottom.xaxis.get_major_locator().set_params(integer=True, nbins=12)
    figure.savefig(path, format="png", metadata={"Software": None})


def _spikes(name: str, layer: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(layer)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"layer {name!r} must have shape (T, n) and not be empty, not {array.shape}")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"layer {name!r} must be 0 or 1, not other values")
    return array.astype(np.bool_)


def _height(neurons: int) -> float:
    return float(np.clip(neurons * _ROW_INCHES, _LEAST_INCHES, _MOST_INCHES))


def _draw_spikes(panel: Axes, name: str, spikes: NDArray[np.bool_], colour: str) -> None:
    steps, neurons = spikes.shape
    step, neuron = np.nonzero(spikes)
    panel.vlines(
        step, neuron - 0.4, neuron + 0.4, color=colour, linewidth=float(np.clip(_STEP_POINTS / steps, 1.0, 9.0))
    )
    # The same margin for all sizes, and the lowest neuron at the bottom, as on an axis.
    panel.set_ylim(-0.5 - 0.02 * neurons, neurons - 0.5 + 0.02 * neurons)
    ticks = range(neurons) if neurons <= 10 else np.linspace(0, neurons, 5, dtype=int)[:-1]
    panel.set_yticks([*ticks] if neurons <= 10 else [*ticks, neurons - 1])
    _label(panel, name, "neuron", f"{len(step):,} spikes")


def _draw_membranes(panel: Axes, name: str, membranes: NDArray[Any]) -> None:
    panel.plot(membranes, linewidth=0.9)
    _label(panel, name, "membrane", "")


def _draw_boundaries(panel: Axes, boundaries: Mapping[int, str]) -> None:
    if not boundaries:
        return
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.09 * (high - low))  # room for the labels above the spikes
    transform = panel.get_xaxis_transform()
    style: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "color": _INK, "va": "top", "clip_on": True}
    for step, label in boundaries.items():
        panel.text(step - 0.4, 0.985, label, transform=transform, **style)


def _label(panel: Axes, name: str, unit: str, remark: str) -> None:
    panel.set_ylabel(unit, fontsize=9, color=_INK)
    panel.set_title(name, fontsize=9, color=_INK, loc="left", pad=3)
    panel.set_title(remark, fontsize=8, color=_COLOURS[0], loc="right", pad=3)
    panel.tick_params(labelsize=8, colors=_INK, length=3)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_FAINT)
