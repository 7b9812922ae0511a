"""Cost model of a placement: the work of each tile, the traffic, and the throughput limit.

The estimates use the expected spikes per step of each neuron: a tile adds one weight word per cycle, then updates one
neuron word per cycle, and each population costs `POPULATION_CYCLES` in addition. A link moves one packet per cycle.
Tiles work in parallel, at most one step apart, so that the slowest one limits the throughput.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike
from rich import box
from rich.table import Table

from spikeloom.compiler.dependencies import TOKENS, Flow, Rates, flows_of
from spikeloom.compiler.place import placement_of, tiles_written
from spikeloom.compiler.program import Program
from spikeloom.compiler.tiles.registry import compiler_of
from spikeloom.compiler.work import TileWork
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import ReferenceResult, simulate
from spikeloom.sim.noc.mesh import Link, Port

__all__ = ["Explanation", "explain", "measured_rates", "rates_of", "tables"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Work of all tiles, traffic between them, and packets per step on each used link."""

    work: tuple[TileWork, ...]
    flows: tuple[Flow, ...]
    links: dict[Link, float]

    @property
    def cycles(self) -> float:
        """Clock cycles per step."""
        return max([*(work.cycles for work in self.work), *self.links.values()])

    @property
    def limit(self) -> str:
        """Return one sentence with the throughput limit."""
        slowest = max(self.work, key=lambda work: work.cycles)
        said = f"tile {slowest.tile} limits the throughput, with {slowest.cycles:,.0f} cycles per step"
        if self.links:
            (tile, port), packets = max(self.links.items(), key=lambda item: item[1])
            where = f"into tile {tile}" if port is Port.LOCAL else f"from tile {tile} to the {port.value}"
            if packets > slowest.cycles:
                return f"the link {where} limits the throughput, with {packets:,.0f} packets per step"
            said += f"; the busiest link, {where}, moves {packets:,.0f} packets per step"
        return said


def measured_rates(network: QuantisedNetwork, spikes: ArrayLike) -> Rates:
    """Return the spikes per step of every neuron when the reference runs ``spikes`` ``(T, B, inputs)``."""
    return rates_of(simulate(network, spikes))


def rates_of(result: ReferenceResult) -> Rates:
    """Return the spikes per step of every neuron in ``result``."""
    return {INPUT: (result.inputs != 0).mean(axis=(0, 1))} | {
        name: fired.mean(axis=(0, 1)) for name, fired in result.spikes.items()
    }


def explain(program: Program, rates: Rates) -> Explanation:
    """Return work and traffic of ``program`` for the rates of the original network, before it was cut."""
    placement = placement_of(program)
    found = (compiler_of(program.fabric.tile(n))(placement, n).work(rates) for n in tiles_written(placement))
    work = tuple(sorted((tile for tile in found if tile is not None), key=lambda tile: tile.tile))
    input_from, output_to = program.assignment.input_from, program.assignment.output_to
    flows = flows_of(
        placement.parts, placement.tile_of, placement.observed, rates, input_from=input_from, output_to=output_to
    )
    links: dict[Link, float] = {}
    if program.fabric.mesh is not None:
        for flow in flows:
            for link in program.fabric.mesh.route(flow.source, program.fabric.mesh.destinations(flow.sinks)).links:
                links[link] = links.get(link, 0.0) + flow.packets
    return Explanation(work=work, flows=flows, links=links)


def tables(program: Program, explanation: Explanation) -> list[Table]:
    """Return a table of tiles with their resource use, and one of the traffic between tiles."""
    mesh = program.fabric.mesh
    shape = f", a mesh of {mesh.columns} x {mesh.rows}" if mesh else ""
    tiles = Table(
        title=f"{program.network} on fabric {program.fabric.name}{shape}", box=box.SIMPLE_HEAD, pad_edge=False
    )
    available: dict[str, set[int]] = {}
    for use in program.uses:
        available.setdefault(use.resource, set()).add(use.available)
    alike = {resource: counts for resource, counts in available.items() if len(counts) == 1}
    tiles.add_column("tile", no_wrap=True)
    tiles.add_column("parts", no_wrap=True)
    for resource in available:
        name = resource.partition(" of ")[0].replace(" ", "\n")
        tiles.add_column(f"{name}\nof {max(alike[resource])}" if resource in alike else name, justify="right")
    tiles.add_column("events\nper step", justify="right")
    tiles.add_column("cycles\nper step", justify="right")
    for work in explanation.work:
        used = {
            use.resource: f"{use.used:,}" if use.resource in alike else f"{use.used:,} / {use.available:,}"
            for use in program.uses
            if use.tile == work.tile
        }
        tiles.add_row(
            str(work.tile),
            "\n".join(work.parts),
            *(used.get(resource, "") for resource in available),
            f"{work.events:,.1f}",
            f"{work.cycles:,.0f}",
        )
    if mesh is None:
        return [tiles]
    routes = Table(title="traffic between tiles", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("spikes of", "from", "to", "packets\nper step", "hops", "links crossed\nper step"):
        routes.add_column(column, justify="left" if column == "spikes of" else "right")
    token_packets = token_links = 0.0
    for flow in explanation.flows:
        route = mesh.route(flow.source, mesh.destinations(flow.sinks))
        if flow.name in TOKENS:
            token_packets += flow.packets
            token_links += flow.packets * route.traffic
            continue
        routes.add_row(
            flow.name,
            _called(flow.source),
            ", ".join(_called(sink) for sink in sorted(flow.sinks)),
            f"{flow.packets:,.1f}",
            str(max(route.hops.values())),
            f"{flow.packets * route.traffic:,.1f}",
        )
    routes.add_row("all tokens", "", "", f"{token_packets:,.1f}", "", f"{token_links:,.1f}")
    return [tiles, routes]


def _called(tile: int) -> str:
    return "host" if tile == BRIDGE_TILE else str(tile)
