"""Tokens against a count of arrivals: when a step may begin, what ends it, and what the host may send.

`tests/formal` proves for consecutive tiles that none begins too early or loses count.
"""

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.noc import tokens
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.tokens import HostTokens, Tokens

RELATIONS = ("sources", "sinks", "delayed_sources", "delayed_sinks")
ALONE = dict.fromkeys(RELATIONS, 0)
SETS = {"tick": 0b0110, "ack": 0b1000, "delayed_tick": 0b0001, "delayed_ack": 0b1010}


def due_tokens(step, related):
    """The tokens with which a step begins, and those that end it, as ``(kind, parity, set)``, in their order."""
    ticks = related["sources"] + related["delayed_sources"] * (step > 0)
    acks = related["sinks"] * (step > 1) + related["delayed_sinks"] * (step > 0)
    before = [PacketKind.TICK] * ticks + [PacketKind.ACK] * acks
    parity = step & 1
    after = [
        (PacketKind.TICK, parity ^ 1, "delayed_tick", related["delayed_sinks"]),
        (PacketKind.TICK, parity, "tick", related["sinks"]),
        (PacketKind.ACK, parity ^ 1, "delayed_ack", related["delayed_sources"]),
        (PacketKind.ACK, parity, "ack", related["sources"]),
    ]
    return before, [(kind, of, name) for kind, of, name, count in after if count]


def check(design, related, rng, *, steps=9, stall=0.4):
    """Run ``steps`` steps of a tile whose tokens arrive in any order, some of them for the next step."""

    async def bench(ctx):
        for name in RELATIONS if design.tiles else RELATIONS[:2]:
            ctx.set(getattr(design, name), related[name])
        if design.tiles:
            for name, of in SETS.items():
                ctx.set(getattr(design, f"{name}_destinations"), of)
        last_of = [bool(rng.integers(2)) for _ in range(steps + 1)]
        early = [[] for _ in range(steps + 1)]  # tokens of a step that arrived before the step before it began
        await ctx.tick().repeat(2)
        for step in range(steps):
            before, after = due_tokens(step, related)
            waiting = [before[n] for n in rng.permutation(len(before))]
            for kind in early[step]:
                waiting.remove(kind)
            following = due_tokens(step + 1, related)[0]
            while waiting:
                assert not ctx.get(design.due), "a step must not begin without all of its tokens"
                ahead = step > 1 and step + 1 < steps and following and rng.random() < 0.2
                kind = following.pop() if ahead else waiting.pop()
                if ahead:
                    early[step + 1].append(kind)
                number = step + bool(ahead)
                ctx.set(design.tick, int(kind == PacketKind.TICK))
                ctx.set(design.ack, int(kind == PacketKind.ACK))
                ctx.set(design.token_parity, number & 1)
                ctx.set(design.token_last, int(kind == PacketKind.TICK and last_of[number]))
                await ctx.tick()
                ctx.set(design.tick, 0)
                ctx.set(design.ack, 0)
                await ctx.tick().repeat(int(rng.integers(1, 4)))
            assert ctx.get(design.due)
            assert ctx.get(design.parity) == step & 1
            ctx.set(design.start, 1)
            await ctx.tick()
            ctx.set(design.start, 0)
            assert ctx.get(design.last) == last_of[step]
            await ctx.tick().repeat(2)
            assert not ctx.get(design.o.valid), "no token must leave before the step has sent its spikes"
            ctx.set(design.finish, 1)
            found, done = [], False
            for _ in range(60):
                ready = rng.random() >= stall
                ctx.set(design.o.ready, int(ready))
                done = ctx.get(design.done)
                if ctx.get(design.o.valid) and ready:
                    token = ctx.get(design.o.payload)
                    (name,) = [n for n, of in SETS.items() if of == token.destinations] if design.tiles else [None]
                    found.append((token.kind, token.parity, name))
                    direct_tick = token.kind == PacketKind.TICK and token.parity == step & 1
                    assert token.last == (last_of[step] if direct_tick else 0)
                await ctx.tick()
                if done:
                    break
            assert done
            ctx.set(design.finish, 0)
            assert found == [token if design.tiles else (*token[:2], None) for token in after]

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("tiles", [0, 4])
@pytest.mark.parametrize("case", range(6))
def test_steps(request, tiles, case):
    rng = rng_of(request.node.name)
    if tiles:
        related = dict(zip(RELATIONS, (int(n) for n in rng.integers([1, 0, 0, 0], [5, 4, 4, 4])), strict=True))
    else:
        related = {"sources": 1, "sinks": case % 2}
    check(Tokens(tiles), ALONE | related, rng)


