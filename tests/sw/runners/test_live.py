"""Arguments accepted and refused by `run --inputs udp://`; `tests/sw/simulators/test_virtual_board.py` runs it."""

import contextlib
import gc
import os
import re
import sys
from types import SimpleNamespace

import pytest

from spikeloom.datasets.inputs import InputError
from spikeloom.host.spif import PixelMap, SpifReceiver
from spikeloom.runners.live import peer_address, pixels_from, real_time_priority, run_live, udp_address


def test_addresses():
    assert udp_address("udp://127.0.0.1:3333") == ("127.0.0.1", 3333)
    assert udp_address("udp://localhost:1") == ("localhost", 1)
    assert udp_address("answers.npy") is None


@pytest.mark.parametrize("text", ["udp:3333", "udp://localhost", "udp://:3333", "udp://a:99999", "udp://a:1/b"])
def test_refuses_half_an_address(text):
    with pytest.raises(InputError, match=rf"^a UDP address must be udp://HOST:PORT, not {re.escape(repr(text))}$"):
        udp_address(text)


def test_peers():
    assert peer_address("127.0.0.2") == ("127.0.0.2", None)
    assert peer_address("localhost:3333") == ("127.0.0.1", 3333)


@pytest.mark.parametrize("text", ["", "127.0.0.1:0", "127.0.0.1:99999", "udp://127.0.0.1", "a b", "::1"])
def test_refuses_malformed_peers(text):
    with pytest.raises(InputError, match=rf"^a peer must be HOST or HOST:PORT, not {re.escape(repr(text))}$"):
        peer_address(text)


def test_refuses_unknown_peers():
    with pytest.raises(InputError, match=r"^a peer must be an IPv4 address or a known host, not 'a\.\.b'$"):
        peer_address("a..b")


def test_pixels():
    assert pixels_from(None, 12) == PixelMap(columns=12, rows=1, polarities=1)
    assert pixels_from("4x3", 12) == PixelMap(columns=4, rows=3, polarities=1)
    assert pixels_from("3x2x2", 12) == PixelMap(columns=3, rows=2, polarities=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12", "pixels must be columns x rows, such as 34x34, or with polarities, 34x34x2, not '12'"),
        ("4x-3", "pixels must be columns x rows, such as 34x34, or with polarities, 34x34x2, not '4x-3'"),
        ("4x1x3", "polarities must be an integer from 1 to 2, not 3"),
        ("4x4", "pixels must give 12 lines, the inputs of the network, not 16"),
    ],
)
def test_refuses_other_pixels(text, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        pixels_from(text, 12)


class Collected:
    """A condition for the end of a run that collects garbage in every step and counts the objects visited."""

    def __init__(self):
        self.visited = []

    def __call__(self):
        gc.collect()
        self.visited.append(len(gc.get_objects()))
        return False


def quiet_run(stop):
    program = SimpleNamespace(network="x", membranes=False, observed=(("out", 2),))
    board = SimpleNamespace(stream=lambda: SimpleNamespace(sent=3, send=lambda *_, **__: None, poll=list, finish=list))
    with SpifReceiver(PixelMap(columns=2, rows=1, polarities=1)) as receiver:
        return run_live(board, program, receiver, None, steps=3, stop=stop)


@pytest.fixture
def thawed():
    """Nothing is hidden from the garbage collector; the tests around this one have frozen the objects that they use."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_garbage_collections_visit_only_what_the_run_makes(thawed):
    """A collection of everything would take longer than a step; afterwards everything is visited again."""
    collected, before = Collected(), len(gc.get_objects())
    assert quiet_run(collected).steps == 3
    assert len(collected.visited) >= 3
    assert max(collected.visited) < before / 20
    assert gc.get_freeze_count() == 0


def test_what_the_caller_has_frozen_stays_so(thawed):
    gc.freeze()
    before = gc.get_freeze_count()
    quiet_run(lambda: False)
    assert gc.get_freeze_count() == before


def imitate_scheduler(monkeypatch, *, refused=False):
    calls = []

    def setscheduler(process, policy, parameters):
        if refused:
            raise PermissionError(1, "Operation not permitted")
        calls.append((process, policy, parameters))

    monkeypatch.setattr(os, "SCHED_FIFO", 1, raising=False)
    monkeypatch.setattr(os, "SCHED_RESET_ON_FORK", 1 << 30, raising=False)
    monkeypatch.setattr(os, "sched_param", lambda priority: priority, raising=False)
    monkeypatch.setattr(os, "sched_getscheduler", lambda process: 0, raising=False)
    monkeypatch.setattr(os, "sched_getparam", lambda process: 0, raising=False)
    monkeypatch.setattr(os, "sched_setscheduler", setscheduler, raising=False)
    return calls


@pytest.mark.parametrize("fails", [False, True])
def test_real_time_priority_is_given_back(monkeypatch, fails):
    calls = imitate_scheduler(monkeypatch)

    def work():
        with real_time_priority() as permitted:
            assert permitted
            assert calls == [(0, 1 | 1 << 30, 1)]
            if fails:
                raise KeyError

    with pytest.raises(KeyError) if fails else contextlib.nullcontext():
        work()
    assert calls[1:] == [(0, 0 | 1 << 30, 0)]


def test_without_permission_the_priority_stays(monkeypatch):
    calls = imitate_scheduler(monkeypatch, refused=True)
    with real_time_priority() as permitted:
        assert not permitted
    assert calls == []


def test_without_a_scheduler_there_is_no_priority(monkeypatch):
    monkeypatch.delattr(os, "sched_getscheduler", raising=False)
    with real_time_priority() as permitted:
        assert not permitted


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the scheduler of Linux")
def test_the_real_scheduler():
    """If permitted, as for root; no child process inherits it."""

    def policy():
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK

    before = policy()
    with real_time_priority() as permitted:
        assert policy() == (os.SCHED_FIFO if permitted else before)
        child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        inherited = os.sched_getscheduler(child)
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert inherited == os.SCHED_OTHER
    assert policy() == before
