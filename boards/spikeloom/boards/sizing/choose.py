"""Which core a device holds: what is short where one does not fit, and the general fabric of a device.

A *general* fabric is what a board gets whose user has named no network. Features come first: the first of `LEVELS` is
taken with which 256 neurons fit, or else the first that fits at all, and a third of the device's RAM is left for
weights. Then, with sizes in powers of two: of all that fit, those with at least half as many synapses as the most; of
them the most neurons that all synapses could connect with each other, then the most lanes.

`spikeloom.explore.choose` makes a core for networks that are known.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from spikeloom.boards.families.device import Device
from spikeloom.boards.sizing.estimate import Resources, estimate
from spikeloom.sim.core.features import general_features
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig

__all__ = ["LEVELS", "RESOURCES", "Shortage", "choose_fabric", "is_deep", "lane_banks", "room", "shortages"]

RESOURCES = {
    "lut": "lookup tables",
    "ff": "flip-flops",
    "ram": "block RAMs",
    "dsp": "multipliers",
    "single_port": "single-port RAMs",
    "lut_ram": "LUT RAMs",
}
"""What `Resources` counts, in words."""

_USABLE = {"ecp5": 0.8, "ice40": 0.9, "gowin": 0.75}
"""How much of the lookup tables is used: with more of them, place and route takes very long or fails.

(A fabric of 98 % of an iCE40 UP5K took 510 s to be placed, one of 84 % took 130 s.)
"""

_USABLE_GOWIN = {"ff": 0.85, "lut_ram": 0.3}
"""How much of a Gowin's flip-flops and LUT RAMs is used. LUT RAM takes slices away from everything around it.

(With 97 % of the flip-flops and 88 % of the LUT RAMs of a GW1NR-9C, placement gave up; with 70 and 71 % of a GW2A-18C,
its rounds took longer and longer and had not ended after eight minutes.)
"""

GENERAL_LANES = 16
"""Most lanes of a general fabric. A serial line brings an event in some tens of cycles: more would be idle."""

GENERAL_NEURONS = 256
"""Neurons for which a general fabric goes without features."""

_NEURONS = tuple(1 << place for place in range(12, 5, -1))
_AXONS = 4  # for each neuron: inputs are more than neurons, and each connection of a source has its own


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """A resource of which a core needs more than there is."""

    resource: str
    needed: int
    available: int

    def __str__(self) -> str:
        return f"{self.needed:,} {self.resource}, there are {self.available:,}"


def room(device: Device) -> Resources:
    """What a fabric may take of ``device``."""
    usable = _USABLE_GOWIN if device.flow.pll == "gowin" else {"ff": 1.0, "lut_ram": 1.0}
    return Resources(
        lut=int(device.lut * _USABLE[device.flow.pll]),
        ff=int(device.ff * usable["ff"]),
        ram=device.ram,
        dsp=device.dsp,
        single_port=device.single_port_ram,
        lut_ram=int(device.lut_ram * usable["lut_ram"]),
    )


def shortages(core: CoreParameters, device: Device) -> tuple[Shortage, ...]:
    """What a fabric with ``core`` needs more of than ``device`` has; nothing if it fits."""
    needed, available = estimate(core, device), room(device)
    return tuple(
        Shortage(resource=title, needed=getattr(needed, name), available=getattr(available, name))
        for name, title in RESOURCES.items()
        if getattr(needed, name) > getattr(available, name)
    )


def lane_banks(lanes: int) -> int:
    """Banks that so many lanes are built in: of 8 lanes each, but one where that is as fast and smaller.

    Place and route scatters the lanes of a bank over all of the device, unless they are few.
    """
    return lanes // 8 if lanes > 64 else 1


def is_deep(words: int) -> bool:
    """Whether so many words are better kept in block RAM than in LUT RAM, which has 16."""
    return words > 16


_SMALL = CoreParameters(
    v_width=16,
    accumulator_width=16,
    populations=8,
    per_neuron=frozenset({"threshold", "bias"}),
    **general_features("small"),
)

_MEDIUM = replace(
    _SMALL,
    v_width=18,
    accumulator_width=18,
    populations=16,
    per_neuron=frozenset({"threshold", "bias", "leak_factor", "reset_value"}),
    **general_features("medium"),
)

_LARGE = replace(_MEDIUM, coordinate_width=5, geometries=16, sparse=True, **general_features("large"))

_BASIC = replace(_SMALL, populations=4, **general_features("basic"))

_PLAIN = replace(_BASIC, multiplier=False, shifts=(0, 1, 2, 3, 4, 5), **general_features("plain"))

LEVELS = {"large": _LARGE, "medium": _MEDIUM, "small": _SMALL, "basic": _BASIC, "plain": _PLAIN}
"""What a general fabric can do, most first; `spikeloom.sim.core.features` says which features of neurons each has.

