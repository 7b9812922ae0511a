"""What the reference and the hardware are compared in, and that every difference counts."""

from types import SimpleNamespace

import numpy as np
from harness.networks import rng_of

from spikeloom.runners.compare import compare
from spikeloom.runners.runner import RunResult


def both(rng):
    """A reference and a run that agree: spikes of two populations, values of one, membranes of a third."""
    spikes = {name: rng.random((4, 3, 5)) < 0.4 for name in ("a", "b")}
    values = {"b": np.where(spikes["b"], rng.integers(2, 9, (4, 3, 5)), 0)}
    membranes = rng.integers(-50, 50, (4, 3, 2))
    states = {"c": SimpleNamespace(v=membranes)}
    reference = SimpleNamespace(spikes=spikes, values=values, states=states)
    run = RunResult(
        output_name="c",
        spikes={name: array.copy() for name, array in spikes.items()},
        values={"b": values["b"].copy()},
        membranes={"c": membranes.copy()},
    )
    return reference, run


def test_what_agrees(request):
    reference, run = both(rng_of(request.node.name))
    fired = {name: int(array.sum()) for name, array in reference.spikes.items()}
    assert compare(reference, run) == (fired["a"] + 2 * fired["b"] + 4 * 3 * 2, 0)
    assert fired["a"] != fired["b"]


def test_every_difference_counts(request):
    reference, run = both(rng_of(request.node.name))
    run.spikes["a"][1, 2, 3] ^= True
    run.spikes["b"][0, 0] ^= True
    run.values["b"][3, 1, 4] += 1
    run.membranes["c"][2] += 1
    assert compare(reference, run)[1] == 1 + 5 + 1 + 6
