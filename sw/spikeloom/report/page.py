"""A report as one HTML page that asks for nothing else: styles, drawings and script are in it.

Each part is a function of a `spikeloom.report.collect.Report`. Names come from files of users: all of them go through
`html.escape`, and the script puts text into the page as text only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from spikeloom.explore.cost import TileWork
from spikeloom.report.collect import Report
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.noc.mesh import Port

__all__ = ["page"]

_SAMPLES = 6  # in the select of the rasters
_WIDTH, _HEIGHT, _GAP = 150, 104, 64  # of a tile and between tiles, in units of the drawing
_NAME = 18  # letters of a name that fit a tile
_LINES = 3  # names that fit a tile

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5a6678;--line:#d9dee6;--cold:#c9d3e2;
--hot:#c2410c;--mark:#1d4ed8;--first:#2563a8;--second:#0f8a72;--third:#9a6ad6}
@media(prefers-color-scheme:dark){:root{--page:#10141b;--card:#181e28;--ink:#e7ebf2;--soft:#9aa7ba;--line:#2d3746;
--cold:#3a475c;--hot:#fb923c;--mark:#7fb0ff;--first:#5b9ee6;--second:#3cc2a4;--third:#bb97ee}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:auto;padding:1.5rem 1rem 3rem}h1{font-size:1.6rem;line-height:1.2;margin:0}
h2{font-size:1.1rem;margin:0 0 .6rem}p{margin:.3rem 0}.soft{color:var(--soft);font-size:.9rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;margin-top:1rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:.6rem;margin:1rem 0 0}
dl div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.6rem .8rem}
dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child,.left{text-align:left}tbody th{white-space:nowrap}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .quiet{fill:var(--soft)}.mesh{display:block;margin:auto}
.tile{cursor:pointer}.tile rect{fill:var(--card);stroke:var(--line);stroke-width:2}.empty rect{stroke-dasharray:5 4}
.tile:focus{outline:none}.tile:focus rect,.tile[aria-pressed=true] rect{stroke:var(--mark);stroke-width:3}
.link{stroke-width:5;fill:none}.dim{opacity:.15}.heat{min-width:5rem;border-radius:4px}
.legend{display:flex;gap:.5rem;align-items:center;font-size:.85rem;color:var(--soft)}
.ramp{width:120px;height:10px;border-radius:5px;background:linear-gradient(90deg,var(--cold),var(--hot))}
.bar{display:flex;height:20px;min-width:180px;border-radius:4px;overflow:hidden;background:var(--line)}
.raster{width:100%;display:block;border:1px solid var(--line);border-radius:6px;fill:var(--ink)}
select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:6px;
padding:.25rem;max-width:100%}label{display:block;margin:.3rem 0}:focus-visible{outline:2px solid var(--mark)}
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 .8em}
"""

_SCRIPT = """
"use strict";
const tiles=[...document.querySelectorAll(".tile")],links=[...document.querySelectorAll(".link")];
const details=document.getElementById("details"),flow=document.getElementById("flow");
function show(chosen){links.forEach(l=>l.classList.toggle("dim",!chosen(l)))}
function choose(tile){
  tiles.forEach(t=>t.setAttribute("aria-pressed",String(t===tile)));flow.value="";
  details.textContent=tile.dataset.details;
  show(l=>l.dataset.sources.split(" ").includes(tile.dataset.tile));
}
tiles.forEach(t=>{
  t.addEventListener("click",()=>choose(t));
  t.addEventListener("keydown",e=>{if(e.key==="Enter"||e.key===" "){e.preventDefault();choose(t)}});
});
flow.addEventListener("change",()=>{
  tiles.forEach(t=>t.setAttribute("aria-pressed","false"));
  show(l=>flow.value===""||l.dataset.flows.split(" ").includes(flow.value));
});
const sample=document.getElementById("sample");
function raster(){document.querySelectorAll(".sample").forEach(s=>{s.hidden=s.dataset.sample!==sample.value})}
sample.addEventListener("change",raster);raster();
"""


def page(report: Report) -> str:
    """The whole page."""
    title = escape(f"{report.program.network} on {report.program.fabric.name}")
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    parts = (_figures, _mesh, _heat, _rasters, _resources, _counters, _timing)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{''.join(part(report) for part in parts)}</main>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _called(tile: int) -> str:
    return "host" if tile == BRIDGE_TILE else f"tile {tile}"


