"""Images per second over each link: every mode is measured and compared, on a small network at the pins."""

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
from spikeloom.benchmarks.line_speed import ENCODERS, LINES, MODEL, Line, Rate, driver_rates, limit_of, measure
from spikeloom.boards.targets.registry import all_boards
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.shipped import shipped
from spikeloom.explore.choose import choose_core
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import ReferenceRunner
from spikeloom.sim.host.ethernet import UDP_LINK
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.files import FileError

WAYS = 2 * 2 * 2
"""Encoders, where they run, and what comes back."""


def small_network(rng):
    """The shape of MNIST's networks with six hidden neurons, so that loading takes only seconds."""
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
    """Let the reference answer in place of the pins, in 1,000 cycles per image and cycle of a bit, of ten nanoseconds.

    An image alone takes one more cycle per predecessor. The returned dictionary says what is added to the answers.
    """
    quantised, added = [], {"error": 0}
    place = line_speed.place

    def remembering(network, fabric):
        quantised.append(network)
        return place(network, fabric)

    def do_at_pins(fabric, work, arguments, directory, *, divisor=0, ethernet_hz=None, usb_hz=None, ulpi_hz=None):
        program, tasks, alone = arguments
        assert program.fabric is fabric
        assert (fabric.link == UDP_LINK) == (ethernet_hz is not None or ulpi_hz is not None)
        assert sum(rate not in (0, None) for rate in (divisor, ethernet_hz, usb_hz, ulpi_hz)) == 1
        divisor = divisor or 1
        reference, done = ReferenceRunner(quantised[-1]), []
        for task in tasks:
            spikes = task.inputs if task.encoder is None else task.encoder.encode(task.inputs)
            found = reference.do(replace(task, inputs=spikes, encoder=None))
            output = found.output if found.classes is None else found.classes
            images = spikes.shape[1]
            figures = {"seconds": images * divisor * 1000 * 1e-8, "sent": 90 * images, "received": 20 * images}
            figures |= {"frames_sent": images, "frames_received": images}
            figures |= {"bus_s": 0.9 * figures["seconds"] * bool(usb_hz or ulpi_hz)}
            figures |= {"core_cycles": 10 * images, "latencies_s": [(1000 + image) * 1e-8 for image in range(alone)]}
            singles = [output[:, [n]] if found.classes is None else output[[n]] for n in range(alone)]
            done.append(SimpleNamespace(output=output + added["error"], alone=singles, **figures))
        return done, None

    monkeypatch.setattr(line_speed, "place", remembering)
    monkeypatch.setattr(line_speed, "do_at_pins", do_at_pins)
    return added


