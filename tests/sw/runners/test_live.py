"""What `run --inputs udp://` is told, and refuses. `tests/sw/simulators/test_virtual_board.py` runs it."""

import re

import pytest

from spikeloom.datasets.inputs import InputError
from spikeloom.host.spif import PixelMap
from spikeloom.runners.live import peer_address, pixels_from, udp_address


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
