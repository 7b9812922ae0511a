"""Resources and maximum clock of a bitstream, from the output of the tools."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from spikeloom.boards.bitstream.critical_path import CriticalPath, Hop, critical_path, design_name
from spikeloom.boards.families.device import Device
from spikeloom.boards.families.flow import Flow
from spikeloom.sim.lib.files import json_from, shown
from spikeloom.sim.lib.formats import BUILD_REPORT, FORMAT_KEY

__all__ = ["Clock", "Report", "Used", "clocks", "report_table", "used_resources"]

_SHOWN_HOPS = 5
"""Maximum number of hops shown of a critical path: those with the largest delay."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """How much of a resource is used, and how much is available (``None`` if no tool reports it)."""

    used: int
    available: int | None


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Clock of the design: its constraint and its Fmax in MHz, and the critical path."""

    name: str
    constraint_mhz: float
    achieved_mhz: float
    path: CriticalPath | None = None

    @property
    def missed(self) -> bool:
        """Whether the design is too slow."""
        return self.achieved_mhz < self.constraint_mhz


@dataclass(frozen=True, kw_only=True)
class Report:
    """Content of ``report.json``, with these names in this order.

    Parameters
    ----------
    board, device : str
        Target of the build.
    lut, ff, ram, dsp : int
        Used lookup tables, flip-flops, block RAMs and multipliers.
    first_clock_mhz : float
        Aim of the build: the first clock tried. The clock is set just below what place and route reached.
    clock_mhz, fmax_mhz : float
        Clock of the fabric, and the maximum frequency reported by place and route.
    neurons, synapses : int
        Capacity of the fabric.
    peak_synaptic_operations_per_s : int
        Peak rate of weights added per second at ``clock_mhz``.
    identity : str
        Hash of the build, 32 hexadecimal digits; the board sends it to the driver.
    clocks : tuple of Clock
        All clocks, each with its critical path.
    seed : int
        Seed of place and route that was used.
    seeds : int
        Number of seeds that could be tried.
    raise_clock : bool
        Whether the clock could be higher than the aim.
    """

    board: str
    device: str
    lut: int
    ff: int
    ram: int
    dsp: int
    first_clock_mhz: float
    clock_mhz: float
    fmax_mhz: float
    neurons: int
    synapses: int
    peak_synaptic_operations_per_s: int
    identity: str
    clocks: tuple[Clock, ...]
    seed: int = 1
    seeds: int = 1
    raise_clock: bool = False

    def to_json(self) -> str:
        """Return the text of ``report.json``."""
        return json.dumps({**BUILD_REPORT.entry, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Parse a ``report.json``. Raises ``ValueError`` for other content and unknown formats."""
        try:
            content = json_from(text, "it")
        except ValueError as error:
            raise ValueError(f"report.json must come from a build ({shown(error, 200)})") from error
        content = _without_format(content)
        try:
            report = cls(**content | {"clocks": tuple(_clock(entry) for entry in content["clocks"])})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"report.json must come from a build ({shown(error, 200)})") from error
        for field in dataclasses.fields(cls):
            value = getattr(report, field.name)
            kinds: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}
            if type(value) not in kinds.get(field.type, (type(value),)):
                raise ValueError(f"report.json must come from a build ({field.name} is {shown(value)})")
        return report


def _without_format(content: Any) -> Any:
    """Check the format number of an object and return the other entries."""
    if not isinstance(content, dict):
        return content
    BUILD_REPORT.check(content)
    return {name: value for name, value in content.items() if name != FORMAT_KEY}


def _clock(entry: dict[str, Any]) -> Clock:
    path: Any = entry["path"]
    if path is not None:
        path = CriticalPath(**path | {"hops": tuple(Hop(**hop) for hop in path["hops"])})
    values: dict[str, Any] = entry | {"path": path}
    return Clock(**values)


def used_resources(nextpnr_report: str, netlist: str, flow: Flow) -> dict[str, Used]:
    """Return ``lut``, ``ff``, ``ram`` and ``dsp`` from nextpnr's report, completed by the netlist of Yosys.

    Raises
    ------
    ValueError
        A text does not come from the tools of ``flow``.
    """
    utilization = _section(nextpnr_report, "utilization")
    result = {}
    for resource in ("lut", "ff", "ram", "dsp"):
        names = flow.resources.get(resource)
        if names is None:
            result[resource] = Used(used=_count_cells(netlist, flow.flip_flop_cells or ""), available=None)
            continue
        if resource == "lut" and names[0] not in utilization:  # a device may lack the other resources
            raise ValueError(f"Report of nextpnr must count {names[0]}, not only {', '.join(sorted(utilization))}")
        used = sum(utilization[name]["used"] for name in names if name in utilization)
        available = utilization.get(names[0], {"available": 0})["available"]
        result[resource] = Used(used=used, available=available)
    return result


def clocks(nextpnr_report: str) -> list[Clock]:
    """Return all constrained clocks of the design, the tightest first.

    Raises
    ------
    ValueError
        The text is not a report of nextpnr, or contains no clock.
    """
    achieved = _section(nextpnr_report, "fmax")
    if not achieved:
        raise ValueError("Report of nextpnr must name a clock, but names none")
    paths = _section(nextpnr_report, "critical_paths")
    found = [
        Clock(
            name=design_name(name).rpartition(".")[2],  # nextpnr uses the name in an arbitrary submodule
            constraint_mhz=round(entry["constraint"], 3),
            achieved_mhz=round(entry["achieved"], 2),
            path=critical_path(paths, name),
        )
        for name, entry in achieved.items()
    ]
    return sorted(found, key=lambda clock: clock.achieved_mhz / clock.constraint_mhz)


def report_table(report: Report, device: Device) -> Table:
    """Return the report as a table for display."""
    table = Table(title=f"{report.board} ({report.device})", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("of")
    titles = {"lut": "lookup tables", "ff": "flip-flops", "ram": "block RAMs", "dsp": "multipliers"}
    for name, title in titles.items():
        used, available = getattr(report, name), device.lut if name == "ff" else getattr(device, name)
        share = f" ({used / available:.0%})" if available else ""
        table.add_row(title, f"{used:,}", f"{available:,}{share}")
    table.add_section()
    for clock in report.clocks:
        table.add_row(
            f"clock {clock.name}", f"{clock.constraint_mhz:.2f} MHz", f"{clock.achieved_mhz:.2f} MHz at most (Fmax)"
        )
        if clock.path is not None:
            table.add_row("critical path", f"{clock.path.delay_ns:.1f} ns", f"{clock.path.routing:.0%} of it routing")
            slowest = sorted(clock.path.hops, key=lambda hop: hop.logic_ns + hop.routing_ns)[-_SHOWN_HOPS:]
            ends = (clock.path.hops[0], clock.path.hops[-1])
            for hop in clock.path.hops:
                if hop in ends or hop in slowest:
                    table.add_row("", f"{hop.logic_ns:.1f} + {hop.routing_ns:.1f} ns", hop.name)
    table.add_section()
    table.add_row("neurons", f"{report.neurons:,}", "")
    table.add_row("synapses", f"{report.synapses:,}", "")
    table.add_row("synaptic operations", f"{report.peak_synaptic_operations_per_s / 1e6:,.0f} M/s", "at most")
    table.caption = f"identity {report.identity}"
    table.caption_justify = "left"
    return table


def _section(nextpnr_report: str, name: str) -> Any:
    try:
        content = json.loads(nextpnr_report)
    except json.JSONDecodeError as error:
        raise ValueError(f"Report of nextpnr must be JSON, not {nextpnr_report[:40]!r}") from error
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"Report of nextpnr must have a part {name!r}")
    return content[name]


def _count_cells(netlist: str, prefix: str) -> int:
    modules = json.loads(netlist)["modules"].values()
    tops = [module for module in modules if "top" in module.get("attributes", {})]
    if len(tops) != 1:
        raise ValueError(f"Netlist must have one top module, not {len(tops)}")
    return sum(cell["type"].startswith(prefix) for cell in tops[0]["cells"].values())
