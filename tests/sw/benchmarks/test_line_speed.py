"""Images per second through a serial line: every way is measured and compared, on a small network at the pins."""

import itertools
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import nir
import numpy as np
import pytest
from harness.mnist import digits_of, strokes
from harness.networks import rng_of

from spikeloom.benchmarks import line_speed
from spikeloom.benchmarks.line_speed import CLOCK_HZ, DIVISORS, ENCODERS, Rate, measure
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import ReferenceRunner

WAYS = 2 * 2 * 2
"""Encoders, where they run, and what comes back."""


def small_network(rng):
    """The shape of MNIST's networks with six hidden neurons, so that loading it takes seconds."""
    nodes = {
        "input": nir.Input(np.array([784])),
        "fc1": nir.Linear(rng.normal(0, 0.1, (6, 784))),
        "hidden": nir.IF(r=np.full(6, 1e4), v_threshold=np.ones(6), v_reset=np.zeros(6)),
        "fc2": nir.Linear(rng.normal(0, 0.6, (10, 6))),
        "digit": nir.IF(r=np.full(10, 1e4), v_threshold=np.ones(10), v_reset=np.zeros(10)),
        "output": nir.Output(np.array([10])),
    }
    names = list(nodes)
    return load(
        nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False),
        time_step_s=1e-4,
        reset="subtract",
    )


@pytest.fixture
def rng(request, monkeypatch):
    rng = rng_of(request.node.name)
    network = small_network(rng)
    monkeypatch.setattr(line_speed, "load", lambda path: network)
    return rng


@pytest.fixture
def in_place_of_pins(monkeypatch, rng):
    """The reference answers in place of the pins, in 1,000 cycles per image and cycle of a bit, of ten nanoseconds.

    The dictionary that is returned says what is added to its answers.
    """
    quantised, added = [], {"error": 0}
    place = line_speed.place

    def remembering(network, fabric):
        quantised.append(network)
        return place(network, fabric)

    def do_at_pins(fabric, work, arguments, directory, *, divisor):
        _, tasks = arguments
        reference, done = ReferenceRunner(quantised[-1]), []
        for task in tasks:
            spikes = task.inputs if task.encoder is None else task.encoder.encode(task.inputs)
            found = reference.do(replace(task, inputs=spikes, encoder=None))
            output = found.output if found.classes is None else found.classes
            images = spikes.shape[1]
            figures = {"seconds": images * divisor * 1000 * 1e-8, "sent": 300 * images, "received": 20 * images}
            done.append(SimpleNamespace(output=output + added["error"], **figures))
        return done, None

    monkeypatch.setattr(line_speed, "place", remembering)
    monkeypatch.setattr(line_speed, "do_at_pins", do_at_pins)
    return added


def test_rates_are_images_per_time_of_the_board(in_place_of_pins, rng, tmp_path):
    images = strokes(rng, 3)
    rates = measure(images, tmp_path)
    assert len(rates) == WAYS * len(DIVISORS)
    assert len({(r.line, r.encoder, r.encodes, r.answers) for r in rates}) == len(rates)
    for rate in rates:
        assert rate.images_per_s == round(CLOCK_HZ / (1000 * DIVISORS[rate.line]), 1)
        assert (rate.sent, rate.received) == (300, 20)
    assert {r.encoder for r in rates} == set(ENCODERS)
    assert {(r.encodes, r.answers) for r in rates} == {(e, a) for e in ("host", "board") for a in ("spikes", "classes")}


def test_an_answer_that_differs_ends_the_measurement(in_place_of_pins, rng, tmp_path):
    in_place_of_pins["error"] = 1
    message = r"^1 Mbaud, latency, T = 4, 2 bits: the board must answer as the reference, and differs$"
    with pytest.raises(RuntimeError, match=message):
        measure(strokes(rng, 2), tmp_path)


def test_the_command_keeps_its_result_and_shows_the_one_before(request, tmp_path, monkeypatch, capsys):
    digits = digits_of(rng_of(request.node.name))
    way = {"line": "1 Mbaud", "encoder": "latency", "encodes": "host", "answers": "spikes"}
    rate = Rate(**way, images_per_s=700.0, sent=345.6, received=20.0)
    asked = []

    def measured(images, directory):
        asked.append((len(images), str(directory)))
        return [rate]

    monkeypatch.setattr(line_speed, "measure", measured)
    monkeypatch.setattr(line_speed, "load_mnist", lambda folder, part: digits)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    kept = tmp_path / "kept.json"
    monkeypatch.setattr("sys.argv", ["line", "--data", "somewhere", "--images", "5", "--output", str(kept)])
    line_speed.main()
    assert asked == [(5, "build/line")]
    assert json.loads(kept.read_text()) == [asdict(rate)]
    shown = capsys.readouterr().out
    assert "5 images of MNIST" in shown
    assert "700 │      -" in shown
    assert "346" in shown
    kept.write_text(json.dumps([{**asdict(rate), "images_per_s": 600.0}]))
    line_speed.main()
    assert "700 │    600" in capsys.readouterr().out


def test_every_way_at_the_pins(rng, tmp_path, shared_build):
    """The whole board in the simulator, with encoder and readout: the answers are compared inside `measure`."""
    images = strokes(rng, 2)
    rates = measure(images, shared_build(tmp_path / "run"), lines=["3 Mbaud"])
    assert len(rates) == WAYS
    # A line carries at most one byte in ten bits. Bytes count when the driver writes them: a few frames are still
    # under way when the answer has come, which is some percent of two images.
    most = 1.1 * CLOCK_HZ / (10 * DIVISORS["3 Mbaud"])
    assert all(0 < rate.images_per_s * max(rate.sent, rate.received) < most for rate in rates)
    # Pixels go out once, spikes in each step: with many steps the encoder of the board saves most of the bytes.
    sent = {rate.encodes: rate.sent for rate in rates if rate.encoder.startswith("rate") and rate.answers == "spikes"}
    assert sent["board"] < sent["host"]
