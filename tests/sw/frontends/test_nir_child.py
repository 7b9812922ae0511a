"""The process that reads NIR files: its output format, its limits, and that it opens nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeloom.frontends import nir_child
from spikeloom.frontends.nir_child import DEEPEST, LARGE, MOST_OBJECTS, SPARSE

CHILD = Path(nir_child.__file__)


def output_of(path, *, code=None):
    """The output of the process for the file at ``path``, and its status; ``code`` runs before it starts."""
    with path.open("rb") as file:
        descriptor = file.fileno()
        start = [str(CHILD)] if code is None else ["-c", f"{code}\nmain(sys.argv[1:])"]
        import_path = [str(CHILD.parent), *sys.path] if code is not None else sys.path
        done = subprocess.run(
            [sys.executable, "-I", "-S", *start, str(descriptor), "node", *map(os.path.abspath, import_path)],
            pass_fds=(descriptor,),
            capture_output=True,
            check=False,
        )
    return done.stdout, done.returncode


def answer_of(path):
    """The JSON of the answer, and the bytes that follow it."""
    out, status = output_of(path)
    assert status == 0
    size = int.from_bytes(out[:8], "little")
    return json.loads(out[8 : 8 + size]), out[8 + size :]


def written(path, **content):
    with h5py.File(path, "w") as file:
        group = file.create_group("node")
        for name, value in content.items():
            group[name] = value
    return path


def test_the_format_of_the_answer(tmp_path):
    """Entries of each kind in the order of the names, followed by the numbers of all arrays in the same order."""
    path = written(
        tmp_path / "a.nir",
        big=np.array([[1, -2], [3, 4]], ">i2"),
        inner=np.float32(2.5),
        text="µ",
        texts=np.array([["a"], ["bc"]], h5py.string_dtype()),
    )
    with h5py.File(path, "a") as file:
        file["node"].create_group("some")["x"] = np.arange(3, dtype="u1")
    answer, numbers = answer_of(path)
    assert answer == {
        "tree": [
            ["big", "numbers", [2, 2], "<i2"],
            ["inner", "numbers", [], "<f4"],
            ["some", "group", [["x", "numbers", [3], "|u1"]]],
            ["text", "text", "µ"],
            ["texts", "texts", [2, 1], ["a", "bc"]],
        ]
    }
    assert numbers == np.array([1, -2, 3, 4], "<i2").tobytes() + np.float32(2.5).tobytes() + bytes(range(3))


@pytest.mark.parametrize("chunks", [None, (7, 1024)])
def test_a_large_matrix_with_few_entries_is_sparse(tmp_path, chunks):
    """Positions ascend in C order, whatever the chunks; with one entry too many, or another name, the matrix is not
    sparse."""
    columns = 1024
    rows = LARGE // columns
    rng = np.random.default_rng(6)
    matrix = np.zeros((rows, columns), np.float32)
    places = rng.choice(matrix.size, matrix.size // SPARSE, replace=False)
    matrix.flat[places] = rng.integers(1, 100, len(places))
    path = tmp_path / "a.nir"
    with h5py.File(path, "w") as file:
        file.create_group("node").create_dataset("weight", data=matrix, chunks=chunks)
    answer, numbers = answer_of(path)
    assert answer == {"tree": [["weight", "sparse", [rows, columns], "<f4", len(places)]]}
    found = np.frombuffer(numbers, "<i8", len(places))
    assert np.array_equal(found, np.sort(places))
    assert np.array_equal(np.frombuffer(numbers, "<f4", offset=found.nbytes), matrix.flat[found])
    spoilt = matrix.copy()
    spoilt.flat[np.flatnonzero(matrix == 0)[0]] = 1
    for name, content in (("weight", spoilt), ("bias", matrix), ("weight", matrix[:-1])):
        answer, numbers = answer_of(written(path, **{name: content}))
        assert answer == {"tree": [[name, "numbers", list(content.shape), "<f4"]]}
        assert numbers == content.tobytes()


def nested(group, depth):
    for _ in range(depth):
        group = group.create_group("g")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.move("node", "other"), "it is an HDF5 file but not a NIR file, it has no graph"),
        (
            lambda file: nested(file["node"], DEEPEST),
            f"it must have at most {DEEPEST} groups inside each other, but has more",
        ),
        (
            lambda file: file["node"].__setitem__("again", file["node/x"]),
            "'node/x' has several names in the file, but each object must have one",
        ),
        (
            lambda file: file["node"].__setitem__("type", np.dtype("f8")),
            "'node/type' must be a group or a dataset, not a stored type",
        ),
        (
            lambda file: file["node"].__setitem__("void", np.zeros(2, "V3")),
            "'node/void' must hold integers or floats of at most 64 bits or text, not another type",
        ),
        (
            lambda file: [file["node"].create_group(str(number)) for number in range(MOST_OBJECTS)],
            f"it must hold at most {MOST_OBJECTS:,} groups and datasets, but holds more",
        ),
    ],
)
def test_a_refusal_is_a_sentence_and_no_numbers(tmp_path, spoil, sentence):
    path = written(tmp_path / "a.nir", x=np.ones(3))
    with h5py.File(path, "a") as file:
        spoil(file)
    assert answer_of(path) == ({"refused": sentence}, b"")


def test_files_that_are_not_hdf5(tmp_path):
    whole = written(tmp_path / "a.nir", x=np.ones(1000)).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "b.nir").write_bytes(content)
        answer, numbers = answer_of(tmp_path / "b.nir")
        assert answer == {"refused": "it is truncated or not an HDF5 file, which a NIR file must be"}
        assert numbers == b""


INSIDE = """
import json, resource, sys
sys.path.insert(0, sys.argv[3])
import nir_child
from nir_child import main

def tree(self, file):
    limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in
              ("AS", "CPU", "CORE", "FSIZE", "NOFILE")}
    try:
        open("/dev/null", "rb")
        opened = True
    except OSError:
        opened = False
    return [["limits", "text", json.dumps([limits, opened])]]

nir_child._Reader.tree = tree
"""


def test_while_it_reads_it_can_open_and_write_nothing(tmp_path):
    """The limits are in force before the first object is read: this code runs in place of the reader."""
    path = written(tmp_path / "a.nir", x=np.ones(3))
    out, status = output_of(path, code=INSIDE)
    assert status == 0
    ((_, _, text),) = json.loads(out[8 : 8 + int.from_bytes(out[:8], "little")])["tree"]
    limits, opened = json.loads(text)
    assert not opened
    assert limits == {
        "AS": [2 << 30, 2 << 30],
        "CPU": [3, 3],
        "CORE": [0, 0],
        "FSIZE": [0, 0],
        "NOFILE": [0, 0],
    }


def test_a_python_without_h5py_ends_with_status_1(tmp_path):
    path = written(tmp_path / "a.nir", x=np.ones(3))
    with path.open("rb") as file:
        command = [sys.executable, "-I", "-S", str(CHILD), str(file.fileno()), os.path.dirname(os.__file__)]
        done = subprocess.run(command, pass_fds=(file.fileno(),), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
