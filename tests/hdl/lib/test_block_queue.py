"""The queue in block RAM: words leave in the order in which they entered."""

import pytest
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.hdl.lib.block_queue import BlockQueue


@pytest.mark.parametrize(("idle", "stall"), [(0.0, 0.0), (0.3, 0.3), (0.1, 0.8), (0.8, 0.1)])
def test_queue(request, idle, stall):
    """All words in order; without pauses one per cycle, also after it has been full."""
    rng = rng_of(request.node.name)
    words = rng.integers(0, 256, 400).tolist()
    dut = BlockQueue(8, 16)
    run = run_streams(dut, [dut.i], [dut.o], [words], rng, idle=idle, stall=stall)
    assert run.words(0) == words
    if not idle:
        given = [cycle for _, cycle in run.given[0]]
        assert given[0] - run.taken[0][0][1] == 4
        if not stall:
            assert given[-1] - given[0] == len(words) - 1
        else:
            assert run.taken[0][-1][1] > 2 * len(words), "it was full"