def test_rates_are_images_per_time_of_the_board(in_place_of_pins, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = strokes(rng, 5)
    rates = measure(images, tmp_path, alone=3)
    assert len(rates) == WAYS * len(LINES)
    assert len({(r.link, r.encoding, r.sends, r.answers) for r in rates}) == len(rates)
    for rate in rates:
        line = LINES[rate.link]
        divisor = line.divisor or 1
        assert (rate.board, rate.clock_mhz) == (line.board, line.clock_hz / 1e6)
        assert rate.images_per_s == round(line.clock_hz / (1000 * divisor), 1)
        assert (rate.sent, rate.received, rate.images, rate.alone, rate.mismatches) == (90, 20, 5, 3, 0)
        assert rate.latency_us == round(1001 / rate.clock_mhz, 1)
        assert rate.latency_99_us == round(1001.98 / rate.clock_mhz, 1)
        # 900 bits in the time of 1,000 are the highest load, except for the slower encoder on a fast line.
        share = 0.9 if line.kind is LinkKind.USB else rate.busy["line to the board"]
        expected = {"line to the board": 0.9, "line from the board": 0.2}
        if line.kind is LinkKind.USB:
            expected = {"bus": 0.9}
        if line.kind is LinkKind.UDP:
            # 66 bytes around a datagram; the link takes two cycles per byte, and four the other way.
            per_byte = line.clock_hz / 125e6 / 1000
            expected = {"line to the board": round(156 * per_byte, 3), "line from the board": round(86 * per_byte, 3)}
        if line.kind is LinkKind.UDP or line.high_speed:
            expected |= {"link to the board": 0.18, "link from the board": 0.08}
        expected["core"] = round(0.01 / divisor, 3)
        if rate.sends == "pixels":
            encoder = ENCODERS[rate.encoding]
            cycles = encoder.steps * 785
            if isinstance(encoder, LatencyEncoder):
                lit = np.count_nonzero(pixel_levels(images, encoder.bits)) / 5
                assert 0 < lit < 784
                cycles = encoder.steps + 2 * lit
            expected["encoder"] = min(1.0, round(cycles / (1000 * divisor), 3))
        assert rate.busy == expected
        line_name = "bus" if line.kind is LinkKind.USB else "line to the board"
        limit = "encoder" if expected.get("encoder", 0) > share else line_name
        assert rate.limit == (limit if max(expected.values()) >= 0.75 else "round trips")
    assert {r.encoding for r in rates} == set(ENCODERS)
    assert {(r.sends, r.answers) for r in rates} == {
        (e, a) for e in ("spikes", "pixels") for a in ("spikes", "classes")
    }


def test_answers_that_differ_are_counted(in_place_of_pins, rng, tmp_path):
    in_place_of_pins["error"] = 1
    rates = measure(strokes(rng, 2), tmp_path, alone=1, lines=["uart, 1 Mbaud"])
    for rate in rates:
        encoder = ENCODERS[rate.encoding]
        # Each of ten outputs in each step, or a class; the image alone is correct.
        assert rate.mismatches == 2 * (1 if rate.answers == "classes" else 10 * encoder.steps)


def test_the_core_of_a_fast_line_is_the_one_that_a_board_gets():
    """`bitstream NETWORK` chooses without a number of lanes."""
    network = load(shipped(MODEL))
    quantised = quantise(network, Quantisation(weight_width=8))
    lines = {name: line for name, line in LINES.items() if line.lanes > 8}
    assert {line.kind for line in lines.values()} == {LinkKind.USB, LinkKind.UDP}
    for line in lines.values():
        fabric = line.fabric(quantised)
        assert fabric.core == choose_core(quantised, all_boards()[line.board].device, link=line.kind)
        assert fabric.core.lanes == line.lanes
        assert fabric.link == UDP_LINK
        assert fabric.encoder is not None
        assert fabric.readout is not None
    assert LINES["udp, 1 Gbit/s"].fabric(quantised).core.lanes == 8


def test_what_limits():
    busy = {"line to the board": 0.8, "line from the board": 0.2, "core": 0.9}
    assert limit_of(busy, 1000, None) == "core"
    assert limit_of(busy, 1000, 1001) == "core"
    assert limit_of(busy, 1000, 999) == "driver"
    assert limit_of({**busy, "core": 0.7}, 1000, 2000) == "line to the board"
    assert limit_of({**busy, "core": 0.7, "line to the board": 0.74}, 1000, 2000) == "round trips"


def test_the_driver_alone_is_read_from_its_benchmark(tmp_path):
    assert driver_rates(tmp_path / "driver.json") == {}
    found = {"images_per_s": {"spikes, spikes back": 5, "pixels, classes back": 7}}
    (tmp_path / "driver.json").write_text(json.dumps(found))
    assert driver_rates(tmp_path / "driver.json") == {("spikes", "spikes"): 5, ("pixels", "classes"): 7}
    (tmp_path / "driver.json").write_text(json.dumps({"format": 2, **found}))
    with pytest.raises(FileError, match=r"driver\.json has format 2, expected 1: it was written by a newer version"):
        driver_rates(tmp_path / "driver.json")


def test_the_command_keeps_its_result_and_shows_the_one_before(request, tmp_path, monkeypatch, capsys):
    digits = digits_of(rng_of(request.node.name))
    link, other = list(LINES)[:2]
    rate = Rate(
        link=link,
        board="one",
        clock_mhz=25.0,
        encoding="latency",
        sends="spikes",
        answers="spikes",
        images=5,
        images_per_s=700.0,
        alone=2,
        latency_us=1234.0,
        latency_99_us=5678.0,
        limit="core",
        busy={"core": 0.9},
        sent=345.6,
        received=20.0,
        mismatches=0,
    )
    asked, mismatches = [], [0]

    def measured(images, directory, *, alone, lines):
        asked.append((len(images), str(directory), alone, lines))
        return [replace(rate, mismatches=mismatches[0])]

    monkeypatch.setattr(line_speed, "measure", measured)
    monkeypatch.setattr(line_speed, "load_mnist", lambda folder, part: digits)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    kept = tmp_path / "kept.json"
    command = ["line", "--data", "somewhere", "--images", "5", "--alone", "2", "--output", str(kept)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match=r"^0$"):
        line_speed.main()
    assert asked == [(5, "build/line", 2, tuple(LINES))]
    assert json.loads(kept.read_text()) == [{"format": 1, **asdict(rate)}]
    assert json.loads((tmp_path / "build/line/summary.json").read_text()) == [{"format": 1, **asdict(rate)}]
    shown = capsys.readouterr().out
    assert "5 images of MNIST" in shown
    assert "700 │      -" in shown
    assert "1,234 │ 5,678 │ core" in shown
    assert "0 answers differ" in shown
    # One link only: the figures of the others are kept.
    elsewhere = {**asdict(rate), "link": other}
    kept.write_text(json.dumps([elsewhere, {**asdict(rate), "images_per_s": 600.0}]))
    monkeypatch.setattr("sys.argv", [*command, "--line", link])
    mismatches[0] = 3
    with pytest.raises(SystemExit, match=r"^1$"):
        line_speed.main()
    shown = capsys.readouterr().out
    assert "700 │    600" in shown
    assert "3 answers differ" in shown
    entries = [elsewhere, asdict(replace(rate, mismatches=3))]
    assert json.loads(kept.read_text()) == [{"format": 1, **entry} for entry in entries]
    kept.write_text(json.dumps([{"format": 2, **elsewhere}]))
    with pytest.raises(SystemExit, match=r"^2$"):
        line_speed.main()
    assert f"{kept} has format 2, expected 1: it was written by a newer version" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*command, "--alone", "6"])
    with pytest.raises(SystemExit, match=r"^2$"):
        line_speed.main()
    assert "--alone must be from 1 to 5, not 6" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bytes_per_ms"), [("usb, full speed", 19 * 64), ("usb, high speed", 8 * 13 * 512)])
