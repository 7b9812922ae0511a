"""``spikeloom run``."""

import json
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from harness.cli import refused

from spikeloom.boards.targets.registry import BOARDS
from spikeloom.cli.app import main
from spikeloom.datasets.readout import Decision, classify
from spikeloom.sim.host.link import DeviceModel, LinkParameters


def test_run_on_the_reference(network, tmp_path, capsys):
    images = np.random.default_rng(1).integers(0, 17, (5, 8, 8))
    np.savez(tmp_path / "images.npz", images=images, labels=np.zeros(5, np.int64))
    output = tmp_path / "out.npy"
    main(["run", network, "--backend", "reference", "--inputs", str(tmp_path / "images.npz"), "--output", str(output)])
    assert "accuracy" in capsys.readouterr().out
    result = np.load(output)
    assert result.shape == (6, 5, 10)
    assert 0 < result.sum() < result.size


def test_a_missing_port(network, capsys):
    message = refused(capsys, "run", network)
    assert message == "a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000"
    assert "/dev/ttyNONE" in refused(capsys, "run", network, "--port", "/dev/ttyNONE")


def test_spikes_are_not_encoded_on_the_board(network, tmp_path, capsys):
    np.save(tmp_path / "spikes.npy", np.zeros((4, 2, 64), bool))
    inputs = ["--inputs", tmp_path / "spikes.npy", "--encode", "board"]
    message = "inputs must be images to be encoded on the board, not spikes"
    assert refused(capsys, "run", network, "--backend", "reference", *inputs) == message


def serve_once(listener, model):
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(4096):
            model.from_line(data)
            connection.sendall(model.to_line())


def test_a_bitstream_of_another_build(tmp_path, network, capsys):
    identity = BOARDS["icebreaker"].buildable_fabric().identity(bytes(range(16)))
    model = DeviceModel(LinkParameters(), identity.encode())
    expected = tmp_path / "identity"
    expected.write_text("ff" * 16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve_once, args=(listener, model))
        server.start()
        port = f"127.0.0.1:{listener.getsockname()[1]}"
        message = refused(capsys, "run", network, "--port", port, "--identity", expected)
        server.join(10)
    assert message == (
        f"the board runs build {bytes(range(16)).hex()}, expected {'ff' * 16}: load the bitstream of the expected build"
    )


def test_run_on_the_compiled_core(network, tmp_path, shared_build):
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(1).integers(0, 17, (5, 8, 8)))
    shared_build("build/run")
    outputs = []
    for backend in ("reference", "rtl"):
        output = tmp_path / f"{backend}.npy"
        main(["run", network, "--backend", backend, "--inputs", str(tmp_path / "images.npz"), "--output", str(output)])
        outputs.append(np.load(output))
    assert (outputs[0] == outputs[1]).all()
    assert outputs[0].any()


def test_an_output_that_does_not_fit_on_the_disk(network, tmp_path):
    """One sentence; the older file survives, and no other file remains."""
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    output.write_text("older")
    script = (
        "import resource, sys; from spikeloom.cli.app import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); main(sys.argv[1:])"
    )
    options = ["--backend", "reference", "--fabric", "small", "--output", str(output)]
    command = [sys.executable, "-c", script, "run", network, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().split("\n")[-1].startswith("spikeloom: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in output.parent.iterdir()] == ["out.npy"]
    assert output.read_text() == "older"


def outputs_of(tmp_path, capsys, *arguments):
    main([*arguments, "--output", str(tmp_path / "out.npy"), "--json"])
    return json.loads(capsys.readouterr().out), np.load(tmp_path / "out.npy")


@pytest.mark.parametrize("decision", list(Decision), ids=lambda decision: decision.value)
def test_a_decision_is_made_from_what_the_last_layer_gives(tmp_path, network, capsys, decision):
    """The same network with spikes or membranes as its output: a last layer without a reset gives both."""
    np.save(tmp_path / "spikes.npy", np.random.default_rng(4).random((8, 20, 64)) < 0.1)
    options = ["--layer", "class:reset=none", "--inputs", str(tmp_path / "spikes.npy"), "--decision", decision.value]
    said, output = outputs_of(tmp_path, capsys, "run", network, "--backend", "reference", *options)
    assert output.dtype == (bool if decision.by_spikes else np.int64)
    assert said["answers"] == classify(output, decision).tolist()
    assert len(set(said["answers"])) > 2
    main(["check", network, *options, "--json"])
    assert json.loads(capsys.readouterr().out)["agreement"]["answers"] > 0.5
    main(["run", network, "--backend", "reference", *options])
    assert "0" in capsys.readouterr().out


def test_several_spikes_per_step_are_counted_in_the_answer(tmp_path, network, capsys):
    """The rule of the readout on the board counts all of them, as the host does."""
    np.save(tmp_path / "spikes.npy", np.random.default_rng(4).random((8, 20, 64)) < 0.3)
    options = ["run", network, "--backend", "reference", "--max-spikes", "7", "--inputs", str(tmp_path / "spikes.npy")]
    _, counts = outputs_of(tmp_path, capsys, *options)
    said, classes = outputs_of(tmp_path, capsys, *options, "--answer", "count")
    assert counts.max() > 1
    assert said["answers"] == classes.tolist() == classify(counts).tolist()
    assert (classes != classify(counts > 0)).any(), "events would give other answers"


def test_a_decision_that_the_output_does_not_give_is_refused(network, capsys):
    inputs = ["--inputs", "random:1"]
    said = refused(capsys, "check", network, "--decision", "largest-membrane", *inputs)
    assert said.startswith("the output 'class' must have reset none and no refractory period for its membranes to be")
    said = refused(capsys, "run", network, "--backend", "reference", "--decision", "most-spikes", "--answer", "count")
    assert said == "decision must be left out with --answer, which names the rule of the readout on the board"
