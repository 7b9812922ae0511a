"""The top with a USB device for high speed: a host behind its PHY opens a session."""

import warnings

import pytest
from harness.cores import LEAN
from harness.ulpi import SHORT_TIMES, UlpiHost
from harness.usb_host import UsbBusTransport

from spikeloom.hdl.top.ulpi_top import UlpiTop
from spikeloom.host.endpoint import Endpoint
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import HIGH_SPEED_HZ, UsbParameters

FABRIC = FabricConfig(core=LEAN)
BUILD = bytes(range(50, 66))
CLOCK_HZ = 90_000_000


@pytest.fixture
def short_times(monkeypatch):
    """A reset that takes a tenth of a millisecond, not milliseconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from luna.gateware.usb.usb2.reset import USBResetSequencer

    for name, cycles in SHORT_TIMES.items():
        monkeypatch.setattr(USBResetSequencer, name, cycles)


@pytest.mark.slow
@pytest.mark.usefixtures("short_times")
def test_a_session_opens_over_the_pins_of_a_phy():
    top = UlpiTop(FABRIC, UsbParameters(serial="3"), BUILD, clock_hz=CLOCK_HZ)
    bus = UsbBusTransport(top, UlpiHost(top), sync_hz=CLOCK_HZ, usb_hz=HIGH_SPEED_HZ)
    bus.until_ready()
    with Endpoint(bus, timeout_s=0.1) as endpoint:
        assert endpoint.open() == FABRIC.identity(BUILD, link_kind=LinkKind.USB, clock_hz=CLOCK_HZ)
    assert bus.host.enumerated == UsbParameters(serial="3", high_speed=True).descriptors
