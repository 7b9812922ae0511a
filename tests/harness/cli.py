"""Helpers for tests of the commands: the file of a small network, and the sentence of an error."""

import itertools
from pathlib import Path

import nir
import numpy as np
import pytest

from spikeloom.cli.app import main
from spikeloom.datasets.encoders import RateEncoder
from spikeloom.simulators import build, verilator

SETTLED = f"""
from spikeloom.cli.app import main
from spikeloom.simulators import build, verilator

if __name__ == "__main__":
    verilator.FAST, verilator.LIBRARY = {verilator.FAST!r}, {verilator.LIBRARY!r}
    verilator.PARALLEL, build.UNITS = {verilator.PARALLEL!r}, {build.UNITS!r}
    main()
"""
"""The command in a process of its own, with designs compiled as in all tests, without optimisation: runs are short."""


def lif(size, tau=8e-4):
    one = np.ones(size)
    return nir.LIF(tau=tau * one, r=8 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)


def write_network(path, *, inputs=64, hidden=8, weight=None, nodes=None, edges=None, hints=None):
    """Write a network of two layers; ``nodes`` and ``edges`` override those of the network."""
    rng = np.random.default_rng(5)
    content = {
        "input": nir.Input(np.array([inputs])),
        "fc1": nir.Linear(rng.normal(0, 0.2, (hidden, inputs)) if weight is None else weight),
        "hidden": lif(hidden),
        "fc2": nir.Linear(rng.normal(0, 0.4, (10, hidden))),
        "class": lif(10),
        "output": nir.Output(np.array([10])),
    } | (nodes or {})
    names = ["input", "fc1", "hidden", "fc2", "class", "output"]
    pairs = [*itertools.pairwise(names), *(edges or [])]
    metadata = {
        "spikeloom": {"preset": "snntorch", "reset": "zero", "reset_delay": 0} | (hints or {}),
        "spikeloom_encoder": RateEncoder(steps=6, bits=4).settings(),
    }
    nir.write(path, nir.NIRGraph(nodes=content, edges=pairs, metadata=metadata, type_check=False))
    return str(path)


def sentence(capsys, *arguments):
    """The sentence with which the command refuses ``arguments``, without notes before it."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    *notes, error = capsys.readouterr().err.strip().split("\n")
    assert error.startswith("spikeloom: "), error
    assert not any(note.startswith(("spikeloom: ", "Traceback")) for note in notes), notes
    return error.removeprefix("spikeloom: ")


def refused(capsys, *arguments):
    """Like `sentence`, and assert that nothing was written."""
    error = sentence(capsys, *arguments)
    assert not [path for path in Path().rglob("*") if path.is_file()]
    return error
