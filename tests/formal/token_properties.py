"""Properties of the tokens of elastic time: two tiles and a host, with arbitrary waits of each.

    host ── direct ──▶ A ── direct ──▶ B
                       ▲── delayed ────┘     (in one of the two proofs)

The solver chooses the duration of each step and the delay of each token; tokens may even overtake each other. The
harness counts the steps that A and B have finished. These counts grow without bound, so once all of them are at least
4, each is lowered by 2: this keeps parities and distances, and the start-up phase is over.
"""

from collections.abc import Callable

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.tokens import Tokens

_STEPS = 4  # width of a step number in bits


def _targets(low: Value, end: Value, parity: int) -> Value:
    """How many steps of a parity there are from ``low`` to ``end - 1``; four at most."""
    found: Value = Const(0, 1)
    for step in range(1 << _STEPS):
        if step % 2 == parity:
            found = found + ((low <= step) & (end > step))
    return found


class TokensProof(wiring.Component):
    """Two tiles never begin a step without the required tokens, never lose count, and stay within one step of each
    other.

    Parameters
    ----------
    delayed
        B leads back to A with delay 1.
    """

    def __init__(self, *, delayed: bool, tokens: Callable[[int], Tokens] = Tokens, invariants: bool = True) -> None:
        self.delayed = delayed
        self.a, self.b = tokens(2), tokens(2)
        self.invariants = invariants
        self.running = {name: Signal(name=f"running_{name}") for name in "ab"}
        super().__init__(
            {
                "host_sends": In(1),
                **{f"{name}_{tile}": In(1) for tile in "ab" for name in ("begin", "finish", "ready", "parity")},
                "arrives_a": In(2),
                "arrives_b": In(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.a, m.submodules.b = a, b = self.a, self.b
        loop = int(self.delayed)
        m.d.comb += [
            a.sources.eq(1),
            a.sinks.eq(1),
            a.delayed_sources.eq(loop),
            b.sources.eq(1),
            b.delayed_sinks.eq(loop),
        ]
        finished = {name: Signal(_STEPS, name=f"finished_{name}") for name in ("host", "a", "b")}

        # Tokens in transit: how many of each kind and parity, and which of them arrives in this cycle.
        def flight(name: str) -> list[Signal]:
            return [Signal(2, name=f"{name}_{parity}") for parity in range(2)]

        host_ticks, late_ticks, b_acks = flight("host_ticks"), flight("late_ticks"), flight("b_acks")
        a_ticks, late_acks = flight("a_ticks"), flight("late_acks")
        for tile, arrives, parity, kinds in (
            (a, self.arrives_a, self.parity_a, (host_ticks, late_ticks, b_acks)),
            (b, self.arrives_b, self.parity_b, (a_ticks, late_acks, None)),
        ):
            m.d.comb += tile.token_parity.eq(parity)
            for number, waiting in enumerate(kinds, 1):
                if waiting is None:
                    m.d.comb += Assume(arrives != number)
                    continue
                with m.If(arrives == number):
                    m.d.comb += Assume(Array(waiting)[parity] != 0)
                    is_ack = waiting is b_acks or waiting is late_acks
                    m.d.comb += (tile.ack if is_ack else tile.tick).eq(1)

        sends = {}
        for name, tile in (("a", a), ("b", b)):
            m.d.comb += [
                tile.start.eq(tile.due & getattr(self, f"begin_{name}")),
                tile.finish.eq(self.running[name] & getattr(self, f"finish_{name}")),
                tile.o.ready.eq(getattr(self, f"ready_{name}")),
            ]
            sends[name] = tile.o.valid & tile.o.ready
            running = self.running[name]
            m.d.sync += running.eq((running | tile.start) & ~tile.done)
        # The host sends step s when A has finished step s - 2.
        host_sends = Signal()
        m.d.comb += host_sends.eq(self.host_sends & (finished["host"] <= finished["a"] + 1))

        def moves(waiting: list[Signal], sent: Value, sent_parity: Value, taken: Value, parity: Value) -> None:
            for number, count in enumerate(waiting):
                m.d.sync += count.eq(count + (sent & (sent_parity == number)) - (taken & (parity == number)))

        kind_a, kind_b = a.o.payload.kind, b.o.payload.kind
        # A sends TICKs to B only; its direct ACKs go to the host and, with the loop, its delayed ones to B.
        late_ack = sends["a"] & (kind_a == PacketKind.ACK) & (a._sending == 2)
        late_tick = sends["b"] & (kind_b == PacketKind.TICK)
        moves(host_ticks, host_sends, finished["host"][0], self.arrives_a == 1, self.parity_a)
        moves(late_ticks, late_tick, b.o.payload.parity, self.arrives_a == 2, self.parity_a)
        moves(b_acks, sends["b"] & (kind_b == PacketKind.ACK), b.o.payload.parity, self.arrives_a == 3, self.parity_a)
        moves(a_ticks, sends["a"] & (kind_a == PacketKind.TICK), a.o.payload.parity, self.arrives_b == 1, self.parity_b)
        moves(late_acks, late_ack, a.o.payload.parity, self.arrives_b == 2, self.parity_b)

        lower = Cat(number >= 4 for number in finished.values()).all()
        for name, more in (("host", host_sends), ("a", a.done), ("b", b.done)):
            m.d.sync += finished[name].eq(finished[name] + more - Mux(lower, 2, 0))

        # The properties.
        begun = {"a": finished["a"] + self.running["a"], "b": finished["b"] + self.running["b"]}
        fa, fb, fh = finished["a"], finished["b"], finished["host"]
        ba, bb = begun["a"], begun["b"]
        needs_a = (fh > ba) & ((ba < 2) | (fb + 1 >= ba))
        needs_b = (fa > bb) | ((fa == bb) & self.running["a"] & (a._sending > 1))
        if loop:
            started = (fb >= ba) | ((fb + 1 == ba) & self.running["b"] & (b._sending > 0))
            needs_a &= (ba == 0) | started
            needs_b &= (bb == 0) | (fa >= bb) | ((fa + 1 == bb) & (a._sending > 2))
        m.d.comb += [
            Assert(~a.due | needs_a),
            Assert(~b.due | needs_b),
            # At most one step ahead: B follows A, and A does not begin step t + 2 before B has finished step t.
            Assert(bb <= fa + (a._sending > 1)),
            Assert(ba <= fb + 2),
        ]
        most = {a: (1 + loop, 1), b: (1, loop)}
        for tile, (ticks, acks) in most.items():
            for number in range(2):
                m.d.comb += [Assert(tile._ticks[number] <= ticks), Assert(tile._acks[number] <= acks)]

        if self.invariants:
            self._assert_invariants(m, finished, begun, (host_ticks, late_ticks, b_acks, a_ticks, late_acks))
        return m

    def _assert_invariants(
        self,
        m: Module,
        finished: dict[str, Signal],
        begun: dict[str, Value],
        flights: tuple[list[Signal], ...],
    ) -> None:
        """Every token that was sent and not consumed is in transit or counted, and there are no other tokens."""
        a, b, loop = self.a, self.b, int(self.delayed)
        fa, fb, fh = finished["a"], finished["b"], finished["host"]
        ba, bb = begun["a"], begun["b"]
        host_ticks, late_ticks, b_acks, a_ticks, late_acks = flights
        for tile, done, running in ((a, fa, self.running["a"]), (b, fb, self.running["b"])):
            before = Signal(2, name="begun_before")
            begun_now = Cat(*tile._begun)
            m.d.sync += before.eq(begun_now)
            count = done + running
            sources, late_sources = 1, loop if tile is a else 0
            sinks, late_sinks = (1, 0) if tile is a else (0, loop)
            m.d.comb += [
                Assert(tile._begun[0] == (count >= 1)),
                Assert(tile._begun[1] == (count >= 2)),
                Assert(tile.parity == done[0]),
                Assert(running | (tile._sending == 0)),
                Assert(running | (before == begun_now) | (count == 0)),
                # In the very first cycle, nothing is expected yet.
                Assert((tile._expected[0] == sources + Mux(before[0], late_sources, 0)) | (count == 0)),
                Assert((tile._expected[1] == Mux(before[1], sinks, 0) + Mux(before[0], late_sinks, 0)) | (count == 0)),
                Assert((tile._related == (late_sinks | sinks << 1 | late_sources << 2 | sources << 3)) | (count == 0)),
                Assert((tile._expected[1] == 0) | (count != 0)),
                Assert((tile._expected[0] == 0) | (tile._expected[0] == sources) | (count != 0)),
            ]
        m.d.comb += [Assert(fh <= fa + 2), Assert(ba <= fh), Assert(fh <= 9)]
        if loop:
            m.d.comb += Assert(ba <= fb + 1 + (b._sending > 0))
        one = Const(1, _STEPS)
        late_low_a, late_low_b = Mux(ba > 1, ba, one), Mux(bb > 1, bb, one)
        ack_low = Mux(ba > 2, ba - 2, 0)
        for number in range(2):
            late = _targets(late_low_a, fb + (b._sending > 0) + 1, number) if loop else Const(0)
            late_ack = _targets(late_low_b, fa + (a._sending > 2) + 1, number) if loop else Const(0)
            m.d.comb += [
                Assert(host_ticks[number] + late_ticks[number] + a._ticks[number] == _targets(ba, fh, number) + late),
                Assert(late_ticks[number] <= late),
                Assert(b_acks[number] + a._acks[number] == _targets(ack_low[:_STEPS], fb, number)),
                Assert(a_ticks[number] + b._ticks[number] == _targets(bb, fa + (a._sending > 1), number)),
                Assert(late_acks[number] + b._acks[number] == late_ack),
            ]
