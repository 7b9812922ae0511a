"""The quick proofs, searches to a short depth, and a planted bug that breaks each property."""

import pytest
from formal import __main__ as command
from formal.proofs import MIDDLE, PROOFS, SMALL, Proof
from formal.properties import ArbiterProof, BlockQueueProof, FifoProof, RouterProof, SamplerProof
from formal.token_properties import TokensProof
from harness.formal import check_at_once
from harness.mutations import mutated

from spikeloom.hdl.attention import sampler as attention_sampler
from spikeloom.hdl.lib import arbiter, block_queue, fifo
from spikeloom.hdl.noc import router, tokens
from spikeloom.sim.noc.mesh import Port


@pytest.mark.parametrize("proof", [proof for proof in PROOFS if proof.quick], ids=lambda proof: proof.name)
def test_proof(proof):
    result = check_at_once(proof.build(), mode=proof.mode, depth=proof.short)
    assert result.passed, result.log


def test_the_command_says_what_it_does_and_ends(capsys, monkeypatch):
    """A proof, a search that takes hours, and a bug: each is named before it begins and judged afterwards, and the
    status is 1."""
    copy = mutated(fifo, *QUEUE["order"])
    wrong = Proof(name="wrong", build=lambda: FifoProof(4, fifo=copy.Fifo), mode="prove", depth=2, short=2, quick=False)
    endless = Proof(
        name="too long",
        build=lambda: BlockQueueProof(4, invariants=False),
        mode="bmc",
        depth=40,
        short=1,
        quick=False,
    )
    monkeypatch.setattr(command, "PROGRESS_SECONDS", 2)
    assert command.main([PROOFS[0], wrong]) == 1
    out = capsys.readouterr().out
    order = ["[ 1/2] sampler of 2 places", "proven after", "[ 2/2] wrong", "FAILED"]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    assert out.splitlines()[-1].startswith("1 passed, 1 failed, 0 not decided, in ")

    assert command.main([endless], proof_seconds=5) == 1
    out = capsys.readouterr().out
    order = ["[ 1/1] too long", "still at it after", "OPEN: not decided"]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    assert out.splitlines()[-1].startswith("0 passed, 0 failed, 1 not decided, in ")


def found(harness, depth=12, skip=0):
    """The ports alone show the bug: no invariant is asserted."""
    assert not harness.invariants
    return not check_at_once(harness, mode="bmc", depth=depth, skip=skip).passed


QUEUE = {
    "a word is lost": ("self.o.valid.eq(push | more |", "self.o.valid.eq(push |"),
    "a word is written over": ("self.i.ready.eq(~full)", "self.i.ready.eq(1)"),
    "order": ("read.addr.eq(first)", "read.addr.eq(second)"),
    "a word is invented": ("(self.o.valid & ~pop))\n        if depth == 2", "self.o.valid)\n        if depth == 2"),
    "the following word": ("Mux(more, ahead.data", "Mux(0, ahead.data"),
    "full for ever": ("((level == depth - 1) & push)) & ~pop)", "((level == depth - 1) & push)))"),
}


@pytest.mark.parametrize("bug", QUEUE)
def test_queue_with_a_planted_bug(bug):
    copy = mutated(fifo, *QUEUE[bug])
    assert found(FifoProof(4, fifo=copy.Fifo, invariants=False))


BLOCK_QUEUE = {
    "a word is written over": ("ready.eq(~full),\n            push", "ready.eq(1),\n            push"),
    "a word is read before it is there": ("ahead.more.eq(some)", "ahead.more.eq(1)"),
    "a word comes too late to the far end": ("arriving[-1]", "arriving[0]"),
    "more is read than there is room for": ("room - self.read +", "room - 0 +"),
    "full for ever": ("& push)) & ~ahead.read)", "& push)))"),
}
LATE_IN_BLOCK_QUEUE = {
    "a word is written over": 12,
    "more is read than there is room for": 11,
    "full for ever": 11,
}
"""The first cycle in which they show themselves: to search those before it takes most of the time."""


@pytest.mark.parametrize("bug", BLOCK_QUEUE)
def test_queue_in_block_ram_with_a_planted_bug(bug):
    copy = mutated(block_queue, *BLOCK_QUEUE[bug])
    assert found(
        BlockQueueProof(4, queue=copy.BlockQueue, invariants=False), depth=14, skip=LATE_IN_BLOCK_QUEUE.get(bug, 0)
    )


SAMPLER = {
    "never for the word 0": ("self.sample.eq(total[-1])", "self.sample.eq(total[-1] & (self.word != 0))"),
    "or for and": ("Value.cast(left) & right", "Value.cast(left) | right"),
    "one too many": (
        "m.d.sync += self.sample.eq(total[-1])",
        "m.d.sync += self.sample.eq(total[-1] | total[:-1].all())",
    ),
    "a product in the wrong cycle": ("products[place] = (_registered(m, Value.cast(left) & right), 1)", "pass"),
}


