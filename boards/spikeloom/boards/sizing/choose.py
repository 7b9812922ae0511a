"""Fit of a core to a device, and the general fabric of a device.

A *general* fabric is built for a board when no network is given. Features come first: the first of `LEVELS` that fits
with 256 neurons is used, or else the first that fits at all, with a third of the device's RAM reserved for weights.
Sizes are powers of two, those of weight memories also the numbers halfway between them, and a core has enough synapses
to connect its neurons all to all. Among the fitting cores with at least half of the largest number of synapses, the one
with the most neurons is chosen, then the one with the most lanes.

A board for which this is asked fills the device: the core is made faster with what is left. It adds as many words per
cycle as fit in half of the lookup tables (`FILLED`), up to `WEIGHTS_PER_CYCLE` weights. It has the same memories, so it
runs every network that fits the core that adds one word per cycle. Finally the neurons are doubled while they fit in
the same way.

`spikeloom.explore.choose` chooses a core for given networks.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from spikeloom.boards.families.device import Device
from spikeloom.boards.sizing.estimate import Resources, estimate, measured_cores
from spikeloom.sim.core.features import general_features
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind

__all__ = [
    "FILLED",
    "LEVELS",
    "RESOURCES",
    "WEIGHTS_PER_CYCLE",
    "Shortage",
    "choose_fabric",
    "is_deep",
    "lane_banks",
    "room",
    "shortages",
]

RESOURCES = {
    "lut": "lookup tables",
    "ff": "flip-flops",
    "ram": "block RAMs",
    "dsp": "multipliers",
    "single_port": "single-port RAMs",
    "lut_ram": "LUT RAMs",
}
"""Names of the resources in `Resources`."""

_USABLE = {"ecp5": 0.8, "ice40": 0.9, "gowin": 0.75}
"""Maximum utilisation of the lookup tables: above it, place and route takes very long or fails.

(Placement of a fabric with 98 % of an iCE40 UP5K took 510 s, with 84 % 130 s.)
"""

_USABLE_GOWIN = {"ff": 0.85, "lut_ram": 0.3}
"""Maximum utilisation of a Gowin's flip-flops and LUT RAMs. LUT RAM makes the slices around it unusable.

(At 97 % of the flip-flops and 88 % of the LUT RAMs of a GW1NR-9C, placement failed; at 70 and 71 % of a GW2A-18C, its
rounds took longer and longer and had not ended after eight minutes.)
"""

GENERAL_LANES = 16
"""Maximum number of lanes of a general fabric. A serial link takes tens of cycles per event: more lanes would idle."""

GENERAL_NEURONS = 256
"""Number of neurons that a general fabric should have, even if it must give up features."""

FILLED = 0.5
"""Share of a device's lookup tables up to which its general fabric is made faster or larger.

What is left is for an encoder and a readout, and keeps place and route short.
"""

WEIGHTS_PER_CYCLE = 64
"""Maximum number of weights that a general fabric adds per cycle.

Beyond it, the rotation of the words takes more lookup tables than the adders, and rows of 64 neurons are no faster.
"""

_NEURONS = tuple(1 << place for place in range(12, 5, -1))
_AXONS = 4  # per neuron: there are more inputs than neurons, and each connection of a source has its own


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """Resource of which a core needs more than the device has."""

    resource: str
    needed: int
    available: int

    def __str__(self) -> str:
        return f"{self.needed:,} {self.resource} ({self.available:,} available)"


def room(device: Device) -> Resources:
    """Return the resources of ``device`` that a fabric may use."""
    usable = _USABLE_GOWIN if device.flow.pll == "gowin" else {"ff": 1.0, "lut_ram": 1.0}
    return Resources(
        lut=int(device.lut * _USABLE[device.flow.pll]),
        ff=int(device.ff * usable["ff"]),
        ram=device.ram,
        dsp=device.dsp,
        single_port=device.single_port_ram,
        lut_ram=int(device.lut_ram * usable["lut_ram"]),
    )


def shortages(core: CoreParameters, device: Device, *, link: LinkKind = LinkKind.UART) -> tuple[Shortage, ...]:
    """Return the resources that a fabric with ``core`` and ``link`` lacks on ``device``; empty if it fits."""
    needed, available = estimate(core, device, link=link), room(device)
    return tuple(
        Shortage(resource=title, needed=getattr(needed, name), available=getattr(available, name))
        for name, title in RESOURCES.items()
        if getattr(needed, name) > getattr(available, name)
    )


def lane_banks(lanes: int) -> int:
    """Return the number of banks for this many lanes: 8 lanes each, but a single bank if that is as fast and smaller.

    Place and route scatters the lanes of a bank over the whole device, unless they are few.
    """
    return lanes // 8 if lanes > 64 else 1


def is_deep(words: int) -> bool:
    """Whether this many words are better kept in block RAM than in LUT RAM, which has 16 words."""
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
"""Feature levels of a general fabric, richest first; `spikeloom.sim.core.features` defines their neuron features.

