"""Figures that are kept in ``qor/``: medians over several seeds of place and route, and what was measured.

One seed says little: seeds of one netlist scatter by 10 % and more. A file has the median with minimum and maximum,
every seed, the hash of the netlist, the tools, and the commit whose sources generate this netlist. It is *stale* if
today's sources generate another netlist, if the tools differ, or if it is of the older form, which kept the best
seed and neither netlist nor commit.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from spikeloom.sim.lib.files import json_from, shown

__all__ = ["RESOURCES", "SEEDS", "Figures", "Measured", "kept_folder", "median", "resources_of", "stale"]

SEEDS = 5
"""Number of seeds that are measured; three if one takes over ten minutes."""

_PORTION = Path(__file__).resolve().parents[2]
"""The directory ``spikeloom`` that holds ``boards``: of an installed wheel, or ``boards/spikeloom`` of a checkout."""

RESOURCES = ("lut", "ff", "ram", "dsp")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of one seed: resources, Fmax and constraint of each clock in MHz, and the wall time of place and route in
    seconds."""

    lut: int
    ff: int
    ram: int
    dsp: int
    clocks: dict[str, float]
    seconds: float
    constraints: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of a stored seed."""
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Measured":
        """Parse a stored seed. Raises ``ValueError`` for other content."""
        try:
            return cls(**json_from(text, "a stored seed"))
        except TypeError as error:
            raise ValueError(f"a stored seed must be one of make qor ({shown(error, 100)})") from error


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Size and speed, as a file of ``qor/`` keeps them.

    Parameters
    ----------
    lut, ff, ram, dsp : int
        Resources, medians of the seeds.
    seeds : dict of str to float
        Highest clock that each seed reached, in MHz.
    tools : list of str
        Tools with their versions.
    netlist : str
        Hash of the netlist and of the commands that it went through; empty in a file of the older form.
    commit : str
        Commit whose sources generate the netlist.
    """

    kind: ClassVar = "result"
    lut: int
    ff: int
    ram: int
    dsp: int
    seeds: dict[str, float]
    tools: list[str]
    netlist: str = ""
    commit: str = ""

    @property
    def fmax_mhz(self) -> float:
        """Median of the seeds in MHz."""
        return median(self.seeds.values(), 2)

    @property
    def fmax_min_mhz(self) -> float:
        """Lowest of the seeds in MHz."""
        return min(self.seeds.values())

    @property
    def fmax_max_mhz(self) -> float:
        """Highest of the seeds in MHz."""
        return max(self.seeds.values())

    def derived(self) -> dict[str, Any]:
        """Return the entries of a file that are computed from the fields, for its readers."""
        return {name: getattr(self, name) for name in ("fmax_mhz", "fmax_min_mhz", "fmax_max_mhz")}

    def to_json(self) -> str:
        """Return the text of a kept file."""
        fields = dataclasses.asdict(self)
        first = {name: fields.pop(name) for name in RESOURCES}
        content = {name: value for name, value in (first | self.derived() | fields).items() if value is not None}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a kept file. Raises ``ValueError`` if it is not one, or contradicts itself."""
        fields = dataclasses.fields(cls)
        needed = ", ".join(one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING)
        try:
            content: dict[str, Any] = json_from(text, "it")
            # In a file of the older form, one board has one seed.
            content.setdefault("seeds", {"1": content.get("fmax_mhz")})
            kept = cls(**{name: value for name, value in content.items() if name in {field.name for field in fields}})
            derived = kept.derived()
            unknown = set(content) - set(derived) - {field.name for field in fields}
            if unknown:
                raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        except (AttributeError, TypeError, ValueError, statistics.StatisticsError) as error:
            raise ValueError(f"A kept {cls.kind} must be JSON with {needed} ({shown(error, 100)})") from error
        for name, value in derived.items():
            if kept.netlist and content.get(name) != value:
                raise ValueError(f"{name} of a kept {cls.kind} must be {value}, not {shown(content.get(name))}")
        return kept


def kept_folder() -> Path:
    """Return the folder of the kept files, in an installed wheel or in a checkout; it may be missing."""
    installed = _PORTION / "qor"
    return installed if installed.is_dir() else _PORTION.parents[1] / "qor"


def median(values: Iterable[float], digits: int = 1) -> float:
    """Return the median, rounded."""
    return round(statistics.median(values), digits)


def resources_of(measured: Mapping[int, Measured]) -> dict[str, int]:
    """Return the median of each resource over the seeds; of an even number of seeds, the lower one."""
    return {name: statistics.median_low([getattr(one, name) for one in measured.values()]) for name in RESOURCES}


def stale(kept: Figures | None, netlist: str, tools: Sequence[str], seeds: int) -> str:
    """Return why a kept file must be measured again, in a few words; an empty text if it is current.

    ``netlist`` and ``tools`` are those of today, and ``seeds`` is the number that is measured.
    """
    if kept is None:
        return "missing"
    if not kept.netlist or not kept.commit:
        return "of the older form, without netlist and commit"
    if kept.netlist != netlist:
        return f"the netlist has changed since {kept.commit[:10]}"
    if kept.tools[: len(tools)] != list(tools):
        return f"measured with {', '.join(kept.tools)}, the tools are {', '.join(tools)}"
    if len(kept.seeds) < seeds:
        return f"{len(kept.seeds)} seeds, expected {seeds}"
    return ""
