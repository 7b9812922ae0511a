"""The far end of a line in tests of the host: an echo behind a model, or a script."""

from spikeloom.host.transport import Transport
from spikeloom.sim.host.identity import Identity

IDENTITY = Identity(
    lanes=8, neurons=256, axons=784, weight_words=8192, weight_width=8, v_width=16, build_hash=b"0123456789abcdef"
)


def echo():
    """Serves a model: echoes its input, and begins each session empty."""
    waiting, resets = bytearray(), 0

    def serve(model):
        nonlocal resets
        if model.resets != resets:
            resets = model.resets
            waiting.clear()
        waiting.extend(model.receive())
        del waiting[: model.transmit(bytes(waiting))]

    return serve


class Scripted(Transport):
    """Answers each write by a function of its bytes; time passes when nothing arrives."""

    name = "a script"

    def __init__(self, answer):
        self.answer = answer
        self.waiting = b""
        self.seconds = 0.0

    def write(self, data):
        self.waiting += self.answer(data)

    def read(self, timeout_s):
        data, self.waiting = self.waiting, b""
        self.seconds += timeout_s if not data else 0.001
        return data

    def now(self):
        return self.seconds
