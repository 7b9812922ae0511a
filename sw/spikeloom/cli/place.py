"""``spikeloom place``: show the placement of a network on a mesh."""

from __future__ import annotations

import dataclasses
from typing import Any

from spikeloom.cli.choosing import fabric_for, place_on, quantised_for
from spikeloom.cli.console import out, print_json
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import PLACE_IMAGES, Hardware, JsonOption, Loading, NetworkArgument, Samples
from spikeloom.compiler.program import Program
from spikeloom.explore.cost import Explanation

__all__ = ["show_placement"]


@grouped
def show_placement(
    network: NetworkArgument = None,
    as_json: JsonOption = False,
    *,
    loading: Loading,
    hardware: Hardware,
    samples: Samples,
) -> None:
    """Map a network to the tiles of a mesh: show the content of each tile, the traffic and the throughput limit."""
    from spikeloom.compiler.dependencies import UNIFORM_RATE, uniform_rates
    from spikeloom.explore.cost import explain, measured_rates, tables

    loaded = loading.load(network)
    fabric = fabric_for(hardware, loading, [loaded])
    quantised = quantised_for(loaded, fabric, loading)
    if samples.inputs is None and (loaded.inputs != 64 or loading.encoder_of(loaded) is None):
        rates = uniform_rates(quantised)
        source = f"{UNIFORM_RATE} spikes per neuron per step"
    else:
        chosen = samples.of(loaded, loading).first(samples.images or PLACE_IMAGES)
        rates = measured_rates(quantised, chosen.spikes)
        source = f"the activity in {chosen.spikes.shape[1]:,} images"
    program = place_on(fabric, quantised, hardware, rates=rates)
    explanation = explain(program, rates)
    if as_json:
        print_json(_placement(program, explanation, source))
        return
    for table in tables(program, explanation):
        out.print(table)
    out.print(f"expected from {source}: {explanation.limit}")


def _placement(program: Program, explanation: Explanation, source: str) -> dict[str, Any]:
    mesh = program.fabric.mesh
    return {
        "network": program.network,
        "fabric": program.fabric.name,
        "mesh": None if mesh is None else [mesh.columns, mesh.rows],
        "tiles": [
            {
                "tile": work.tile,
                "parts": list(work.parts),
                "events_per_step": float(work.events),
                "cycles_per_step": float(work.cycles),
            }
            for work in explanation.work
        ],
        "uses": [dataclasses.asdict(use) for use in program.uses],
        "flows": [
            {
                "name": flow.name,
                "source": flow.source,
                "sinks": sorted(flow.sinks),
                "packets_per_step": float(flow.packets),
            }
            for flow in explanation.flows
        ],
        "cycles_per_step": float(explanation.cycles),
        "limit": explanation.limit,
        "expected_from": source,
    }
