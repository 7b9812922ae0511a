"""Mapping: where to cut a network into slices, and which slice lies in which tile.

All neurons form a line, population after population in update order. The line is cut into as many pieces as there are
tiles to use, one per tile. Connections without delay lead forward along the line, so that no two tiles wait for each
other, whatever the network; recurrent connections may lead anywhere.

1. **Pieces**: the slowest tile limits all others, because they run ahead of it by at most one step. Given a limit of
   cycles per step, each tile in turn takes as much of the line as its memories and the limit allow; bisection finds the
   smallest limit for which the tiles suffice. Pieces are whole memory words or, if that is faster or nothing else fits,
   some lines of every channel, or any neurons and channels. Where tiles differ, for example in the width of their
   weights, the order of their kinds along the line is found as well.
2. **Places**: simulated annealing (Kirkpatrick et al. 1983, Science 220(4598)) finds the router of each piece. The cost
   is the number of packets per step times the links that each crosses, a multicast counted by the links of its tree.
   The generator is seeded: the same seed gives the same places.

A unit, such as attention, has a tile of its own. It follows the last of its sources and precedes its targets: the line
is always cut there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, lcm

import numpy as np

from spikeloom.compiler.dependencies import Flow, Rates, flows_of, uniform_rates
from spikeloom.compiler.layout import Layout, layouts
from spikeloom.compiler.partition import Part, SplitNetwork, bands, between, neurons_per_channel, split
from spikeloom.compiler.ports import Port
from spikeloom.compiler.synapses import blocks_of, words_per_event, words_stored
from spikeloom.compiler.tiles.registry import compiler_of
from spikeloom.compiler.work import POPULATION_CYCLES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.lib.tile import TileParameters
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.noc.mesh import MeshParameters

__all__ = ["AssignError", "Assignment", "Load", "assign", "links_crossed"]

_BISECTIONS = 24
_MOST_ORDERS = 256
"""Maximum number of orders of different tiles that are kept for each number of tiles."""
_TRIES_A_TILE = 300
_MOST_TRIES = 20_000


class AssignError(ValueError):
    """The network does not fit the tiles. The message is one sentence that names the missing resource."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """The ``parts`` of a network, the tile of each, and the ports to other chips.

    ``rates`` are those by which the rows in block RAM are chosen where others are streamed; None stands for equal ones.
    """

    parts: SplitNetwork
    tile_of: Mapping[str, int]
    input_from: Port | None = None
    output_to: Port | None = None
    rates: Rates | None = None

    @property
    def tiles(self) -> tuple[int, ...]:
        """The used tiles, in ascending order."""
        return tuple(sorted(set(self.tile_of.values())))


@dataclass(frozen=True)
class Load:
    """Resources that some neurons take of a tile: neuron words, weight words, and cycles per step."""

    words: int = 0
    weight_words: int = 0
    cycles: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(self.words + other.words, self.weight_words + other.weight_words, self.cycles + other.cycles)


@dataclass(frozen=True)
class _Piece:
    """Candidate part: the neurons ``first`` to ``stop - 1`` of a population or, with ``shape``, these of its lines."""

    population: str
    first: int
    stop: int
    shape: tuple[int, int, int] | None = None

    @property
    def part(self) -> Part:
        """Return the part, named after its population."""
        return Part(
            name=self.population, population=self.population, first=self.first, stop=self.stop, shape=self.shape
        )


@dataclass(frozen=True)
class _Held:
    """Content of a tile: the number of the kind of its core (`_Line.kinds`), and consecutive pieces of the line."""

    kind: int
    pieces: tuple[_Piece, ...]


@dataclass(frozen=True)
class _Places:
    """Positions where a population can be cut, including its ends: neuron numbers, or line numbers if it has a
    ``shape``."""

    population: str
    at: tuple[int, ...]
    shape: tuple[int, int, int] | None = None

    def piece(self, first: int, stop: int) -> _Piece:
        """Return the piece between two positions, given by their indices."""
        return _Piece(self.population, self.at[first], self.at[stop], self.shape)


def assign(
    network: QuantisedNetwork,
    cores: Mapping[int, CoreParameters],
    mesh: MeshParameters | None,
    *,
    unit_tiles: Mapping[int, TileParameters] | None = None,
    observe: Collection[str] = (),
    tiles: int | None = None,
    seed: int = 0,
    rates: Rates | None = None,
    room: float = 1.0,
    banded: bool = True,
    separate_widths: bool = False,
    input_from: Port | None = None,
    output_to: Port | None = None,
) -> Assignment:
    """Map ``network`` to some of the tiles ``cores``, and its units to some of the tiles ``unit_tiles``.

    ``tiles`` is the number of cores to use; None selects the fewest that hold the network. ``rates`` are the expected
    spikes per step of the input and of each population, equal for all neurons if unknown. ``room`` is the usable share
    of the rows of each tile; ``banded`` permits cuts into bands; with ``separate_widths``, weights of different widths
    lie in different tiles. Raises `AssignError` if the network does not fit.
    """
    whole = split(network, {})
    rates = uniform_rates(network) if rates is None else rates
    if tiles is not None and not 1 <= tiles <= len(cores):
        raise AssignError(f"tiles must be 1 to {len(cores)} (all cores of the fabric), not {tiles}")
    units = _units(network, unit_tiles or {})
    between = [unit for unit in network.units if set(unit.sources) != {INPUT}]
    if between and len(cores) == 1:
        raise AssignError(
            f"network {network.name}: the sources and targets of {between[0].name} must lie in different tiles, "
            "but the fabric has one core"
        )
    if mesh is None or len(cores) == 1 or (tiles == 1 and not between):
        # The first core that is wide enough: the network has been checked to have one for each population.
        wide = [number for number, core in cores.items() if core.holds_weights(network.weight_width)]
        tile = next(iter(wide or cores))
        tile_of = {population.name: tile for population in network.populations} | units
        found = Assignment(parts=whole, tile_of=tile_of, input_from=input_from, output_to=output_to, rates=rates)
        pieces = [[_Piece(population.name, 0, population.size) for population in network.populations]]
        chosen = [tile]
    else:
        line = _Line(network, cores, rates, room, separate_widths=separate_widths)
        cut = line.cut(tiles, banded=banded)
        free = {kind: [tile for tile, core in cores.items() if core == line.kinds[kind]] for kind in line.counts}
        chosen = [free[held.kind].pop(0) for held in cut]
        pieces = [list(held.pieces) for held in cut]
        found = _assigned(network, pieces, chosen, units, input_from, output_to)
    if mesh is None:
        return found
    observed = [part.name for part in found.parts.parts if part.population in {network.output, *observe}]
    observed += [INPUT] * (INPUT in observe)
    flows = flows_of(found.parts, found.tile_of, observed, rates, input_from=input_from, output_to=output_to)
    kinds: dict[int, TileParameters] = {**cores, **(unit_tiles or {})}
    moved = _annealed(kinds, [*chosen, *units.values()], flows, mesh, seed)
    order = [moved[tile] for tile in chosen]
    moved_units = {name: moved[tile] for name, tile in units.items()}
    return _assigned(network, pieces, order, moved_units, input_from, output_to)


def _units(network: QuantisedNetwork, tiles: Mapping[int, TileParameters]) -> dict[str, int]:
    """Return a separate tile for each unit of ``network``."""
    found: dict[str, int] = {}
    for unit in network.units:
        free = [n for n, tile in tiles.items() if n not in found.values() and compiler_of(tile).holds(tile, unit)]
        if not free:
            raise AssignError(f"network {network.name}: {unit.name} needs {unit.needs}, but the fabric has none left")
        found[unit.name] = free[0]
    return found


def _assigned(
    network: QuantisedNetwork,
    pieces: Sequence[Sequence[_Piece]],
    order: Sequence[int],
    units: Mapping[str, int],
    input_from: Port | None,
    output_to: Port | None,
) -> Assignment:
    """Assign the pieces to the tiles ``order``, and the units to those of ``units``."""
    cuts: dict[str, list[int]] = {}
    band_cuts: dict[str, list[int]] = {}
    for piece in (piece for held in pieces for piece in held):
        if piece.first:
            (cuts if piece.shape is None else band_cuts).setdefault(piece.population, []).append(piece.first)
    parts = split(network, cuts, band_cuts)
    name_of = {(part.population, part.first): part.name for part in parts.parts}
    return Assignment(
        parts=parts,
        tile_of={
            name_of[piece.population, piece.first]: tile
            for tile, held in zip(order, pieces, strict=False)
            for piece in held
        }
        | dict(units),
        input_from=input_from,
        output_to=output_to,
    )


class _Line:
    """All neurons in a line, with the resources that any range of them needs."""

    def __init__(
        self,
        network: QuantisedNetwork,
        cores: Mapping[int, CoreParameters],
        rates: Rates,
        room: float,
        *,
        separate_widths: bool,
    ) -> None:
        self.network = network
        self.cores = list(cores.values())
        # Cores are compared by their number here, because the hash of a core takes all of its fields. The narrowest are
        # tried first, so that wide ones are left for weights that need them.
        self.kinds = sorted(dict.fromkeys(self.cores), key=lambda core: core.weight_width)
        self.counts = {kind: self.cores.count(core) for kind, core in enumerate(self.kinds)}
        self.rates = rates
        self.room = room
        self._width = {population.name: network.width_of(population.name) for population in network.populations}
        self._separate_widths = separate_widths
        names = [population.name for population in network.populations]
        place = {INPUT: -1} | {name: number for number, name in enumerate(names)}
        self._after_unit = {1 + max(place[source] for source in unit.sources) for unit in network.units} - {0}
        self._unit_name = next((unit.name for unit in network.units if set(unit.sources) != {INPUT}), "")
        self._loads: dict[tuple[int, _Piece], Load] = {}
        self._rows: list[dict[str, int]] = []
        for core in self.kinds:
            whole = layouts(network, core.lanes)
            blocks = blocks_of(network, dict.fromkeys(names, 0), {0: core}, whole)
            self._rows.append({source: block.shape[0] for source, block in blocks.items()})
        self._sparse = {
            source: all(core.sparse for core in self.kinds)
            and all(c.source_shape is None for c in network.connections_from(source))
            for source in network.sources
        }

    def load(self, kind: int, piece: _Piece) -> Load:
        """Return the resources that a piece needs in a core of this kind."""
        # The bisection asks for the same pieces over and over; most of the time of a placement would go here.
        key = kind, piece
        if key not in self._loads:
            self._loads[key] = self._load(self.kinds[kind], piece)
        return self._loads[key]

    def _load(self, core: CoreParameters, piece: _Piece) -> Load:
        part = piece.part
        connections = []
        for connection in self.network.connections_to(piece.population):
            size = self.network.size(connection.source)
            source = Part(name=connection.source, population=connection.source, first=0, stop=size)
            if (found := between(connection, source, part)) is not None:
                connections.append(found)
        layout = Layout.of(part.size, [c.convolution for c in connections], core.lanes)
        total = Load(words=layout.words, cycles=layout.words + POPULATION_CYCLES)
        for connection in connections:
            sparse = self._sparse[connection.source]
            words = words_per_event(connection, layout, sparse=sparse, words_per_cycle=core.words_per_cycle)
            words = np.maximum(words, 1)  # a row takes at least one cycle
            added = float(self.rates[connection.source] @ words)
            total += Load(weight_words=words_stored(connection, layout, sparse=sparse), cycles=added)
        return total

    def rows(self, kind: int, populations: Collection[str]) -> int:
        """Return the number of rows for all connections to some populations in a core of this kind."""
        leading = [c.source for name in populations for c in self.network.connections_to(name)]
        return sum(self._rows[kind][source] for source in leading)

    def fits(self, kind: int, pieces: Sequence[_Piece], limit: float) -> bool:
        """Whether a core of this kind holds all of ``pieces`` and completes a step within ``limit`` cycles."""
        core, widths = self.kinds[kind], {self._width[piece.population] for piece in pieces}
        if not all(map(core.holds_weights, widths)) or (self._separate_widths and len(widths) > 1):
            return False
        total = sum((self.load(kind, piece) for piece in pieces), Load())
        return (
            total.words <= core.words
            and total.weight_words <= core.all_weight_words
            and total.cycles <= limit
            and len(pieces) <= core.populations
            and self.rows(kind, {piece.population for piece in pieces}) <= core.axons * self.room
        )

    def words(self) -> list[_Places]:
        """Return cuts at the memory words of every population."""
        lanes = lcm(*(core.lanes for core in self.kinds))
        line = []
        for population in self.network.populations:
            step = neurons_per_channel(self.network, population.name)
            spatial = any(c.convolution for c in self.network.connections_to(population.name))
            line.append(self._range(population.name, step * lanes if spatial else lcm(step, lanes)))
        return line

    def neurons(self) -> list[_Places]:
        """Return cuts at all neurons, or channels."""
        return [self._range(p.name, neurons_per_channel(self.network, p.name)) for p in self.network.populations]

    def bands(self) -> list[_Places]:
        """Return cuts at lines where there are lines, else at memory words."""
        line = []
        for places in self.words():
            possible = bands(self.network, places.population)
            if possible is not None:
                height = possible.shape[1]
                at = (*range(0, height, possible.lines), height)
                places = _Places(places.population, at, possible.shape)
            line.append(places)
        return line

    def _range(self, population: str, step: int) -> _Places:
        size = self.network.size(population)
        return _Places(population, (*range(0, size, step), size))

    def cut(self, tiles: int | None, *, banded: bool) -> list[_Held]:
        """Return the content of each of ``tiles`` tiles. Raises `AssignError` if the tiles cannot hold the network."""
        found = []
        # From coarse to fine: cuts at memory words waste no lane, cuts anywhere may be the only ones that fit.
        for line in (self.words(), self.bands(), self.neurons()) if banded else (self.words(), self.neurons()):
            if tiles is not None and sum(len(places.at) - 1 for places in line) < tiles:
                continue
            pieces = self._fill(line, len(self.cores) if tiles is None else tiles, float("inf"))
            if self._left(pieces):
                continue
            count = len(pieces) if tiles is None else tiles
            # Filling up to a limit is greedy; the smallest limit under which everything still fits balances the tiles.
            low, high = 0.0, max(self._cycles(pieces))
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                if self._left(better := self._fill(line, count, middle)):
                    low = middle
                else:
                    pieces, high = better, max(self._cycles(better))
            found.append(self._more(pieces, line, count))
        if not found:
            raise AssignError(self._shortage(tiles))
        return min(found, key=lambda pieces: (len(pieces), max(self._cycles(pieces))))

    def _cycles(self, pieces: Sequence[_Held]) -> list[float]:
        return [sum(self.load(held.kind, piece).cycles for piece in held.pieces) for held in pieces]

    def _left(self, pieces: Sequence[_Held]) -> int:
        """Return the number of neurons outside all pieces."""
        return self.network.neurons - sum(piece.part.size for held in pieces for piece in held.pieces)

    def _fill(self, line: Sequence[_Places], count: int, limit: float) -> list[_Held]:
        """Let up to ``count`` tiles, each in turn, take as much of the line as it can.

        Where tiles differ, so does the result for each order of their kinds. What matters for the tiles that follow is
        how many of each kind are left and how far the line is taken, so that of all orders with the same tiles left
        only the one that got furthest is kept.
        """
        # By the number of tiles taken of each kind: the position in the line, and the content of the tiles.
        reached: dict[tuple[int, ...], tuple[tuple[int, int], list[_Held]]] = {(0,) * len(self.kinds): ((0, 0), [])}
        furthest: tuple[tuple[int, int], list[_Held]] = (0, 0), []
        for _ in range(count):
            following: dict[tuple[int, ...], tuple[tuple[int, int], list[_Held]]] = {}
            for taken, (place, pieces) in reached.items():
                for kind in self.counts:
                    if taken[kind] == self.counts[kind]:
                        continue
                    held, after = self._take(kind, line, place, limit)
                    now = (*taken[:kind], taken[kind] + 1, *taken[kind + 1 :])
                    if held and (now not in following or after > following[now][0]):
                        following[now] = after, [*pieces, _Held(kind, held)]
            kept = sorted(following.items(), key=lambda found: found[1][0], reverse=True)[:_MOST_ORDERS]
            if not kept:
                break
            reached, furthest = dict(kept), kept[0][1]
            if furthest[0][0] == len(line):
                break
        return furthest[1]

    def _take(
        self, kind: int, line: Sequence[_Places], place: tuple[int, int], limit: float
    ) -> tuple[tuple[_Piece, ...], tuple[int, int]]:
        """Return what a tile takes from ``place`` (population and position) on, and the place behind it."""
        population, position = place
        held: list[_Piece] = []
        while population < len(line):
            if held and not position and population in self._after_unit:
                break
            places = line[population]
            low, high = position, len(places.at) - 1  # invariant: it fits up to `low`
            while low < high:
                middle = (low + high + 1) // 2
                if self.fits(kind, [*held, places.piece(position, middle)], limit):
                    low = middle
                else:
                    high = middle - 1
            if low > position:
                held.append(places.piece(position, low))
            position = low
            if low < len(places.at) - 1:
                break
            population, position = population + 1, 0
        return tuple(held), (population, position)

    def _more(self, pieces: list[_Held], line: Sequence[_Places], count: int) -> list[_Held]:
        """Cut the slowest pieces in two until there are ``count``, or none can be cut for the tiles that are left."""
        while len(pieces) < count:
            order = np.argsort([-cycles for cycles in self._cycles(pieces)], kind="stable")
            taken = [held.kind for held in pieces]
            free = [kind for kind, number in self.counts.items() if taken.count(kind) < number]
            for number in order:
                halves = self._halves(pieces[number], line, free)
                if halves is not None:
                    pieces = [*pieces[:number], *halves, *pieces[number + 1 :]]
                    break
            else:
                assert len(self.kinds) > 1, "there are at least as many places to cut as tiles"
                break
        return pieces

    def _halves(self, whole: _Held, line: Sequence[_Places], free: Sequence[int]) -> tuple[_Held, _Held] | None:
        """Return both sides of the cut with the fastest slower side, the second in a tile of one of the kinds ``free``;
        None if nothing can be cut."""
        best = None
        held = whole.pieces
        at = {places.population: places.at for places in line}
        for number, piece in enumerate(held):
            inside = [place for place in at[piece.population] if piece.first < place < piece.stop]
            for place in [piece.first, *inside] if number else inside:
                left, right = replace(piece, stop=place), replace(piece, first=place)
                first = (*held[:number], left)[: number + (place > piece.first)]
                second = (right, *held[number + 1 :])
                for kind in free:
                    if not self.fits(kind, second, float("inf")):
                        continue
                    sides = _Held(whole.kind, first), _Held(kind, second)
                    longest = max(self._cycles(sides))
                    if best is None or longest < best[0]:
                        best = longest, sides
        return None if best is None else best[1]

    def _shortage(self, tiles: int | None) -> str:
        """Return one sentence with the reason why the tiles do not hold the network."""
        cores = self.cores if tiles is None else self.cores[:tiles]
        lines = self.neurons(), self.bands()
        most = max(sum(len(places.at) - 1 for places in line) for line in lines)
        if tiles is not None and most < tiles:
            return f"network {self.network.name} can be cut into at most {most} parts, not {tiles}"
        needed = 1 + len(self._after_unit - {len(self.network.populations)})
        if len(cores) < needed:
            return (
                f"network {self.network.name}: the sources and targets of {self._unit_name} must lie in different "
                f"tiles, {needed} of them, not in {len(cores)}"
            )
        largest = max(cores, key=lambda core: core.words * core.all_weight_words)
        kind = self.kinds.index(largest)
        total = sum((self.load(kind, _Piece(p.name, 0, p.size)) for p in self.network.populations), Load())
        for name, used, available in (
            ("neuron words", total.words, sum(core.words for core in cores)),
            ("weight words", total.weight_words, sum(core.all_weight_words for core in cores)),
        ):
            if used > available:
                return (
                    f"network {self.network.name} does not fit {len(cores)} tiles: it needs {used:,} {name} of "
                    f"{largest.lanes} lane{'s' * (largest.lanes > 1)} ({available:,} available)"
                )
        for ways in zip(*lines, strict=True):
            too_large = [self._too_large(places) for places in ways]
            if all(too_large):
                piece = min((piece for piece in too_large if piece is not None), key=lambda piece: piece.part.size)
                return self._excess(piece, kind)
        left = min(self._left(self._fill(line, len(cores), float("inf"))) for line in lines)
        widths = [core.weight_width for core in cores]
        why = "with the memories of all tiles full"
        if len(set(widths)) > 1:
            widest = max(widths)
            why = f"with {widths.count(widest)} of them for weights of {widest} bits and the others for fewer"
        return (
            f"network {self.network.name} does not fit {len(cores)} tiles: {why}, {left:,} of "
            f"{self.network.neurons:,} neurons are left"
        )

    def _too_large(self, places: _Places) -> _Piece | None:
        """Return the first of the smallest possible pieces that fits no core; None if each fits one."""
        for number in range(len(places.at) - 1):
            piece = places.piece(number, number + 1)
            if not any(self.fits(kind, [piece], float("inf")) for kind in self.counts):
                return piece
        return None

    def _excess(self, piece: _Piece, kind: int) -> str:
        """Describe the resources that a piece needs beyond those of a core of this kind."""
        core = self.kinds[kind]
        load, rows, size = self.load(kind, piece), self.rows(kind, {piece.population}), piece.part.size
        short = [
            f"{used:,} {what}, a tile has {available:,}"
            for what, used, available in (
                ("neuron words", load.words, core.words),
                ("weight words", load.weight_words, core.all_weight_words),
                ("rows", rows, core.axons),
            )
            if used > available
        ]
        need = "one neuron needs" if size == 1 else f"{size:,} neurons need"
        return f"population {piece.population} cannot be cut small enough: {need} {'; '.join(short)}"


def links_crossed(mesh: MeshParameters, source: int, sinks: Collection[int]) -> int:
    """Count the links between routers that a packet from ``source`` to ``sinks`` takes, see `MeshParameters.route`."""
    column, row = source % mesh.columns, source // mesh.columns
    rows_of: dict[int, list[int]] = {}
    for sink in sinks:
        rows_of.setdefault(sink % mesh.columns, [row]).append(sink // mesh.columns)
    along = max(column, *rows_of) - min(column, *rows_of) if rows_of else 0
    return along + sum(max(rows) - min(rows) for rows in rows_of.values())


def _annealed(
    kinds: Mapping[int, TileParameters],
    used: Sequence[int],
    flows: Sequence[Flow],
    mesh: MeshParameters,
    seed: int,
) -> dict[int, int]:
    """Return a new tile of the same kind for the content of each tile, such that the flows cross the fewest links.

    ``flows`` are those between the currently ``used`` tiles.
    """
    places = list(kinds)
    fixed = sorted({tile for flow in flows for tile in (flow.source, *flow.sinks)} - set(places) | {BRIDGE_TILE})
    order = [*places, *fixed]  # the host and ports to other chips have fixed places
    place_of = {tile: index for index, tile in enumerate(order)}
    ends = [[place_of[tile] for tile in (flow.source, *flow.sinks)] for flow in flows]
    touching = [[index for index, of in enumerate(ends) if place in of] for place in range(len(places))]

    def cost(index: int) -> float:
        source, *sinks = [order[end] for end in ends[index]]
        return flows[index].packets * links_crossed(mesh, source, sinks)

    inside = sorted(place_of[tile] for tile in used)
    swaps = [
        (a, b)
        for a in inside
        for b in range(len(places))
        if (b > a or b not in inside) and kinds[places[a]] == kinds[places[b]]
    ]
    if not swaps:
        return dict(zip(places, order, strict=False))
    rng = np.random.default_rng(seed)
    total = sum(cost(index) for index in range(len(flows)))
    best, least = list(order), total
    tries = min(_MOST_TRIES, _TRIES_A_TILE * len(places))
    heat = max(total, 1.0) / max(len(flows), 1)
    cooling = (1e-3) ** (1 / tries)
    for chosen, chance in zip(rng.integers(len(swaps), size=tries), rng.random(tries), strict=True):
        a, b = swaps[chosen]
        affected = {*touching[a], *touching[b]}
        before = sum(cost(index) for index in affected)
        order[a], order[b] = order[b], order[a]
        change = sum(cost(index) for index in affected) - before
        if change <= 0 or chance < exp(-change / heat):
            total += change
            if total < least - 1e-9:
                best, least = list(order), total
        else:
            order[a], order[b] = order[b], order[a]
        heat *= cooling
    return dict(zip(places, best, strict=False))
