"""The drawing of the mesh: positions of tiles and links, labels, and names as plain text."""

import dataclasses
import re

import pytest
from harness.networks import rng_of
from harness.reports import random_report

from spikeloom.compiler.work import TileWork
from spikeloom.report.mesh import mesh_section, tile_name
from spikeloom.sim.noc.mesh import Port


@pytest.fixture(scope="module")
def report():
    return random_report(rng_of("report mesh"))[2]


def with_parts(report, *parts):
    """The report with these parts in its first tile that is in use."""
    work = dataclasses.replace(report.explanation.work[0], parts=parts)
    explanation = dataclasses.replace(report.explanation, work=(work, *report.explanation.work[1:]))
    return dataclasses.replace(report, explanation=explanation)


def test_names_of_tiles():
    assert [tile_name(tile) for tile in (0, 1, 12)] == ["host", "tile 1", "tile 12"]


def test_every_tile_stands_at_its_place(report):
    """Row 0 is at the bottom, whereas y grows downwards in a drawing."""
    corners = {
        int(tile): (int(x), int(y))
        for tile, x, y in re.findall(r'data-tile="(\d)".*?<rect x="(\d+)" y="(\d+)"', mesh_section(report))
    }
    assert sorted(corners) == list(range(6))
    for tile, (x, y) in corners.items():
        column, row = report.mesh.place(tile)
        assert x == corners[0][0] + column * (corners[1][0] - corners[0][0])
        assert y == corners[0][1] - row * (corners[0][1] - corners[3][1])
    assert corners[0][1] > corners[3][1]


def test_links_between_tiles_have_their_packets_and_flows(report):
    text = mesh_section(report)
    between = {link: packets for link, packets in report.traffic.packets.items() if link[1] is not Port.LOCAL}
    drawn = re.findall(r'class="link".*?data-flows="([\d ]*)" data-sources="([\d ]*)"><title>(.*?)</title>', text)
    assert len(drawn) == len(between) > 2
    for ((tile, port), packets), (flows, sources, title) in zip(between.items(), drawn, strict=True):
        assert title == f"{tile_name(tile)} to the {port.value}: {packets:,.1f} packets per step"
        numbers = [int(number) for number in flows.split()]
        assert tuple(numbers) == report.traffic.flows[tile, port]
        wanted = {report.explanation.flows[number].source for number in numbers}
        assert [int(source) for source in sources.split()] == sorted(wanted)
    hottest = max(between.values())
    assert f"{hottest:,.1f} packets per step on a link" in text
    assert "var(--hot) 100%" in text


def test_waiting_is_said_where_it_was_counted(report):
    link = next(link for link in report.traffic.packets if link[1] is not Port.LOCAL)
    traffic = dataclasses.replace(report.traffic, waits={link: 2.25})
    text = mesh_section(dataclasses.replace(report, traffic=traffic))
    assert text.count("cycles of waiting") == 1
    assert "packets per step, 2.2 cycles of waiting</title>" in text


def test_every_flow_can_be_chosen(report):
    options = re.findall(r'<option value="(\d+)">(.*?)</option>', mesh_section(report))
    assert [int(number) for number, _ in options] == list(range(len(report.explanation.flows)))
    flow = report.explanation.flows[0]
    assert options[0][1].startswith(f"{flow.name}: {tile_name(flow.source)} to ")


@pytest.mark.parametrize(
    ("parts", "shown"),
    [(("a",), ["a"]), (("a", "b", "c"), ["a", "b", "c"]), (("a", "b", "c", "d", "e"), ["a", "b", "and 3 more"])],
)
def test_as_many_names_as_fit_a_tile(report, parts, shown):
    found = with_parts(report, *parts)
    tile = found.explanation.work[0].tile
    (drawn,) = re.findall(rf'data-tile="{tile}".*?</g>', mesh_section(found))
    assert re.findall(r'<text x="\d+" y="\d+">(.*?)</text>', drawn) == shown
    assert f"holds {', '.join(parts)}; receives" in drawn


def test_what_is_idle_is_empty_and_the_host_is_not(report):
    text = mesh_section(report)
    busy = {work.tile for work in report.explanation.work} | {0}
    for tile in range(6):
        kind = "tile" if tile in busy else "tile empty"
        assert f'<g class="{kind}" tabindex="0" role="button" aria-pressed="false" data-tile="{tile}"' in text
    assert len(busy) < 6


def test_no_traffic_is_no_division_by_zero(report):
    traffic = dataclasses.replace(report.traffic, packets=dict.fromkeys(report.traffic.packets, 0.0))
    assert "var(--hot) 0%" in mesh_section(dataclasses.replace(report, traffic=traffic))


def test_a_name_is_text_and_not_too_long(report):
    text = mesh_section(with_parts(report, "<b>", "n" * 40))
    assert "<b>" not in text
    assert ">&lt;b&gt;</text>" in text
    assert f">{'n' * 17}…</text>" in text


def test_cycles_stand_at_the_foot(report):
    work = TileWork(
        tile=report.explanation.work[0].tile, parts=("a",), events=3.0, words_added=1000.0, words_updated=18
    )
    explanation = dataclasses.replace(report.explanation, work=(work,))
    text = mesh_section(dataclasses.replace(report, explanation=explanation))
    assert ">1,034 cycles</text>" in text
    assert "; 3.0 events and 1,034 cycles per step" in text
