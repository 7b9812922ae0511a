"""The attention engine: computes S and A of ``rows`` tokens in parallel, one key and one feature per cycle.

One *pass* computes the rows of one group, head and step. For ``N`` cycles, a key K[j] per cycle is broadcast to all
rows; each row holds its Q[i] and computes S[i, j]. For the following ``d`` cycles V[:, f] is broadcast, and each row
computes A[i, f] from its S[i, :]. The second half of a pass overlaps with the first half of the next::

    q ──▶ waiting[rows] ══▶ query[rows] ─┐
                                         AND, count, compare ──▶ S[rows] ══▶ held[rows] ─┐
    K[j] ────────────────────────────────┘ ▲                                             AND, count, compare ──▶ o
    V[:, f] ────────────────────────────── │ ────────────────────────────────────────────┘ ▲
    shift register of S ───────────────────┘             shift register of A ──────────────┘

**A pass never stalls.** It starts when its operands are complete, its queries are in ``waiting`` and there is room for
all of its results. Its timing is then fixed, so no register within the datapath needs an enable. Passes start at least
``max(N, d)`` cycles apart.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.attention.sampler import AndSampler
from spikeloom.hdl.lib.block_queue import READ_LATENCY, BlockQueue
from spikeloom.hdl.lib.lfsr import SharedWords, ShiftRegister
from spikeloom.hdl.tech.ecp5_carry import register_copies
from spikeloom.sim.attention.attention import (
    OUTPUT_WIDTH,
    RESULT_PASSES,
    SCORE_WIDTH,
    AttentionParameters,
    register_seeds,
)
from spikeloom.sim.lib.lfsr import Lfsr

__all__ = ["AttentionEngine"]

ROWS_PER_COPY = 8
"""Number of rows driven by one copy of a word."""


class PassPhase(wiring.Component):
    """Sequencer of half a pass: one word per cycle, each with its random word; counts groups and heads.

    Parameters
    ----------
    parameters
        Sizes of the unit.
    length
        Number of words of this half: ``tokens`` for S, ``features`` for A.
    lfsr
        Shift register of the random words.

    Members
    -------
    go : Signal, in
        Begin in this cycle.
    final : Signal, in
        With ``go``: the pass belongs to the last step of its sample.
    seed : Signal(lfsr.width), in
        Seed of the shift register at the start of a sample, valid from the preceding cycle on.
    issue : Signal, out
    index : Signal(range(length)), out
        Word ``index`` is needed in this cycle; the first one in the cycle of ``go``.
    group : Signal(range(groups)), out
    head : Signal(range(heads)), out
        Group and head of the pass.
    last : Signal, out
        With ``issue``: the last word of the pass.
    last_group, last_head : Signal, out
        Whether ``group`` and ``head`` are the last ones.
    word : Signal(2 * word_bits), out
        The random word that belongs to ``index``.
    """

    def __init__(self, parameters: AttentionParameters, length: int, lfsr: Lfsr) -> None:
        self.parameters = parameters
        self._length = length
        self._lfsr = lfsr
        super().__init__(
            {
                "go": In(1),
                "final": In(1),
                "seed": In(lfsr.width, init=lfsr.seed),
                "issue": Out(1),
                "index": Out(range(length)),
                "group": Out(range(parameters.groups)),
                "head": Out(range(parameters.heads)),
                "last": Out(1),
                "last_group": Out(1, init=parameters.groups == 1),
                "last_head": Out(1),
                "word": Out(2 * parameters.word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.register = register = ShiftRegister(self._lfsr, steps=2 * p.word_bits)
        # The last word is detected one cycle ahead, so that `last` comes from a register.
        running, ending = Signal(), Signal()
        m.d.comb += [
            self.issue.eq(self.go | running),
            ending.eq(self.issue & (self.index == self._length - 2)),
            self.last_head.eq(self.head == p.heads - 1),
            self.word.eq(register.state),
        ]
        m.d.sync += self.last.eq(ending)
        with m.If(self.go):
            m.d.sync += running.eq(1)
        with m.If(self.issue):
            # The length is a power of two, so the index returns to 0 by itself. The same holds for the groups below.
            m.d.sync += self.index.eq(self.index + 1)
        with m.If(self.last):
            m.d.sync += [running.eq(0), self.group.eq(self.group + 1)]
            if p.groups > 1:
                m.d.sync += self.last_group.eq(self.group == p.groups - 2)
            with m.If(self.last_group):
                m.d.sync += self.head.eq(Mux(self.last_head, 0, self.head + 1))

        # All groups of a head use the same random words, so the register returns to its state at the first group.
        fresh, final = Signal(init=1, name="fresh"), Signal()
        restart, back = Signal(), Signal()
        ends_sample = self.last_group & self.last_head & Mux(self.go, self.final, final)
        m.d.sync += [restart.eq(ending & ends_sample), back.eq(ending & ~self.last_group)]
        with m.If(self.go):
            m.d.sync += [fresh.eq(0), final.eq(self.final)]
        with m.If(restart):
            m.d.sync += fresh.eq(1)
        m.d.comb += [
            register.enable.eq(self.issue),
            # Until its first pass a sample follows the seed, so that a seed written between samples takes effect.
            register.restart.eq(restart | back | (fresh & ~self.go)),
            register.seed.eq(self.seed),
        ]
        if p.groups > 1:
            # The state at the first group of a head, to which the register returns for each further group.
            begin = Signal(self._lfsr.width, reset_less=True)
            with m.If(self.go & (self.group == 0)):
                m.d.sync += begin.eq(register.state)
            with m.If(back):
                m.d.comb += register.seed.eq(begin)
        return m


class AttentionEngine(wiring.Component):
    """Computes S and A from spikes stored in memories.

    Parameters
    ----------
    parameters
        Sizes of the unit.

    Members
    -------
    q : Stream(features), in
        Q[i], token after token, head after head, step after step.
    available, final : Signal, in
        ``available``: K and V of the next head are complete. ``final``: its step is the last of its sample. Both must
        be held until ``claim``. They refer to the following head from one (``available``) and two cycles (``final``)
        after ``claim`` on.
    claim : Signal, out
        The last pass of the head has started.
    key : Signal(range(tokens)), out
    key_head : Signal(range(heads)), out
    key_read, key_release : Signal, out
        ``k`` must be K[key] of the head, `READ_LATENCY` cycles later. ``key_read``: the key is read for the last time.
        ``key_release``: the last key of the head is read for the last time.
    feature : Signal(range(features)), out
    feature_head : Signal(range(heads)), out
    feature_read, feature_release : Signal, out
        The same for ``v``, which must be V[:, feature].
    k : Signal(features), in
    v : Signal(tokens), in
        The words of the memories, ``d`` and ``N`` bits.
    score_seed : Signal(SCORE_WIDTH), in
    output_seed : Signal(OUTPUT_WIDTH), in
        Initial values of the shift registers, never 0; constant from the cycle before the first pass of a sample until
        its last pass.
    causal : Signal, in
        S[i, j] is 0 for j > i. Constant while a pass is in progress.
    o : Stream(rows), out
        A of one group, ``rows`` bits, the first row in the lowest bit: feature after feature, group after group, head
        after head, step after step.
    """

    def __init__(self, parameters: AttentionParameters) -> None:
        if not isinstance(parameters, AttentionParameters):
            raise TypeError(f"parameters must be AttentionParameters, not {parameters!r}")
        self.parameters = p = parameters
        score_seed, output_seed = register_seeds(0)
        self._score_lfsr = Lfsr(width=SCORE_WIDTH, seed=score_seed)
        self._output_lfsr = Lfsr(width=OUTPUT_WIDTH, seed=output_seed)
        super().__init__(
            {
                "q": In(stream.Signature(p.features)),
                "available": In(1),
                "final": In(1),
                "claim": Out(1),
                "key": Out(range(p.tokens)),
                "key_head": Out(range(p.heads)),
                "key_read": Out(1),
                "key_release": Out(1),
                "k": In(p.features),
                "feature": Out(range(p.features)),
                "feature_head": Out(range(p.heads)),
                "feature_read": Out(1),
                "feature_release": Out(1),
                "v": In(p.tokens),
                "score_seed": In(SCORE_WIDTH, init=score_seed),
                "output_seed": In(OUTPUT_WIDTH, init=output_seed),
                "causal": In(1),
                "o": Out(stream.Signature(p.rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        copies = max(1, p.rows // ROWS_PER_COPY)

        m.submodules.scores = scores = PassPhase(p, p.tokens, self._score_lfsr)
        m.submodules.outputs = outputs = PassPhase(p, p.features, self._output_lfsr)
        score_samplers = [AndSampler(p.score_bits) for _ in range(p.rows)]
        output_samplers = [AndSampler(p.output_bits) for _ in range(p.rows)]
        for row, (score, output) in enumerate(zip(score_samplers, output_samplers, strict=True)):
            m.submodules[f"score_{row}"], m.submodules[f"output_{row}"] = score, output
        at_rows = READ_LATENCY + 1  # cycles from an index to its word at the rows
        sampled = at_rows + score_samplers[0].latency  # and to its sample

        # The start of a pass is decided one cycle early, so that its large fan-out starts from a register.
        start, full, room = Signal(), Signal(), Signal(init=1)
        fills = Signal()  # the last query of the pass is accepted
        cycles_left = Signal(range(p.pass_cycles))
        # `start` takes effect a cycle after it is decided: conditions that will hold then are sufficient, and `~start`
        # prevents a second start while they still hold.
        m.d.sync += start.eq(self.available & (full | fills) & room & (cycles_left <= 1) & ~start)
        m.d.comb += [
            self.claim.eq(start & scores.last_group),
            scores.go.eq(start),
            scores.final.eq(self.final),
            scores.seed.eq(self.score_seed),
            self.key.eq(scores.index),
            self.key_head.eq(scores.head),
            self.key_read.eq(scores.issue & scores.last_group),
            self.key_release.eq(scores.last & scores.last_group),
        ]
        with m.If(start):
            m.d.sync += cycles_left.eq(p.pass_cycles - 1)
        with m.Elif(cycles_left != 0):
            m.d.sync += cycles_left.eq(cycles_left - 1)

        # The second half of a pass starts when its S is complete.
        final = Signal()
        with m.If(start):
            m.d.sync += final.eq(self.final)
        # `final` may already be that of the next pass when the second half of this one begins.
        later_final = Signal()
        with m.If(scores.last):
            m.d.sync += later_final.eq(final)
        m.d.comb += [
            outputs.go.eq(_delayed(m, scores.last, sampled + 1 - at_rows)),
            outputs.final.eq(later_final),
            outputs.seed.eq(self.output_seed),
            self.feature.eq(outputs.index),
            self.feature_head.eq(outputs.head),
            self.feature_read.eq(outputs.issue & outputs.last_group),
            self.feature_release.eq(outputs.last & outputs.last_group),
        ]

        # The queries of the next pass are loaded while those of the current one are used.
        loaded = Signal(range(p.rows))
        accept = Signal()
        # `start` moves the waiting queries to the rows, which frees their places in the same cycle.
        m.d.comb += [self.q.ready.eq(~full | start), accept.eq(self.q.valid & self.q.ready)]
        with m.If(start):
            m.d.sync += full.eq(0)
        m.d.comb += fills.eq(accept & (loaded == p.rows - 1))
        with m.If(accept):
            m.d.sync += loaded.eq(loaded + 1)
        with m.If(fills):
            m.d.sync += full.eq(1)

        def to_rows(value: Value, cycles: int) -> list[Value]:
            """For each row a register with ``value``, ``cycles`` cycles later."""
            registers = register_copies(m, platform, _delayed(m, value, cycles - 1), copies)
            return [registers[row * copies // p.rows] for row in range(p.rows)]

        first = scores.issue & (scores.index == 0)
        # All signals reach the rows with the latency of the memory words, so that an index, its word and its random
        # word meet in one cycle.
        shift_in = to_rows(accept, at_rows - 1)
        take_query = to_rows(first, at_rows - 1)
        take_scores = to_rows(scores.last, sampled)
        key, value = to_rows(self.k, 1), to_rows(self.v, 1)
        mask_all = to_rows(first, sampled - 1)
        mask_shift = to_rows(scores.index > scores.group * p.rows, sampled - 1)
        causal = to_rows(self.causal, 1)
        score_words = self._words(m, "scores", scores, p.score_bits, score_samplers)
        output_words = self._words(m, "outputs", outputs, p.output_bits, output_samplers)

        waiting = [Signal(p.features, name=f"waiting_{row}", reset_less=True) for row in range(p.rows)]
        # The first row shifts in a 0, so its mask ends with the first shift.
        visible_before: Value = Const(0)
        entering: Value = _delayed(m, self.q.payload, at_rows - 1)
        # The queries of a pass form a shift register, filled from the last row on, which avoids a multiplexer over all
        # rows.
        for row in reversed(range(p.rows)):
            with m.If(shift_in[row]):
                m.d.sync += waiting[row].eq(entering)
            entering = waiting[row]
        for row in range(p.rows):
            score, output = score_samplers[row], output_samplers[row]
            query = Signal(p.features, name=f"query_{row}", reset_less=True)
            made = Signal(p.tokens, name=f"made_{row}", reset_less=True)
            held = Signal(p.tokens, name=f"held_{row}", reset_less=True)
            with m.If(take_query[row]):
                m.d.sync += query.eq(waiting[row])
            # The mask of a row stays 1 until the keys have passed the row's own token: one key after the mask of the
            # preceding row has become 0.
            visible = Signal(name=f"visible_{row}", reset_less=True)
            m.d.sync += visible.eq(mask_all[row] | Mux(mask_shift[row], visible_before, visible))
            visible_before = visible
            next_made = Cat(made[1:], score.sample & (visible | ~causal[row]))
            m.d.sync += made.eq(next_made)
            # `held` frees `made` for the next pass, whose S is computed at the same time as A of this pass.
            with m.If(take_scores[row]):
                m.d.sync += held.eq(next_made)
            m.d.comb += [
                score.left.eq(query),
                score.right.eq(key[row]),
                score.word.eq(score_words[row]),
                output.left.eq(held),
                output.right.eq(value[row]),
                output.word.eq(output_words[row]),
            ]

        # Results. A pass may start if the queue has room for all of its results.
        m.submodules.results = results = BlockQueue(p.rows, RESULT_PASSES * p.features)
        m.d.comb += [
            results.i.payload.eq(Cat(sampler.sample for sampler in output_samplers)),
            results.i.valid.eq(_delayed(m, outputs.issue, at_rows + output_samplers[0].latency)),
        ]
        wiring.connect(m, results.o, wiring.flipped(self.o))
        taken = Signal(range(p.features))
        passes = Signal(range(RESULT_PASSES + 1))
        done = Signal()
        m.d.comb += done.eq(self.o.valid & self.o.ready & (taken == p.features - 1))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += taken.eq(taken + 1)
        # Room is reserved when a pass starts, not when its results arrive, because a pass cannot stall.
        m.d.sync += passes.eq(passes + start - done)
        m.d.comb += room.eq(passes != RESULT_PASSES)
        return m

    def _words(self, m: Module, name: str, phase: PassPhase, used: int, samplers: Sequence[AndSampler]) -> list[Value]:
        """The random word of each row, in the cycle in which its sampler needs it."""
        p = self.parameters
        shared = SharedWords(width=p.word_bits, used=used, count=p.rows, groups=p.groups)
        m.submodules[f"{name}_words"] = shared
        # The sampler takes its word one cycle before its result, and `shared` needs its own latency before that.
        cycles = READ_LATENCY + 1 + samplers[0].latency - 1 - shared.latency
        m.d.comb += [shared.word.eq(_delayed(m, phase.word, cycles)), shared.group.eq(_delayed(m, phase.group, cycles))]
        return [shared.words.word_select(row, used) for row in range(p.rows)]


def _delayed(m: Module, value: Value, cycles: int) -> Value:
    """``value``, delayed by ``cycles`` cycles."""
    for _ in range(cycles):
        register = Signal(len(value))
        m.d.sync += register.eq(value)
        value = register
    return value
