"""Choosing the fabric."""

import re

from harness.cli import refused

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped


def test_fields_of_the_core_that_are_given(capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, **settings):
        asked.append(fabric.core)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    fields = ["--core", "lanes=1", "--core", "state_memory=block", "--core", "readout=yes", "--core", "bias=yes"]
    digits = [shipped("digits-mlp.nir"), "--board", "ulx3s-85f"]
    assert refused(capsys, "bitstream", *digits, *fields) == "enough"
    (core,) = asked
    assert (core.lanes, core.state_memory, core.readout, core.neurons) == (1, "block", True, 42)
    message = refused(capsys, "check", *digits, "--core", "wheels=4")
    assert message.startswith("core must be FIELD=VALUE with one of ")
    assert " lanes, lane_banks, neurons, " in message
    assert message.endswith(", not 'wheels=4'")
    main(["check", *map(str, digits), *fields])
    assert re.search(r"lanes\W+1\W+given", capsys.readouterr().out)
