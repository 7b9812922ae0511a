"""Elastic time: the tokens that say when a tile may begin a step, and those that it sends at the end of one.

    TICK, ACK ──▶ counts of each parity ──▶ due          start, finish ──▶ TICK, TICK, ACK, ACK ──▶ o

A *direct* relation between two tiles brings spikes in the step in which they are fired, a *delayed* one in the next.
Step *t* may begin with

* TICK(t) from each direct source: all of its spikes of step t have been sent;
* TICK(t) from each delayed source, sent at the end of its step t - 1;
* ACK(t) from each direct sink, sent at the end of its step t - 2: its accumulators of this parity are free;
* ACK(t) from each delayed sink, sent at the end of its step t - 1, for the same reason.

At the start no tile has finished anything: step 0 expects direct TICKs only, and step 1 no ACK of a direct sink. Tokens
carry the parity of the step that they are for. One of step t + 2 cannot come while those of step t are still being
counted, because its sender waits for this tile's step t to end; so two counts of each kind do, and no tile is ahead
of one that it leads to, or follows, by more than one step. `tests/formal` proves it for pairs of tiles.

`HostTokens` is the host's half: it sends steps as a source, and counts steps as a sink, but waits for none in between.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.lib.words import bits_for

__all__ = ["HostTokens", "Tokens", "relation_members", "token_layout"]


def _count_bits(tiles: int) -> int:
    """Bits that count the tokens of a step: two at most from each other tile of a mesh, or one without a mesh."""
    if isinstance(tiles, bool) or not isinstance(tiles, int):
        raise TypeError(f"tiles must be an integer, not {tiles!r}")
    if not 0 <= tiles <= 64:
        raise ValueError(f"tiles must be from 0 to 64, not {tiles!r}")
    return bits_for(2 * tiles)


def token_layout(tiles: int) -> data.StructLayout:
    """A TICK or an ACK, and the tiles that it is for."""
    sets = {"destinations": tiles} if tiles else {}
    return data.StructLayout({"kind": PacketKind, "parity": 1, "last": 1, **sets})


def relation_members(tiles: int) -> dict[str, wiring.Member]:
    """The members that say how a tile is related to others: the registers of its kind that have the same names."""
    width = _count_bits(tiles)
    members = {"sources": In(width), "sinks": In(width)}
    if tiles:
        members |= {"delayed_sources": In(width), "delayed_sinks": In(width)}
        for name in ("tick", "ack", "delayed_tick", "delayed_ack"):
            members[f"{name}_destinations"] = In(tiles)
    return members


class Tokens(wiring.Component):
    """Counts the tokens that a tile gets, and sends those that it owes.

    Parameters
    ----------
    tiles
        Of the mesh, up to 64, which are the bits of a destination set; 0 without a mesh: then there are no destination
        sets and no delayed relations, and one source and one sink at most.

    Members
    -------
    sources, sinks, delayed_sources, delayed_sinks : Signal(width), in
        How many tiles of each relation there are; without direct sources the tile stands still.
    tick_destinations, ack_destinations, delayed_tick_destinations, delayed_ack_destinations : Signal(tiles), in
        Which: the direct sinks and sources, the delayed sinks and sources.
    tick, ack, token_parity, token_last : Signal, in
        A TICK or an ACK has come, with its parity; ``token_last`` says that its step is the last of a sample.
    due : Signal, out
    start : Signal, in
        The next step may begin; it does, in a cycle in which ``due`` is high.
    parity, last : Signal, out
        Of the step in progress or, before it begins, the parity of the next one.
    finish : Signal, in
    done : Signal, out
        The step has sent all of its spikes: high until ``done``, which is high in the cycle in which the last token is
        taken and the step ends.
    o : Stream(token_layout(tiles)), out
        The tokens that end a step.
    """

    def __init__(self, tiles: int) -> None:
        self.tiles = tiles
        width = _count_bits(tiles)
        super().__init__(
            {
                **relation_members(tiles),
                "tick": In(1),
                "ack": In(1),
                "token_parity": In(1),
                "token_last": In(1),
                "due": Out(1),
                "start": In(1),
                "parity": Out(1),
                "last": Out(1),
                "finish": In(1),
                "done": Out(1),
                "o": Out(stream.Signature(token_layout(tiles))),
            }
        )
        # The state is made here so that proofs can speak of it (tests/formal).
        self._ticks = [Signal(width, name=f"ticks_{number}") for number in range(2)]
        self._acks = [Signal(width, name=f"acks_{number}") for number in range(2)]
        self._is_last = Signal(2, name="is_last")
        self._begun = [Signal(name="begun_0"), Signal(name="begun_1")]  # at least one step, at least two
        self._expected = Signal(width, name="ticks_expected"), Signal(width, name="acks_expected")
        self._related = Signal(4, name="related")  # whether there is anyone to send each token to
        # Without a mesh there are no delayed tokens, which are every second.
        self._sending = Signal(2, name="sending", init=0 if tiles else 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        begun, parity = self._begun, self.parity

        # How many tokens the next step takes, and which it sends. That is known long before it begins, so that a
        # register costs no time: it is right from the second cycle of a step on, and no step is over before that. While
        # the host writes the counts no TICK comes.
        width = len(self.sources)
        ticks_expected, acks_expected = self._expected
        delayed_sources, delayed_sinks = (
            (self.delayed_sources, self.delayed_sinks) if self.tiles else (Signal(width), Signal(width))
        )
        m.d.sync += [
            ticks_expected.eq(self.sources + Mux(begun[0], delayed_sources, 0)),
            acks_expected.eq(Mux(begun[1], self.sinks, 0) + Mux(begun[0], delayed_sinks, 0)),
            self._related.eq(Cat(delayed_sinks.any(), self.sinks.any(), delayed_sources.any(), self.sources.any())),
        ]
        enough = Signal(2)
        for number in range(2):
            ticks, acks, is_last = self._ticks[number], self._acks[number], self._is_last[number]
            mine = self.token_parity == number
            m.d.comb += enough[number].eq((ticks != 0) & (ticks == ticks_expected) & (acks == acks_expected))
            with m.If(self.tick & mine):
                m.d.sync += [ticks.eq(ticks + 1), is_last.eq(is_last | self.token_last)]
            with m.If(self.ack & mine):
                m.d.sync += acks.eq(acks + 1)
            with m.If(self.start & (parity == number)):
                m.d.sync += [ticks.eq(0), acks.eq(0), is_last.eq(0)]
        m.d.comb += self.due.eq(enough.bit_select(parity, 1))
        with m.If(self.start):
            m.d.sync += [
                self.last.eq(self._is_last.bit_select(parity, 1)),
                begun[0].eq(1),
                begun[1].eq(begun[0]),
            ]

        # What ends a step, one after the other: TICKs and ACKs, each direct and delayed. A set without receivers gets
        # nothing.
        token = self.o.payload
        wanted = Signal()
        m.d.comb += [
            wanted.eq(self._related.bit_select(self._sending, 1)),
            self.o.valid.eq(self.finish & wanted),
            self.done.eq(self.finish & (self._sending == 3) & (self.o.ready | ~wanted)),
        ]
        sending = self._sending
        with m.Switch(sending):
            if self.tiles:
                with m.Case(0):
                    m.d.comb += [
                        token.kind.eq(PacketKind.TICK),
                        token.parity.eq(~parity),
                        token.destinations.eq(self.delayed_tick_destinations),
                    ]
                with m.Case(2):
                    m.d.comb += [
                        token.kind.eq(PacketKind.ACK),
                        token.parity.eq(~parity),
                        token.destinations.eq(self.delayed_ack_destinations),
                    ]
            with m.Case(1):
                m.d.comb += [
                    token.kind.eq(PacketKind.TICK),
                    token.parity.eq(parity),
                    token.last.eq(self.last),
                ]
                if self.tiles:
                    m.d.comb += token.destinations.eq(self.tick_destinations)
            with m.Case(3):
                m.d.comb += [
                    token.kind.eq(PacketKind.ACK),
                    token.parity.eq(parity),
                ]
                if self.tiles:
                    m.d.comb += token.destinations.eq(self.ack_destinations)
        with m.If(self.finish & (self.o.ready | ~wanted)):
            m.d.sync += sending.eq(sending + (1 if self.tiles else 2))
            with m.If(self.done):
                m.d.sync += parity.eq(~parity)
        return m


class HostTokens(wiring.Component):
    """The tokens of the host, which is a direct source and a direct sink of others.

    As a source it may send packets of step t when all of its sinks have acknowledged step t - 2. As a sink it counts
    the TICKs of a step; the last of them ends the step for the host, which then acknowledges it.

    Parameters
    ----------
    tiles
        As for `Tokens`.

    Members
    -------
    sources, sinks : Signal(width), in
        Tiles that send a TICK to the host, and that acknowledge one of its.
    ack, ack_parity : Signal, in
        An ACK has come.
    allowed : Signal, out
        Packets of the next step may be sent.
    sent : Signal, in
    sent_parity : Signal, out
        The TICK of a step has been sent; the parity of the next one.
    tick, tick_parity : Signal, in
    complete : Signal, out
        A TICK has come; ``complete`` tells, whether or not ``tick`` is high, that one of this parity is the last that
        its step waits for.
    step_parity : Signal, out
        Of the step that the host, as a sink, waits for.
    """

    def __init__(self, tiles: int) -> None:
        self.tiles = tiles
        width = _count_bits(tiles)
        super().__init__(
            {
                "sources": In(width),
                "sinks": In(width),
                "ack": In(1),
                "ack_parity": In(1),
                "allowed": Out(1),
                "sent": In(1),
                "sent_parity": Out(1),
                "tick": In(1),
                "tick_parity": In(1),
                "complete": Out(1),
                "step_parity": Out(1),
            }
        )
        self._free = Signal(2, name="free", init=0b11)
        self._acks = [Signal(width, name=f"acks_{number}") for number in range(2)]
        self._ticks = [Signal(width, name=f"ticks_{number}") for number in range(2)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = self._free
        m.d.comb += self.allowed.eq(free.bit_select(self.sent_parity, 1))
        with m.If(self.sent):
            m.d.sync += self.sent_parity.eq(~self.sent_parity)
        completes = Signal(2)
        m.d.comb += self.complete.eq(completes.bit_select(self.tick_parity, 1))
        for number in range(2):
            acks, ticks = self._acks[number], self._ticks[number]
            following = Signal(len(acks), name=f"following_{number}")
            m.d.comb += [following.eq(acks + 1), completes[number].eq((ticks + 1)[: len(ticks)] == self.sources)]
            with m.If(self.sent & (self.sent_parity == number)):
                m.d.sync += free[number].eq(0)
            with m.If(self.ack & (self.ack_parity == number)):
                m.d.sync += acks.eq(following)
                with m.If(following == self.sinks):
                    m.d.sync += [acks.eq(0), free[number].eq(1)]
            with m.If(self.tick & (self.tick_parity == number)):
                m.d.sync += ticks.eq(Mux(self.complete, 0, ticks + 1))
        with m.If(self.tick & self.complete):
            m.d.sync += self.step_parity.eq(~self.step_parity)
        return m
