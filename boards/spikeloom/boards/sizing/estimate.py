"""Resource estimate of LIF cores, other tiles and whole fabrics on an FPGA, without synthesis.

RAM blocks and multipliers follow from the shapes of the memories. They are exact on ECP5 and for all measured cores of
the other families except one, where an iCE40 took a block less. Lookup tables and flip-flops are sums over the parts of
a lane (`terms`). The cost of each term in a family is a least-squares fit to synthesised cores, which are stored in
``measured.json``, written by ``python -m spikeloom.boards.qor.refit_estimate``. Before place and route, the lookup
tables of the measured cores are within 6 % on ECP5 and iCE40, and within 13 % on Gowin.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from spikeloom.boards.families.device import Device
from spikeloom.boards.sizing.memories import Array, arrays, block_rams, lut_ram_cells, single_port_rams
from spikeloom.sim.core.features import lane_products
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import core_from_json
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.tile import TileParameters

__all__ = [
    "MeasuredCore",
    "Resources",
    "estimate",
    "estimate_fabric",
    "estimate_parts",
    "estimate_tile",
    "lut_rams",
    "measured_cores",
    "terms",
]


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
    """Synthesised core with its registers, alone or in a whole design with bridge and host ``link``.

    ``lut`` and ``ff`` are the counts of Yosys before place and route.
    """

    name: str
    family: str
    core: CoreParameters
    link: LinkKind | None
    lut: int
    ff: int
    ram: int
    dsp: int


@functools.cache
def measured_cores() -> tuple[MeasuredCore, ...]:
    """Return the content of ``measured.json``."""
    text = resources.files("spikeloom.boards.sizing").joinpath("measured.json").read_text()
    return tuple(
        MeasuredCore(**entry | {"core": core_from_json(entry["core"]), "link": _kind(entry["link"])})
        for entry in json.loads(text)
    )


def _kind(name: str | None) -> LinkKind | None:
    return None if name is None else LinkKind[name]


_LUT_RAM_CELL = {"ecp5": 6, "gowin": 4, "ice40": 0}
"""Lookup tables of 16 words of 4 bits, as synthesis counts them."""

_ROUTED_GOWIN = {"lut": 8, "ff": 6}
"""Resources that place and route reserves for 16 words of 4 bits."""


_ROUTED = {"ecp5": 1.11, "gowin": 1.2}
"""Ratio of lookup tables after place and route to those before."""


def _routed(family: str, lut: float, ff: float) -> int:
    """Return the lookup tables after place and route, including route-throughs; on an iCE40, the logic cells.

    An iCE40 cell is a lookup table and a flip-flop. A flip-flop takes a cell of its own if it is not driven by a lookup
    table, or by one with other sinks: six in ten.
    """
    return round(lut + 0.6 * ff if family == "ice40" else _ROUTED[family] * lut)


def terms(core: CoreParameters) -> dict[str, float]:
    """Return the terms of a core: numbers to which lookup tables and flip-flops are proportional."""
    return core.cost


@functools.cache
def _fit(family: str, resource: str) -> NDArray[np.float64]:
    """Return the cost of each of `terms`: least squares of the relative errors over the cores measured in ``family``.

    Costs are nonnegative: a term with a negative cost is omitted, as is one that no measured core has.
    """
    cores = [m for m in measured_cores() if m.family == family and m.link is None]
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
    """Return the lookup tables or flip-flops without those of LUT RAM, which are counted separately."""
    return getattr(measured, resource) - _memory_logic(measured.core, measured.family, resource)


def _lut_ram(core: CoreParameters, family: str) -> list[Array]:
    """Return the memories in LUT RAM; on a Gowin, synthesis also turns some block memories into LUT RAM."""
    return [a for a in arrays(core) if a.kind == "distributed" or (family == "gowin" and not block_rams(a, family))]


def lut_rams(core: CoreParameters, family: str) -> int:
    """Return the number of memories of 16 words of 4 bits in the core."""
    return 0 if family == "ice40" else sum(lut_ram_cells(a.width, a.depth) for a in _lut_ram(core, family))


def _memory_logic(core: CoreParameters, family: str, resource: str) -> int:
    """Return the lookup tables of LUT RAM and, where it replaces a block RAM, the flip-flops of its read register."""
    if resource == "lut":
        return lut_rams(core, family) * _LUT_RAM_CELL[family]
    return sum(a.width for a in _lut_ram(core, family)) if family == "gowin" else 0


def _synthesised(core: CoreParameters, family: str, resource: str) -> float:
    found = float(np.array(list(terms(core).values())) @ _fit(family, resource))
    return max(0.0, found) + _memory_logic(core, family, resource)


@functools.cache
def _link(family: str, kind: LinkKind) -> Resources:
    """Return what a whole design with a host link of this kind, and with its bridge, takes beside its core.

    Raises ``ValueError`` if no such design has been measured.
    """
    tops = [m for m in measured_cores() if m.family == family and m.link is kind]
    if not tops:
        measured = sorted({m.link.name for m in measured_cores() if m.family == family and m.link is not None})
        raise ValueError(f"link must be one of {', '.join(measured)}, whose cost is known, not {kind.name}")
    more = {"lut": 0.0, "ff": 0.0, "ram": 0.0}
    for top in tops:
        alone = next(m for m in measured_cores() if m.family == family and m.link is None and m.core == top.core)
        for name in more:
            more[name] += (getattr(top, name) - getattr(alone, name)) / len(tops)
    return Resources(lut=_routed(family, more["lut"], more["ff"]), ff=round(more["ff"]), ram=round(more["ram"]), dsp=0)


def _multipliers(core: CoreParameters, family: str) -> int:
    """Return the number of multipliers; a factor wider than those of the family takes two."""
    bits = 16 if family == "ice40" else 18
    return core.lanes * sum((1 + (first > bits)) * (1 + (second > bits)) for first, second in lane_products(core))


_WEIGHT_MEMORY = 2244, 1362
"""Lookup tables, with those of carry chains and LUT RAM, and flip-flops of a weight memory in SDRAM with its
controller, for words of 32 bits on an ULX3S (``synth_ecp5``, Yosys 0.70). Words of 128 bits take 43 and 112 more."""


def estimate(core: CoreParameters, device: Device, *, link: LinkKind | None = LinkKind.UART) -> Resources:
    """Return the resources of ``core`` on ``device`` after place and route, with a host link and its bridge.

    Without a ``link``, they are those of the core alone. Raises ``ValueError`` for a link whose cost is not known:
    ``measured.json`` has the designs that were measured.
    """
    found = _without_sdram(core, device)
    if core.streamed:
        found += _weight_memory(device, 1)
    return found if link is None else found + _link(device.flow.pll, link)


def _weight_memory(device: Device, cores: int) -> Resources:
    """Return the resources of a weight memory in SDRAM, with its controller and the arbiter of several ``cores``."""
    family = device.flow.pll
    found = Resources(lut=_routed(family, *_WEIGHT_MEMORY), ff=_WEIGHT_MEMORY[1], ram=0, dsp=0)
    return found if cores == 1 else found + _logic_of({"arbiter": 1, "arbiter, cores": cores}, family)


def _without_sdram(core: CoreParameters, device: Device) -> Resources:
    """Return the resources of ``core`` alone, without the weight memory of its streamed weights."""
    family = device.flow.pll
    lut, ff, cells = _synthesised(core, family, "lut"), _synthesised(core, family, "ff"), lut_rams(core, family)
    if family == "gowin":
        lut += cells * (_ROUTED_GOWIN["lut"] / _ROUTED["gowin"] - _LUT_RAM_CELL[family])
    return Resources(
        lut=_routed(family, lut, ff),
        ff=round(ff) + (cells * _ROUTED_GOWIN["ff"] if family == "gowin" else 0),
        ram=sum(block_rams(array, family) for array in arrays(core)),
        dsp=_multipliers(core, family),
        single_port=sum(map(single_port_rams, arrays(core))) if device.single_port_ram else 0,
        lut_ram=cells,
    )


_TERMS = {
    "lut": (1, 0),
    "ff": (0, 1),
    "AER input": (412, 315),
    "AER input, bits": (12.7, 6.0),
    "AER input, level": (16.3, 10.0),
    "AER output": (290, 223),
    "AER output, bits": (6.4, 4.6),
    "AER output, level": (16.0, 10.0),
    "attention": (645, 517),
    "attention, bits": (29.0, 19.0),
    "attention, rows": (3.75, 5.6),
    "router ports": (120, 106),
    "arbiter": (90, 82),
    "arbiter, cores": (55, 11),
}
"""Lookup tables and flip-flops per term of the tiles other than cores, before place and route.

