"""Console output: names printed literally, numbers with separators."""

import itertools
import json

import nir
import numpy as np
import pytest
from harness.cli import lif, refused, write_network

from spikeloom.cli.app import main
from spikeloom.cli.console import figures, one_line, out, printable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3100.0, "3,100"),
        (3149.0, "3,150"),
        (1234567.0, "1,230,000"),
        (999.6, "1,000"),
        (12.0, "12"),
        (11.24, "11.2"),
        (0.01234, "0.0123"),
        (0.0, "0"),
        (-5.5, "-5.5"),
        (float("inf"), "inf"),
    ],
)
def test_figures(value, text):
    assert figures(value) == text


def test_what_is_not_printable_is_escaped():
    assert printable("a\x1b[31m\rb\u202ec\td\nße") == r"a\x1b[31m\rb\u202ec\td" + "\nße"
    assert printable("\udc80") == r"\udc80"
    assert one_line("a\nb") == r"a\nb"


NAME = "hid[red]den[x] ß:smile:\x1b[2J\u202e"
SHOWN = "hid[red]den[x] ß:smile:\\x1b[2J\\u202e"


def strange(path):
    """A network whose hidden population has a hostile name."""
    rng = np.random.default_rng(3)
    nodes = {
        "input": nir.Input(np.array([64])),
        "fc1": nir.Linear(rng.normal(0, 0.2, (8, 64))),
        NAME: lif(8),
        "fc2": nir.Linear(rng.normal(0, 0.4, (10, 8))),
        "class": lif(10),
        "output": nir.Output(np.array([10])),
    }
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    hints = {"spikeloom": {"preset": "snntorch", "reset": "zero", "reset_delay": 0}}
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges, metadata=hints, type_check=False))
    return str(path)


def test_a_strange_name_is_shown_as_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 300)  # rich reads COLUMNS only when the console is made
    path = strange(tmp_path / "[bold]x.nir")
    main(["check", path])
    text = capsys.readouterr().out
    assert SHOWN in text
    assert "[bold]x: 64 inputs" in text
    assert "\x1b" not in text
    main(["place", path, "--tiles", "2"])
    assert SHOWN in capsys.readouterr().out
    main(["check", path, "--json"])
    assert json.loads(capsys.readouterr().out)["network"]["populations"][0]["name"] == NAME


def test_a_strange_name_in_a_refusal(tmp_path, capsys):
    message = refused(capsys, "check", tmp_path / "none[red]\x1b\n.nir")
    assert "none[red]" in message
    assert "\x1b" not in message


def test_a_terminal_that_cannot_show_a_name(tmp_path, monkeypatch, capsys):
    import io
    import sys

    path = write_network(tmp_path / "größe.nir")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    main(["check", path])
    stream.flush()
    assert rb"gr\xf6\xdfe: 64 inputs" in stream.buffer.getvalue()


def test_notes_are_one_line_each_and_no_bar_is_drawn_where_there_is_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    path = write_network(tmp_path / "net.nir")
    main(["run", path, "--backend", "reference", "--fabric", "small", "--inputs", "random:1"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "inputs: 20 images of 64, encoded as spikes of 6 steps x 20 samples x 64 lines"
