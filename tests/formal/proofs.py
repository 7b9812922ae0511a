"""Everything that is proven, and to which depth: what `make formal` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring
from formal.properties import ArbiterProof, FifoProof, RouterProof

from spikeloom.sim.mesh import MeshParameters, Port

SMALL = MeshParameters(columns=3, rows=3, payload_width=2)
"""Its middle has five ports and every turn that there is; two bits of payload tell the packets that are followed."""
MIDDLE = 4
FOUR = MeshParameters(columns=4, rows=4)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """``depth`` is that of the induction, or the number of cycles after a reset that are searched; ``short`` is the
    number that the tests search."""

    name: str
    build: Callable[[], wiring.Component]
    mode: str
    depth: int
    short: int

    @property
    def reach(self) -> str:
        """How far it goes, in words."""
        return "all cycles, by induction" if self.mode == "prove" else f"the first {self.depth} cycles"


def _inductive(name: str, build: Callable[[], wiring.Component]) -> Proof:
    return Proof(name=name, build=build, mode="prove", depth=2, short=2)


def _mesh(parameters: MeshParameters, depth: int) -> MeshParameters:
    return MeshParameters(columns=parameters.columns, rows=parameters.rows, payload_width=2, queue_depth=depth)


PROOFS = (
    *(_inductive(f"queue of {depth}", lambda depth=depth: FifoProof(depth)) for depth in (1, 2, 4, 8, 16, 64)),
    *(_inductive(f"arbiter of {count}", lambda count=count: ArbiterProof(count)) for count in (2, 3, 4, 5)),
    *(
        _inductive(f"router, queues of 2, from {port.value}", lambda port=port: RouterProof(SMALL, MIDDLE, port))
        for port in Port
    ),
    *(
        _inductive(
            f"router with 16 destinations, from {port.value}", lambda port=port: RouterProof(_mesh(FOUR, 2), 5, port)
        )
        for port in Port
    ),
    *(
        _inductive(f"router at a corner, from {port.value}", lambda port=port: RouterProof(SMALL, 0, port))
        for port in SMALL.ports(0)
    ),
    *(
        Proof(
            name=f"router, queues of {depth}, from {port.value}",
            build=lambda depth=depth, port=port: RouterProof(_mesh(SMALL, depth), MIDDLE, port, invariants=False),
            mode="bmc",
            depth=14,
            short=6,
        )
        for depth in (0, 1, 4)
        for port in (Port.LOCAL, Port.WEST, Port.SOUTH)
    ),
    *(
        Proof(
            name=f"router, a packet from {port.value} leaves within {patience} cycles",
            build=lambda port=port, patience=patience: RouterProof(
                SMALL, MIDDLE, port, invariants=False, patience=patience
            ),
            mode="bmc",
            depth=patience + 8,
            short=6,
        )
        for port, patience in ((Port.LOCAL, 12), (Port.WEST, 12), (Port.SOUTH, 12))
    ),
)
