"""The recurrence of the arbiter: every word reaches its core, and no core waits for more than its turn."""

import dataclasses

import pytest
from harness.networks import rng_of
from harness.row_arbiter import run_arbiter

from spikeloom.sim.sdram.arbiter import INCOMPLETE_ROWS, ArbiterModel, ArbiterParameters

PARAMETERS = ArbiterParameters(cores=3, address_bits=6, row_words=8)


def model_of(cores, kind=ArbiterModel):
    return kind(dataclasses.replace(PARAMETERS, cores=cores))


class Unfair(ArbiterModel):
    """Cores with low numbers always come first."""

    def step(self, *arguments, **more):
        self.order.sort()
        return super().step(*arguments, **more)


@pytest.mark.parametrize("cores", [2, 3, 5])
def test_cores_get_their_words_in_turn(request, cores):
    rng = rng_of(request.node.name)
    run = run_arbiter(rng, model_of(cores), idle=0.1)
    assert run.passed == 1, "a request waits for at most one row of each other core"
    assert run.words > 60 * cores
    assert run.dropped == 0


def test_an_unfair_arbiter_is_noticed(request):
    run = run_arbiter(rng_of(request.node.name), model_of(3, Unfair), idle=0.1)
    assert run.passed > 5


def test_a_stall_of_the_memory_for_1000_cycles(request):
    """All queues are full then; afterwards the cores go on as if nothing had happened."""
    run = run_arbiter(rng_of(request.node.name), model_of(4), idle=0.0, long_stall=1000)
    assert run.passed == 1
    assert 900 < run.waited < 1400


@pytest.mark.parametrize("slow", [0.0, 0.9])
def test_cores_that_forget_their_rows(request, slow):
    """Words of forgotten rows go to no core, and the other cores do not notice."""
    run = run_arbiter(rng_of(request.node.name), model_of(3), idle=0.1, stall=slow, restart=0.02)
    assert run.passed == 1
    assert min(run.words, run.dropped) > 20


def test_a_core_alone_has_the_whole_bandwidth():
    """A row per cycle is granted, and a word per cycle passes."""
    model = model_of(2)
    words = 0
    for cycle in range(200):
        out = model.step([(0, 0), None], [False] * 2, memory_ready=True, word=cycle > 1, readies=[True, True])
        assert out.granted == 0
        words += out.receiver == 0
    assert words == 198


def test_at_most_16_rows_are_incomplete():
    """The memory accepts no more (`spikeloom.hdl.sdram.gearbox.ROWS`)."""
    model = model_of(2)
    granted = [
        model.step([(0, 0)] * 2, [False] * 2, memory_ready=True, word=False, readies=[True] * 2).granted
        for _ in range(40)
    ]
    assert granted == [0, 1] * (INCOMPLETE_ROWS // 2) + [None] * (40 - INCOMPLETE_ROWS)


def test_slices():
    p = dataclasses.replace(PARAMETERS, cores=5)
    assert (p.core_bits, p.words, p.first(4)) == (3, 5 * 64, 4 * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cores": 1}, r"^cores must be from 2 to 16, not 1$"),
        ({"cores": 17}, r"^cores must be from 2 to 16, not 17$"),
        ({"address_bits": 26}, r"^address_bits must be from 1 to 25, not 26$"),
        ({"row_words": 0}, r"^row_words must be from 1 to 16384, not 0$"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PARAMETERS, **changes)