*large*: also convolutions and sparse rows. *medium*: LIF neurons with any leak and parameters per neuron. *small*:
thresholds and biases per neuron. *basic*: no refractory steps, and immediate resets, to zero or by the threshold.
*plain*: leaks by a shift only, for devices without multipliers.
"""


def choose_fabric(device: Device, *, link: LinkKind = LinkKind.UART, filled: bool = False) -> FabricConfig:
    """Return the general fabric of ``device`` with this host link, which may fill the device.

    Raises ``ValueError`` if none fits.
    """
    return _general_fabric(device, link, filled)


@functools.cache
def _general_fabric(device: Device, link: LinkKind, filled: bool) -> FabricConfig:
    found = {name: core for name, level in LEVELS.items() if (core := _largest(level, device, link)) is not None}
    for least in (GENERAL_NEURONS, 1):
        for name, core in found.items():
            if core.neurons >= least:
                return FabricConfig(name=name, core=_filled(core, device, link) if filled else core)
    core = replace(_PLAIN, lanes=1, neurons=_NEURONS[-1], axons=_AXONS * _NEURONS[-1], weight_words=_NEURONS[-1] ** 2)
    short = "; ".join(map(str, shortages(core, device, link=link)))
    raise ValueError(f"{device.name} cannot hold a fabric: the smallest needs {short}")


def _largest(level: CoreParameters, device: Device, link: LinkKind) -> CoreParameters | None:
    """Return the best core with the features of ``level``; None if too little RAM is left for weights."""
    bits = device.ram * device.ram_bits + device.single_port_ram * (1 << 18)
    found = [
        core for core in _cores(level, device, link) if 3 * core.weight_words * core.lanes * core.weight_width >= bits
    ]
    if not found:
        return None
    most = max(core.weight_words * core.lanes for core in found)
    large = [core for core in found if 2 * core.weight_words * core.lanes >= most]
    return max(large, key=lambda core: (core.neurons, core.lanes, core.weight_words))


def _filled(core: CoreParameters, device: Device, link: LinkKind) -> CoreParameters:
    """Return ``core`` with the most words per cycle that fit, and then with the most neurons; it loses no capacity.

    Families without a measured core that adds several words per cycle keep one word: the cost would be unknown.
    """
    if all(m.core.words_per_cycle == 1 for m in measured_cores() if m.family == device.flow.pll):
        return core

    def fits(core: CoreParameters) -> bool:
        return not shortages(core, device, link=link) and estimate(core, device, link=link).lut <= FILLED * device.lut

    count = WEIGHTS_PER_CYCLE // core.lanes
    while count > 1:
        # Each column has at least two words of neurons.
        if core.words >= 2 * count:
            wide = replace(core, words_per_cycle=count, accumulator_memory="distributed")
            if fits(wide):
                core = wide
                break
        count //= 2
    while core.neurons < _NEURONS[0]:
        neurons = 2 * core.neurons
        more = replace(core, neurons=neurons, axons=min(1 << 14, _AXONS * neurons))
        if not fits(more):
            break
        core = more
    return core


def _cores(level: CoreParameters, device: Device, link: LinkKind) -> Iterator[CoreParameters]:
    """Yield, for each number of lanes and neurons, the fitting core with the most weights, if any."""
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
                if not shortages(core, device, link=link):
                    yield core
                    break


def _weight_words() -> Iterator[int]:
    """Yield powers of two and the numbers halfway between them, in descending order."""
    for place in range(18, 9, -1):
        yield 1 << place
        yield 3 << place - 2
