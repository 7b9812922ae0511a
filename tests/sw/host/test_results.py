"""Messages from the board are assigned to steps and neurons, or refused."""

import re

import numpy as np
import pytest
from harness.fake_board import INPUTS, OUTPUTS, loaded, program_of
from harness.networks import rng_of

from spikeloom.host.protocols import DriverError


def unsound(step, answer, *, at=3, change=lambda answer: answer):
    return change(answer) if step == at else answer


SLOT = 63
EDITS = {
    "fewer": (lambda answer: b"", "the run has stopped after 11 of 12 steps: the board has not answered"),
    "more": (lambda answer: answer + b"\x20", "the board has ended more than the expected 12 steps"),
    "early": (
        lambda answer: answer[:-1] + b"\x21",
        "sample ended in the wrong step, expected 4 steps, found earlier (step 1)",
    ),
    "late": (
        lambda answer: answer[:-1] + b"\x20",
        "sample ended in the wrong step, expected 4 steps, found later (step 3)",
    ),
    "no message": (
        lambda answer: b"\x05" + answer,
        "malformed message from the board: a message must begin with a known byte, not 0x05",
    ),
    "read": (lambda answer: b"\x02\x00\x00" + answer, "unexpected answer to a read from the board"),
    "slot": (
        lambda answer: bytes([0x10, SLOT, 0]) + answer,
        "the board has sent a spike of axon 63, which the program does not observe",
    ),
    "high slot": (
        lambda answer: bytes([0x10, 0, 9]) + answer,
        "the board has sent a spike of axon 2304, which the program does not observe",
    ),
    "membrane": (
        lambda answer: bytes([0x11, SLOT, 0, 0, 0, 0]) + answer,
        "the board has sent a value of axon 63, which the program does not observe",
    ),
    "twice": (
        lambda answer: answer[:-1] + bytes([0x10, 5, 0, 0x10, 5, 0]) + answer[-1:],
        "the board has sent a spike of the same axon twice in one step",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_unsound_answers_are_found(request, name):
    rng = rng_of(request.node.name)
    change, message = EDITS[name]
    program = program_of(rng)
    program.output_axons = np.arange(5, 5 + OUTPUTS)
    at = {"fewer": 11, "early": 1}.get(name, 3)
    board, _ = loaded(program, edit=lambda step, answer: unsound(step, answer, at=at, change=change))
    spikes = rng.random((4, 3, INPUTS)) < 0.1
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        board.run(spikes)
    with pytest.raises(DriverError, match=r"^a program must be loaded before a run$"):
        board.run(spikes)
    board.reopen()
    board.load(program)


def test_steps_after_the_last_are_found(request):
    rng = rng_of(request.node.name)
    program = program_of(rng)
    board, _ = loaded(program, edit=lambda step, answer: answer + b"\x20" * (step == 3))
    with pytest.raises(DriverError, match=r"^the board has ended more than the expected 4 steps$"):
        board.run(np.zeros((4, 1, INPUTS)))
    board, _ = loaded(program, edit=lambda step, answer: answer + b"\x80" * (step == 3))
    with pytest.raises(DriverError, match=r"^the board has sent a spike after the last step$"):
        board.run(np.zeros((4, 1, INPUTS)))


def test_missing_membranes_are_found(request):
    program = program_of(rng_of(request.node.name), membranes=True)
    board, _ = loaded(program, edit=lambda step, answer: answer[-1:] if step == 2 else answer)
    message = "too few membranes from the board in step 2, expected 5"
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        board.run(np.zeros((4, 1, INPUTS)))