def _shade(share: float) -> str:
    return f"color-mix(in srgb, var(--hot) {100 * share:.0f}%, var(--cold))"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; the first column heads its rows."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _figures(report: Report) -> str:
    steps, samples, _ = next(iter(report.spikes.values())).shape
    cycles = report.estimated_cycles_per_sample
    counted = "expected" if report.cycles_per_sample is None else "counted"
    figures = [
        ("samples", f"{samples:,}"),
        ("steps a sample", f"{steps:,}"),
        ("cycles a step, expected", f"{report.explanation.cycles:,.0f}"),
        (f"cycles a sample, {counted}", f"{cycles:,.0f}"),
    ]
    if report.clock_mhz is not None:
        figures.append((f"samples a second at {report.clock_mhz:g} MHz", f"{report.clock_mhz * 1e6 / cycles:,.0f}"))
    if report.accuracy is not None:
        figures.append(("accuracy in these samples", f"{100 * report.accuracy:.2f} %"))
    mesh = report.program.fabric.mesh
    shape = f"a mesh of {mesh.columns} x {mesh.rows}" if mesh else "one core"
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in figures)
    return (
        f'<p class="soft">{shape}; spikes of the reference, traffic '
        f"{'counted by the routers' if report.traffic.waits else 'of the reference'}; "
        f"run on: {escape(report.runner)}</p>"
        f"<dl>{listed}</dl><section><h2>What limits throughput</h2><p>{escape(report.explanation.limit)}.</p></section>"
    )


def _corner(report: Report, tile: int) -> tuple[int, int]:
    column, row = report.mesh.place(tile)
    return 8 + column * (_WIDTH + _GAP), 8 + (report.mesh.rows - 1 - row) * (_HEIGHT + _GAP)


def _tile(report: Report, tile: int) -> str:
    work: TileWork | None = next((work for work in report.explanation.work if work.tile == tile), None)
    parts = () if work is None else work.parts
    given = report.traffic.packets.get((tile, Port.LOCAL), 0.0)
    said = f"{_called(tile)}: holds {', '.join(parts) or 'no population'}; is given {given:,.1f} packets a step"
    if work is not None:
        said += f"; {work.events:,.1f} events and {work.cycles:,.0f} cycles a step"
    x, y = _corner(report, tile)
    names = [name if len(name) <= _NAME else f"{name[: _NAME - 1]}…" for name in parts[:_LINES]]
    if len(parts) > _LINES:
        names[-1] = f"and {len(parts) - _LINES + 1} more"
    lines = "".join(
        f'<text x="{x + 10}" y="{y + 42 + 17 * place}">{escape(name)}</text>' for place, name in enumerate(names)
    )
    foot = "" if work is None else f'<text class="quiet" x="{x + 10}" y="{y + 95}">{work.cycles:,.0f} cycles</text>'
    kind = "tile" if work is not None or tile == BRIDGE_TILE else "tile empty"
    return (
        f'<g class="{kind}" tabindex="0" role="button" aria-pressed="false" data-tile="{tile}" '
        f'aria-label="{escape(said)}" data-details="{escape(said)}"><title>{escape(said)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text x="{x + 10}" y="{y + 21}" font-weight="700">{_called(tile)}</text>{lines}{foot}</g>'
    )


def _mesh(report: Report) -> str:
    between = {link: packets for link, packets in report.traffic.packets.items() if link[1] is not Port.LOCAL}
    most = max(between.values(), default=0.0)
    drawn = ""
    for (tile, port), packets in between.items():
        x, y = _corner(report, tile)
        middle, centre = x + _WIDTH // 2, y + _HEIGHT // 2
        start_x, start_y, step = {
            Port.EAST: (x + _WIDTH, centre - 11, f"h{_GAP - 10}"),
            Port.WEST: (x, centre + 11, f"h{10 - _GAP}"),
            Port.NORTH: (middle - 11, y, f"v{10 - _GAP}"),
            Port.SOUTH: (middle + 11, y + _HEIGHT, f"v{_GAP - 10}"),
        }[port]
        flows = report.traffic.flows.get((tile, port), ())
        waits = report.traffic.waits.get((tile, port))
        waited = "" if waits is None else f", {waits:,.1f} cycles of waiting"
        sources = sorted({report.explanation.flows[flow].source for flow in flows})
        head = {Port.EAST: "l-6-5m6 5l-6 5", Port.WEST: "l6-5m-6 5l6 5", Port.NORTH: "l-5 6m5-6l5 6"}
        drawn += (
            f'<path class="link" style="stroke:{_shade(packets / most if most else 0)}" '
            f'd="M{start_x} {start_y}{step}{head.get(port, "l-5-6m5 6l5-6")}" data-flows="{" ".join(map(str, flows))}" '
            f'data-sources="{" ".join(map(str, sources))}"><title>{_called(tile)} to the {port.value}: '
            f"{packets:,.1f} packets a step{waited}</title></path>"
        )
    tiles = "".join(_tile(report, tile) for tile in range(report.mesh.tiles))
    width = 16 + report.mesh.columns * (_WIDTH + _GAP) - _GAP
    height = 16 + report.mesh.rows * (_HEIGHT + _GAP) - _GAP
    options = "".join(
        f'<option value="{number}">{escape(flow.name)}: {_called(flow.source)} to '
        f"{', '.join(map(_called, sorted(flow.sinks)))}, {flow.packets:,.1f} packets a step</option>"
        for number, flow in enumerate(report.explanation.flows)
    )
    return (
        '<section><h2>Tiles and routes</h2><label>Routes of <select id="flow"><option value="">all</option>'
        f'{options}</select></label><div class="wide" tabindex="0" role="region" aria-label="Mesh">'
        f'<svg class="mesh" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="Tiles and the links between them">{drawn}{tiles}</svg></div>'
        f'<p class="legend">0 <span class="ramp"></span> {most:,.1f} packets a step on a link</p>'
        '<p id="details" aria-live="polite">Choose a tile to see what it holds and where its packets go.</p></section>'
    )