*large*: convolutions and sparse rows too. *medium*: LIF neurons with any leak, whose parameters differ from neuron to
neuron. *small*: thresholds and biases differ. *basic*: no refractory steps, and resets at once, to zero or by the
threshold. *plain*: leaks by a shift only, for devices without multipliers.
"""


@functools.cache
def choose_fabric(device: Device) -> FabricConfig:
    """The general fabric of ``device``. Raises ``ValueError`` if none fits."""
    found = {name: core for name, level in LEVELS.items() if (core := _largest(level, device)) is not None}
    for least in (GENERAL_NEURONS, 1):
        for name, core in found.items():
            if core.neurons >= least:
                return FabricConfig(name=name, core=core)
    core = replace(_PLAIN, lanes=1, neurons=_NEURONS[-1], axons=_AXONS * _NEURONS[-1], weight_words=_NEURONS[-1] ** 2)
    short = "; ".join(map(str, shortages(core, device)))
    raise ValueError(f"{device.name} must be able to hold a fabric, and cannot: the least needs {short}")


def _largest(level: CoreParameters, device: Device) -> CoreParameters | None:
    """The best core with the features of ``level``; None if too little RAM is left for weights."""
    bits = device.ram * device.ram_bits + device.single_port_ram * (1 << 18)
    found = [core for core in _cores(level, device) if 3 * core.weight_words * core.lanes * core.weight_width >= bits]
    if not found:
        return None
    most = max(core.weight_words * core.lanes for core in found)
    large = [core for core in found if 2 * core.weight_words * core.lanes >= most]
    return max(large, key=lambda core: (core.neurons, core.lanes, core.weight_words))


def _cores(level: CoreParameters, device: Device) -> Iterator[CoreParameters]:
    """For each number of lanes and neurons the core with the most weights that fits, if there is one."""
    weights = "single-port" if device.single_port_ram else "block"
    bits = device.single_port_ram << 18 or device.ram * device.ram_bits
    for lanes in (1 << place for place in range(GENERAL_LANES.bit_length())):
        for neurons in _NEURONS:
            for weight_words in _weight_words():
                if not lanes <= neurons <= weight_words * lanes // neurons:
                    break
                if weight_words * lanes * level.weight_width > bits:
                    continue
                core = replace(
                    level,
                    lanes=lanes,
                    neurons=neurons,
                    axons=min(1 << 14, _AXONS * neurons),
                    weight_words=weight_words,
                    weight_memory=weights,
                )
                if device.lut_ram and not is_deep(core.words):
                    core = replace(core, state_memory="distributed")
                if device.lut_ram and not is_deep(2 * core.words):
                    core = replace(core, accumulator_memory="distributed")
                if not shortages(core, device):
                    yield core
                    break


def _weight_words() -> Iterator[int]:
    """Powers of two and numbers halfway between them, from the most."""
    for place in range(18, 9, -1):
        yield 1 << place
        yield 3 << place - 2
