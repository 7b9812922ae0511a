"""Packets on the links of a mesh: what routers have counted, or what the reference's spikes and the placement say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spikeloom.explore.cost import Explanation
from spikeloom.sim.noc.mesh import Link, LinkCount, MeshParameters

__all__ = ["Traffic"]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Packets a step on the links of a mesh, and the numbers of the flows that cross each.

    ``waits`` are the cycles per step in which a packet has waited in front of each link, empty where none were counted.
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
