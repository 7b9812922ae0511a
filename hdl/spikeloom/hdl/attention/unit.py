"""Stochastic spiking attention as a streaming block, from Q, K and V to A.

`spikeloom.sim.attention.attention` specifies it.

::

    q ──▶ queue (rows < N) ──▶ ┌────────┐
    k ──▶ blocks of N words ──▶│ engine │──▶ o
    v ──▶ blocks of d words ──▶└────────┘

The three streams are read independently, as far ahead as the memories permit, so a source may interleave them word by
word or send them one after another within a head. With ``rows = N``, and a source and sink that never stall, the unit
takes ``max(N, d)`` cycles per head and step.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.attention.engine import AttentionEngine
from spikeloom.hdl.attention.memory import BLOCKS, SpikeBlocks
from spikeloom.hdl.lib.block_queue import BlockQueue
from spikeloom.sim.attention.attention import OUTPUT_WIDTH, SCORE_WIDTH, AttentionParameters

__all__ = ["AttentionUnit"]


class AttentionUnit(wiring.Component):
    """Attention for samples of ``steps`` steps.

    Parameters
    ----------
    parameters
        Sizes of the unit.

    Members
    -------
    q, k : Stream(features), in
        Q[i, :] and K[j, :], ``d`` bits, feature 0 in the lowest bit: token after token, head after head, step after
        step.
    v : Stream(tokens), in
        V[:, f], ``N`` bits, token 0 in the lowest bit: *feature after feature*, head after head, step after step,
        because each A needs one feature of all tokens at once.
    o : Stream(rows), out
        A of ``rows`` tokens, the first in the lowest bit: feature after feature, group of rows after group, head after
        head, step after step. With ``rows = N`` this is the order of ``v``.
    steps : Signal(16), in
        Number of steps of a sample, after which the random sequence restarts; 0: never.
    score_seed : Signal(SCORE_WIDTH), in
    output_seed : Signal(OUTPUT_WIDTH), in
        Initial values of the random sequence (`spikeloom.sim.attention.attention.register_seeds`), by default those of
        seed 0.
    causal : Signal, in
        Mask later tokens.

    ``steps``, both seeds and ``causal`` must be constant while the unit is not empty.
    """

    def __init__(self, parameters: AttentionParameters) -> None:
        self.engine = AttentionEngine(parameters)
        self.parameters = p = parameters
        seeds = self.engine.signature.members
        super().__init__(
            {
                "q": In(stream.Signature(p.features)),
                "k": In(stream.Signature(p.features)),
                "v": In(stream.Signature(p.tokens)),
                "o": Out(stream.Signature(p.rows)),
                "steps": In(16),
                "score_seed": In(SCORE_WIDTH, init=seeds["score_seed"].init),
                "output_seed": In(OUTPUT_WIDTH, init=seeds["output_seed"].init),
                "causal": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.engine = engine = self.engine
        m.submodules.keys = keys = SpikeBlocks(p.features, p.tokens)
        m.submodules.values = values = SpikeBlocks(p.tokens, p.features)
        wiring.connect(m, wiring.flipped(self.k), keys.i)
        wiring.connect(m, wiring.flipped(self.v), values.i)
        # With fewer rows the engine holds only part of a head's queries. Without this queue a source that sends all of
        # Q before K and V would wait for the engine, and the engine for K and V.
        if p.rows < p.tokens:
            m.submodules.queries = queries = BlockQueue(p.features, BLOCKS * p.tokens)
            wiring.connect(m, wiring.flipped(self.q), queries.i)
            wiring.connect(m, queries.o, engine.q)
        else:
            wiring.connect(m, wiring.flipped(self.q), engine.q)
        wiring.connect(m, engine.o, wiring.flipped(self.o))

        # Number of the current step, from 1 on, so that it is compared with `steps` without an adder.
        step, final = Signal(16, init=1, name="step"), Signal()
        head = Signal(range(p.heads), name="head")
        # A register, one cycle behind `step`: the engine reads `final` only two cycles after `claim`.
        m.d.sync += final.eq((step == self.steps) & (self.steps != 0))
        with m.If(engine.claim):
            m.d.sync += head.eq(head + 1)
            with m.If(head == p.heads - 1):
                m.d.sync += [head.eq(0), step.eq(Mux(final, 1, step + 1))]
        m.d.comb += [
            # A pass needs all keys and all values of its head, because it never stalls once it has begun.
            engine.available.eq(keys.available & values.available),
            engine.final.eq(final),
            keys.claim.eq(engine.claim),
            keys.index.eq(engine.key),
            keys.release.eq(engine.key_release),
            engine.k.eq(keys.data),
            values.claim.eq(engine.claim),
            values.index.eq(engine.feature),
            values.release.eq(engine.feature_release),
            engine.v.eq(values.data),
            engine.score_seed.eq(self.score_seed),
            engine.output_seed.eq(self.output_seed),
            engine.causal.eq(self.causal),
        ]
        return m