AER and attention tiles were synthesised for an ECP5 (``synth_ecp5`` with the options of `refit_estimate`, Yosys 0.70):
three sizes per direction of an AER tile, four attention tiles with 8 to 32 tokens and 1 to 16 rows. The ports of a
router are those of ``qor/mesh-4x4-ecp5-85f.json``, 64 in all, divided by the ratio of place and route. Arbiters of an
SDRAM were synthesised for 2, 3, 4 and 8 cores: 190, 310, 309 and 523 lookup tables, 104 to 171 flip-flops. The lookup
tables of all families have four inputs, so that the other families count the same.
"""


def estimate_tile(tile: TileParameters, device: Device) -> Resources:
    """Return the resources of a tile of any kind on ``device`` after place and route, without its router and without a
    weight memory in SDRAM.

    Raises ``ValueError`` for a term of its cost that has not been measured.
    """
    if isinstance(tile, CoreParameters):
        return _without_sdram(tile, device)
    family = device.flow.pll
    if unknown := tile.cost.keys() - _TERMS.keys():
        raise ValueError(
            f"terms of the cost of a tile must be measured, or lut and ff, not {', '.join(sorted(unknown))}"
        )
    return _logic_of(tile.cost, family) + Resources(
        lut=0,
        ff=0,
        ram=sum(
            block_rams(Array(name="memory", width=width, depth=depth, bytes_written=loaded), family)
            for loaded, shapes in (
                (True, [(memory.width, memory.depth) for memory in tile.memories.values()]),
                (False, tile.buffers),
            )
            for width, depth in shapes
        ),
        dsp=0,
    )


def _logic_of(cost: Mapping[str, float], family: str) -> Resources:
    lut, ff = (sum(number * _TERMS[term][place] for term, number in cost.items()) for place in range(2))
    return Resources(lut=_routed(family, lut, ff), ff=round(ff), ram=0, dsp=0)


def estimate_fabric(fabric: FabricConfig, device: Device, *, link: LinkKind | None = LinkKind.UART) -> Resources:
    """Return the resources of all parts of ``fabric``, as `estimate_parts` lists them."""
    return sum(estimate_parts(fabric, device, link=link).values(), Resources(lut=0, ff=0, ram=0, dsp=0))


def estimate_parts(
    fabric: FabricConfig, device: Device, *, link: LinkKind | None = LinkKind.UART
) -> dict[str, Resources]:
    """Return the resources of each tile of ``fabric``, of its routers, of the memory of weights in SDRAM, and of a host
    link and its bridge as in `estimate`, by the name of the part: ``tile 1, core``, ``routers``, ``weights in SDRAM``,
    ``host link``.

    Encoder and readout of the bridge are not included.
    """
    parts = {f"tile {number}, {tile.kind}": estimate_tile(tile, device) for number, tile in fabric.numbered.items()}
    if (mesh := fabric.mesh) is not None:
        links = mesh.columns * (mesh.rows - 1) + mesh.rows * (mesh.columns - 1)
        # A router has a port to its tile, and one to each neighbour.
        parts["routers"] = _logic_of({"router ports": mesh.tiles + 2 * links}, device.flow.pll)
    if fabric.sdram is not None:
        parts["weights in SDRAM"] = _weight_memory(device, len(fabric.streamed))
    if link is not None:
        parts["host link"] = _link(device.flow.pll, link)
    return parts