def _heat(report: Report) -> str:
    most = report.explanation.cycles or 1.0
    rows = ""
    for work in report.explanation.work:
        sweep = work.cycles - work.words_added
        share = work.cycles / most
        rows += (
            f'<tr><th scope="row">{_called(work.tile)}</th><td>{work.words_added:,.0f}</td><td>{sweep:,.0f}</td>'
            f"<td>{most - work.cycles:,.0f}</td><td>{100 * share:.0f} %</td>"
            f'<td><div class="bar" aria-hidden="true"><i style="background:var(--first);'
            f'width:{100 * work.words_added / most:.1f}%"></i>'
            f'<i style="background:var(--second);width:{100 * sweep / most:.1f}%"></i></div></td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("tile", "weights", "sweep", "waiting", "busy", "share"))
    return (
        '<section><h2>Utilisation</h2><p class="soft">Expected cycles of a step: '
        '<span class="key" style="background:var(--first)"></span>adding weights'
        '<span class="key" style="background:var(--second)"></span>sweep over neurons'
        '<span class="key" style="background:var(--line)"></span>waiting for the slowest</p>'
        '<div class="wide" tabindex="0" role="region" aria-label="Utilisation"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _raster(name: str, spikes: NDArray[np.bool_]) -> str:
    """A drawing of ``spikes`` ``(T, n)``: time to the right, neurons downwards."""
    steps, neurons = spikes.shape
    marks = "".join(f"M{step} {neuron}h.8v.8h-.8z" for step, neuron in np.argwhere(spikes))
    said = f"{name}: {int(spikes.sum()):,} spikes of {neurons:,} neurons in {steps:,} steps"
    return (
        f'<p class="soft">{escape(said)}</p><svg class="raster" viewBox="0 0 {steps} {neurons}" '
        f'height="{min(200, max(60, 4 * neurons))}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(said)}"><path d="{marks}"/></svg>'
    )


def _rasters(report: Report) -> str:
    shown = min(_SAMPLES, next(iter(report.spikes.values())).shape[1])
    names = [f"sample {n}" if report.labels is None else f"sample {n}, label {report.labels[n]}" for n in range(shown)]
    options = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(names))
    drawn = "".join(
        f'<div class="sample" data-sample="{number}">'
        f"{''.join(_raster(name, spikes[:, number]) for name, spikes in report.spikes.items())}</div>"
        for number in range(shown)
    )
    return f'<section><h2>Spikes</h2><label>Show <select id="sample">{options}</select></label>{drawn}</section>'


def _resources(report: Report) -> str:
    rows = [
        (
            _called(use.tile),
            use.resource,
            f"{use.used:,}",
            f"{use.available:,}",
            f"{100 * use.used / use.available:.0f} %",
        )
        for use in report.program.uses
    ]
    columns = ("tile", "resource", "used", "available", "share")
    return f"<section><h2>Resources of the tiles</h2>{_table('Resources', columns, rows)}</section>"


def _counters(report: Report) -> str:
    if not report.counters:
        return ""
    names = list(next(iter(report.counters.values())))
    rows = [
        (_called(tile), *(f"{counts[name]:,}" for name in names)) for tile, counts in sorted(report.counters.items())
    ]
    columns = ("tile", *(name.replace("_", " ") for name in names))
    return f"<section><h2>Counters of the run</h2>{_table('Counters', columns, rows)}</section>"


def _timing(report: Report) -> str:
    values = [(name.replace("_", " "), str(value)) for name, value in report.timing.items() if np.isscalar(value)]
    said = _table("Timing", ("figure", "value"), values) if values else "<p>No build or synthesis was given.</p>"
    return f"<section><h2>Logic and timing</h2>{said}</section>"
