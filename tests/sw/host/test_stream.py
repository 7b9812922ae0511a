"""A sample sent step by step, against a board in plain Python."""

import numpy as np
import pytest
from harness.fake_board import INPUTS, READOUTS, answer_of, loaded, program_of
from harness.networks import rng_of

from spikeloom.host.protocols import DriverError


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize("membranes", [False, True])
def test_a_stream_gives_steps_as_they_come(request, membranes, piece):
    rng = rng_of(request.node.name)
    program = program_of(rng, membranes=membranes)
    board, _ = loaded(program, piece=piece)
    for ends in (True, False):  # with a last step, or closed early, which adds a step without spikes
        spikes = rng.random((9, 1, INPUTS)) < 0.3
        spikes[-1] &= ends
        stream, found = board.stream(), []
        for t in range(9 if ends else 8):
            stream.send(spikes[t, 0], last=ends and t == 8)
            found += stream.poll() if t % 2 else stream.receive()
        found += stream.finish()
        expected, values = answer_of(program, spikes)
        assert np.array_equal([step.spikes for step in found], expected[:, 0])
        assert 0 < expected.sum() < expected.size
        if membranes:
            assert np.array_equal([step.values[:READOUTS] for step in found], values[:, 0])
        else:
            assert np.array_equal([step.values for step in found], expected[:, 0])
    result = board.run(spikes)  # and the board is usable again
    assert np.array_equal(result.spikes, expected)


def test_a_stream_refuses_what_cannot_be(request):
    rng = rng_of(request.node.name)
    program = program_of(rng)
    board, fake = loaded(program)
    stream = board.stream()
    with pytest.raises(DriverError, match=r"^a program must be loaded before a run$"):
        board.run(np.zeros((1, 1, INPUTS)))
    with pytest.raises(ValueError, match=rf"^spikes must have shape \({INPUTS},\), not \(1,\)$"):
        stream.send([1])
    nothing = np.zeros(INPUTS, np.bool_)
    stream.send(nothing, last=True)
    with pytest.raises(DriverError, match=r"^a step must not follow the last one$"):
        stream.send(nothing)
    stream.finish()
    for answer, message in (
        (fake.model.tick(False), "the board has ended the sample in step 0, not in its last step"),
        (fake.model.tick(True) * 2, "the board has ended more than the expected 1 steps"),
        (fake.model.spike(999), "the board has sent axon 999, which the program does not observe"),
        (fake.model.spike(int(program.output_axons[0])) * 2, "the board has sent a spike of the same axon twice"),
        (b"", "the run has stopped after 0 steps: the board has not answered"),
    ):
        board, _ = loaded(program, edit=lambda step, _, answer=answer: answer)
        stream = board.stream()
        stream.send(nothing, last=True)
        with pytest.raises(DriverError, match=f"^{message}"):
            stream.finish()
