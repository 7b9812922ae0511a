"""Elastic time: tokens determine when a tile may begin a step, and are sent when it ends one.

::

    TICK, ACK ──▶ counts of each parity ──▶ due          start, finish ──▶ TICK, TICK, ACK, ACK ──▶ o

A *direct* dependency between two tiles delivers spikes in the step in which they are fired, a *delayed* dependency in
the next step. Step *t* may begin after the tile has received

* TICK(t) from each direct source: all of its spikes of step t have been sent;
* TICK(t) from each delayed source, sent at the end of its step t - 1;
* ACK(t) from each direct sink, sent at the end of its step t - 2: its accumulators of this parity are free;
* ACK(t) from each delayed sink, sent at the end of its step t - 1, for the same reason.

Initially no tile has finished a step: step 0 expects direct TICKs only, and step 1 expects no ACK from a direct sink.
Tokens carry the parity of the step that they belong to. A token of step t + 2 cannot arrive while those of step t are
being counted, because its sender waits for this tile to end step t. Two counters of each kind are therefore sufficient,
and a tile is at most one step ahead of its sources and sinks. `tests/formal` proves this for pairs of tiles.

`HostTokens` is the counterpart at the host. It sends steps as a source and counts steps as a sink, independently.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.lib.words import bits_for

__all__ = ["HostTokens", "Tokens", "relation_members", "token_layout"]


def _count_bits(tiles: int) -> int:
    """Width of a token counter: at most two tokens per step from each tile of a mesh, or one without a mesh."""
    if isinstance(tiles, bool) or not isinstance(tiles, int):
        raise TypeError(f"tiles must be an integer, not {tiles!r}")
    if not 0 <= tiles <= 64:
        raise ValueError(f"tiles must be from 0 to 64, not {tiles!r}")
    return bits_for(2 * tiles)


def token_layout(tiles: int) -> data.StructLayout:
    """Layout of a TICK or an ACK with its destination set."""
    sets = {"destinations": tiles} if tiles else {}
    return data.StructLayout({"kind": PacketKind, "parity": 1, "last": 1, **sets})


def relation_members(tiles: int) -> dict[str, wiring.Member]:
    """The members that define a tile's dependencies; each corresponds to the register of the same name."""
    width = _count_bits(tiles)
    members = {"sources": In(width), "sinks": In(width)}
    if tiles:
        members |= {"delayed_sources": In(width), "delayed_sinks": In(width)}
        for name in ("tick", "ack", "delayed_tick", "delayed_ack"):
            members[f"{name}_destinations"] = In(tiles)
    return members


