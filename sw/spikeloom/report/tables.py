"""Numeric sections of the page: figures, rates, answers, mismatches, use, resources, counters, timing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from spikeloom.report.collect import Report
from spikeloom.report.mesh import tile_name
from spikeloom.report.text import markup

__all__ = [
    "answers_section",
    "counters_section",
    "figures_section",
    "rates_section",
    "resources_section",
    "timing_section",
    "utilisation_section",
]

_MOST_WRONG = 20  # maximum number of samples listed
_LARGEST_CONFUSION = 32  # maximum number of classes: a larger matrix fits no page


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; the first column holds the row headers."""
    head = "".join(f'<th scope="col">{markup(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{markup(row[0])}</th>{"".join(f"<td>{markup(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return _scrolling(title, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _scrolling(title: str, table: str) -> str:
    return f'<div class="wide" tabindex="0" role="region" aria-label="{markup(title)}">{table}</div>'


def _bar(*shares: tuple[float, str]) -> str:
    """Return a bar with one segment per (share, colour)."""
    parts = "".join(f'<i style="background:var(--{colour});width:{100 * share:.1f}%"></i>' for share, colour in shares)
    return f'<div class="bar" aria-hidden="true">{parts}</div>'


def figures_section(report: Report) -> str:
    """Return the section with the key figures and the throughput limit."""
    cycles = report.estimated_cycles_per_sample
    counted = "expected" if report.cycles_per_sample is None else "counted"
    figures = [
        ("samples", f"{report.samples:,}", ""),
        ("steps per sample", f"{report.steps:,}", ""),
        ("cycles per step, expected", f"{report.explanation.cycles:,.0f}", ""),
        (f"cycles per sample, {counted}", f"{cycles:,.0f}", ""),
    ]
    if report.clock_mhz is None:
        figures.append(
            ("images per second at the built clock", "no build of this fabric yet: spikeloom bitstream", "note")
        )
    else:
        rate = f"{report.clock_mhz * 1e6 / cycles:,.0f}"
        figures.append((f"images per second at {report.clock_mhz:g} MHz", rate, ""))
    if report.accuracy is not None:
        figures.append(("accuracy in these samples", f"{100 * report.accuracy:.2f} %", ""))
    for comparison in report.comparisons:
        count, of = int(comparison.differs.sum()), comparison.differs.size
        figures.append((f"mismatches of {markup(comparison.population, 30)}, {of:,} compared", f"{count:,}", ""))
    mesh = report.program.fabric.mesh
    shape = f"a mesh of {mesh.columns} x {mesh.rows}" if mesh else "one core"
    listed = "".join(f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd></div>' for name, value, kind in figures)
    return (
        f'<p class="soft">{shape}; spikes of the reference, traffic '
        f"{'counted by the routers' if report.traffic.waits else 'of the reference'}; "
        f"run on: {markup(report.runner)}</p>"
        f"<dl>{listed}</dl><section><h2>What limits throughput</h2>"
        f"<p>{markup(report.explanation.limit, 500)}.</p></section>"
    )


def rates_section(report: Report) -> str:
    """Return the section with the activity of each layer over all samples."""
    rates = {name: spikes.mean(axis=(0, 1)) for name, spikes in report.spikes.items()}
    most = max(float(rate.mean()) for rate in rates.values()) or 1.0
    rows = ""
    for name, rate in rates.items():
        rows += (
            f'<tr><th scope="row">{markup(name)}</th><td>{rate.size:,}</td><td>{rate.sum():,.2f}</td>'
            f"<td>{rate.mean():.4f}</td><td>{rate.max():.4f}</td><td>{int((rate == 0).sum()):,}</td>"
            f"<td>{_bar((float(rate.mean()) / most, 'first'))}</td></tr>"
        )
    columns = ("layer", "neurons", "spikes per step", "per neuron and step", "most active neuron", "silent neurons", "")
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<section><h2>Rates of the layers</h2>{_scrolling('Rates', table)}</section>"


def answers_section(report: Report) -> str:
    """Return the sections with the confusion matrix, the wrong answers and the differences from the reference."""
    return _confusion(report) + _mismatches(report)


def _confusion(report: Report) -> str:
    matrix = report.confusion
    if matrix is None:
        return ""
    if len(matrix) > _LARGEST_CONFUSION:
        shown = f"<p>More than {_LARGEST_CONFUSION} classes are not shown.</p>"
    else:
        head = "".join(f'<th scope="col">{answer}</th>' for answer in range(len(matrix)))
        body = ""
        for label, row in enumerate(matrix.tolist()):
            kinds = ["right" if label == answer else "wrong" if count else "none" for answer, count in enumerate(row)]
            cells = "".join(
                f'<td class="{kind if count else "none"}">{count:,}</td>'
                for kind, count in zip(kinds, row, strict=True)
            )
            body += f'<tr><th scope="row">{label}</th>{cells}</tr>'
        table = (
            f'<table class="confusion"><thead><tr><th scope="col">label \\ answer</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )
        shown = _scrolling("Confusion matrix", table)
    rule = f"the output neuron with {report.decision.words}"
    return (
        f'<section><h2>Confusion matrix</h2><p class="soft">Samples of each label by the answer, {rule}.</p>'
        f"{shown}</section>"
    )


def _mismatches(report: Report) -> str:
    parts = []
    if report.labels is not None:
        wrong = report.wrong
        listed = [(f"sample {n}", str(report.labels[n]), str(report.answers[n])) for n in wrong[:_MOST_WRONG]]
        said = f"{len(wrong):,} of {report.samples:,} answers differ from the label."
        if len(wrong) > _MOST_WRONG:
            said += f" The first {_MOST_WRONG}:"
        parts.append(f"<p>{said}</p>")
        if listed:
            parts.append(_table("Wrong answers", ("sample", "label", "answer"), listed))
    for comparison in report.comparisons:
        samples = np.flatnonzero(comparison.differs.any(axis=(0, 2)))
        said = (
            f"{markup(comparison.population)}: {int(comparison.differs.sum()):,} of {comparison.differs.size:,} values "
            f"on {markup(report.runner)} differ from the reference"
        )
        if len(samples):
            step, neuron = np.argwhere(comparison.differs[:, samples[0]])[0]
            said += f", the first in sample {samples[0]}, step {step}, neuron {neuron}"
        parts.append(f"<p>{said}.</p>")
    if not report.comparisons:
        parts.append('<p class="soft">No hardware ran besides the reference, so there is no comparison.</p>')
    return f"<section><h2>Mismatches</h2>{''.join(parts)}</section>"


def utilisation_section(report: Report) -> str:
    """Return the section with the expected cycles per step in each tile."""
    most = report.explanation.cycles or 1.0
    rows = ""
    for work in report.explanation.work:
        sweep = work.cycles - work.words_added
        share = work.cycles / most
        rows += (
            f'<tr><th scope="row">{tile_name(work.tile)}</th><td>{work.words_added:,.0f}</td><td>{sweep:,.0f}</td>'
            f"<td>{most - work.cycles:,.0f}</td><td>{100 * share:.0f} %</td>"
            f"<td>{_bar((work.words_added / most, 'first'), (sweep / most, 'second'))}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("tile", "weights", "sweep", "waiting", "busy", "share"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        '<section><h2>Utilisation</h2><p class="soft">Expected cycles per step: '
        '<span class="key" style="background:var(--first)"></span>adding weights'
        '<span class="key" style="background:var(--second)"></span>sweep over neurons'
        '<span class="key" style="background:var(--line)"></span>waiting for the slowest</p>'
        f"{_scrolling('Utilisation', table)}</section>"
    )


def resources_section(report: Report) -> str:
    """Return the section with the resource use of each tile."""
    rows = [
        (
            tile_name(use.tile),
            use.resource,
            f"{use.used:,}",
            f"{use.available:,}",
            f"{100 * use.used / use.available:.0f} %" if use.available else "",
        )
        for use in report.program.uses
    ]
    columns = ("tile", "resource", "used", "available", "share")
    return f"<section><h2>Resources of the tiles</h2>{_table('Resources', columns, rows)}</section>"


def counters_section(report: Report) -> str:
    """Return the section with the counters of a run on hardware."""
    if not report.counters:
        return ""
    names = list(dict.fromkeys(name for counts in report.counters.values() for name in counts))
    rows = [
        (tile_name(tile), *(f"{counts[name]:,}" if name in counts else "" for name in names))
        for tile, counts in sorted(report.counters.items())
    ]
    columns = ("tile", *(name.replace("_", " ") for name in names))
    return f"<section><h2>Counters of the run</h2>{_table('Counters', columns, rows)}</section>"


def timing_section(report: Report) -> str:
    """Return the section with the logic and clock figures of a build or a synthesis."""
    values = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int | float) else str(value))
        for name, value in report.timing.items()
        if isinstance(value, int | float | str)
    ]
    empty = (
        "<p>There is no build of this fabric yet. After <code>spikeloom bitstream</code> for a board that holds it, or "
        "with <code>--timing</code>, its clock, logic and images per second appear here.</p>"
    )
    said = _table("Timing", ("figure", "value"), values) if values else empty
    return f"<section><h2>Logic and timing</h2>{said}</section>"
