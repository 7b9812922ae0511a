"""What a network does on a fabric, gathered for one page (`spikeloom.report.page` writes it).

Traffic is what the routers have counted, where they count. Else the reference says who spikes in the samples that are
shown, the placement says to which tiles, and `spikeloom.sim.noc.mesh` by which links: the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.datasets.readout import accuracy
from spikeloom.explore.cost import Explanation, explain, measured_rates
from spikeloom.sim.lib.files import json_from, read_text, shown
from spikeloom.sim.network.network import INPUT, QuantisedNetwork
from spikeloom.sim.network.reference import as_spikes, simulate
from spikeloom.sim.noc.mesh import Link, LinkCount, MeshParameters

__all__ = ["Report", "Traffic", "gather", "timing_from"]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Packets a step on the links of a mesh, and the numbers of the flows that cross each.

    ``waits`` are the cycles a step in which a packet has waited in front of each link, empty where nobody counted.
    """

    packets: dict[Link, float]
    flows: dict[Link, tuple[int, ...]]
    waits: dict[Link, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        mesh: MeshParameters,
        explanation: Explanation,
        counted: Mapping[Link, LinkCount] | None = None,
        steps: int = 1,
    ) -> Traffic:
        """The traffic of all flows of ``explanation``, or what routers have ``counted`` in ``steps`` steps."""
        packets: dict[Link, float] = {}
        flows: dict[Link, tuple[int, ...]] = {}
        for number, flow in enumerate(explanation.flows):
            for link in mesh.route(flow.source, mesh.destinations(flow.sinks)).links:
                packets[link] = packets.get(link, 0.0) + flow.packets
                flows[link] = (*flows.get(link, ()), number)
        if counted:
            packets = {link: count.packets / steps for link, count in counted.items() if count.packets}
        waits = {link: count.waits / steps for link, count in (counted or {}).items()}
        return cls(packets=packets, flows=flows, waits=waits)


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Everything on the page.

    ``spikes`` are ``(T, B, n)`` by population, the input first; ``counters`` those of the run by tile, empty where
    nobody counts; ``cycles_per_sample`` None likewise; ``timing`` what a build or a synthesis said, as it was named
    there. Without a mesh, ``mesh`` is a row of host and core, to be drawn.
    """

    program: Program
    explanation: Explanation
    mesh: MeshParameters
    traffic: Traffic
    spikes: dict[str, NDArray[np.bool_]]
    labels: NDArray[np.int64] | None = None
    accuracy: float | None = None
    counters: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    cycles_per_sample: float | None = None
    timing: Mapping[str, object] = field(default_factory=dict)
    runner: str = "reference"

    @property
    def clock_mhz(self) -> float | None:
        """The clock that ``timing`` names, in MHz: a board's own, else the fastest that was reached."""
        clock = self.timing.get("clock_mhz", self.timing.get("fmax_mhz"))
        return float(clock) if isinstance(clock, int | float) and not isinstance(clock, bool) else None

    @property
    def estimated_cycles_per_sample(self) -> float:
        """Clock cycles of a sample: those that were counted, else those that are expected."""
        steps = next(iter(self.spikes.values())).shape[0]
        return self.explanation.cycles * steps if self.cycles_per_sample is None else self.cycles_per_sample


def gather(
    network: QuantisedNetwork,
    program: Program,
    spikes: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    counters: Mapping[int, Mapping[str, int]] | None = None,
    links: Mapping[Link, LinkCount] | None = None,
    cycles_per_sample: float | None = None,
    timing: Mapping[str, object] | None = None,
    runner: str = "reference",
) -> Report:
    """The report of ``program``, which is ``network`` placed, in the samples ``spikes`` ``(T, B, inputs)``."""
    array = as_spikes(spikes, network.inputs)
    result = simulate(network, array)
    explanation = explain(program, measured_rates(network, array))
    mesh = program.fabric.mesh or MeshParameters(columns=2, rows=1)
    spiking = [p.name for p in network.populations if p.parameters.spiking]
    output = result.spikes.get(network.output) if network.output in spiking else None
    return Report(
        program=program,
        explanation=explanation,
        mesh=mesh,
        traffic=Traffic.of(mesh, explanation, links, array.shape[0] * array.shape[1]),
        spikes={INPUT: array != 0} | {name: result.spikes[name] for name in spiking},
        labels=None if labels is None else np.asarray(labels),
        accuracy=None if labels is None or output is None else accuracy(output, labels),
        counters=counters or {},
        cycles_per_sample=cycles_per_sample,
        timing=timing or {},
        runner=runner,
    )


def timing_from(path: Path) -> dict[str, object]:
    """The figures in ``report.json`` of a board's build, or in a file of ``qor``. Raises ``ValueError`` for others."""
    figures = json_from(read_text(path), f"timing {str(path)!r}")
    if not isinstance(figures, dict) or "fmax_mhz" not in figures:
        raise ValueError(f"timing must be a JSON file with fmax_mhz, {str(path)!r} has none")
    for name in ("fmax_mhz", "clock_mhz"):
        value = figures.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e6:
            raise ValueError(f"{name} of {str(path)!r} must be a number of megahertz, not {shown(value)}")
    return {"file": path.name, **figures}
