"""Boards of protocol version 1 are recognised by their own frames only."""

import pytest
from harness.version1 import IDENTITY_1, Version1Board

from spikeloom.host.version1 import Version1Listener, version1_opening
from spikeloom.sim.host.link import Deframer, Frame, Kind


def test_opening_bytes():
    """As sent by drivers of version 1."""
    line = "02 02 01 01 01 01 01 0a 04 01 02 03 04 e1 da 16 f5 00"
    assert version1_opening(b"\x01\x02\x03\x04") == bytes.fromhex(line)


def test_the_answer_is_found_in_any_pieces():
    board, listener = Version1Board(), Version1Listener(b"1234")
    line = b"\0noise\0" + board(version1_opening(b"1234"))
    assert board.sessions == 1
    found = [listener.feed(line[place : place + 1]) for place in range(len(line))]
    assert found == [None] * (len(line) - 1) + [IDENTITY_1]


def test_malformed_answers():
    board, listener = Version1Board(), Version1Listener(b"1234")
    answer = board(version1_opening(b"1234"))
    assert listener.feed(board(version1_opening(b"4321"))) is None
    for place in range(len(answer) - 1):
        assert listener.feed(answer[:place] + bytes([answer[place] ^ 0x40]) + answer[place + 1 :] + b"\0") is None
    ours = Frame(kind=Kind.IDENTITY, payload=b"1234" + IDENTITY_1).encode()
    assert listener.feed(ours) is None
    assert listener.feed(bytes([0x55]) * 100_000 + b"\0") is None
    assert listener.feed(answer) == IDENTITY_1


@pytest.mark.parametrize("nonce", [b"1234", bytes(4)])
def test_each_version_is_damaged_to_the_other(nonce):
    assert Deframer().feed(version1_opening(nonce)) == [None]
    board = Version1Board()
    assert board(Frame(kind=Kind.OPEN, payload=nonce).encode()) == b""
    assert board.sessions == 0
