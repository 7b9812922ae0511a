"""The counters of a router."""

from spikeloom.sim.lib.registers import Register, RegisterMap
from spikeloom.sim.noc.mesh import Link

__all__ = ["ROUTER", "ROUTER_MEMORY", "counter_names"]

# The last memory number, so that it does not collide with the memories of the tile at the same position.
ROUTER_MEMORY = 15

ROUTER = RegisterMap(
    name="router",
    where=f"Routers with counters, memory {ROUTER_MEMORY} of the tile at the same position",
    registers=tuple(
        Register(
            name=f"{port}_{name}",
            offset=8 * number + 4 * place,
            width_bits=32,
            access="read",
            description=f"{description} {where}, modulo 2^32; 0 if the router has no such port.",
        )
        for number, (port, where) in enumerate(
            (
                ("local", "to the tile itself"),
                *((port, f"to the {port}") for port in ("east", "west", "north", "south")),
            )
        )
        for place, (name, description) in enumerate(
            (("packets", "packets sent"), ("waits", "cycles in which a packet waited to be sent"))
        )
    ),
    register_memory=ROUTER_MEMORY,
)
"""Counters of a router, cleared with the fabric."""


def counter_names(link: Link) -> tuple[str, str]:
    """The counters of a link among the registers of `ROUTER`: packets and waits."""
    return f"{link[1].value}_packets", f"{link[1].value}_waits"
