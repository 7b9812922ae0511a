"""Messages over a byte link: split, counted, and refused if malformed."""

import numpy as np
import pytest
from harness.fake_board import IDENTITY

from spikeloom.host.channel import PIECE, MessageChannel
from spikeloom.host.protocols import DriverError
from spikeloom.sim.host.bridge import BridgeModel


class ScriptedLink:
    """A link with prepared answers; it stores what was sent."""

    def __init__(self, *answers):
        self.answers, self.sent = list(answers), []

    def open(self):
        return IDENTITY

    def send(self, data):
        self.sent.append(data)

    def receive(self, minimum=1, *, timeout_s=None):
        return self.answers.pop(0)

    def poll(self):
        return self.answers.pop(0) if self.answers else b""


def test_messages_are_sent_in_pieces_and_in_order():
    messages = [bytes([number]) * 700 for number in range(80)]
    link = ScriptedLink()
    MessageChannel(link).send_all(messages)
    assert b"".join(link.sent) == b"".join(messages)
    assert all(PIECE <= len(piece) < PIECE + 700 for piece in link.sent[:-1])
    assert len(link.sent) == 4
    MessageChannel(link).send_all([])
    assert len(link.sent) == 4, "nothing must be sent where there is nothing to send"


def test_messages_may_be_cut_anywhere():
    model = BridgeModel(9)
    data = model.spike(300) + model.tick(False) + model.spike(7) + model.tick(True)
    for cut in range(1, len(data)):
        channel = MessageChannel(ScriptedLink(data[:cut], data[cut:]))
        parts = [channel.receive(), channel.poll()]
        assert np.concatenate([part.spike_axon for part in parts]).tolist() == [300, 7]
        assert np.concatenate([part.spike_step for part in parts]).tolist() == [0, 1]
        assert np.concatenate([part.ticks for part in parts]).tolist() == [False, True]
        assert channel.steps == 2


def test_a_session_counts_its_steps_from_0():
    tick = BridgeModel(9).tick(False)
    for again in ("open", "restart"):
        channel = MessageChannel(ScriptedLink(tick, tick * 2))
        channel.receive()
        assert channel.steps == 1
        assert getattr(channel, again)() == (IDENTITY if again == "open" else None)
        assert channel.steps == 0
        channel.receive()
        assert channel.steps == 2


def test_refuses_malformed_messages():
    with pytest.raises(DriverError, match=r"^malformed message from the board: a message must begin "):
        MessageChannel(ScriptedLink(b"\x05")).receive()
