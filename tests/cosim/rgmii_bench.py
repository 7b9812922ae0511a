"""cocotb bench of the Ethernet device at its RGMII pins, with the PHY of cocotbext-eth at the other end.

The model of the PHY splits bytes into nibbles, drives and samples both edges, and finds the start of a frame. It was
written by others, so a misunderstanding of RGMII in this project's own bench would show here.
"""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer, with_timeout
from cocotbext.eth import GmiiFrame, RgmiiPhy
from harness.networks import rng_of
from harness.packets import BOARD, HOSTS, Packet, arp_request, random_frame, udp

from spikeloom.sim.host.ethernet import OPENING, EthernetModel

SYNC_PS = 11_110
LONGEST = 2 * 1600
"""Cycles of the Ethernet clock in which the device takes and answers the longest frame."""


class Bench:
    """The device with its PHY; ``payloads`` are the bytes that it passes on."""

    def __init__(self, dut) -> None:
        self.dut = dut
        dut.rst.value = dut.ethernet_rst.value = 1
        dut.o__ready.value = 1
        dut.i__valid.value = 0
        cocotb.start_soon(Clock(dut.clk, SYNC_PS, "ps").start())
        cocotb.start_soon(self._delay())
        self.phy = RgmiiPhy(
            dut.tx_nibble, dut.tx_control, dut.tx_clock_late, dut.rx_nibble, dut.rx_control, dut.ethernet_clk
        )
        self.payloads = bytearray()
        cocotb.start_soon(self._collect())

    async def _delay(self) -> None:
        """Delay the clock to the PHY, as a DELAYG or the PHY does."""
        while True:
            await self.dut.tx_clock.value_change
            level = self.dut.tx_clock.value
            await Timer(2, "ns")
            self.dut.tx_clock_late.value = level

    async def _collect(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            await ReadOnly()
            if self.dut.o__valid.value:
                self.payloads.append(int(self.dut.o__payload.value))

    async def start(self) -> None:
        """Reset the device, which may have a session of the test before."""
        await self.pause(10)
        self.dut.rst.value = self.dut.ethernet_rst.value = 0
        await self.pause(10)
        self.payloads.clear()

    async def pause(self, cycles: int) -> None:
        await ClockCycles(self.dut.ethernet_clk, cycles)

    def send(self, frame: bytes, error: int = -1) -> None:
        """Let the PHY send ``frame`` with preamble, with an error at one place."""
        sent = GmiiFrame.from_raw_payload(frame)
        if error >= 0:
            sent.error = [int(place == error + 8) for place in range(len(sent.data))]
        self.phy.rx.send_nowait(sent)

    async def received(self) -> bytes:
        """Return the next frame from the device, without its preamble."""
        found = await with_timeout(self.phy.tx.recv(), LONGEST * 8, "ns")
        assert not any(found.error or []), "no errors are sent"
        assert bytes(found.data[:8]) == bytes([0x55] * 7 + [0xD5])
        return bytes(found.data[8:])

    async def say(self, frame: bytes) -> None:
        """Let the fabric send the bytes of a frame, which end with a zero."""
        for byte in (*frame, 0):
            self.dut.i__valid.value, self.dut.i__payload.value = 1, byte
            await ReadOnly()
            while not self.dut.i__ready.value:
                await RisingEdge(self.dut.clk)
                await ReadOnly()
            await RisingEdge(self.dut.clk)
        self.dut.i__valid.value = 0


@cocotb.test()
async def test_random_packets(dut):
    """Payloads and answers are those of the model, one packet after the other."""
    bench, model, rng = Bench(dut), EthernetModel(BOARD), rng_of("rgmii: random packets")
    await bench.start()
    answers = errors = 0
    for _ in range(60):
        _, frame = random_frame(rng, model.peer)
        error = int(rng.integers(0, len(frame))) if rng.random() < 0.1 else -1
        bench.send(frame, error)
        errors += error >= 0
        answer = model.receive(frame, error=error >= 0)
        if answer is not None:
            answers += 1
            assert await bench.received() == answer.frame
        await bench.pause(LONGEST)
        assert bench.phy.tx.empty()
    assert bytes(bench.payloads) == bytes(model.received)
    assert min(answers, len(model.received) // 20, 3 * errors) > 8


@cocotb.test()
async def test_datagrams_without_a_pause(dut):
    """The shortest gap between packets in one direction, datagrams in the other at the same time."""
    bench, model, rng = Bench(dut), EthernetModel(BOARD), rng_of("rgmii: without a pause")
    await bench.start()
    bench.phy.rx.ifg = 12
    frames = [udp(HOSTS[0], OPENING)]
    frames += [udp(HOSTS[0], rng.integers(1, 256, int(rng.integers(1, 300))).astype("u1").tobytes()) for _ in range(20)]
    for frame in frames:
        bench.send(frame)
        model.receive(frame)
    await bench.pause(200)
    assert bench.payloads, "the session is open, so the board may send"
    said = [rng.integers(1, 256, int(rng.integers(10, 200))).astype("u1").tobytes() for _ in range(8)]
    for frame in said:
        await bench.say(frame)
    found = b"".join([Packet(await bench.received()).payload for _ in said])
    assert found == b"".join(frame + b"\0" for frame in said)
    await bench.phy.rx.wait()
    await bench.pause(LONGEST)
    assert bytes(bench.payloads) == bytes(model.received)
    bench.send(arp_request(HOSTS[2]))
    answer = model.receive(arp_request(HOSTS[2]))
    assert answer is not None
    assert await bench.received() == answer.frame
