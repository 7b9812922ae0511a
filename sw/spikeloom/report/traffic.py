"""Packets on the links of a mesh, as counted by the routers, or as estimated from the reference and the placement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spikeloom.explore.cost import Explanation
from spikeloom.sim.noc.mesh import Link, LinkCount, MeshParameters

__all__ = ["Traffic"]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Packets per step on the links of a mesh, and the numbers of the flows that cross each link.

    ``waits`` are the cycles per step in which a packet waits for each link, empty if not counted.
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
        """Return the traffic of all flows of ``explanation``, or the router counts ``counted`` in ``steps`` steps."""
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