@pytest.mark.parametrize("bug", SAMPLER)
def test_sampler_with_a_planted_bug(bug):
    copy = mutated(attention_sampler, *SAMPLER[bug])
    assert found(SamplerProof(3, sampler=copy.AndSampler))


ARBITER = {
    "a grant that nobody asked for": ("granted = self.requests[a]", "granted = self.requests[a] | self.requests[0]"),
    "two grants": ("granted = granted & ~other", "granted = granted"),
    "a grant is lost": ("else ~self._swapped[b, a]", "else self._swapped[b, a]"),
    "no end of waiting": ("swapped.eq(1)", "swapped.eq(0)"),
    "twice before another": ("with m.If(self.taken):", "with m.If(self.taken & ~self.requests[0]):"),
}


@pytest.mark.parametrize("bug", ARBITER)
def test_arbiter_with_a_planted_bug(bug):
    copy = mutated(arbiter, *ARBITER[bug])
    assert found(ArbiterProof(4, arbiter=copy.RoundRobinArbiter, invariants=False))


ROUTER = {
    "a wrong port": ("(self.tile, output) & entry.arrivals", "(self.tile, output) | 1 << (self.tile + 1)"),
    "twice": ("Mux(done, arriving, entry.left)", "Mux(done, arriving, entry.pending)"),
    "wrong destinations": (
        "return self.front.destinations[self.kept.index(bit)]",
        "return self.front.destinations[self.kept.index(bit)] & (bit != self.kept[-1])",
    ),
    "invented": ("outgoing.valid.eq(arbiter.requests.any())", "outgoing.valid.eq(1)"),
    "written over": ("free.eq(~outgoing.valid | outgoing.ready)", "free.eq(1)"),
    "wrong payload": ("Mux(odd, words[1], words[0])", "Mux(odd, words[0], words[1])"),
}


@pytest.mark.parametrize("bug", ROUTER)
def test_router_with_a_planted_bug(bug):
    copy = mutated(router, *ROUTER[bug])
    assert found(RouterProof(SMALL, MIDDLE, Port.LOCAL, router=copy.Router, invariants=False))


def test_router_out_of_order(monkeypatch):
    """The newer of two words leaves first."""
    copy = mutated(fifo, "read.addr.eq(first)", "read.addr.eq(Mux(self._more, second, first))")
    monkeypatch.setattr(router, "Fifo", copy.Fifo)
    assert found(RouterProof(SMALL, MIDDLE, Port.WEST, invariants=False))


def test_router_that_loses_a_branch():
    copy = mutated(router, "done.eq(~entry.left.any())", "done.eq(~entry.left.all())")
    assert found(RouterProof(SMALL, MIDDLE, Port.LOCAL, router=copy.Router, invariants=False, timeout=9))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("done.eq(~entry.left.any())", "done.eq(~entry.left.all())"),
        ("destinations[bit] for bit in entry.kept", "destinations[bit] & (bit > 2) for bit in entry.kept"),
    ],
)
def test_the_induction_fails_where_something_is_lost(old, new):
    """The invariants hold for everything that is present, and fail as soon as something is lost."""
    copy = mutated(router, old, new)
    assert not check_at_once(RouterProof(SMALL, MIDDLE, Port.LOCAL, router=copy.Router), mode="prove", depth=2).passed


TOKENS = {
    "TICKs are not waited for": ("(ticks == ticks_expected)", "1"),
    "ACKs are not waited for": ("(acks == acks_expected)", "1"),
    "a delayed source is not waited for": ("Mux(begun[0], delayed_sources, 0)", "0"),
    "a delayed sink is not waited for": ("Mux(begun[0], delayed_sinks, 0)", "0"),
    "TICKs are counted twice": ("m.d.sync += [ticks.eq(0), acks.eq(0)", "m.d.sync += [acks.eq(0)"),
    "ACKs are counted twice": ("m.d.sync += [ticks.eq(0), acks.eq(0)", "m.d.sync += [ticks.eq(0)"),
    "whose count": ("mine = self.token_parity == number", "mine = self.token_parity != number"),
}
LATE_TOKENS = {"ACKs are not waited for", "a delayed sink is not waited for", "ACKs are counted twice"}
"""They show themselves in cycle 21 at the earliest: to search the cycles before it takes four times as long."""


@pytest.mark.parametrize("bug", TOKENS)
def test_tokens_with_a_planted_bug(bug):
    copy = mutated(tokens, *TOKENS[bug])
    skip = 21 if bug in LATE_TOKENS else 0
    assert found(TokensProof(delayed=True, tokens=copy.Tokens, invariants=False), depth=22, skip=skip)


def test_tokens_that_never_wait_for_an_acknowledgement():
    """With a loop, the tile still waits for the same acknowledgement through its delayed TICK."""
    copy = mutated(tokens, "begun[1].eq(begun[0])", "begun[1].eq(0)")
    assert found(TokensProof(delayed=False, tokens=copy.Tokens, invariants=False), depth=22)
