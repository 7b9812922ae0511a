"""The receiver: each kind of frame after another, and what a planted bug changes."""

import pytest
from harness.gmii import LineBench, opened
from harness.mutations import plant
from harness.networks import rng_of
from harness.packets import BOARD, FRAMES, HOSTS, arp_request, echo_request, udp

from spikeloom.hdl.host import ethernet_receiver
from spikeloom.sim.host.ethernet import LARGEST_FRAME, OPENING, EthernetModel

FIRST, SECOND, _ = HOSTS


def differs(bench: LineBench, model: EthernetModel, frames) -> bool:
    """Whether the device reacts to one of ``frames`` in another way than its model, each sent after the one before."""
    for frame, error in frames:
        bench.put(frame, error=error)
        bench.finish(more=30)
        answer = model.receive(frame, error=error >= 0)
        expected = [answer.frame] if answer else []
        end = bench.cycle + len(frame) + 200
        while len(bench.sent) < len(expected) and bench.cycle < end:
            bench.advance(20)
        if bench.sent != expected:
            return True
        bench.sent.clear()
        bench.advance(max(0, 3 * (len(model.received) - len(bench.received))))
        if bench.received != model.received:
            return True
    bench.advance(200)
    return bench.sent != []


def test_each_kind_of_frame(request):
    """In a session, from its host: the reaction of the model to each."""
    rng = rng_of(request.node.name)
    bench, model = opened()
    frames = []
    for name, draw in FRAMES.items():
        frames.append((draw(rng, FIRST), -1))
        if name == "empty":
            frames.append((udp(FIRST, OPENING), -1))
    assert not differs(bench, model, frames)
    assert len(model.received) > 1500


def test_the_longest_frames():
    """A datagram that fills a frame is passed on; one byte more, and the frame is dropped."""
    bench, model = opened()
    frames = [udp(FIRST, bytes(size)) for size in (1472, 1473)]
    assert [len(frame) for frame in frames] == [LARGEST_FRAME, LARGEST_FRAME + 1]
    assert not differs(bench, model, [(frame, -1) for frame in frames])


def test_an_error_at_any_byte():
    bench, model = opened()
    frame = udp(FIRST, b"abc")
    assert not differs(bench, model, [(frame, place) for place in (0, 5, 40, len(frame) - 1)] + [(frame, -1)])
    assert model.received == OPENING + b"abc"


# A frame that each bug lets pass, refuses, or answers in another way.
GOOD, PING, ARP = udp(FIRST, b"abcdef"), echo_request(FIRST, b"abcdef" * 4), arp_request(SECOND)
FLIPPED = GOOD[:50] + bytes((GOOD[50] ^ 1,)) + GOOD[51:]
BUGS = {
    "the check sequence": ("crc.match_detected & ~failed", "~failed", FLIPPED),
    "errors": ("failed.eq(failed | error)", "failed.eq(failed)", GOOD),
    "the lower bound": ("(size >= SMALLEST_FRAME) & ", "", FRAMES["short"]),
    "the upper bound": ("(size <= LARGEST_FRAME)", "(size <= LARGEST_FRAME + 1)", udp(FIRST, bytes([5]) * 1473)),
    "the header checksum": ("((total == 0xFFFF) & ~carry & long_enough)", "(long_enough)", udp(FIRST, b"a", check=7)),
    "the carry of the checksum": ("addend, 0) + carry)", "addend, 0))", udp(FIRST, b"abc", identification=0xFEDC)),
    "fragments": ("{0: 0x3F}", "{0: 0x1F}", udp(FIRST, b"a", flags=0x2000)),
    "the length of the packet": ("complete.eq((left + FCS_BYTES)[-1])", "complete.eq(1)", FRAMES["packet too long"]),
    "the check sequence is data": ("(left + FCS_BYTES)[-1]", "left[-1]", udp(FIRST, b"x" * 30, size=40, length=60)),
    "the end of the payload": ("_IPV4 + 3", "_IPV4 + 2", GOOD),
    "lengths that contradict": ('fits["udp"] & lengths_agree', 'fits["udp"]', udp(FIRST, b"abc", size=10)),
    "too short": ("length >= IPV4_HEADER + UDP_HEADER", "length >= 27", udp(FIRST, b"", size=7, length=27)),
    "the destination": ('complete & fits["own"]', "complete", udp(FIRST, b"a", destination=b"\xff" * 6)),
    "broadcasts": ('(fits["own"] | fits["all"])', 'fits["own"]', ARP),
    "the host of the session": ("from_host.eq(is_peer | opens)", "from_host.eq(1)", udp(SECOND, b"abc")),
    "who opens": ("(idle[-1] | ~self.bound)", "1", udp(SECOND, OPENING)),
    "the end of a session": ("self.bound.eq(~empty)", "self.bound.eq(1)", udp(FIRST, b"")),
    "loops of refusals": ("self.bound & ~silent", "self.bound", udp(SECOND, b"\0abc")),
    "the sender of ARP": ("_ARP_SENDER + 12", "_ARP_SENDER + 11", ARP),
    "the size of a ping": ("+ ECHO_BYTES", "+ ECHO_BYTES + 1", echo_request(FIRST, bytes(range(61)))),
    "the checksum of a ping": ("self.answer.checksum.eq(checksum)", "self.answer.checksum.eq(0)", PING),
}


QUICK = 6
"""Number of bugs that are planted in each run of the tests; all others in the long one."""


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[pytest.mark.slow] * (place >= QUICK)) for place, bug in enumerate(BUGS)]
)
def test_a_planted_bug_is_found(bug, monkeypatch, request):
    old, new, frame = BUGS[bug]
    plant(monkeypatch, "spikeloom.hdl.host.ethernet", ethernet_receiver, old, new)
    if not isinstance(frame, bytes):
        frame = frame(rng_of(request.node.name), FIRST)
    model = EthernetModel(BOARD)
    bench = LineBench()
    frames = [(udp(FIRST, OPENING), -1), (frame, 20 if bug == "errors" else -1), (udp(SECOND, OPENING), -1)]
    assert differs(bench, model, frames)
