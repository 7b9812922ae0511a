"""Drawing of tiles and links, with the list of routes."""

from __future__ import annotations

from spikeloom.compiler.work import TileWork
from spikeloom.report.collect import Report
from spikeloom.report.text import markup, visible
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.noc.mesh import Port

__all__ = ["mesh_section", "tile_name"]

_WIDTH, _HEIGHT, _GAP = 150, 104, 64  # size of a tile and gap between tiles, in units of the drawing
_NAME = 18  # letters of a name that fit a tile
_LINES = 3  # names that fit a tile


def tile_name(tile: int) -> str:
    """Return the name of a tile on the page."""
    return "host" if tile == BRIDGE_TILE else f"tile {tile}"


def mesh_section(report: Report) -> str:
    """Return the section with tiles, links and routes."""
    between = {link: packets for link, packets in report.traffic.packets.items() if link[1] is not Port.LOCAL}
    most = max(between.values(), default=0.0)
    links = "".join(_link(report, tile, port, packets, most) for (tile, port), packets in between.items())
    tiles = "".join(_tile(report, tile) for tile in range(report.mesh.tiles))
    width = 16 + report.mesh.columns * (_WIDTH + _GAP) - _GAP
    height = 16 + report.mesh.rows * (_HEIGHT + _GAP) - _GAP
    options = "".join(
        f'<option value="{number}">{markup(flow.name)}: {tile_name(flow.source)} to '
        f"{', '.join(map(tile_name, sorted(flow.sinks)))}, {flow.packets:,.1f} packets per step</option>"
        for number, flow in enumerate(report.explanation.flows)
    )
    return (
        '<section><h2>Tiles and routes</h2><label>Routes of <select id="flow"><option value="">all</option>'
        f'{options}</select></label><div class="wide" tabindex="0" role="region" aria-label="Mesh">'
        f'<svg class="mesh" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="Tiles and the links between them">{links}{tiles}</svg></div>'
        f'<p class="legend">0 <span class="ramp"></span> {most:,.1f} packets per step on a link</p>'
        '<p id="details" aria-live="polite">Choose a tile to see its content and the routes of packets.</p></section>'
    )


def _corner(report: Report, tile: int) -> tuple[int, int]:
    column, row = report.mesh.place(tile)  # row 0 is drawn at the bottom, because north is up
    return 8 + column * (_WIDTH + _GAP), 8 + (report.mesh.rows - 1 - row) * (_HEIGHT + _GAP)


def _tile(report: Report, tile: int) -> str:
    work: TileWork | None = next((work for work in report.explanation.work if work.tile == tile), None)
    parts = () if work is None else work.parts
    given = report.traffic.packets.get((tile, Port.LOCAL), 0.0)
    holds = ", ".join(map(visible, parts)) or "no population"
    said = f"{tile_name(tile)}: holds {holds}; receives {given:,.1f} packets per step"
    if work is not None:
        said += f"; {work.events:,.1f} events and {work.cycles:,.0f} cycles per step"
    x, y = _corner(report, tile)
    names = [visible(name, _NAME) for name in parts[:_LINES]]
    if len(parts) > _LINES:
        names[-1] = f"and {len(parts) - _LINES + 1} more"
    lines = "".join(
        f'<text x="{x + 10}" y="{y + 42 + 17 * place}">{markup(name)}</text>' for place, name in enumerate(names)
    )
    foot = "" if work is None else f'<text class="quiet" x="{x + 10}" y="{y + 95}">{work.cycles:,.0f} cycles</text>'
    kind = "tile" if work is not None or tile == BRIDGE_TILE else "tile empty"
    words = markup(said, 2000)
    return (
        f'<g class="{kind}" tabindex="0" role="button" aria-pressed="false" data-tile="{tile}" '
        f'aria-label="{words}" data-details="{words}"><title>{words}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text x="{x + 10}" y="{y + 21}" font-weight="700">{tile_name(tile)}</text>{lines}{foot}</g>'
    )


def _link(report: Report, tile: int, port: Port, packets: float, most: float) -> str:
    x, y = _corner(report, tile)
    middle, centre = x + _WIDTH // 2, y + _HEIGHT // 2
    # The two directions between neighbours are drawn side by side.
    start_x, start_y, step, head = {
        Port.EAST: (x + _WIDTH, centre - 11, f"h{_GAP - 10}", "l-6-5m6 5l-6 5"),
        Port.WEST: (x, centre + 11, f"h{10 - _GAP}", "l6-5m-6 5l6 5"),
        Port.NORTH: (middle - 11, y, f"v{10 - _GAP}", "l-5 6m5-6l5 6"),
        Port.SOUTH: (middle + 11, y + _HEIGHT, f"v{_GAP - 10}", "l-5-6m5 6l5-6"),
    }[port]
    flows = report.traffic.flows.get((tile, port), ())
    waits = report.traffic.waits.get((tile, port))
    waited = "" if waits is None else f", {waits:,.1f} cycles of waiting"
    sources = sorted({report.explanation.flows[flow].source for flow in flows})
    share = packets / most if most else 0.0
    return (
        f'<path class="link" style="stroke:color-mix(in srgb, var(--hot) {100 * share:.0f}%, var(--cold))" '
        f'd="M{start_x} {start_y}{step}{head}" data-flows="{" ".join(map(str, flows))}" '
        f'data-sources="{" ".join(map(str, sources))}"><title>{tile_name(tile)} to the {port.value}: '
        f"{packets:,.1f} packets per step{waited}</title></path>"
    )
