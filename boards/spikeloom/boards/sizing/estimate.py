"""What a LIF core will take of an FPGA, without synthesis.

RAM blocks and multipliers follow from the shapes of the memories. On an ECP5 they are exact, as they are for all cores
measured on the other families but one, where an iCE40 took a block less. Lookup tables and flip-flops are a sum over
what each lane is made of (`terms`). What each term costs in a family is fitted, by least squares, to the cores that
were synthesised for it: they are kept in ``measured.json``, which ``python -m spikeloom.boards.qor.refit_estimate``
writes. Before place and route the lookup tables of the measured cores are within 6 % on ECP5 and iCE40, within 13 % on
Gowin.
"""

import functools
import json
from dataclasses import dataclass, fields
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from spikeloom.boards.families.device import Device
from spikeloom.boards.sizing.memories import Array, arrays, block_rams, lut_ram_cells, single_port_rams
from spikeloom.sim.core.features import FEATURES, lane_products, leaks_of
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric_file import core_from_json

__all__ = ["MeasuredCore", "Resources", "estimate", "lut_rams", "measured_cores", "terms"]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Lookup tables, flip-flops, block RAMs, multipliers, single-port RAMs (only an iCE40 UP5K has any), LUT RAMs."""

    lut: int
    ff: int
    ram: int
    dsp: int
    single_port: int = 0
    lut_ram: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class MeasuredCore:
    """A core that was synthesised: with its registers, and as ``top`` with link, bridge and serial line too.

    ``lut`` and ``ff`` are what Yosys counts, before place and route.
    """

    name: str
    family: str
    core: CoreParameters
    top: bool
    lut: int
    ff: int
    ram: int
    dsp: int


@functools.cache
def measured_cores() -> tuple[MeasuredCore, ...]:
    """What ``measured.json`` holds."""
    text = resources.files("spikeloom.boards.sizing").joinpath("measured.json").read_text()
    return tuple(MeasuredCore(**entry | {"core": core_from_json(entry["core"])}) for entry in json.loads(text))


_LUT_RAM_CELL = {"ecp5": 6, "gowin": 4, "ice40": 0}
"""Lookup tables of 16 words of 4 bits, as synthesis counts them."""

_ROUTED_GOWIN = {"lut": 8, "ff": 6}
"""What place and route keeps free for 16 words of 4 bits there."""


_ROUTED = {"ecp5": 1.11, "gowin": 1.2}
"""Lookup tables after place and route for each before it."""


def _routed(family: str, lut: float, ff: float) -> int:
    """Lookup tables after place and route: with those that only lead on to something; logic cells on an iCE40.

    There a cell is a lookup table and a flip-flop, and as many flip-flops take cells of their own as come from no
    lookup table, or from one that others need as well: six in ten.
    """
    return round(lut + 0.6 * ff if family == "ice40" else _ROUTED[family] * lut)


def terms(core: CoreParameters) -> dict[str, float]:
    """What a core is made of, each a number to which lookup tables and flip-flops are in proportion."""
    p, lanes = core, core.lanes
    v, sums = lanes * p.v_width, lanes * p.accumulator_width
    leaks = leaks_of(p)
    shifts = 0 if p.multiplier else leaks * len(p.shifts)
    in_lut_ram = p.accumulator_memory == "distributed"
    deep = max(0, -(-2 * p.words // 16) - 1)
    address = sum((count - 1).bit_length() for count in (p.weight_words, p.axons, p.words, p.neurons))
    return {
        "core": 1,
        "addresses": address,
        "lanes": lanes,
        "sums": sums,
        "membranes": v,
        "sums in block RAM": sums * (not in_lut_ram),
        "sums in deep LUT RAM": sums * deep * in_lut_ram,
        "states in LUT RAM": lanes * p.state_layout.width * (p.state_memory == "distributed"),
        "leaks by a shift": v * min(shifts, leaks),
        "leaks by more shifts": v * max(0, shifts - leaks),
        "leaks by a factor": v * leaks * p.multiplier,
        **{name: number for feature in FEATURES for name, number in feature.cost(p).items()},
        "coordinates": int(p.coordinate_width > 0),
        "sparse": int(p.sparse),
    }


@functools.cache
def _fit(family: str, resource: str) -> NDArray[np.float64]:
    """What each of `terms` costs: the least squares of the relative errors over the cores measured in ``family``.

    No term costs less than nothing: one that would is left out, as is one that no measured core has.
    """
    cores = [m for m in measured_cores() if m.family == family and not m.top]
    if family == "gowin":  # the same terms as on an iCE40, where all of them are measured, in another unit
        like = _fit("ice40", resource)
        ratios = [_logic(m, resource) / float(np.array(list(terms(m.core).values())) @ like) for m in cores]
        return like * (sum(ratios) / len(ratios))
    columns = np.array([list(terms(m.core).values()) for m in cores])
    values = np.array([_logic(m, resource) for m in cores], float)
    scale = np.maximum(1, columns.max(axis=0))
    relative = columns / scale / values[:, None]
    kept = np.asarray(columns.any(axis=0))
    while True:
        solved = np.zeros(columns.shape[1])
        solved[kept], *_ = np.linalg.lstsq(relative[:, kept], np.ones(len(cores)), rcond=None)
        if (solved >= 0).all():
            return solved / scale
        kept &= solved > solved.min()


def _logic(measured: MeasuredCore, resource: str) -> float:
    """Lookup tables or flip-flops without those of LUT RAM, which are counted apart."""
    return getattr(measured, resource) - _memory_logic(measured.core, measured.family, resource)


def _lut_ram(core: CoreParameters, family: str) -> list[Array]:
    """The memories that are LUT RAM; on a Gowin synthesis makes some so that were meant as blocks."""
    return [a for a in arrays(core) if a.kind == "distributed" or (family == "gowin" and not block_rams(a, family))]


def lut_rams(core: CoreParameters, family: str) -> int:
    """Memories of 16 words of 4 bits that the core takes."""
    return 0 if family == "ice40" else sum(lut_ram_cells(a.width, a.depth) for a in _lut_ram(core, family))


def _memory_logic(core: CoreParameters, family: str, resource: str) -> int:
    """Lookup tables of LUT RAM; and, where it stands for a block RAM, the flip-flops of what was read."""
    if resource == "lut":
        return lut_rams(core, family) * _LUT_RAM_CELL[family]
    return sum(a.width for a in _lut_ram(core, family)) if family == "gowin" else 0


def _synthesised(core: CoreParameters, family: str, resource: str) -> float:
    found = float(np.array(list(terms(core).values())) @ _fit(family, resource))
    return max(0.0, found) + _memory_logic(core, family, resource)


@functools.cache
def _link(family: str) -> Resources:
    """Link, bridge and serial line: what a whole design takes beyond its core."""
    tops = [m for m in measured_cores() if m.family == family and m.top]
    more = {"lut": 0.0, "ff": 0.0, "ram": 0.0}
    for top in tops:
        alone = next(m for m in measured_cores() if m.family == family and not m.top and m.core == top.core)
        for name in more:
            more[name] += (getattr(top, name) - getattr(alone, name)) / len(tops)
    return Resources(lut=_routed(family, more["lut"], more["ff"]), ff=round(more["ff"]), ram=round(more["ram"]), dsp=0)


def _multipliers(core: CoreParameters, family: str) -> int:
    """A factor that is wider than those of the family's multipliers takes two of them."""
    bits = 16 if family == "ice40" else 18
    return core.lanes * sum((1 + (first > bits)) * (1 + (second > bits)) for first, second in lane_products(core))


def estimate(core: CoreParameters, device: Device, *, link: bool = True) -> Resources:
    """What ``core`` takes of ``device`` after place and route; with the host ``link`` and its bridge, or alone."""
    family = device.flow.pll
    lut, ff, cells = _synthesised(core, family, "lut"), _synthesised(core, family, "ff"), lut_rams(core, family)
    if family == "gowin":
        lut += cells * (_ROUTED_GOWIN["lut"] / _ROUTED["gowin"] - _LUT_RAM_CELL[family])
    found = Resources(
        lut=_routed(family, lut, ff),
        ff=round(ff) + (cells * _ROUTED_GOWIN["ff"] if family == "gowin" else 0),
        ram=sum(block_rams(array, family) for array in arrays(core)),
        dsp=_multipliers(core, family),
        single_port=sum(map(single_port_rams, arrays(core))) if device.single_port_ram else 0,
        lut_ram=cells,
    )
    return found + _link(family) if link else found
