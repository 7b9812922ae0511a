"""The transport to the pins of the simulated top: simulated time, writes that wait for the line, reads for bytes."""

from dataclasses import replace

import pytest
from harness.pins import SECONDS_PER_CYCLE, failing, opening, timed

from spikeloom.runners.runner import do_at_pins
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.ethernet import UDP_LINK
from spikeloom.simulators.verilator import SimulationError

SMALL = FABRICS["small"]
DIVISOR = 4


def at_pins(work, arguments, directory):
    return do_at_pins(SMALL, work, arguments, directory, divisor=DIVISOR)


def test_time_passes_where_the_driver_waits_and_nowhere_else(tmp_path, shared_build):
    waits = [1e-6, 30e-6, 0.0]
    found, _ = at_pins(timed, (DIVISOR, waits), shared_build(tmp_path / "run"))
    assert found["read"] == [0, 0, 0], "a board says nothing before it is asked"
    # No wait is shorter than one cycle: otherwise, a loop that polls would never let the simulation continue.
    least = [max(wait, SECONDS_PER_CYCLE) for wait in waits]
    assert found["waited"] == pytest.approx(least, abs=1.5 * SECONDS_PER_CYCLE)
    assert found["clock"] == pytest.approx([wait / SECONDS_PER_CYCLE for wait in least], abs=1.5)
    assert found["computing"] == [0]
    one, full, more = found["writing"]
    assert one == 0, "what is queued is not waited for"
    # 4096 bytes are queued immediately; the next ones wait until the line has taken as many blocks of 256.
    assert full <= 256 + 10
    assert 2000 - 256 <= more <= 2000 + 256 + 20


def test_an_answer_ends_the_wait_early(tmp_path, shared_build):
    (seconds, polls), waves = at_pins(opening, (SMALL.link.maximum_payload,), shared_build(tmp_path / "run"))
    assert 0 < seconds < 1e-3, "the endpoint would wait much longer for a board that does not answer"
    assert polls == 0
    assert waves is None


@pytest.mark.slow
def test_ethernet(tmp_path, shared_build):
    """A session over UDP at GMII, whose clock is not that of the fabric."""
    fabric = replace(SMALL, link=UDP_LINK)
    found, _ = do_at_pins(fabric, opening, (1400,), shared_build(tmp_path / "run"), ethernet_hz=87.5e6)
    seconds, polls = found
    assert 0 < seconds < 1e-4
    assert polls == 0


@pytest.mark.slow
def test_usb(tmp_path, shared_build):
    """A session over USB at its pins, whose clocks are not that of the fabric."""
    found, _ = do_at_pins(SMALL, opening, (235,), shared_build(tmp_path / "run"), usb_hz=13.3e6)
    seconds, polls = found
    assert 0 < seconds < 3e-3, "enumeration, and then a frame in each direction"
    assert polls == 0


@pytest.mark.slow
def test_usb_at_high_speed(tmp_path, shared_build):
    """A session over USB at the pins of a PHY: the device chirps in two resets, of several milliseconds."""
    fabric = replace(SMALL, link=UDP_LINK)
    found, _ = do_at_pins(fabric, opening, (1400,), shared_build(tmp_path / "run"), ulpi_hz=45.5e6)
    seconds, polls = found
    assert 5e-3 < seconds < 20e-3
    assert polls == 0


def test_a_job_that_fails_ends_the_simulation(tmp_path, shared_build):
    directory = shared_build(tmp_path / "run")
    with pytest.raises(SimulationError, match="the job has failed on purpose"):
        at_pins(failing, (), directory)
    assert not (directory / "run" / "job.result").exists()
