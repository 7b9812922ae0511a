"""The top with a USB device: a host at its pins opens a session."""

from amaranth.sim import Simulator
from harness.cores import LEAN
from harness.usb_host import UsbPinHost

from spikeloom.hdl.top.usb_top import UsbTop
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.link import Deframer, Frame, Kind
from spikeloom.sim.host.usb import DATA_ENDPOINT, FULL_SPEED_HZ, UsbParameters
from spikeloom.simulators.usb_host import Pid

FABRIC = FabricConfig(core=LEAN)
BUILD = bytes(range(50, 66))
CLOCK_HZ = 31_000_000


def test_a_session_opens_over_the_pins():
    """Bit by bit: the host configures the device, sends OPEN, and receives the identity in two packets."""
    top = UsbTop(FABRIC, UsbParameters(), BUILD, clock_hz=CLOCK_HZ)
    host = UsbPinHost(top)
    simulator = Simulator(top)
    simulator.add_clock(1 / FULL_SPEED_HZ, domain="usb")
    simulator.add_clock(1 / (4 * FULL_SPEED_HZ), domain="usb_io")
    simulator.add_clock(1 / CLOCK_HZ, domain="sync", phase=3e-9)
    received, lengths = b"", []

    async def ask(ctx):
        nonlocal received
        await host.idle(ctx)
        await host.control(ctx, bytes((0x00, 9, 1, 0, 0, 0, 0, 0)))
        frame = Frame(kind=Kind.OPEN, payload=b"one.").encode()
        assert await host.transaction_out(ctx, DATA_ENDPOINT, Pid.OUT, frame) is Pid.ACK
        while not received.endswith(b"\0"):
            answer = await host.transaction_in(ctx, DATA_ENDPOINT)
            assert answer is not None
            if answer[0] is not Pid.NAK:
                assert answer[0] is (Pid.DATA1 if lengths else Pid.DATA0)
                received += answer[1]
                lengths.append(len(answer[1]))

    simulator.add_testbench(ask)
    simulator.run()
    (frame,) = Deframer().feed(received)
    identity = FABRIC.identity(BUILD, link_kind=LinkKind.USB, clock_hz=CLOCK_HZ)
    assert frame is not None
    assert (frame.kind, frame.payload) == (Kind.IDENTITY, b"one." + identity.encode())
    assert lengths == [64, len(received) - 64]
