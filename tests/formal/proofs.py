"""All proofs with their depths, as run by `make formal`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring
from formal.properties import ArbiterProof, BlockQueueProof, FifoProof, RouterProof, SamplerProof
from formal.token_properties import TokensProof

from spikeloom.sim.noc.mesh import MeshParameters, Port

SMALL = MeshParameters(columns=3, rows=3, payload_width=2)
"""The router in its middle has five ports and every possible turn; two payload bits identify the two packets that are
followed."""
MIDDLE = 4
FOUR = MeshParameters(columns=4, rows=4)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A proof: ``depth`` is that of the induction, or the number of cycles after a reset that are searched. The tests
    run the proofs that are ``quick``, with ``short`` cycles for a search."""

    name: str
    build: Callable[[], wiring.Component]
    mode: str
    depth: int
    short: int
    quick: bool

    @property
    def reach(self) -> str:
        """The extent of the proof, in words."""
        return "all cycles, by induction" if self.mode == "prove" else f"the first {self.depth} cycles"


def _inductive(name: str, build: Callable[[], wiring.Component], *, quick: bool = True) -> Proof:
    return Proof(name=name, build=build, mode="prove", depth=2, short=2, quick=quick)


def _mesh(mesh: MeshParameters, depth: int) -> MeshParameters:
    return MeshParameters(columns=mesh.columns, rows=mesh.rows, payload_width=2, queue_depth=depth)


def _routers(kind: str, mesh: MeshParameters, tile: int, quick: tuple[Port, ...]) -> tuple[Proof, ...]:
    return tuple(
        _inductive(
            f"router, {kind}, from {port.value}", lambda port=port: RouterProof(mesh, tile, port), quick=port in quick
        )
        for port in mesh.ports(tile)
    )


def _timeout(port: Port, cycles: int) -> Proof:
    return Proof(
        name=f"router at a corner, a packet from {port.value} leaves within {cycles} cycles",
        build=lambda: RouterProof(SMALL, 0, port, invariants=False, timeout=cycles),
        mode="bmc",
        depth=cycles + 4,
        short=8,
        quick=False,
    )


def _sampler(bits: int) -> Proof:
    """The pipeline has no long-term state: after as many cycles as it has stages, its state is determined by the last
    inputs."""
    return Proof(
        name=f"sampler of {1 << bits} places",
        build=lambda: SamplerProof(bits),
        mode="prove",
        depth=5,
        short=5,
        quick=bits in (2, 3),
    )


def _block_queue(depth: int) -> Proof:
    """Over four cycles, because the registers of its memory depend on at most the last two."""
    return Proof(
        name=f"queue of {depth} in block RAM",
        build=lambda: BlockQueueProof(depth),
        mode="prove",
        depth=4,
        short=4,
        quick=depth == 4,
    )


PROOFS = (
    *(_sampler(bits) for bits in (1, 2, 3, 4)),
    *(_block_queue(depth) for depth in (4, 16)),
    *(_inductive(f"queue of {depth}", lambda depth=depth: FifoProof(depth)) for depth in (1, 2, 4, 8, 16, 64)),
    *(_inductive(f"arbiter of {count}", lambda count=count: ArbiterProof(count)) for count in (2, 3, 4, 5)),
    *_routers("no queues", _mesh(SMALL, 0), MIDDLE, (Port.WEST,)),
    *_routers("queues of 1", _mesh(SMALL, 1), MIDDLE, (Port.LOCAL,)),
    *_routers("queues of 2", _mesh(SMALL, 2), MIDDLE, (Port.SOUTH,)),
    *_routers("queues of 4", _mesh(SMALL, 4), MIDDLE, ()),
    *_routers("16 destinations", _mesh(FOUR, 2), 5, (Port.LOCAL,)),
    *_routers("at a corner", SMALL, 0, (Port.EAST,)),
    *(_timeout(port, 8) for port in SMALL.ports(0)),
    _inductive("tokens of a host and two tiles in a row", lambda: TokensProof(delayed=False)),
    _inductive("tokens of a host and two tiles in a loop", lambda: TokensProof(delayed=True)),
)
