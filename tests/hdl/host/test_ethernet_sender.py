"""The sender: planted bugs change a datagram or an answer."""

import pytest
from harness.gmii import LEAST_GAP, PREAMBLE, opened
from harness.mutations import plant
from harness.packets import HOSTS, arp_request, echo_request, udp

from spikeloom.hdl.host import ethernet_sender
from spikeloom.sim.host import ethernet
from spikeloom.sim.host.ethernet import OPENING, UDP_LINK, largest_datagram

_, SECOND, THIRD = HOSTS


def test_sizes():
    assert ethernet.PREAMBLE == PREAMBLE
    assert ethernet_sender.GAP_CYCLES == LEAST_GAP
    assert largest_datagram(UDP_LINK.maximum_payload) < ethernet_sender.RING_BYTES - 8


def reactions(*, most=6000):
    """Frames of the link and answers to requests, one after another, with those of the model."""
    bench, model = opened()
    expected = []
    for frame in (arp_request(SECOND), echo_request(THIRD, b"ping" * 14), udp(SECOND, OPENING)):
        bench.put(frame)
        expected.append(model.receive(frame).frame)
        bench.finish(more=160)
    # Sums with a carry at their end, and a checksum of zero, which is sent as ones.
    for frame in (b"\xff" * 37 + b"\0", b"a\0", zero_sum(model)):
        bench.frames.append(frame)
        expected.append(model.send(frame))
        end = bench.cycle + 400
        while len(bench.sent) < len(expected) and bench.cycle < end:
            bench.advance(20)
    return bench, expected


def zero_sum(model):
    """A frame of the link whose datagram has the checksum 0xFFFF."""
    for word in range(0x0101, 1 << 16):
        frame = word.to_bytes(2, "big") + b"\x01\0"
        if 0 not in frame[:3] and model.send(frame)[40:42] == b"\xff\xff":
            return frame
    raise AssertionError


def test_answers_and_datagrams():
    bench, expected = reactions()
    assert bench.sent == expected


BUGS = {
    "the operation of ARP": ("8, 6, 0, 1, 8, 0, 6, 4, 0, 2,", "8, 6, 0, 1, 8, 0, 6, 4, 0, 1,"),
    "the type of the answer": ('"echo": 0x0800', '"echo": 0'),
    "a carry of the checksum": ("+ (total[16] & ~restarts)", ""),
    "a carry of the payload": ("addend + total[16]", "addend"),
    "the places of bytes in words": ("addend = Mux(size[0],", "addend = Mux(~size[0],"),
    "a checksum of zero": ("| (total[:16] == 0xFFFF)", ""),
    "the ring moves with echoes": ("address + is_data", "address + 1"),
    "the end of the payload": ("spent.eq(left[-1] | ~left[1:].any())", "spent.eq(left[-1] | ~left.any())"),
    "the preamble in the check sequence": ("is_sent & ~is_preamble & ~is_check", "is_sent & ~is_check"),
    "the start of the check sequence": ("crc.start.eq(1)", "crc.start.eq(0)"),
    "the start of a payload": ("index == _DATA_PLACE - 1", "index == _DATA_PLACE"),
    "the start of an echo": ("index == _ECHO_PLACE - 1", "index == _ECHO_PLACE"),
    "an answer is sent again": ("self.answer_done.eq(ends & ~is_data)", "self.answer_done.eq(0)"),
    "the sum of the words before": ("size.eq(0),\n                total.eq(0)", "size.eq(0)"),
}


QUICK = 5
"""Number of bugs that are planted in each run of the tests; all others in the long one."""


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[pytest.mark.slow] * (place >= QUICK)) for place, bug in enumerate(BUGS)]
)
def test_a_planted_bug_is_found(bug, monkeypatch):
    plant(monkeypatch, "spikeloom.hdl.host.ethernet", ethernet_sender, *BUGS[bug])
    bench, expected = reactions()
    assert bench.sent != expected
