"""Choice of the core for given networks and device: ``choose_core``. `docs/choosing.md` has an example.

1. **Features** are those that the neurons of the networks need, and no others: a multiplier only if a leak is not a
   shift; a parameter per neuron only if the neurons of a population differ; coordinates only for convolutions and
   poolings.
2. **Depths** are those that placement uses with this number of lanes, so that one core serves all of the networks.
3. **Lanes**: among the possible numbers, the smallest one with the fewest *words per step*, which are the cycles of a
   step in which every neuron spikes.
4. **Memories**: the combination of kinds with the lowest peak utilisation of the device.
5. **SDRAM**: if nothing fits and the board has an SDRAM, weights are streamed from there: all of them if all rows are
   dense, else those of dense rows, and the rest of the block RAM holds as many of these as it can. A weight word is
   then at most as wide as a burst of the memory, which does not deliver more per cycle of the core.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from spikeloom.boards.families.device import Device
from spikeloom.boards.sizing.choose import RESOURCES, Shortage, lane_banks, room, shortages
from spikeloom.boards.sizing.estimate import Resources, estimate
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.place import place
from spikeloom.compiler.synapses import rows_of, words_per_event
from spikeloom.sim.core.features import FEATURES, LEAKS, PER_NEURON
from spikeloom.sim.core.memory_fields import parameter_values
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.sparse import SparseMatrix, numbers_of
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import padded_bits

if TYPE_CHECKING:
    from spikeloom.boards.targets.board import BoardDescription

__all__ = ["MOST_LANES", "Choice", "ChoiceError", "Reason", "boards_for", "choose", "choose_core", "features"]

MOST_LANES = 64
"""Maximum number of lanes chosen automatically: place and route takes 15 to 25 minutes for 256. An explicit ``lanes``
allows up to 256."""

MOST_LUT_RAM_WORDS = 32
"""Maximum number of words in LUT RAM: the cost is proportional to the depth in units of 16, and deep ones are slow."""


class ChoiceError(ValueError):
    """No core for these networks fits the device. The message is one sentence that names the missing resource."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Row of the table: a field, its value, and the reason for it."""

    name: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Result of the choice: the core, the resources that it takes with its link, those of the device, and the
    reasons."""

    core: CoreParameters
    device: Device
    resources: Resources
    room: Resources
    reasons: tuple[Reason, ...]
    sdram: SdramParameters | None = None
    """The memory of the weights, if they do not lie in the device."""

    def tables(self) -> tuple[Table, Table]:
        """Return tables of the choice with its reasons, and of the resources, for display."""
        chosen = Table(title=f"chosen for {self.device.name}", title_justify="left")
        for column in ("", "chosen", "why"):
            chosen.add_column(column, overflow="fold")
        for reason in self.reasons:
            chosen.add_row(reason.name, reason.value, reason.why)
        takes = Table(title="estimate, with the host link", title_justify="left")
        for column in ("", "needs", "usable"):
            takes.add_column(column, justify="right" if column else "left")
        for name, title in RESOURCES.items():
            if getattr(self.room, name):
                takes.add_row(title, f"{getattr(self.resources, name):,}", f"{getattr(self.room, name):,}")
        return chosen, takes


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    core: CoreParameters
    words: int  # per step
    short: tuple[Shortage, ...]
    fullness: float
    fullest: str  # name of the resource with the highest utilisation


class _Demand:
    """Demands of the networks on a core with the ``given`` fields. They depend on the number of lanes, not on the
    device, and take long to find for a large network, so they are found once for all devices."""

    def __init__(
        self,
        networks: Sequence[QuantisedNetwork],
        given: dict[str, Any],
        sdram: SdramParameters | None = None,
        *,
        mixed: bool = False,
    ) -> None:
        if not networks:
            raise ValueError("there must be at least one network, not none")
        unknown = set(given) - {field.name for field in fields(CoreParameters)}
        if unknown:
            raise TypeError(f"given must be fields of CoreParameters, not {', '.join(sorted(unknown))}")
        self.networks = networks
        # A core that adds several words per cycle has its accumulators in LUT RAM.
        several = given.get("words_per_cycle", 1) != 1
        self.given: dict[str, Any] = {"accumulator_memory": "distributed"} | given if several else given
        self.sdram = sdram
        self.mixed = mixed  # weights lie in block RAM, too: at least those that cannot be streamed
        self._found: dict[int, tuple[CoreParameters, dict[str, int], int] | ValueError] = {}

    def with_lanes(self, lanes: int) -> tuple[CoreParameters, dict[str, int], int]:
        """Return a core with more than enough room, the depths that suffice, and the words per step.

        Raises ``ValueError`` if no core with so many lanes can run the networks.
        """
        if lanes not in self._found:
            try:
                self._found[lanes] = self._find(lanes)
            except ValueError as error:
                self._found[lanes] = error
        found = self._found[lanes]
        if isinstance(found, ValueError):
            raise found
        return found

    def _find(self, lanes: int) -> tuple[CoreParameters, dict[str, int], int]:
        most: dict[str, Any] = {"lanes": lanes, "neurons": 1 << 14, "axons": 1 << 14, "weight_words": 1 << 18}
        found = self._features | self.given
        if self.sdram is not None:
            # As many as the smallest chip of the board holds.
            word_bits = padded_bits(lanes * found["weight_width"])
            bits = 8 * self.sdram.burst_bytes << self.sdram.least_address_bits
            most["streamed_words" if self.mixed else "weight_words"] = min(1 << 25, bits // word_bits)
        roomy = CoreParameters(**self._features | most | self.given)
        if "lane_banks" not in self.given:
            roomy = replace(roomy, lane_banks=lane_banks(lanes))
        depths: dict[str, int] = {}
        for network in self.networks:
            # The weights of a large network far exceed the rest of its program, so nothing is laid out twice.
            here = roomy
            if self.mixed:  # as little block RAM as possible: how much there is depends on the device
                least = rows_of(network, replace(roomy, weight_words=1), layouts(network, lanes)).weight_words
                here = replace(roomy, weight_words=max(1, least)) if "weight_words" not in self.given else roomy
            used = {use.resource.partition(" ")[0]: use.used for use in place(network, self.fabric(here)).uses}
            used = {
                **({"streamed_words": used["streamed"]} if self.mixed else {}),
                "neurons": used["neurons"],
                "axons": used["rows"],
                "weight_words": used["weight"],
                "geometries": used.get("geometries", 1),
            }
            depths = {name: max(value, depths.get(name, 1)) for name, value in used.items()}
        if self.sdram is not None:  # the address of a row has a power of two of values in any case
            name = "streamed_words" if self.mixed else "weight_words"
            depths[name] = 1 << bits_for(max(1, depths[name]))
        return roomy, depths, sum(_words_of_a_step(network, lanes) for network in self.networks)

    def fabric(self, core: CoreParameters) -> FabricConfig:
        """Return a fabric around ``core``."""
        return FabricConfig(core=core, sdram=self.sdram)

    @property
    def has_dense_rows(self) -> bool:
        """Whether no rows have coordinates or explicit targets, which cannot be streamed."""
        found = self._features | self.given
        return not found["sparse"] and not found["coordinate_width"]

    @property
    def lanes(self) -> list[int]:
        """Numbers of lanes to try."""
        if "lanes" in self.given:
            return [self.given["lanes"]]
        every = [1 << power for power in range(MOST_LANES.bit_length())]
        if self.sdram is None:
            return every
        width = (self._features | self.given)["weight_width"]
        return [lanes for lanes in every if lanes == 1 or lanes * width <= self.sdram.burst_bits]

    @cached_property
    def _features(self) -> dict[str, Any]:
        return features(self.networks)


def _demand(
    networks: QuantisedNetwork | Sequence[QuantisedNetwork],
    given: dict[str, Any],
    sdram: SdramParameters | None = None,
    *,
    mixed: bool = False,
) -> _Demand:
    every = (networks,) if isinstance(networks, QuantisedNetwork) else tuple(networks)
    return _last_demand(every, tuple(given.items()), sdram, mixed)


# The next question is often about the same networks on other devices, without SDRAM and with that of each board.
@lru_cache(maxsize=8)
def _last_demand(
    networks: tuple[QuantisedNetwork, ...],
    given: tuple[tuple[str, Any], ...],
    sdram: SdramParameters | None,
    mixed: bool,
) -> _Demand:
    return _Demand(networks, dict(given), sdram, mixed=mixed)


def choose_core(
    networks: QuantisedNetwork | Sequence[QuantisedNetwork],
    device: Device,
    *,
    link: LinkKind = LinkKind.UART,
    **given: Any,
) -> CoreParameters:
    """Return the core that runs all of ``networks``, one after the other, on ``device``.

    Parameters
    ----------
    networks
        One or more networks, all with the same ``v_width``.
    device
        One of `spikeloom.boards.families.device.DEVICES`.
    link
        Link to the host, which takes resources beside the core.
    given
        Fixed fields of `CoreParameters`; the others are chosen to match.

    Raises
    ------
    ChoiceError
        Nothing fits; the message names the missing resource.
    PlaceError
        The given fields cannot run a network.
    ValueError
        The given fields are invalid for any number of lanes.
    """
    return choose(networks, device, link=link, **given).core


def choose(
    networks: QuantisedNetwork | Sequence[QuantisedNetwork],
    device: Device,
    *,
    link: LinkKind = LinkKind.UART,
    sdram: SdramParameters | None = None,
    **given: Any,
) -> Choice:
    """Choose a core like `choose_core`, and return it with the reasons.

    With ``sdram``, weights are streamed from there if they do not fit the device, or if ``weight_memory="sdram"`` or
    ``streamed_words`` is given.
    """
    kind = given.get("weight_memory")
    if given.get("streamed_words"):
        if sdram is None:
            raise ChoiceError("streamed_words must be 0, because the board has no SDRAM that is supported")
        return _choose(_demand(networks, given, sdram, mixed=True), device, link)
    if kind == "sdram":
        if sdram is None:
            raise ChoiceError("weight_memory must be 'block', because the board has no SDRAM that is supported")
        return _choose(_demand(networks, {"sparse": False} | given, sdram), device, link)
    try:
        return _choose(_demand(networks, given), device, link)
    except (ChoiceError, PlaceError):
        if sdram is None or kind is not None or "streamed_words" in given:
            raise
    # Not within the handler: an error of the streamed core must not be shown as a consequence of the first one.
    try:
        if not _demand(networks, given).has_dense_rows:
            return _choose(_demand(networks, given, sdram, mixed=True), device, link)
        return _choose(_demand(networks, {"weight_memory": "sdram", "sparse": False} | given, sdram), device, link)
    except PlaceError as error:
        raise ChoiceError(f"{error}, even with its weights in the SDRAM of the board") from error


def _choose(demand: _Demand, device: Device, link: LinkKind) -> Choice:
    networks, given = demand.networks, demand.given
    names = " and ".join(network.name for network in networks)
    refused: Exception | None = None
    candidates: list[_Candidate] = []
    for lanes in demand.lanes:
        try:
            candidates += _with_lanes(demand, device, lanes, link)
        except ValueError as error:  # the given fields may be valid with another number of lanes
            refused = error
    if not candidates:
        assert refused is not None
        raise refused
    fitting = [candidate for candidate in candidates if not candidate.short]
    if not fitting:
        nearest = min(candidates, key=lambda candidate: candidate.fullness)
        raise ChoiceError(
            f"{names} do{'es' * (len(networks) == 1)} not fit {device.name}: the nearest core, of {nearest.core.lanes} "
            f"lane{'s' * (nearest.core.lanes > 1)}, needs {'; '.join(map(str, nearest.short))}"
        )
    best = min(fitting, key=lambda candidate: (candidate.words, candidate.core.lanes, candidate.fullness))
    if demand.mixed and "weight_words" not in given:
        best = replace(best, core=_with_more_words(best.core, device, link))
    for network in networks:
        place(network, demand.fabric(best.core))
    reasons = tuple(_reasons(networks, device, best, candidates, given))
    return Choice(
        core=best.core,
        device=device,
        resources=estimate(best.core, device, link=link),
        room=room(device),
        reasons=reasons,
        sdram=demand.sdram,
    )


def _with_more_words(core: CoreParameters, device: Device, link: LinkKind) -> CoreParameters:
    """Return ``core``, which also streams weights, with the most weight words in block RAM that fit the device."""
    for bits in range(18, bits_for(core.weight_words), -1):
        larger = replace(core, weight_words=1 << bits)
        if not shortages(larger, device, link=link):
            return larger
    return core


def boards_for(
    networks: QuantisedNetwork | Sequence[QuantisedNetwork], *, link: str | None = None, **given: Any
) -> tuple[str, ...]:
    """Return the names of the boards with room for a core for ``networks``; ``given`` as for `choose_core`.

    With ``link``, such as ``"uart"``, these are the boards that have this link, and it takes room there.
    """
    from spikeloom.boards.targets.registry import all_boards

    holds: dict[tuple[str, LinkKind, SdramParameters | None], bool] = {}
    boards = {
        name: board.with_link(link)
        for name, board in all_boards().items()
        if board.links and link in (None, *(kind.option for kind in board.links))
    }

    def key_of(board: BoardDescription) -> tuple[str, LinkKind, SdramParameters | None]:
        return board.device_name, board.link_kind, board.sdram_parameters

    for board in boards.values():
        key = key_of(board)
        if key not in holds:
            try:
                choose(networks, board.device, link=board.link_kind, sdram=board.sdram_parameters, **given)
                holds[key] = True
            except ValueError:
                holds[key] = False
    return tuple(name for name, board in boards.items() if holds[key_of(board)])


def features(networks: Sequence[QuantisedNetwork]) -> dict[str, Any]:
    """Return the fields of `CoreParameters` for the features that the networks need.

    Raises `ChoiceError` if no core can serve all of them.
    """
    populations = [population for network in networks for population in network.populations]
    neurons = [population.parameters for population in populations]
    connections = [connection for network in networks for connection in network.connections]

    def only(name: str, values: set[int], default: int) -> int:
        if len(values) > 1:
            raise ChoiceError(
                f"{name} must be the same for all neurons of a core, not {' and '.join(map(str, sorted(values)))}"
            )
        return next(iter(values), default)

    leaks = [
        (kind, getattr(p, f"{name}_factor"), p.beta_fraction)
        for p in neurons
        for name in (leaking.leak for leaking in LEAKS)
        if (kind := getattr(p, name)) is not None
    ]
    products = {fraction for kind, _, fraction in leaks if kind is Leak.MULTIPLY}
    shifts = {int(shift) for kind, factor, _ in leaks if kind is Leak.SHIFT for shift in np.unique(factor)}
    shifts |= {0 for kind, _, _ in leaks if kind is Leak.CLEAR}
    bounds = [bound for network in networks for p in network.populations for bound in network.current_bounds(p.name)]
    weight_width = max(network.weight_width for network in networks)
    shapes = [c.source_shape for c in connections if c.source_shape is not None]
    found: dict[str, Any] = {
        "populations": max(len(network.populations) for network in networks),
        "weight_width": weight_width,
        "accumulator_width": max(weight_width, 1 + max(max(b, -b - 1).bit_length() for b in bounds)),
        "v_width": only("v_width", {p.v_width for p in neurons}, CoreParameters.v_width),
        "multiplier": bool(products),
        "beta_fraction": only("beta_fraction", products, CoreParameters.beta_fraction),
        "shifts": () if products else tuple(sorted(shifts)),
        "coordinate_width": bits_for(max(max(shape[1:]) for shape in shapes)) if shapes else 0,
        "sparse": any(
            c.source_shape is None and 2 * np.count_nonzero(numbers_of(c.weight)) < prod(c.weight.shape)
            for c in connections
        ),
    }
    for feature in FEATURES:
        if feature.flag:
            needed = {feature.needs(p) for p in neurons} - {0}
            found[feature.flag] = feature.value(
                only(feature.flag, needed, 0) if feature.exact else max(needed, default=0)
            )
    # Values of the input need a width even where no neuron fires with one; neurons that do name theirs exactly.
    found["value_width"] = found["value_width"] or max(network.input_value_width for network in networks)
    found["per_neuron"] = _per_neuron(neurons, found)
    return found


def _per_neuron(neurons: Sequence[NeuronParameters], found: dict[str, Any]) -> frozenset[str]:
    """Return the parameters that differ among the neurons of a population."""
    able = CoreParameters(**found, per_neuron=frozenset(PER_NEURON))
    differ = set()
    for p in neurons:
        for name, value in parameter_values(able, p).items():
            array = np.asarray(value)
            if array.ndim and array.min() != array.max():
                differ.add(name)
    return frozenset(differ)


def _with_lanes(demand: _Demand, device: Device, lanes: int, link: LinkKind) -> Iterator[_Candidate]:
    """Yield cores with this number of lanes, one for each combination of memory kinds.

    Raises ``ValueError`` if no core with so many lanes can run the networks.
    """
    given = demand.given
    roomy, depths, words = demand.with_lanes(lanes)
    few = [count for count in (1, 2) if device.lut_ram and count * depths["neurons"] <= MOST_LUT_RAM_WORDS * lanes]
    kinds = {
        "weight_memory": ("block", "single-port") if device.single_port_ram else ("block",),
        "state_memory": ("block", "distributed") if 1 in few else ("block",),
        "accumulator_memory": ("block", "distributed") if 2 in few else ("block",),
    }
    chosen = [(given[name],) if name in given else kinds[name] for name in kinds]
    for combination in itertools.product(*chosen):
        rounded = _in_columns(depths, lanes, given.get("words_per_cycle", 1))
        values: dict[str, Any] = rounded | dict(zip(kinds, combination, strict=True)) | given
        core = replace(roomy, **values)
        needed, available = estimate(core, device, link=link), room(device)
        shares = {name: getattr(needed, name) / (getattr(available, name) or 1e-6) for name in RESOURCES}
        fullest = max(shares, key=lambda name: shares[name])
        yield _Candidate(
            core=core,
            words=words,
            short=shortages(core, device, link=link),
            fullness=shares[fullest],
            fullest=RESOURCES[fullest],
        )


def _in_columns(depths: dict[str, int], lanes: int, count: int) -> dict[str, int]:
    """Return ``depths`` for a core that adds ``count`` words per cycle: whole columns, of two words or more."""
    if count == 1:
        return depths
    words = max(2 * count, -(-depths["weight_words"] // count) * count)
    return depths | {"weight_words": words, "neurons": max(2 * count * lanes, depths["neurons"])}


def _words_of_a_step(network: QuantisedNetwork, lanes: int) -> int:
    """Return the cycles of a step in which every neuron spikes: weight words added, and neuron words swept."""
    layout = layouts(network, lanes)
    count = sum(placed.words for placed in layout.values())
    for connection in network.connections:
        if isinstance(connection.weight, SparseMatrix):
            count += int(words_per_event(connection, layout[connection.target], sparse=True).sum())
        elif connection.convolution is None:
            count += int(np.count_nonzero(connection.fan_out)) * layout[connection.target].words
        else:
            channels = connection.convolution.weight_shape[0] // connection.convolution.groups
            count += int(connection.fan_out.sum()) // channels * -(-channels // lanes)
    return count


def _reasons(
    networks: Sequence[QuantisedNetwork],
    device: Device,
    best: _Candidate,
    candidates: Sequence[_Candidate],
    given: dict[str, Any],
) -> Iterator[Reason]:
    core = best.core

    def reason(name: str, value: object, why: str) -> Reason:
        return Reason(name=name, value=str(value), why="given" if set(name.split(", ")) <= set(given) else why)

    wider = [c for c in candidates if c.core.lanes > core.lanes and c.words < best.words]
    why = f"{best.words:,} words per step in which every neuron spikes; "
    if not wider:
        why += "more lanes would not need fewer" if core.lanes < MOST_LANES else "the maximum of the automatic choice"
    else:
        closest = min(wider, key=lambda c: (c.core.lanes, c.fullness))
        why += f"{closest.core.lanes} lanes need {'; '.join(map(str, closest.short))}"
    yield reason("lanes", core.lanes, why)
    if core.lane_banks > 1:
        yield reason("lane_banks", core.lane_banks, f"{core.bank_lanes} lanes in each")
    if core.words_per_cycle > 1:
        weights = core.lanes * core.words_per_cycle
        yield reason("words_per_cycle", core.words_per_cycle, f"{weights} weights are added per cycle")
    yield reason(
        "neurons", f"{core.neurons:,}", f"{core.words:,} words of {core.lanes}, each population in separate words"
    )
    yield reason("axons", f"{core.axons:,}", "a row for each source and connection")
    yield reason("weight_words", f"{core.weight_words:,}", f"{core.weight_words * core.lanes:,} weights")
    if core.mixed:
        amount = f"{core.streamed_words * core.lanes:,} weights in SDRAM: dense rows that block RAM does not hold"
        yield reason("streamed_words", f"{core.streamed_words:,}", amount)
    widths = f"{core.weight_width}, {core.accumulator_width}, {core.v_width}"
    yield reason(
        "weight_width, accumulator_width, v_width",
        widths,
        "weights as quantised; their worst sum; membranes as quantised",
    )
    for name, what in (
        ("weight_memory", "weights"),
        ("accumulator_memory", f"2 copies of {2 * core.words:,} words"),
        ("state_memory", f"{core.words:,} words"),
    ):
        yield reason(name, getattr(core, name), what)
    yield Reason(
        name="fullest resource",
        value=best.fullest,
        why=f"{best.fullness:.0%}; other kinds of memory would need more, or would not fit",
    )
    if core.multiplier:
        yield reason("multiplier", "yes", "a leak is not a shift")
    else:
        shown = " ".join(map(str, core.shifts)) or "none"
        yield reason("shifts", shown, "the leaks of all neurons; no multiplier" if core.shifts else "nothing leaks")
    built = [feature.name for feature in FEATURES if feature.flag and feature.built(core)]
    built += ["convolutions"] * (core.coordinate_width > 0) + ["sparse rows"] * core.sparse
    names = ", ".join(built) or "none"
    yield Reason(name="features", value=names, why=f"needed by {' and '.join(n.name for n in networks)}")
    own = ", ".join(name for name in PER_NEURON if name in core.per_neuron) or "none"
    yield reason("per_neuron", own, "differs among the neurons of a population")
