"""What cocotb runs on the Verilog of the external AER port: a partner chip without a clock, at random delays."""

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer, ValueChange, with_timeout

PERIOD_PS = 10_000
ACTIVE_LOW = int(os.environ["ACTIVE_LOW"])
SETUP_CYCLES = int(os.environ["SETUP_CYCLES"])
WIDTH = int(os.environ["ADDRESS_WIDTH"])
EVENTS = 60


async def begin(port) -> None:
    port.receiver_request.value = ACTIVE_LOW
    port.receiver_address.value = 0
    port.sender_acknowledge.value = ACTIVE_LOW
    port.receiver_o__ready.value = 0
    port.sender_i__valid.value = 0
    port.rst.value = 1
    Clock(port.clk, PERIOD_PS, "ps").start()
    await ClockCycles(port.clk, 3)
    await FallingEdge(port.clk)
    port.rst.value = 0
    await ClockCycles(port.clk, 3)


async def pause(rng: random.Random, most_ps: int) -> None:
    """Any time, not whole cycles; often short."""
    await Timer(1 + round(most_ps * rng.random() ** 3), "ps")


async def level(pin, meant: bool) -> None:
    """Wait until the wire is, or is not, what it is when it is meant."""
    while (int(pin.value) != ACTIVE_LOW) != meant:
        await ValueChange(pin)


class Glitches:
    """Counts the changes of a wire: two an event, or something glitched."""

    def __init__(self, pin) -> None:
        self.changes = 0
        self._pin = pin
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await ValueChange(self._pin)
            self.changes += 1


async def partner_sends(port, rng: random.Random, addresses: list[int], most_ps: int) -> None:
    """The sender of the other chip: what it drives on the address when it must not be looked at is noise."""
    for address in addresses:
        port.receiver_address.value = address
        await pause(rng, 2_000)
        port.receiver_request.value = 1 ^ ACTIVE_LOW
        await with_timeout(cocotb.start_soon(level(port.receiver_acknowledge, True)), 20, "us")
        port.receiver_address.value = rng.getrandbits(WIDTH)
        await pause(rng, most_ps)
        port.receiver_request.value = ACTIVE_LOW
        await with_timeout(cocotb.start_soon(level(port.receiver_acknowledge, False)), 20, "us")
        await pause(rng, most_ps)


async def taken(port, rng: random.Random, addresses: list[int], chance: float) -> None:
    """The stream behind the receiver, which is ready now and then."""
    while True:
        await FallingEdge(port.clk)
        port.receiver_o__ready.value = ready = int(rng.random() < chance)
        if ready and port.receiver_o__valid.value:
            addresses.append(int(port.receiver_o__payload.value))


@cocotb.test()
@cocotb.parametrize(most_ps=[0, 5_000, 200_000], chance=[0.05, 1.0])
async def every_event_is_received_once(port, most_ps: int, chance: float) -> None:
    rng = random.Random(most_ps + chance)
    await begin(port)
    acknowledge = Glitches(port.receiver_acknowledge)
    sent, received = [rng.getrandbits(WIDTH) for _ in range(EVENTS)], []
    cocotb.start_soon(taken(port, rng, received, chance))
    await partner_sends(port, rng, sent, most_ps)
    await ClockCycles(port.clk, 200)
    assert received == sent
    assert acknowledge.changes == 2 * EVENTS


async def partner_receives(port, rng: random.Random, addresses: list[int], most_ps: int) -> None:
    """The receiver of the other chip, which watches that the address holds still and that it was there in time."""
    changed = [0.0]

    async def watch() -> None:
        while True:
            await ValueChange(port.sender_address)
            changed[0] = get_sim_time("ps")
            assert (int(port.sender_request.value) != ACTIVE_LOW) is False, "the address must hold still"

    cocotb.start_soon(watch())
    while True:
        await level(port.sender_request, True)
        assert get_sim_time("ps") - changed[0] >= SETUP_CYCLES * PERIOD_PS, "the address must be there before"
        addresses.append(int(port.sender_address.value))
        await pause(rng, most_ps)
        port.sender_acknowledge.value = 1 ^ ACTIVE_LOW
        await level(port.sender_request, False)
        await pause(rng, most_ps)
        port.sender_acknowledge.value = ACTIVE_LOW


@cocotb.test()
@cocotb.parametrize(most_ps=[0, 5_000, 200_000], chance=[0.05, 1.0])
async def every_event_is_sent_once(port, most_ps: int, chance: float) -> None:
    rng = random.Random(most_ps + chance)
    await begin(port)
    request = Glitches(port.sender_request)
    sent, received = [rng.getrandbits(WIDTH) for _ in range(EVENTS)], []
    cocotb.start_soon(partner_receives(port, rng, received, most_ps))
    for address in sent:
        while rng.random() > chance:
            await FallingEdge(port.clk)
        port.sender_i__valid.value = 1
        port.sender_i__payload.value = address
        await RisingEdge(port.clk)
        while not port.sender_i__ready.value:
            await RisingEdge(port.clk)
        await FallingEdge(port.clk)
        port.sender_i__valid.value = 0
    while not port.sender_idle.value:
        await FallingEdge(port.clk)
    assert received == sent
    assert request.changes == 2 * EVENTS


@cocotb.test()
async def a_reset_in_the_middle_of_an_event(port) -> None:
    """The sender does not request again before the partner has taken its acknowledgement back."""
    await begin(port)
    port.sender_i__valid.value = 1
    port.sender_i__payload.value = 1
    await level(port.sender_request, True)
    port.sender_acknowledge.value = 1 ^ ACTIVE_LOW
    port.rst.value = 1
    await ClockCycles(port.clk, 4)
    port.rst.value = 0
    await ClockCycles(port.clk, 50)
    assert (int(port.sender_request.value) != ACTIVE_LOW) is False
    port.sender_acknowledge.value = ACTIVE_LOW
    await with_timeout(cocotb.start_soon(level(port.sender_request, True)), 1, "us")