class Tokens(wiring.Component):
    """Counts the tokens that a tile receives, and sends those that end its steps.

    Parameters
    ----------
    tiles
        Number of tiles of the mesh, up to 64, which is the width of a destination set. 0 without a mesh: then there are
        no destination sets, no delayed dependencies, and at most one source and one sink.

    Members
    -------
    sources, sinks, delayed_sources, delayed_sinks : Signal(bits_for(2 * tiles)), in
        Number of tiles of each dependency. Without direct sources the tile never starts a step.
    tick_destinations, ack_destinations, delayed_tick_destinations, delayed_ack_destinations : Signal(tiles), in
        Destination sets of the tokens: direct sinks, direct sources, delayed sinks, delayed sources.
    tick, ack, token_parity, token_last : Signal, in
        A TICK or an ACK has arrived, with its parity; ``token_last`` marks the last step of a sample.
    due : Signal, out
    start : Signal, in
        ``due``: the next step may begin. ``start`` begins it, allowed while ``due`` is high.
    parity, last : Signal, out
        Parity of the current step or, between steps, of the next one; the current step is the last of its sample.
    finish : Signal, in
    done : Signal, out
        ``finish``: the step has sent all of its spikes; it stays high until ``done``, the cycle in which the last token
        is taken and the step ends.
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
        # The state is created here so that proofs can refer to it (tests/formal).
        self._ticks = [Signal(width, name=f"ticks_{number}") for number in range(2)]
        self._acks = [Signal(width, name=f"acks_{number}") for number in range(2)]
        self._is_last = Signal(2, name="is_last")
        self._begun = [Signal(name="begun_0"), Signal(name="begun_1")]  # at least one step has begun, at least two
        self._expected = Signal(width, name="ticks_expected"), Signal(width, name="acks_expected")
        self._related = Signal(4, name="related")  # one bit per token, in order of sending: it has a destination
        # Tokens 0 and 2 are the delayed ones, which do not exist without a mesh.
        self._sending = Signal(2, name="sending", init=0 if tiles else 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        begun, parity = self._begun, self.parity

        # The number of tokens that the next step expects, and the tokens to send. Registering them costs no time: they
        # are valid from the second cycle of a step on, and no step is shorter. The host changes the counts only while
        # no TICK is in transit.
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
            # Tokens of the other parity belong to the step after this one: a source or sink may be one step ahead.
            mine = self.token_parity == number
            # The expected number is 0 until the host has written the sources, hence the comparison with 0.
            m.d.comb += enough[number].eq((ticks != 0) & (ticks == ticks_expected) & (acks == acks_expected))
            with m.If(self.tick & mine):
                m.d.sync += [ticks.eq(ticks + 1), is_last.eq(is_last | self.token_last)]
            with m.If(self.ack & mine):
                m.d.sync += acks.eq(acks + 1)
            with m.If(self.start & (parity == number)):
                # No token is lost here: one of step t + 2 cannot arrive before this tile has ended step t.
                m.d.sync += [ticks.eq(0), acks.eq(0), is_last.eq(0)]
        # Between steps `parity` is that of the next step, so this selects the tokens that it waits for.
        m.d.comb += self.due.eq(enough.bit_select(parity, 1))
        with m.If(self.start):
            m.d.sync += [
                self.last.eq(self._is_last.bit_select(parity, 1)),
                begun[0].eq(1),
                begun[1].eq(begun[0]),
            ]

        # The tokens that end a step, one after another: delayed TICK, direct TICK, delayed ACK, direct ACK. Delayed
        # tokens belong to the next step and carry its parity. A token without destinations is skipped.
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
    """The tokens of the host, which is a direct source and a direct sink of tiles.

    As a source it may send packets of step t when all of its sinks have acknowledged step t - 2. As a sink it counts
    the TICKs of a step; the last one ends the step for the host, which then acknowledges it.

    Parameters
    ----------
    tiles
        As for `Tokens`.

    Members
    -------
    sources, sinks : Signal(bits_for(2 * tiles)), in
        Number of tiles that send TICKs to the host, and that acknowledge its TICKs.
    ack, ack_parity : Signal, in
        An ACK has arrived, with its parity.
    allowed : Signal, out
        Packets of the next step may be sent.
    sent : Signal, in
    sent_parity : Signal, out
        ``sent``: the TICK of a step has been sent. ``sent_parity``: the parity of the step being sent.
    tick, tick_parity : Signal, in
    complete : Signal, out
        A TICK has arrived, with its parity. ``complete`` is independent of ``tick``: a TICK of ``tick_parity`` would be
        the last one of its step.
    step_parity : Signal, out
        Parity of the step that the host, as a sink, is receiving.
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
        # One bit per parity: the sinks have acknowledged the previous step of this parity. Initially both are set,
        # because the first two steps need no acknowledgement.
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
                    # The last ACK of a step also prepares the counter for the next step of this parity.
                    m.d.sync += [acks.eq(0), free[number].eq(1)]
            with m.If(self.tick & (self.tick_parity == number)):
                m.d.sync += ticks.eq(Mux(self.complete, 0, ticks + 1))
        with m.If(self.tick & self.complete):
            m.d.sync += self.step_parity.eq(~self.step_parity)
        return m