def test_tokens_a_cycle():
    """The end of a step takes one cycle per token, including tokens without a receiver, if nothing stalls."""
    design = Tokens(4)

    async def bench(ctx):
        ctx.set(design.sources, 1)
        ctx.set(design.o.ready, 1)
        await ctx.tick()
        ctx.set(design.tick, 1)
        await ctx.tick()
        ctx.set(design.tick, 0)
        ctx.set(design.start, 1)
        await ctx.tick()
        ctx.set(design.start, 0)
        await ctx.tick()
        ctx.set(design.finish, 1)
        done = []
        for _ in range(4):
            done.append(ctx.get(design.done))
            await ctx.tick()
        assert done == [0, 0, 0, 1]

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def check_host(design, rng, *, sources=2, sinks=3, steps=12):
    """A host that sends as soon as it may; its sinks acknowledge and its sources end steps at any time."""

    async def bench(ctx):
        ctx.set(design.sources, sources)
        ctx.set(design.sinks, sinks)
        await ctx.tick()
        sent, ended = 0, 0
        acks, ticks = [0] * steps, [0] * steps
        waited = 0
        while ended < steps:
            allowed = ctx.get(design.allowed)
            acknowledged = sum(count == sinks for count in acks)
            assert allowed == (sent < 2 + acknowledged), "two steps at most are sent that are not acknowledged"
            waited += not allowed
            sends = sent < steps and allowed and rng.random() < 0.6
            ctx.set(design.sent, int(sends))
            assert ctx.get(design.sent_parity) == sent & 1
            # An ACK or a TICK of the oldest step that lacks one: another token can only be one step younger.
            ack = next((n for n in range(sent) if acks[n] < sinks), None) if rng.random() < 0.4 else None
            tick = next((n for n in range(sent) if ticks[n] < sources), None) if rng.random() < 0.3 else None
            ctx.set(design.ack, int(ack is not None))
            ctx.set(design.ack_parity, (ack or 0) & 1)
            ctx.set(design.tick, int(tick is not None))
            ctx.set(design.tick_parity, (tick or 0) & 1)
            if tick is not None:
                assert ctx.get(design.step_parity) == ended & 1
                assert ctx.get(design.complete) == (ticks[tick] == sources - 1)
                ticks[tick] += 1
                ended += ticks[tick] == sources
            if ack is not None:
                acks[ack] += 1
            sent += bool(sends)
            await ctx.tick()
        assert waited > 0

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("sources", "sinks"), [(1, 1), (2, 3), (4, 1)])
def test_the_host(request, sources, sinks):
    check_host(HostTokens(4), rng_of(request.node.name), sources=sources, sinks=sinks)


BUGS = {
    "a step before its TICKs": ("(ticks == ticks_expected)", "1"),
    "a step before its ACKs": ("(acks == acks_expected)", "1"),
    "whose count": ("mine = self.token_parity == number", "mine = self.token_parity != number"),
    "the last step of a sample": ("is_last.eq(is_last | self.token_last)", "is_last.eq(self.token_last & 0)"),
    "the parity of delayed TICKs": (
        "PacketKind.TICK),\n                        token.parity.eq(~parity)",
        "PacketKind.TICK),\n                        token.parity.eq(parity)",
    ),
    "receivers of ACKs": ("destinations.eq(self.ack_destinations)", "destinations.eq(self.tick_destinations)"),
    "a token without receivers": ("self.o.valid.eq(self.finish & wanted)", "self.o.valid.eq(self.finish)"),
    "a token that is not taken": (
        "with m.If(self.finish & (self.o.ready | ~wanted)):",
        "with m.If(self.finish):",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    copy = mutated(tokens, *BUGS[bug])
    related = {"sources": 2, "sinks": 1, "delayed_sources": 1, "delayed_sinks": 0 if "without" in bug else 2}
    with pytest.raises(AssertionError):
        check(copy.Tokens(4), related, rng_of(bug))


HOST_BUGS = {
    "steps without an end": ("free[number].eq(0)", "free[number].eq(1)"),
    "an ACK too few": ("following.eq(acks + 1)", "following.eq(acks + 2)"),
    "TICKs of one source": (
        "completes[number].eq((ticks + 1)[: len(ticks)] == self.sources)",
        "completes[number].eq(1)",
    ),
    "the parity of a step": ("self.step_parity.eq(~self.step_parity)", "self.step_parity.eq(self.step_parity)"),
}


@pytest.mark.parametrize("bug", HOST_BUGS)
def test_a_planted_bug_in_the_host_is_found(bug):
    copy = mutated(tokens, *HOST_BUGS[bug])
    with pytest.raises(AssertionError):
        check_host(copy.HostTokens(4), rng_of(bug))
