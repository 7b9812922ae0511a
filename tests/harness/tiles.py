"""A program run on tiles without clocks: memory images are decoded, and tokens are awaited.

The only assumption is what the fabric guarantees: packets between two tiles stay in order. The next tile to act and the
next packet to arrive are drawn at random. This is the model of elastic time; it is slow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from spikeloom.compiler.program import Program
from spikeloom.sim.core.features import RESET_CODES
from spikeloom.sim.core.neuron import RANDOM_WIDTH, Reset, saturate
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.lib.lfsr import leap_table
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.reference import ReferenceResult

SPIKE, TICK, ACK, MEMBRANE = "spike", "tick", "ack", "membrane"


@dataclass(frozen=True)
class Packet:
    """A packet, as defined in `spikeloom.hdl.noc.packet`."""

    kind: str
    parity: int
    last: int = 0
    axon: int = 0
    value: int = 0


@dataclass
class TilesRun:
    """The output of a run, by step counted through all samples, and measures of its elasticity."""

    spikes: list[dict[int, int]] = field(default_factory=list)  #: for each step, the value by axon
    membranes: list[dict[int, int]] = field(default_factory=list)
    packets: int = 0
    arrivals: int = 0
    ahead: int = 0  #: steps that began in one tile while another tile was still in the step before
    delayed: int = 0  #: events for the next step, from another tile
    words: dict[int, int] = field(default_factory=dict)  #: weight words that each tile added


class Tokens:
    """The tokens that a tile waits for, and those that have arrived, for the steps of each parity."""

    def __init__(self, registers: dict[str, int]) -> None:
        self.registers = registers
        self.ticks, self.acks = [0, 0], [0, 0]
        self.is_last = [0, 0]
        self.step = 0

    def receive(self, packet: Packet) -> None:
        """Count a token."""
        if packet.kind == TICK:
            self.ticks[packet.parity] += 1
            self.is_last[packet.parity] |= packet.last
        else:
            self.acks[packet.parity] += 1

    def due(self) -> bool:
        """Whether the next step may begin."""
        r, parity = self.registers, self.step & 1
        ticks = r["sources"] + (r["delayed_sources"] if self.step else 0)
        acks = (r["sinks"] if self.step > 1 else 0) + (r["delayed_sinks"] if self.step else 0)
        assert self.ticks[parity] <= ticks, "no more TICKs than sources"
        assert self.acks[parity] <= acks, "no more ACKs than sinks"
        return bool(r["sources"]) and self.ticks[parity] == ticks and self.acks[parity] == acks

    def begin(self) -> tuple[int, int]:
        """Begin a step; return its parity and whether it is the last of its sample."""
        parity = self.step & 1
        last, self.is_last[parity] = self.is_last[parity], 0
        self.ticks[parity] = self.acks[parity] = 0
        return parity, last

    def finish(self, last: int) -> Iterator[tuple[int, Packet]]:
        """The tokens that end a step, each with its destinations."""
        r, parity = self.registers, self.step & 1
        self.step += 1
        yield r["tick_destinations"], Packet(TICK, parity, last)
        yield r["delayed_tick_destinations"], Packet(TICK, 1 - parity)
        yield r["ack_destinations"], Packet(ACK, parity)
        yield r["delayed_ack_destinations"], Packet(ACK, 1 - parity)


class Tile:
    """A LIF core that computes from the contents of its memory images."""

    def __init__(self, core: CoreParameters, images: dict[str, np.ndarray], registers: dict[str, int]) -> None:
        self.core, self.registers = core, registers
        self.tokens = Tokens(registers)
        self.rows = RowTables(core, images)
        bits = unpack_lanes(images["weights"], core.lanes, core.weight_width).astype(np.int64)
        if core.weight_width == 1:
            weights = 2 * bits[:, 0] - 1
        else:
            place = 1 << np.arange(core.weight_width)
            place[-1] = -place[-1]
            weights = bits @ place
        self.weights = weights.reshape(-1, core.lanes)
        layouts = {"populations": core.population_layout, "routes": core.route_layout}
        self.tables = {
            name: layout.values(unpack_lanes(images[name], 1, layout.width)) for name, layout in layouts.items()
        }
        if core.neuron_layout.width:
            layout = core.neuron_layout
            self.tables["neurons"] = layout.values(unpack_lanes(images["neurons"], core.lanes, layout.width))
        slots = core.words * core.lanes
        self.banks = np.zeros((2, core.words, core.lanes), np.int64)
        self.state = {
            name: np.zeros(slots, np.int64)
            for name in ("v", "pending", "refractory_count", "current", "adaptation", "random")
        }
        self.words = self.delayed = 0
        self.running: int | None = None  # the parity of the step in progress
        self.fresh = True

    def receive(self, packet: Packet) -> None:
        """Receive a packet, whatever the tile is doing."""
        if packet.kind in (TICK, ACK):
            self.tokens.receive(packet)
        else:
            assert packet.kind == SPIKE
            self.delayed += self.add(packet.axon, packet.parity, packet.last, packet.value)

    def add(self, axon: int, parity: int, last: int, value: int, *, local: bool = False) -> int:
        """Add the words of an event; return how many were for the next step."""
        late = 0
        for word in self.rows.words(axon):
            if word.delay and last:
                continue
            bank = parity ^ word.delay
            assert local or bank != self.running, "what arrives in a step must not count for it any more"
            self.banks[bank, word.target] += value * self.weights[word.weight_address]
            self.words += 1
            late += word.delay
        return late

    def step(self) -> Iterator[tuple[int, Packet]]:
        """Compute one step; yield the packets that it sends, each with its destinations."""
        parity, last = self.tokens.begin()
        self.running = parity
        for number in range(self.registers["populations"]):
            rule = {name: int(values[number]) for name, values in self.tables["populations"].items()}
            yield from self._sweep(rule, parity, last)
        self.running = None
        self.fresh = bool(last)
        yield from self.tokens.finish(last)

    def _sweep(self, rule: dict[str, int], parity: int, last: int) -> Iterator[tuple[int, Packet]]:
        words = slice(rule["first"], rule["last"] + 1)
        slots = np.arange(words.start * self.core.lanes, words.stop * self.core.lanes)
        sums = self.banks[parity, words].reshape(-1).copy()
        self.banks[parity, words] = 0
        own = {name: values[slots] for name, values in self.tables.get("neurons", {}).items()}
        fields = {name: np.full(len(slots), value) for name, value in rule.items()} | own
        spike, value, membrane = self._update(fields, sums, slots)
        routes = self.tables["routes"]
        for place, slot in enumerate(slots):
            if not spike[place] and not rule.get("readout"):
                continue
            route = {name: int(values[slot]) for name, values in routes.items()}
            if route["local"]:
                self.add(route["axon"], parity, last, int(value[place]), local=True)
            if route["send"]:
                kind, sent = (MEMBRANE, membrane[place]) if route.get("membrane") else (SPIKE, value[place])
                yield (
                    rule["destinations"] if self.core.destinations else 1,
                    Packet(kind, parity, last, route["axon"], int(sent)),
                )

    def _leak(self, values: np.ndarray, code: np.ndarray, nearest: np.ndarray) -> np.ndarray:
        if self.core.multiplier:
            half = (nearest << self.core.beta_fraction) >> 1
            up = -((values * code) >> self.core.beta_fraction)
            return np.where(code < 0, up, (values * code + half) >> self.core.beta_fraction)
        shifts = np.array([0, *self.core.shifts])[code]
        return np.where(code == 0, values, values - (values >> shifts))

    def _update(self, f: dict[str, np.ndarray], sums: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, ...]:
        """Update the neurons from the fields of `spikeloom.sim.core.memory_fields`: spikes, their values, membranes."""
        core, zero = self.core, np.zeros(len(slots), np.int64)

        def get(name: str) -> np.ndarray:
            return f.get(name, zero)

        s = {name: zero if self.fresh else values[slots] for name, values in self.state.items()}
        if self.fresh:
            s["random"] = get("seed")
        if np.any(get("delay_line")):
            line = ((s["v"] << 1) | (sums > 0)) & ((1 << core.v_width) - 1)
            spike = (line >> get("delay")) & 1
            v = np.where(line >> (core.v_width - 1), line - (1 << core.v_width), line)
            after = dict.fromkeys(s, zero) | {"v": v}
            for name, values in after.items():
                self.state[name][slots] = values
            return spike, spike, v
        hold = s["refractory_count"] > 0
        driven = sums + np.where(
            get("current"), self._leak(s["current"], get("current_leak_factor"), get("nearest")), 0
        )
        base = np.where(hold, s["v"], self._leak(s["v"], f["leak_factor"], get("nearest")))
        codes = {reset: f["reset"] == code for reset, code in RESET_CODES.items()}

        def reset(values: np.ndarray, threshold: np.ndarray) -> np.ndarray:
            values = np.where(codes[Reset.ZERO], 0, values)
            values = np.where(codes[Reset.VALUE], get("reset_value"), values)
            return np.where(codes[Reset.SUBTRACT], values - threshold, values)

        base = np.where(s["pending"] > 0, reset(base, f["threshold"]), base)
        u = base + np.where(hold, 0, get("bias") + driven)
        threshold = f["threshold"] + s["adaptation"]
        twice = np.where((get("second_threshold") > 0) & (s["v"] > f["threshold"]), f["threshold"], 0)
        noise = s["random"] & get("noise")
        noise = np.where((noise << 1) > get("noise"), noise - get("noise") - 1, noise)
        needed = threshold + twice
        above = np.where(f["greater_equal"] > 0, u + noise >= needed, u + noise > needed)
        count = above.astype(np.int64)
        for k in range(2, int(np.max(get("max_spikes"), initial=1)) + 1):
            reached = np.where(f["greater_equal"] > 0, u >= k * needed, u > k * needed)
            count += reached & (k <= get("max_spikes"))
        spike = (f["spiking"] > 0) & ~hold & above
        value = np.ones_like(u)
        if core.value_width:
            value = np.where(get("graded") > 0, saturate(u >> get("graded_shift"), core.value_width), 1)
            value = np.where(get("max_spikes") > 1, count, value)
        now = spike & (get("reset_delay") == 0)
        v = saturate(np.where(now, reset(u, count * threshold), u), core.v_width)
        v = np.maximum(v, get("lower_bound")) if core.lower_bound else v
        adaptation = self._leak(s["adaptation"], get("adaptation_leak_factor"), get("nearest"))
        after = {
            "v": v,
            "pending": spike & (get("reset_delay") > 0),
            "refractory_count": np.where(spike, get("refractory"), np.maximum(s["refractory_count"] - 1, 0)),
            "current": np.where(get("current"), saturate(driven, core.v_width), 0),
            "adaptation": saturate(adaptation + np.where(spike, get("adaptation_step"), 0), core.v_width),
            "random": s["random"],
        }
        if core.noise_bits:
            after["random"] = leap_table(RANDOM_WIDTH, RANDOM_WIDTH)[s["random"]]
        for name, values in after.items():
            self.state[name][slots] = values
        return spike, value, v


class Host:
    """The bridge: sends the input of each step, and collects the output."""

    def __init__(self, registers: dict[str, int], program: Program, values: np.ndarray) -> None:
        self.steps, self.batch, _ = values.shape
        self.values, self.program, self.registers = values, program, registers
        self.giving = Tokens(registers | {"sources": 1, "delayed_sources": 0, "delayed_sinks": 0})
        self.giving.ticks = [1, 1]  # the host is always ready
        self.ended = [0, 0]
        self.taken = 0
        self.run = TilesRun(spikes=[{} for _ in range(self.total + 2)], membranes=[{} for _ in range(self.total + 2)])
        self.answers: deque[tuple[int, Packet]] = deque()

    @property
    def total(self) -> int:
        return self.steps * self.batch

    def due(self) -> bool:
        return self.giving.step < self.total and self.giving.due()

    def step(self) -> Iterator[tuple[int, Packet]]:
        sample, t = divmod(self.giving.step, self.steps)
        parity, last = self.giving.step & 1, int(t == self.steps - 1)
        self.giving.begin()
        self.giving.ticks[parity] = 1
        for line in np.flatnonzero(self.values[t, sample]):
            axon, value = int(self.program.input_axons[line]), int(self.values[t, sample, line])
            yield self.registers["spike_destinations"], Packet(SPIKE, parity, last, axon, value)
        yield self.registers["tick_destinations"], Packet(TICK, parity, last)
        self.giving.step += 1

    def receive(self, packet: Packet) -> None:
        if packet.kind == ACK:
            self.giving.receive(packet)
            return
        step = self.taken + ((self.taken ^ packet.parity) & 1)  # one source can be a step ahead of the others
        if packet.kind == TICK:
            self.ended[packet.parity] += 1
            while self.ended[self.taken & 1] == self.registers["sources"]:
                self.ended[self.taken & 1] = 0
                self.answers.append((self.registers["ack_destinations"], Packet(ACK, self.taken & 1)))
                self.taken += 1
            return
        kept = self.run.spikes if packet.kind == SPIKE else self.run.membranes
        assert packet.axon not in kept[step], "nothing comes twice"
        kept[step][packet.axon] = packet.value


def run_tiles(program: Program, values: np.ndarray, rng: np.random.Generator) -> TilesRun:
    """Run ``values`` ``(T, B, inputs)``, sample after sample, until every step has come out."""
    fabric = program.fabric
    registers: dict[int, dict[str, int]] = {}
    for tile, name, value in program.registers:
        registers.setdefault(tile, {})[name] = value
    if fabric.mesh is None:  # the bridge and the core are connected to each other
        nobody = dict.fromkeys(("sources", "sinks", "tick_destinations", "ack_destinations"), 0)
        registers[1] |= {"tick_destinations": 1, "ack_destinations": 1}
        registers[1] |= {f"delayed_{name}": count for name, count in nobody.items()}
        registers[BRIDGE_TILE] = {"sources": 1, "sinks": 1}
        registers[BRIDGE_TILE] |= dict.fromkeys(("spike_destinations", "tick_destinations", "ack_destinations"), 2)
    images: dict[int, dict[str, np.ndarray]] = {}
    for image in program.memories:
        images.setdefault(image.tile, {})[image.name] = image.words
    tiles = {tile: Tile(fabric.cores[tile], images[tile], registers[tile]) for tile in images}
    host = Host(registers[BRIDGE_TILE], program, values)
    run = host.run
    links: dict[tuple[int, int], deque[Packet]] = {}
    working: dict[int, Iterator[tuple[int, Packet]]] = {}

    def send(source: int, destinations: int, packet: Packet) -> None:
        run.packets += destinations > 0
        for tile in range(destinations.bit_length()):
            if destinations >> tile & 1:
                links.setdefault((source, tile), deque()).append(packet)

    eager = {tile: float(rng.choice([0.05, 0.3, 1.0])) for tile in (BRIDGE_TILE, *tiles)}
    while True:
        arrivals = [("arrive", pair) for pair, waiting in links.items() if waiting]
        moves = [("work", tile) for tile in working]
        moves += [("begin", t) for t, tile in tiles.items() if t not in working and tile.tokens.due()]
        moves += [("begin", BRIDGE_TILE)] if BRIDGE_TILE not in working and host.due() else []
        moves += [("answer", BRIDGE_TILE)] if host.answers else []
        if not arrivals and not moves:
            break
        kind, where = (arrivals + moves)[rng.integers(len(arrivals) + len(moves))]
        if kind == "arrive":
            _, tile = where
            run.arrivals += 1
            packet = links[where].popleft()
            (host if tile == BRIDGE_TILE else tiles[tile]).receive(packet)
        elif kind == "answer":
            send(BRIDGE_TILE, *host.answers.popleft())
        elif rng.random() < eager[where]:
            if kind == "begin":
                working[where] = host.step() if where == BRIDGE_TILE else tiles[where].step()
                mine = (host.giving if where == BRIDGE_TILE else tiles[where].tokens).step
                run.ahead += any(tile.tokens.step < mine for tile in tiles.values())
            found = next(working[where], None)
            if found is None:
                del working[where]
            else:
                send(where, *found)
    assert host.taken == host.total or not host.registers["sources"], "the tiles must not wait for each other for ever"
    assert all(tile.tokens.step == host.total for tile in tiles.values()), "every tile must have done every step"
    run.words = {number: tile.words for number, tile in tiles.items()}
    run.delayed = sum(tile.delayed for tile in tiles.values())
    return run


def by_population(run: TilesRun, program: Program, steps: int, batch: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each observed population, the spikes and their values, both ``(T, B, n)``."""
    first, found, known = 0, {}, 0
    for position, (name, size) in enumerate(program.observed):
        axons = program.output_axons[first : first + size]
        first += size
        source = run.membranes if program.membranes and position == 0 else run.spikes
        came = np.array([[int(axon) in source[step] for axon in axons] for step in range(batch * steps)])
        values = np.array([[source[step].get(int(axon), 0) for axon in axons] for step in range(batch * steps)])
        known += came.sum()
        found[name] = tuple(a.reshape(batch, steps, size).swapaxes(0, 1) for a in (came, values))
    assert known == sum(map(len, run.spikes)) + sum(map(len, run.membranes)), "nothing but what was asked for comes out"
    return found


def assert_equal_to_reference(run: TilesRun, program: Program, reference: ReferenceResult) -> None:
    """Assert that every spike, its value and every membrane that leaves the fabric is equal."""
    steps, batch, _ = next(iter(reference.spikes.values())).shape
    for name, (came, values) in by_population(run, program, steps, batch).items():
        if program.membranes and name == program.observed[0][0]:
            assert came.all()
            assert np.array_equal(values, reference.states[name].v), name
        else:
            assert np.array_equal(came, reference.spikes[name]), name
            assert np.array_equal(values, reference.values.get(name, reference.spikes[name])), name
