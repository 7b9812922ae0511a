"""The attention tile: packets in any order and under any pauses, every spike equal to the reference."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.attention import random_attention
from harness.block_ram import shallow_block_ram
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.attention import tile as attention_tile
from spikeloom.hdl.attention.tile import AttentionTile
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.attention.attention import AttentionParameters, Part, register_seeds, simulate
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.attention.registers import ATTENTION

PAGES = {Part.QUERY: 5, Part.KEY: 1, Part.VALUE: 6}
SPIKE_TO, TICK_TO, ACK_TO = 0b0110, 0b0100, 0b1001


class TileBench:
    """A tile between sources and a sink that obey the token rules, with random timing otherwise."""

    def __init__(self, tile, rng, q, k, v, *, samples, seed, causal, sources, idle, stall, restart):
        self.tile, self.rng, self.idle, self.stall, self.restart = tile, rng, idle, stall, restart
        self.sources, self.seed, self.causal = sources, seed, causal
        self.steps, self.last_every = len(q), len(q) // samples
        p = tile.parameters
        shape = p.attention
        self.axons = rng.permutation(1 << p.axon_width)[: shape.heads * shape.tokens * shape.features].reshape(
            shape.heads, shape.tokens, shape.features
        )  # the axons of the output
        self.events = []
        for t in range(self.steps):
            axons = np.concatenate(
                [p.axons(PAGES[part])[spikes[t]] for part, spikes in zip(Part, (q, k, v), strict=True)]
            )
            axons = np.concatenate([axons, rng.choice(axons, len(axons) // 8), p.axons(2)[q[t]][:5]])
            shares = np.array_split(rng.permutation(axons), sources)
            self.events.append([share.tolist() for share in shares])
        passes = shape.heads * shape.tokens // shape.rows
        self.patience = 500 + 4 * passes * (shape.tokens + 1) * shape.features  # cycles in which nothing happens
        self.acknowledged = 0  # steps that the tile has acknowledged
        self.spikes, self.ticks, self.kinds = [[]], [], []
        self.due_acks, self.cycles = [], 0

    def packets(self, source):
        """The packets that a source sends, in order; None where it must wait for an ACK."""
        for t in range(self.steps):
            while self.acknowledged < t - 1:
                yield None
            for axon in self.events[t][source]:
                yield {"kind": PacketKind.SPIKE, "parity": t % 2, "axon": axon}
            last = (t + 1) % self.last_every == 0
            yield {"kind": PacketKind.TICK, "parity": t % 2, "last": last}

    async def write(self, ctx, name, value):
        register = ATTENTION.register(name)
        for place, byte in enumerate(register.encode(value)):
            await self.write_byte(ctx, 0, 0, register.offset + place, byte)

    async def write_byte(self, ctx, memory, plane, index, byte):
        port = self.tile.configuration
        place = (port.memory, memory), (port.plane, plane), (port.index, index)
        assign(ctx, [*place, (port.write_data, byte), (port.write_enable, 1)])
        await ctx.tick()
        ctx.set(port.write_enable, 0)

    async def stray(self, ctx):
        """Spikes of a step that never ends, which a restart clears."""
        tile = self.tile
        ctx.set(tile.i.valid, 1)
        for page in PAGES.values():
            for number, axon in enumerate(self.rng.permutation(tile.parameters.axons(page).reshape(-1))[:40].tolist()):
                ctx.set(tile.i.payload, {"kind": 0, "parity": number % 2, "last": 0, "axon": axon, "value": 0})
                await ctx.tick().until(tile.i.ready)
        ctx.set(tile.i.valid, 0)

    async def pulse(self, ctx, line):
        ctx.set(line, 1)
        await ctx.tick()
        ctx.set(line, 0)

    async def configure(self, ctx):
        score_seed, output_seed = register_seeds(self.seed)
        for name, value in {
            **{f"{part.name.lower()}_page": page for part, page in PAGES.items()},
            "score_seed": score_seed,
            "output_seed": output_seed,
            "causal": int(self.causal),
            "sinks": 1,
            "spike_destinations": SPIKE_TO,
            "tick_destinations": TICK_TO,
            "ack_destinations": ACK_TO,
            "sources": self.sources,
        }.items():
            await self.write(ctx, name, value)
        for index, word in enumerate(self.tile.parameters.routes(self.axons)):
            for plane, byte in enumerate(word):
                await self.write_byte(ctx, 1, plane, index, int(byte))

    async def run(self, ctx):
        await self.configure(ctx)
        await self.stray(ctx)
        if self.restart == "control":
            await self.write(ctx, "control", 1)
        elif self.restart == "clear":
            await self.pulse(ctx, self.tile.clear)
        else:
            await self.pulse(ctx, self.tile.reset)
            await self.configure(ctx)  # a reset resets the registers, too
        await ctx.tick()
        tile, rng = self.tile, self.rng
        sources = [self.packets(source) for source in range(self.sources)]
        offered, quiet = None, 0
        while (sources or self.acknowledged < self.steps or quiet < 100) and quiet < self.patience:
            if offered is None and rng.random() >= self.idle:
                if self.due_acks and rng.random() < 0.2:
                    offered = {"kind": PacketKind.ACK, "parity": self.due_acks.pop(0)}
                elif sources:
                    source = sources[rng.integers(len(sources))]
                    try:
                        offered = next(source)
                    except StopIteration:
                        sources.remove(source)
                if offered is not None:
                    ctx.set(tile.i.payload, {"kind": 0, "parity": 0, "last": 0, "axon": 0, "value": 0, **offered})
            assign(ctx, [(tile.i.valid, offered is not None), (tile.o.ready, rng.random() >= self.stall)])
            if offered is not None and ctx.get(tile.i.ready):
                offered, quiet = None, 0
            quiet += 1
            if ctx.get(tile.o.valid) and ctx.get(tile.o.ready):
                quiet = 0
                packet = ctx.get(tile.o.payload)
                destinations = packet.destinations
                kind, step = PacketKind(packet.kind), self.acknowledged
                assert packet.parity == step % 2
                if kind is PacketKind.SPIKE:
                    assert destinations == SPIKE_TO
                    assert packet.value == 1
                    assert len(self.ticks) == step, "spikes come before the TICK of their step"
                    assert packet.axon not in self.spikes[-1], "a spike comes once"
                    self.spikes[-1].append(packet.axon)
                elif kind is PacketKind.TICK:
                    assert destinations == TICK_TO
                    assert packet.last == ((step + 1) % self.last_every == 0)
                    self.ticks.append(step)
                    self.due_acks.append(packet.parity)
                else:
                    assert kind is PacketKind.ACK
                    assert destinations == ACK_TO
                    assert len(self.ticks) == step + 1
                    self.acknowledged += 1
                    self.spikes.append([])
            await ctx.tick()
            self.cycles += 1
        assert self.acknowledged == self.steps, "the tile must end its work, not hang"


def check(
    rng,
    shape,
    *,
    samples=2,
    steps=3,
    seed=5,
    causal=False,
    sources=2,
    idle=0.2,
    stall=0.3,
    restart="control",
    tile=AttentionTile,
):
    """Assert that every spike of every step of some samples comes once, and no other."""
    parameters = AttentionTileParameters(attention=shape, axon_width=13, value_width=4, destinations=4)
    q, k, v = random_attention(rng, shape, samples * steps)
    bench = TileBench(
        tile(parameters),
        rng,
        q,
        k,
        v,
        samples=samples,
        seed=seed,
        causal=causal,
        sources=sources,
        idle=idle,
        stall=stall,
        restart=restart,
    )
    simulator = Simulator(bench.tile)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    parts = zip(*(np.split(part, samples) for part in (q, k, v)), strict=True)
    outputs = np.concatenate([simulate(shape, *part, seed=seed, causal=causal).outputs for part in parts])
    assert 0 < outputs.sum() < outputs.size
    assert [sorted(step) for step in bench.spikes[:-1]] == [sorted(bench.axons[step].tolist()) for step in outputs]
    return bench


SHAPES = [
    # tokens, features, heads, rows, causal, sources
    (2, 2, 1, 1, False, 1),
    (4, 8, 2, 4, True, 3),
    (8, 4, 3, 2, False, 2),
    (8, 8, 1, 8, True, 1),
    (16, 8, 2, 16, False, 3),
    (16, 4, 2, 1, True, 2),
    pytest.param(32, 4, 2, 32, False, 2, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("tokens", "features", "heads", "rows", "causal", "sources"), SHAPES)
def test_every_spike_equals_the_reference(request, tokens, features, heads, rows, causal, sources):
    shape = AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows)
    check(rng_of(request.node.name), shape, causal=causal, sources=sources)


@pytest.mark.parametrize(("idle", "stall"), [(0.0, 0.0), (0.0, 0.9), (0.9, 0.0)])
def test_pauses_change_nothing(request, idle, stall):
    shape = AttentionParameters(tokens=8, features=4, heads=2, rows=4)
    check(rng_of(request.node.name), shape, idle=idle, stall=stall)


@pytest.mark.parametrize("restart", ["clear", "reset"])
def test_each_restart_removes_the_spikes_of_a_step_that_never_ends(request, restart):
    shape = AttentionParameters(tokens=4, features=4, heads=1, rows=2)
    check(rng_of(request.node.name), shape, restart=restart)


@pytest.mark.parametrize("restart", ["clear", "reset", "control"])
def test_a_restart_that_is_missing_is_found(restart):
    source = mutated(
        attention_tile,
        "restart.eq(self.reset | self.clear | registers.control)",
        {
            "reset": "restart.eq(self.clear | registers.control)",
            "clear": "restart.eq(self.reset | registers.control)",
            "control": "restart.eq(self.reset | self.clear)",
        }[restart],
    )
    shape = AttentionParameters(tokens=4, features=4, heads=1, rows=2)
    with pytest.raises(AssertionError):
        check(rng_of(restart), shape, restart=restart, tile=source.AttentionTile)


def test_block_rams_that_are_not_deep_enough_change_nothing(request, monkeypatch):
    shallow_block_ram(monkeypatch)
    shape = AttentionParameters(tokens=16, features=4, heads=2, rows=4)
    check(rng_of(request.node.name), shape, idle=0.1, stall=0.1)


PLANTED = {
    "a word is not cleared": ("matrix.clear.eq(read)", "matrix.clear.eq(0)"),
    "no clearing at the start of a session": ("clearing = Signal(init=1)", "clearing = Signal()"),
    "V as Q": ("Cat(feature, head)", "Cat(token, head)"),
    "tokens while a route is read": (" & ~reading & ~found", ""),
    "a route waits for the one before": ("~reading | routes.output_enable", "1"),
    "pages": ("& (page == own)", "& (page[0] == own[0])"),
    "the other parity's matrix": ("matrix.event_parity.eq(packet.parity)", "matrix.event_parity.eq(0)"),
    "a sample never ends": ("engine.final.eq(tokens.last)", "engine.final.eq(0)"),
    "causal": ("engine.causal.eq(registers.causal)", "engine.causal.eq(0)"),
    "seed": ("registers.output_seed[:OUTPUT_WIDTH]", "registers.score_seed"),
    "a spike is lost at a chunk's end": ("(rest == 0) & (free | (chunk_bits == 0))", "(rest == 0)"),
    "a spike comes twice": ("chunk_bits.eq(rest),", "chunk_bits.eq(Mux(rest == 0, 0, chunk_bits)),"),
    "tokens before spikes": (" & (chunk_bits == 0) & ~self.o.valid)", ")"),
    "queries of one step only": ("m.d.sync += [query.eq(0), head_claims.eq(0)]", "m.d.sync += head_claims.eq(0)"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug):
    old, new = PLANTED[bug]
    source = mutated(attention_tile, old, new)
    source.Mux = __import__("amaranth.hdl").hdl.Mux
    shape = AttentionParameters(tokens=8, features=4, heads=3, rows=8)
    # (Spikes that wait behind others hide that the tokens do not wait for them.)
    stall = 0.0 if bug == "tokens before spikes" else 0.6
    with pytest.raises(AssertionError):
        check(rng_of(bug), shape, causal=True, tile=source.AttentionTile, stall=stall)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^parameters must be AttentionTileParameters, not 3$"):
        AttentionTile(3)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
    shape = AttentionParameters(tokens=8, features=4, heads=3)
    with pytest.raises(TypeError, match=r"^attention must be AttentionParameters, not None$"):
        AttentionTileParameters(attention=None)
    for changes, message in (
        ({"axon_width": 8}, r"^axon_width must be an integer from 9 to 32, not 8$"),
        ({"value_width": 1}, r"^value_width must be an integer from 2 to 32, not 1$"),
        ({"destinations": 65}, r"^destinations must be an integer from 0 to 64, not 65$"),
    ):
        with pytest.raises(ValueError, match=message):
            AttentionTileParameters(attention=shape, **changes)
    with pytest.raises(ValueError, match=r"^page must be from 0 to 511, not 512$"):
        AttentionTileParameters(attention=shape).axons(512)
