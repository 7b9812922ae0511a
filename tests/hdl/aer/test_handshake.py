"""The external AER port against a partner that obeys the protocol and counts violations."""

import gc
import re

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.aer import handshake as aer
from spikeloom.hdl.aer.handshake import AerReceiver, AerSender

EVENTS = 40


class ProtocolError(Exception):
    """A side acted against the handshake in this phase."""


def simulate(design, process, *others):
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    for bench in others:
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(process)
    simulator.run()


async def until(ctx, pin, level, limit=300):
    for _ in range(limit):
        if ctx.get(pin) == level:
            return
        await ctx.tick()
    raise ProtocolError(f"{pin.name} must become {level}")


def received(design, rng, *, stall):
    """The addresses that a receiver outputs when a partner sends ``EVENTS`` addresses."""
    on = int(not design.active_low)
    sent = [int(address) for address in rng.integers(1 << len(design.address), size=EVENTS)]
    found = []

    async def partner(ctx):
        for number, address in enumerate(sent):
            ctx.set(design.address, address)
            ctx.set(design.request, on)
            await until(ctx, design.acknowledge, on)
            if number > len(found):
                raise ProtocolError("one address at most may be waiting")
            ctx.set(design.address, int(rng.integers(1 << len(design.address))))
            await ctx.tick().repeat(int(rng.integers(1, 6)))
            if ctx.get(design.acknowledge) != on:
                raise ProtocolError("an acknowledgement must stay until the request is taken back")
            ctx.set(design.request, 1 - on)
            await until(ctx, design.acknowledge, 1 - on)
        await ctx.tick().repeat(100)

    async def taker(ctx):
        while True:
            ready = rng.random() >= stall
            ctx.set(design.o.ready, ready)
            valid, payload = ctx.get(design.o.valid), ctx.get(design.o.payload)
            await ctx.tick()
            if ready and valid:
                found.append(payload)

    simulate(design, partner, taker)
    return sent, found


def delivered(design, rng, *, setup_cycles=1):
    """The addresses that a sender delivers to a partner."""
    on = int(not design.active_low)
    sent = [int(address) for address in rng.integers(1 << len(design.address), size=EVENTS)]
    found = []

    async def source(ctx):
        for address in sent:
            ctx.set(design.i.payload, address)
            ctx.set(design.i.valid, 1)
            await until(ctx, design.i.ready, 1)
            await ctx.tick()
            ctx.set(design.i.valid, int(rng.integers(2)))
            if not ctx.get(design.i.valid):
                await ctx.tick().repeat(int(rng.integers(1, 4)))
        ctx.set(design.i.valid, 0)
        await until(ctx, design.idle, 1)

    async def partner(ctx):
        held, since = ctx.get(design.address), 0
        while True:
            while ctx.get(design.request) != on:
                await ctx.tick()
                since = since + 1 if ctx.get(design.address) == held else 0
                held = ctx.get(design.address)
            if since < setup_cycles and found and held != found[-1]:
                raise ProtocolError("the address must be stable before its request")
            found.append(held)
            await ctx.tick().repeat(int(rng.integers(1, 7)))
            ctx.set(design.acknowledge, on)
            while ctx.get(design.request) == on:
                if ctx.get(design.address) != held:
                    raise ProtocolError("the address must hold still")
                await ctx.tick()
            await ctx.tick().repeat(int(rng.integers(1, 7)))
            if ctx.get(design.request) == on:
                raise ProtocolError("there must be no request before the acknowledgement is taken back")
            ctx.set(design.acknowledge, 1 - on)
            since, held = 0, ctx.get(design.address)

    simulate(design, source, partner)
    return sent, found


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_lines_are_active_high_and_pass_two_stages_by_default():
    receiver, sender = AerReceiver(3), AerSender(3)
    assert [(line.active_low, line.stages) for line in (receiver, sender)] == [(False, 2)] * 2
    assert (receiver.acknowledge.init, sender.request.init, sender.setup_cycles) == (0, 0, 1)
    assert AerReceiver(3, active_low=True).acknowledge.init == AerSender(3, active_low=True).request.init == 1
    del receiver, sender
    gc.collect()  # Amaranth warns when these designs, which are never elaborated, are collected: do that here


@pytest.mark.parametrize("active_low", [False, True])
@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("stall", [0.0, 0.9])
def test_receiver(request, active_low, stages, stall):
    rng = rng_of(request.node.name)
    sent, found = received(AerReceiver(10, stages=stages, active_low=active_low), rng, stall=stall)
    assert found == sent
    assert len(set(sent)) > EVENTS // 2


@pytest.mark.parametrize("active_low", [False, True])
@pytest.mark.parametrize("setup_cycles", [1, 5])
def test_sender(request, active_low, setup_cycles):
    rng = rng_of(request.node.name)
    sender = AerSender(10, setup_cycles=setup_cycles, active_low=active_low)
    sent, found = delivered(sender, rng, setup_cycles=setup_cycles)
    assert found == sent


RECEIVER_BUGS = {
    "acknowledges what it cannot store": ("& (~self.o.valid | self.o.ready)", ""),
    "stores an event twice": ("requested & ~acknowledging &", "requested &"),
    "takes the acknowledgement back by itself": ("m.Elif(~requested)", "m.Else()"),
    "does not wait for the other level": (
        "line ^ self.active_low)\n        acknowledging",
        "line)\n        acknowledging",
    ),
}
SENDER_BUGS = {
    "requests at once": (
        "m.d.sync += self.address.eq(self.i.payload)",
        "m.d.sync += [self.address.eq(self.i.payload), requesting.eq(1)]",
    ),
    "does not wait for the acknowledgement": ("with m.If(acknowledged):", "with m.If(1):"),
    "does not wait for it to be taken back": ("m.If(self.i.valid & ~acknowledged)", "m.If(self.i.valid)"),
    "setup": ("with m.If(waiting == 0):", "with m.If(1):"),
}


@pytest.mark.parametrize("bug", RECEIVER_BUGS)
def test_a_planted_bug_in_the_receiver_is_found(bug):
    design = mutated(aer, *RECEIVER_BUGS[bug]).AerReceiver(10, active_low="level" in bug)
    try:
        sent, found = received(design, rng_of(bug), stall=0.8)
    except ProtocolError:
        return
    assert found != sent


@pytest.mark.parametrize("bug", SENDER_BUGS)
def test_a_planted_bug_in_the_sender_is_found(bug):
    design = mutated(aer, *SENDER_BUGS[bug]).AerSender(10, setup_cycles=4)
    try:
        sent, found = delivered(design, rng_of(bug), setup_cycles=4)
    except ProtocolError:
        return
    assert found != sent


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AerReceiver(0), "address_width must be an integer from 1 to 32, not 0"),
        (lambda: AerReceiver(8, stages=1), "stages must be an integer from 2 to 8, not 1"),
        (lambda: AerSender(33), "address_width must be an integer from 1 to 32, not 33"),
        (lambda: AerSender(8, setup_cycles=0), "setup_cycles must be an integer from 1 to 255, not 0"),
        (lambda: AerSender(8, stages=9), "stages must be an integer from 2 to 8, not 9"),
    ],
)
def test_refuses_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
