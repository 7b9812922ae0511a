"""Floods of datagrams: all are counted and steps go on. How many are on time is for `make bench` on an idle machine."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeloom.benchmarks import live_flood
from spikeloom.benchmarks.live_flood import (
    FloodResult,
    PromptLink,
    build_sender,
    complaints,
    datagrams,
    finished,
    flood,
    measure,
    wait_only,
)
from spikeloom.host import spif
from spikeloom.host.spif import PixelMap, SpifReceiver, decode_events
from spikeloom.runners.live import real_time_priority
from spikeloom.sim.host.messages import MessageDecoder, encode_spikes

BUILD = Path(__file__).resolve().parents[3] / "build" / "tests" / "flood"
PIXELS = PixelMap(columns=8, rows=8, polarities=1)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sendmmsg and the counts are of Linux")


def test_datagrams():
    found = datagrams(PIXELS, seed=3)
    events = [PIXELS.lines(*decode_events(each)) for each in found]
    assert {len(lines) for lines in events} == set(range(1, 9))
    assert len(np.unique(np.concatenate(events))) > 60
    with_timestamps = [len(each) == 8 * len(lines) for each, lines in zip(found, events, strict=True)]
    assert [number for number, timed in enumerate(with_timestamps) if timed] == list(range(2, 64, 3))


def test_the_link_of_the_benchmark():
    link = PromptLink([7, 3])
    link.send(encode_spikes(np.ones((2, 4), bool)))
    found = MessageDecoder().feed(link.poll())
    assert found.spike_axon.tolist() == [3, 7, 3, 7]
    assert found.ticks.tolist() == [False, True]
    assert link.poll() == b""


def counted(receiver):
    return receiver.used + receiver.malformed + receiver.dropped


def receive_during(receiver, sent_before, *senders):
    """Take steps until the senders have ended and all that they sent is counted; return the number of steps until they
    ended, the number of datagrams sent, and the lines of all steps."""
    lines, during, after = np.zeros(PIXELS.size, bool), 0, 0
    steps = receiver.each()
    while any(sender.poll() is None for sender in senders):
        lines |= next(steps)
        during += 1
    sent = sum(finished(sender).sent for sender in senders)
    while counted(receiver) + receiver.strangers < sent_before + sent and after < 1000:
        lines |= next(steps)
        after += 1
    return during, sent, lines


def test_every_datagram_is_counted_and_steps_go_on():
    """The first flood meets a queue that is not read, the second one a receiver; one of 64 datagrams is malformed."""
    program = build_sender(BUILD)
    payloads = [b"12345", *datagrams(PIXELS, number=63)]
    with SpifReceiver(PIXELS, step_s=0.002) as receiver:
        with flood(program, receiver.port, payloads, count=100_000) as running:
            assert finished(running).sent == 100_000
        with flood(program, receiver.port, payloads, seconds=1) as running:
            during, sent, _ = receive_during(receiver, 100_000, running)
        assert counted(receiver) == 100_000 + sent
        assert sent > 5000
        assert receiver.dropped > 50_000
        assert 0.5 < receiver.malformed / (receiver.used / 63) < 2
        # Without a bound on the datagrams per step, the first step would not end before the flood does.
        assert during > 20


def test_strangers_flood_and_the_peer_is_heard():
    """Everything that the peer sends arrives, however much others send from its address and from other addresses."""
    program = build_sender(BUILD)
    with SpifReceiver(PIXELS, step_s=0.002, peer=("127.0.0.2", None)) as receiver:
        with (
            flood(program, receiver.port, datagrams(PIXELS), count=100_000) as strangers,
            flood(program, receiver.port, [datagrams(PIXELS)[0]], count=300, source="127.0.0.2") as peer,
        ):
            _, sent, lines = receive_during(receiver, 0, strangers, peer)
            assert sent == 100_300
        assert (receiver.used, receiver.malformed, receiver.dropped, receiver.strangers) == (300, 0, 0, 100_000)
        expected = PIXELS.lines(*decode_events(datagrams(PIXELS)[0]))
        assert np.flatnonzero(lines).tolist() == sorted(set(expected.tolist()))


def test_a_receiver_that_rests_leaves_the_processor(monkeypatch):
    """With real-time priority, the kernel would stop a run that never waits, for 50 ms of each second."""
    rests = []
    monkeypatch.setattr(spif.time, "sleep", rests.append)
    program = build_sender(BUILD)
    for resting in (True, False):
        with (
            SpifReceiver(PIXELS, step_s=0.02, rests=resting) as receiver,
            flood(program, receiver.port, datagrams(PIXELS), seconds=1) as running,
        ):
            _, sent, _ = receive_during(receiver, 0, running)
            assert counted(receiver) == sent
        assert bool(rests) is resting
        assert sum(rests) < 1  # one pause at a time
        rests.clear()


def test_a_measurement():
    """Its counts agree; its speed is that of a machine with other work to do."""
    result = measure(BUILD, seconds=0.5)
    assert result.sent == result.used + result.malformed + result.dropped > 5000
    assert result.malformed == 0
    assert result.steps > 50
    assert result.sent_per_second < 1.1 * live_flood.PER_SECOND
    assert result.flat_out_used > 5000
    for share in (result.on_time, result.machine_on_time, result.quiet_on_time, result.flat_out_on_time):
        assert 0 <= share <= 1
    with real_time_priority() as permitted:
        assert (result.real_time_on_time is not None) == permitted
    assert [sentence for sentence in complaints(result) if "were sent" in sentence] == []


def test_a_loop_that_only_waits(monkeypatch):
    """With its own clock: three steps, the second of which is found a step and a half late."""
    now, late = [0.0], [0.0002, 0.0015, 0.0001]
    monkeypatch.setattr(live_flood.time, "monotonic", lambda: now[0])

    def select(_r, _w, _x, timeout_s):
        assert timeout_s > 0
        now[0] += timeout_s + late.pop(0)

    monkeypatch.setattr(live_flood.select, "select", select)
    on_time, worst_s = wait_only(3, 0.001)
    assert on_time == round(2 / 3, 4)
    assert worst_s == pytest.approx(0.0015)
    # The second wait ended after the end of the third step, for which there is then no wait.
    assert late == [0.0001]


def test_complaints():
    good = FloodResult(
        sent=1000,
        sent_per_second=400_000,
        used=700,
        malformed=100,
        dropped=200,
        steps=100,
        step_ms=1.0,
        on_time=0.99,
        worst_late_ms=3.0,
        machine_on_time=0.995,
        machine_worst_late_ms=0.4,
        quiet_on_time=1.0,
        quiet_worst_late_ms=0.5,
        flat_out_per_second=900_000,
        flat_out_used=600_000,
        flat_out_on_time=0.9,
        flat_out_worst_late_ms=9.0,
        real_time_on_time=None,
        real_time_worst_late_ms=None,
    )
    assert complaints(good) == []
    bad = dataclasses.replace(good, sent_per_second=390_000, dropped=199, on_time=0.98)
    assert complaints(bad) == [
        "the sender reaches 390,000 datagrams per second, expected 400,000",
        "1,000 datagrams were sent, but 700 used, 100 malformed and 199 dropped",
        "98.0% of the steps are on time, expected 99% (of a loop that only waits 99.5%, without datagrams 100.0%)",
    ]
