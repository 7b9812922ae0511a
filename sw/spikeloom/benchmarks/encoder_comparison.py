"""Comparison of all coding schemes on the same signals: the table and the figure of docs/encoders-compared.md.

    make encoders          # python -m spikeloom.benchmarks.encoder_comparison

The signals are a sine sweep, a spoken digit, an ECG-like trace and an image. Each scheme encodes and decodes them. The
figures are spikes per value, time steps per value, and the error of the decoded signal relative to the standard
deviation of the signal. ``comparison.json``, ``comparison.md`` and ``comparison.png`` are written to
``build/encoders/``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    BurstEncoder,
    DeltaEncoder,
    DirectEncoder,
    Encoder,
    GradedEncoder,
    HilbertEncoder,
    HoughSpikerEncoder,
    IntervalEncoder,
    LatencyEncoder,
    ModifiedHoughSpikerEncoder,
    MovingWindowEncoder,
    PhaseEncoder,
    PoissonEncoder,
    PopulationEncoder,
    RankOrderEncoder,
    RateEncoder,
    Scale,
    SigmaDeltaEncoder,
    StepForwardEncoder,
    TemporalContrastEncoder,
)
from spikeloom.datasets.shipped import load_digits
from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE

__all__ = ["SCHEMES", "ComparisonError", "Row", "compare_all", "electrocardiogram", "markdown", "sweep"]

FloatArray = NDArray[np.float64]
_WORD = "seven"
_CHANNELS = 16  # number of values in a sample of the rank order code
_LENGTH = 12  # number of taps of the fitted filters


class ComparisonError(RuntimeError):
    """A program or file that the comparison needs is missing or unsuitable. The message is one sentence."""


def sweep(time: int = 600) -> FloatArray:
    """Return a sine ``(time,)`` whose period falls from 150 to 12 samples."""
    frequency = np.linspace(1 / 150, 1 / 12, time)
    return np.sin(2 * np.pi * np.cumsum(frequency))


def electrocardiogram(time: int = 600, period: int = 120) -> FloatArray:
    """Return an ECG-like trace ``(time,)``: beats of five Gaussian waves, P, Q, R, S and T, placed as by McSharry et
    al. (2003)."""
    place = (np.arange(time) % period) / period
    # Centre and width as shares of the period, and height, in the order (centre, height, width).
    waves = ((0.20, 0.12, 0.030), (0.34, -0.15, 0.010), (0.37, 1.0, 0.012), (0.40, -0.25, 0.011), (0.62, 0.30, 0.050))
    return sum((height * np.exp(-0.5 * ((place - at) / width) ** 2) for at, height, width in waves), np.zeros(time))


def spoken(folder: Path, time: int = 1200) -> FloatArray:
    """Return the loudest ``time`` samples of a digit spoken by espeak-ng, at about 5.5 kHz, from -1 to 1.

    Raises `ComparisonError` if espeak-ng is missing or its file is unsuitable.
    """
    if shutil.which("espeak-ng") is None:
        raise ComparisonError("espeak-ng must be installed to speak the digit: apt-get install espeak-ng")
    path = folder / f"{_WORD}.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "140", "-w", str(path), _WORD], check=True, capture_output=True)
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            raise ComparisonError(f"{path} must hold 16-bit samples of one channel, as espeak-ng writes them")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    # espeak-ng writes 22,050 samples per second; the mean of each four is a simple low-pass filter before decimation.
    short = samples[: len(samples) // 4 * 4].reshape(-1, 4).mean(axis=1)
    if len(short) < time:
        raise ComparisonError(f"{path} must hold at least {4 * time:,} samples, not {len(samples):,}")
    energy = np.convolve(short**2, np.ones(time), "valid")
    start = int(energy.argmax())
    return short[start : start + time] / 32768


def signals(folder: Path) -> dict[str, FloatArray]:
    """Return the series ``(T, 1, 1)`` by name; the image is 16 digits in 32 x 32 pixels, read row by row."""
    digits, _ = load_digits()
    image = digits.images[:16].reshape(4, 4, 8, 8).transpose(0, 2, 1, 3).astype(np.float64)
    series = {
        "sweep": sweep(),
        "spoken digit": spoken(folder),
        "ECG": electrocardiogram(),
        "image": image.reshape(-1),
    }
    return {name: values[:, None, None] for name, values in series.items()}


Fit = Callable[[FloatArray], Encoder]


def _positive(bits: int = 6) -> Callable[[FloatArray], Scale]:
    return lambda series: Scale.fit(series, bits=bits, shared=True)


def _signed(bits: int = 7) -> Callable[[FloatArray], Scale]:
    return lambda series: Scale.fit(series, bits=bits, shared=True, signed=True)


LEVELS, SIGNED, FINE = _positive(), _signed(), _signed(10)

SCHEMES: Mapping[str, Fit] = {
    "rate": lambda x: RateEncoder(steps=16, bits=6, scale=LEVELS(x)),
    "poisson": lambda x: PoissonEncoder(steps=16, bits=6, scale=LEVELS(x)),
    "sigma-delta": lambda x: SigmaDeltaEncoder(steps=8, bits=6, scale=SIGNED(x)),
    "latency": lambda x: LatencyEncoder(steps=16, bits=6, scale=LEVELS(x)),
    "rank-order": lambda x: RankOrderEncoder.fit(x, steps=_CHANNELS, bits=6, scale=LEVELS(x)),
    "population": lambda x: PopulationEncoder(steps=4, bits=6, fields=8, scale=LEVELS(x)),
    "phase": lambda x: PhaseEncoder(steps=6, bits=6, phases=6, scale=LEVELS(x)),
    "burst": lambda x: BurstEncoder(steps=16, bits=6, most=5, shortest=1, longest=5, scale=LEVELS(x)),
    "interval": lambda x: IntervalEncoder(steps=17, bits=6, shortest=1, longest=16, scale=LEVELS(x)),
    "temporal-contrast": lambda x: TemporalContrastEncoder.fit(x, factor=0.7, statistic="absolute", scale=FINE(x)),
    "delta": lambda x: DeltaEncoder.fit(x, reference="sent", first="sample", scale=FINE(x)),
    "step-forward": lambda x: StepForwardEncoder.fit(x, scale=FINE(x)),
    "moving-window": lambda x: MovingWindowEncoder.fit(x, window=3, scale=FINE(x)),
    "graded": lambda x: GradedEncoder(bits=11, reference="sent", threshold=32, scale=FINE(x)),
    "hough": lambda x: HoughSpikerEncoder.fit(x, length=_LENGTH, scale=_positive(8)(x)),
    "modified-hough": lambda x: ModifiedHoughSpikerEncoder.fit(x, length=_LENGTH, scale=_positive(8)(x)),
    "bens": lambda x: BensSpikerEncoder.fit(x, length=_LENGTH, scale=_positive(8)(x)),
    "hilbert": lambda x: HilbertEncoder(half=15, width=2, scale=FINE(x)),
    "direct": lambda x: DirectEncoder(steps=1, bits=6, scale=_signed(6)(x)),
}
"""Functions by kind that return a suitable encoder for a series, fitted to it if a paper gives a procedure."""

# Schemes whose decoder starts at the first sample; the others start at 0.
_START_AT_SAMPLE = ("temporal-contrast", "delta", "step-forward", "moving-window")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of a scheme on a signal. ``error`` is the root mean square error relative to the standard deviation of the
    signal; None for `HilbertEncoder`, which preserves phases."""

    scheme: str
    signal: str
    steps_per_value: int
    axons_per_channel: int
    spikes_per_value: float
    error: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A scheme on a signal as drawn in the figure: signal and decoded signal ``(T,)``, spikes ``(T * steps,
    axons)``."""

    row: Row
    signal: FloatArray
    decoded: FloatArray | None
    spikes: NDArray[Any]


def _as_ranked(series: FloatArray) -> FloatArray:
    """Return a series of one channel as samples of `_CHANNELS` values: the rank order code compares channels."""
    return series[: len(series) // _CHANNELS * _CHANNELS].reshape(-1, 1, _CHANNELS)


def trace(scheme: str, name: str, series: FloatArray) -> Trace:
    """Encode and decode ``series`` ``(T, 1, 1)``, called ``name``, with ``scheme``."""
    if scheme == "rank-order":
        series = _as_ranked(series)
    encoder = SCHEMES[scheme](series)
    assert encoder.scale is not None
    spikes = encoder.encode_series(series)
    decoded, error = None, None
    if scheme != "hilbert":
        start = encoder.scale.levels(series)[0] if scheme in _START_AT_SAMPLE else 0
        decoded = encoder.scale.restore(encoder.decode(spikes, start=start))
        error = round(float(np.sqrt(np.square(decoded - series).mean()) / series.std()), 3)
    row = Row(
        scheme=scheme,
        signal=name,
        steps_per_value=encoder.steps,
        axons_per_channel=encoder.lines,
        spikes_per_value=round(float(np.count_nonzero(spikes)) / series.size, 2),
        error=error,
    )
    flat = None if decoded is None else decoded.reshape(-1)
    return Trace(row=row, signal=series.reshape(-1), decoded=flat, spikes=spikes.reshape(len(spikes), -1))


def compare_all(series: Mapping[str, FloatArray]) -> list[Trace]:
    """Return the result of every scheme on every signal; each of ``series`` is ``(T, 1, 1)``."""
    return [trace(scheme, name, values) for scheme in SCHEMES for name, values in series.items()]


def markdown(rows: list[Row]) -> str:
    """Return the table of the page: one line per scheme, with spikes per value and error for each signal."""
    names = list(dict.fromkeys(row.signal for row in rows))
    lines = [
        "| code | steps | axons | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for scheme in dict.fromkeys(row.scheme for row in rows):
        own = {row.signal: row for row in rows if row.scheme == scheme}
        first = own[names[0]]
        cells = [
            f"{own[name].spikes_per_value:.2f} / {'-' if own[name].error is None else f'{own[name].error:.2f}'}"
            for name in names
        ]
        lines.append(f"| {scheme} | {first.steps_per_value} | {first.axons_per_channel} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_COLUMNS = 3
_SHOWN_VALUES = 240


def draw(traces: list[Trace], path: Path) -> None:
    """Write the figure: each scheme on the ECG, and all schemes on all signals by spikes and error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    shown = [each for each in traces if each.row.signal == "ECG"]
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(13, 2.0 * rows + 4.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.0 * rows, 4.2])
    upper, lower = parts
    panels = upper.subplots(rows, _COLUMNS, sharex=True, squeeze=False)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, each in zip(panels.flat, shown, strict=False):
        signal = each.signal[:_SHOWN_VALUES]
        panel.plot(signal, color="0.65", linewidth=1.6, label="signal")
        if each.decoded is not None:
            panel.step(np.arange(len(signal)), each.decoded[:_SHOWN_VALUES], where="mid", color="C0", linewidth=1.0)
        when, axon = np.nonzero(each.spikes[: len(each.spikes) * _SHOWN_VALUES // len(each.signal)])
        values_per_step = len(each.signal) / len(each.spikes)
        height = 0.5 / max(each.spikes.shape[1], 1)
        panel.vlines(
            when * values_per_step, -0.5 - (axon + 0.8) * height, -0.5 - axon * height, color="C3", linewidth=0.5
        )
        error = "phase" if each.row.error is None else f"error {each.row.error:.2f}"
        panel.set_title(f"{each.row.scheme}: {each.row.spikes_per_value:.2f} spikes per value, {error}", fontsize=9)
        panel.set_yticks([])
        panel.set_ylim(-1.1, 1.25)
    for panel in panels.flat[len(shown) - _COLUMNS : len(shown)]:
        panel.set_xlabel("value")
        panel.tick_params(labelbottom=True)
    upper.suptitle("ECG-like trace (grey), decoded (blue), spikes by axon (red)", fontsize=11)
    names = list(dict.fromkeys(each.row.signal for each in traces))
    plots = lower.subplots(1, len(names), sharey=True)
    for panel, name in zip(plots, names, strict=True):
        for each in traces:
            if each.row.signal == name and each.row.error is not None:
                position = (max(each.row.spikes_per_value, 0.02), max(each.row.error, 0.005))
                panel.plot(*position, "o", color="C0", markersize=4)
                panel.annotate(each.row.scheme, position, fontsize=7, xytext=(3, 2), textcoords="offset points")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("spikes per value")
        panel.margins(x=0.25)
        panel.grid(alpha=0.3)
    plots[0].set_ylabel("error / deviation of the signal")
    with replaced(path) as scratch:
        figure.savefig(scratch, format="png", dpi=90, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="All coding schemes on the same signals.")
    parser.add_argument("--output", type=Path, default=Path("build/encoders"), help="directory for all files")
    arguments = parser.parse_args()
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        traces = compare_all(signals(arguments.output))
        rows = [each.row for each in traces]
        table = markdown(rows)
        write_whole(arguments.output / "comparison.json", SUMMARY_FILE.text([asdict(row) for row in rows]))
        write_whole(arguments.output / "comparison.md", table)
        draw(traces, arguments.output / "comparison.png")
    except ModuleNotFoundError as error:
        print(f"spikeloom: {error.name} is not installed; pip install 'spikeloom[simulate]'", file=sys.stderr)
        sys.exit(2)
    except (ComparisonError, OSError, ValueError) as error:
        print(f"spikeloom: {error}", file=sys.stderr)
        sys.exit(2)
    print(table)
    print(f"comparison.json, comparison.md and comparison.png in {arguments.output}")


if __name__ == "__main__":
    main()
