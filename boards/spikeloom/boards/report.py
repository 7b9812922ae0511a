"""What a bitstream uses of its FPGA and how fast its clock may be, read from what the tools write."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from spikeloom.boards.flow import Flow

__all__ = ["Clock", "Report", "Used", "clocks", "report_table", "used_resources"]


@dataclass(frozen=True, kw_only=True)
class Used:
    """How many of a resource are taken, and how many the FPGA has (``None`` where no tool says)."""

    used: int
    available: int | None


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A clock of the design: the frequency it must have and the highest it may have, in MHz."""

    name: str
    constraint_mhz: float
    achieved_mhz: float

    @property
    def missed(self) -> bool:
        """Whether the design is too slow."""
        return self.achieved_mhz < self.constraint_mhz


@dataclass(frozen=True, kw_only=True)
class Report:
    """What ``report.json`` says: these names, in this order.

    Parameters
    ----------
    board, device : str
        What was built for.
    lut, ff, ram, dsp : int
        Lookup tables, flip-flops, block RAMs and multipliers in use.
    clock_mhz, fmax_mhz : float
        The clock that the fabric runs at, and the highest that place and route vouches for.
    neurons, synapses : int
        What the fabric holds.
    peak_synaptic_operations_per_s : int
        Weights added a second, at the most, at ``clock_mhz``.
    identity : str
        The build's hash, 32 hexadecimal digits; the board tells it to the driver.
    """

    board: str
    device: str
    lut: int
    ff: int
    ram: int
    dsp: int
    clock_mhz: float
    fmax_mhz: float
    neurons: int
    synapses: int
    peak_synaptic_operations_per_s: int
    identity: str

    def to_json(self) -> str:
        """The text of ``report.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def used_resources(nextpnr_report: str, netlist: str, flow: Flow) -> dict[str, Used]:
    """``lut``, ``ff``, ``ram`` and ``dsp`` from nextpnr's report and, for what it leaves out, Yosys's netlist.

    Raises
    ------
    ValueError
        A text is not what the tools of ``flow`` write.
    """
    utilization = _section(nextpnr_report, "utilization")
    result = {}
    for resource in ("lut", "ff", "ram", "dsp"):
        names = flow.resources.get(resource)
        if names is None:
            result[resource] = Used(used=_count_cells(netlist, flow.flip_flop_cells or ""), available=None)
            continue
        if names[0] not in utilization:
            raise ValueError(f"Report of nextpnr must count {names[0]}, not only {', '.join(sorted(utilization))}")
        used = sum(utilization[name]["used"] for name in names if name in utilization)
        result[resource] = Used(used=used, available=utilization[names[0]]["available"])
    return result


def clocks(nextpnr_report: str) -> list[Clock]:
    """All constrained clocks of the design, the tightest first.

    Raises
    ------
    ValueError
        The text is not nextpnr's report, or no clock is in it.
    """
    found = [
        Clock(name=name, constraint_mhz=entry["constraint"], achieved_mhz=entry["achieved"])
        for name, entry in _section(nextpnr_report, "fmax").items()
    ]
    if not found:
        raise ValueError("Report of nextpnr must name a clock, not none")
    return sorted(found, key=lambda clock: clock.achieved_mhz / clock.constraint_mhz)


def report_table(report: Report, resources: Mapping[str, Used]) -> Table:
    """The report for people."""
    table = Table(title=f"{report.board} ({report.device})", title_justify="left")
    table.add_column("")
    table.add_column("used", justify="right")
    table.add_column("of", justify="right")
    titles = {"lut": "LUT", "ff": "flip-flops", "ram": "block RAM", "dsp": "multipliers (DSP)"}
    for name, title in titles.items():
        entry = resources[name]
        if entry.available is None:
            table.add_row(title, f"{entry.used:,}", "")
        else:
            share = entry.used / entry.available if entry.available else 0.0
            table.add_row(title, f"{entry.used:,}", f"{entry.available:,} ({share:.0%})")
    table.add_section()
    table.add_row("clock", f"{report.clock_mhz:.2f} MHz", f"{report.fmax_mhz:.2f} MHz (Fmax)")
    table.add_row("neurons", f"{report.neurons:,}", "")
    table.add_row("synapses", f"{report.synapses:,}", "")
    table.add_row("synaptic operations", f"{report.peak_synaptic_operations_per_s / 1e6:,.0f} M/s", "(peak)")
    table.caption = f"identity {report.identity}"
    table.caption_justify = "left"
    return table


def _section(nextpnr_report: str, name: str) -> dict:
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