def test_usb_at_the_pins(rng, tmp_path, shared_build, monkeypatch, name, bytes_per_ms):
    """Packets at the pins, with the clocks of a board: the answers are compared inside `measure`."""
    monkeypatch.setattr(line_speed, "ENCODERS", {"latency": LatencyEncoder(steps=3, bits=2)})
    rates = measure(strokes(rng, 4), shared_build(tmp_path / "run"), alone=2, lines=[name])
    assert len(rates) == 4
    assert all(rate.mismatches == 0 for rate in rates)
    for rate in rates:
        # Both directions share the bus.
        assert 0 < rate.images_per_s * (rate.sent + rate.received) < 1.1 * bytes_per_ms * 1000
        assert rate.latency_99_us >= rate.latency_us > 5
        assert all(0 < share < 1 for share in rate.busy.values())


@pytest.mark.slow
def test_ethernet_at_the_pins(rng, tmp_path, shared_build, monkeypatch):
    """Datagrams at GMII, with the clocks of a board: the answers are compared inside `measure`."""
    monkeypatch.setattr(line_speed, "ENCODERS", {"latency": LatencyEncoder(steps=3, bits=2)})
    line = LINES["udp, 1 Gbit/s"]
    rates = measure(strokes(rng, 4), shared_build(tmp_path / "run"), alone=2, lines=["udp, 1 Gbit/s"])
    assert len(rates) == 4
    assert all(rate.mismatches == 0 for rate in rates)
    for rate in rates:
        assert 0 < rate.images_per_s < line.clock_hz / (2 * rate.sent)
        assert rate.latency_99_us >= rate.latency_us > 3
        assert all(0 < share < 1 for share in rate.busy.values())


@pytest.mark.parametrize(
    "line",
    [
        Line(board="one with a fast line", clock_hz=100_000_000, divisor=4),
        pytest.param(LINES["uart, 12 Mbaud"], marks=pytest.mark.slow),
    ],
    ids=["fast", "as on a board"],
)
def test_every_way_at_the_pins(rng, tmp_path, shared_build, monkeypatch, line):
    """The whole board in the simulator, with encoder and readout: the answers are compared inside `measure`.

    Most cycles are those of the line: with few per bit they are a third.
    """
    images = strokes(rng, 2)
    monkeypatch.setitem(LINES, "line", line)
    rates = measure(images, shared_build(tmp_path / "run"), alone=1, lines=["line"])
    assert len(rates) == WAYS
    # A line carries at most one byte in ten bits. Bytes count when the driver writes them: a few frames, some percent
    # of two images, are still in transit when the answer has arrived.
    most = 1.1 * line.clock_hz / (10 * line.divisor)
    assert all(0 < rate.images_per_s * max(rate.sent, rate.received) < most for rate in rates)
    assert all(rate.mismatches == 0 for rate in rates)
    # An image alone cannot be faster than its bytes, nor the core faster than its words.
    assert all(rate.latency_99_us >= rate.latency_us > rate.received * 1e6 / most for rate in rates)
    assert all(0 < rate.busy["core"] < 1 for rate in rates)
    # Pixels are sent once, spikes in each step: with many steps, the encoder on the board saves most of the bytes.
    sent = {rate.sends: rate.sent for rate in rates if rate.encoding.startswith("rate") and rate.answers == "spikes"}
    assert sent["pixels"] < sent["spikes"]
