"""Critical path of a clock from the report of nextpnr, in the names of the design.

nextpnr names cells and nets as Yosys does: after the signal they drive, followed by the kind of cell and port.
``design.core.count_SB_DFFESR_Q_5_D_SB_LUT4_O_LC`` belongs to the signal ``count`` of the submodule ``core``. A path is
shown as the sequence of its signals; consecutive cells of the same signal, such as those of a carry chain, are one hop.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CriticalPath", "Hop", "critical_path", "design_name"]

_CELL = re.compile(r"_(?:SB|TRELLIS|LUT|PFUMX|L6MUX|CCU2C|DPR16X4|MULT|DFF|ALU|MUX|RAM|SDP|DP)[A-Z0-9]*(?:_|$)")
"""Start of the part of a name that Yosys adds: the kind of a cell of one of the families."""

_NOWHERE = "unnamed logic"


@dataclass(frozen=True, kw_only=True)
class Hop:
    """Signal on a path, with the delay in nanoseconds of its cells and of the wires to them."""

    name: str
    logic_ns: float
    routing_ns: float


@dataclass(frozen=True, kw_only=True)
class CriticalPath:
    """Longest path from one flip-flop or memory to another.

    Parameters
    ----------
    start, end : str
        Signals or memories at its ends.
    delay_ns : float
        Total delay including set-up time; without skew, Fmax is its reciprocal.
    routing : float
        Share of the delay in wires, 0 to 1.
    hops : tuple of Hop
        All signals on the path, beginning with the start.
    """

    start: str
    end: str
    delay_ns: float
    routing: float
    hops: tuple[Hop, ...]

    def __str__(self) -> str:
        """Return a description of the path without its hops, on one line."""
        return f"{self.start} to {self.end}: {self.delay_ns:.1f} ns, {self.routing:.0%} of it routing"


def design_name(name: str) -> str:
    """Return the hierarchical name of the signal or memory that nextpnr's cell or net ``name`` belongs to.

    The top ``design`` of a board's netlist is omitted. A name generated entirely by tools becomes ``unnamed logic``.
    """
    name = name.removeprefix("$glbnet$")
    if name.startswith("$"):
        return _NOWHERE
    end = _CELL.search(name)
    name = name if end is None else name[: end.start()]
    return name.removeprefix("design.") or _NOWHERE


def critical_path(paths: list[Mapping[str, Any]], clock: str) -> CriticalPath | None:
    """Return the path from ``clock`` to itself in ``critical_paths`` of nextpnr's report, or None."""
    edges = {f"posedge {clock}", f"negedge {clock}"}
    found = [entry["path"] for entry in paths if {entry["from"], entry["to"]} <= edges and entry["path"]]
    if not found:
        return None
    steps = max(found, key=lambda path: sum(step["delay"] for step in path))
    hops: list[Hop] = []
    for step, after in zip(steps, [*steps[1:], steps[-1]], strict=True):
        routed = step["type"] == "routing"
        # A net is named after its own signal, a cell after its output.
        name = design_name(step["net"] if routed else after.get("net", step["to"]["cell"]))
        if step["type"] == "setup":
            name = design_name(step["to"]["cell"])
        if name == _NOWHERE and hops:
            name = hops[-1].name
        logic, routing = (0.0, step["delay"]) if routed else (step["delay"], 0.0)
        if hops and hops[-1].name == name:
            last = hops.pop()
            logic, routing = last.logic_ns + logic, last.routing_ns + routing
        hops.append(Hop(name=name, logic_ns=round(logic, 3), routing_ns=round(routing, 3)))
    delay = sum(step["delay"] for step in steps)
    wires = sum(step["delay"] for step in steps if step["type"] == "routing")
    return CriticalPath(
        start=hops[0].name,
        end=hops[-1].name,
        delay_ns=round(delay, 3),
        routing=round(wires / delay, 3),
        hops=tuple(hops),
    )
