"""Untrusted NIR files: permitted content, and refusals in one sentence before any damage."""

import os
import re
import resource
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from harness.nir_graphs import write_small

from spikeloom.frontends import nir_file
from spikeloom.frontends.nir import LoadError, load
from spikeloom.frontends.nir_attention import read
from spikeloom.frontends.nir_child import DEEPEST, LARGEST, MOST_OBJECTS
from spikeloom.frontends.nir_file import read_tree
from spikeloom.sim.lib.files import open_file

HOSTILE = Path(__file__).parent
SECRET = b"a file of the user, and none of the network"


@pytest.fixture
def path(tmp_path):
    """A small network, to be damaged."""
    return write_small(tmp_path)


def refuses(path, message):
    """Assert that both readers of files refuse it with the same message."""
    for reader in (lambda: load(path, time_step_s=1e-3), lambda: read(path)):
        with pytest.raises(LoadError, match=rf"^cannot read {re.escape(repr(str(path)))}: {message}$"):
            reader()


WEIGHT = "node/nodes/fc/weight"


def replaced(path, name=WEIGHT, **made):
    with h5py.File(path, "a") as file:
        del file[name]
        return file.create_dataset(name, **made)


def test_all_that_a_file_may_hold_is_read_as_it_is(path):
    given = {
        **{
            f"n{kind}": np.arange(6).reshape(2, 3).astype(kind)
            for kind in ("i1", "<i2", ">i4", "<u8", ">f2", "<f4", "f8")
        },
        "scalar": np.float32(2.5),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 4)),
        "text": "µ",
        "texts": np.array([["a", "bc"]], h5py.string_dtype()),
        "fixed": np.array([b"a", b"bc"]),
        "ascii": np.array(["a"], h5py.string_dtype("ascii")),
    }
    with h5py.File(path, "a") as file:
        group = file.create_group("node/metadata/some")
        for name, value in given.items():
            group[name] = value
        for name, options in (("gzip", {"compression": "gzip"}), ("lzf", {"compression": "lzf", "fletcher32": True})):
            group.create_dataset(name, data=np.arange(1000.0), chunks=(100,), shuffle=True, **options)
    read_back = read_tree(path)["metadata"]["some"]
    assert set(read_back) == {*given, "gzip", "lzf"}
    for name in ("gzip", "lzf"):
        assert np.array_equal(read_back[name], np.arange(1000.0))
    for name, value in given.items():
        if name == "text":
            assert read_back[name] == "µ"
        elif name in ("texts", "fixed", "ascii"):
            assert read_back[name].tolist() == np.asarray(value, str).tolist()
        else:
            assert (read_back[name].dtype, read_back[name].shape) == (value.dtype.newbyteorder("="), value.shape)
            assert np.array_equal(read_back[name], value)


@pytest.mark.parametrize("name", ["digits-mlp", "digits-transformer", "mnist-conv"])
def test_the_tree_is_what_h5py_reads(name):
    def plain(group):
        return {key: plain(item) if isinstance(item, h5py.Group) else item[()] for key, item in group.items()}

    def same(one, other):
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        if isinstance(one, bytes):
            return one.decode() == other
        if one.dtype == object:
            return [text.decode() for text in one.reshape(-1)] == other.reshape(-1).tolist()
        return one.dtype == other.dtype and np.array_equal(one, other)

    path = Path(__file__).parents[3] / "models" / f"{name}.nir"
    with h5py.File(path) as file:
        assert same(plain(file["node"]), read_tree(path))


def test_a_weight_stored_in_another_file_is_refused(path, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    replaced(path, shape=(2, 3), dtype="i1", external=[(str(tmp_path / "secret"), 0, 6)])
    with h5py.File(path) as file:
        assert bytes(file[WEIGHT][()]) == SECRET[:6]  # the outcome that must be prevented
    refuses(path, f"'{WEIGHT}' is stored in another file, but a NIR file must be self-contained")


def test_links_to_other_files_and_places_are_refused(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((2, 3))
    for link in (h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret"), h5py.SoftLink("/node/nodes/li/r")):
        with h5py.File(path, "a") as file:
            del file[WEIGHT]
            file[WEIGHT] = link
        refuses(path, f"'{WEIGHT}' is a link to another place or file, but a NIR file must be self-contained")
    with h5py.File(path, "a") as file:
        del file["node"]
        file["node"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
    refuses(path, "node is a link to another place or file, but a NIR file must be self-contained")


def test_a_virtual_dataset_is_refused(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((2, 3))
    layout = h5py.VirtualLayout(shape=(2, 3), dtype="f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", shape=(2, 3))
    with h5py.File(path, "a") as file:
        del file[WEIGHT]
        file.create_virtual_dataset(WEIGHT, layout)
    refuses(path, f"'{WEIGHT}' is a virtual dataset, but a NIR file must be self-contained")


@pytest.mark.parametrize(
    "dtype",
    [
        h5py.ref_dtype,
        h5py.regionref_dtype,
        np.dtype([("a", "i4")]),
        np.dtype("V3"),
        h5py.vlen_dtype(np.int32),
        np.dtype("c8"),
        h5py.enum_dtype({"a": 1}, "i1"),
        np.dtype("2i4"),
    ],
    ids=str,
)
def test_other_types_are_refused(path, dtype):
    replaced(path, shape=(2,), dtype=dtype)
    refuses(path, f"'{WEIGHT}' must hold integers or floats of at most 64 bits or text, not another type")


def test_long_floats_stored_types_and_no_value_are_refused(path):
    replaced(path, data=np.ones(3, np.longdouble))
    refuses(path, f"'{WEIGHT}' must hold integers or floats of at most 64 bits or text, not another type")
    replaced(path, data=h5py.Empty("f4"))
    refuses(path, f"'{WEIGHT}' must hold a value, but is declared empty")
    with h5py.File(path, "a") as file:
        del file[WEIGHT]
        file[WEIGHT] = np.dtype("f8")
    refuses(path, f"'{WEIGHT}' must be a group or a dataset, not a stored type")


def test_what_is_declared_is_bounded_before_it_is_read(path):
    too_large = rf"its numbers must take at most {LARGEST:,} bytes, but it declares more"
    replaced(path, shape=(100_000, 100_000), dtype="f4")
    refuses(path, too_large)
    replaced(path, shape=(1 << 40, 1 << 40), dtype="i1", chunks=(1, 1))
    refuses(path, too_large)
    replaced(path, shape=(1, 1), maxshape=(None, None), dtype="i1", chunks=(1 << 16, 1 << 15))
    refuses(path, too_large)
    with h5py.File(path, "a") as file:
        del file[WEIGHT]
        for number in range(3):
            file.create_dataset(f"{WEIGHT}{number}", shape=(LARGEST // 2,), dtype="u1")
    refuses(path, too_large)


def test_texts_are_bounded(path):
    too_many = r"it must hold at most 65,536 texts of 4,194,304 bytes, but declares more"
    replaced(path, shape=(70_000,), dtype=h5py.string_dtype())
    refuses(path, too_many)
    replaced(path, shape=(3,), dtype="S2000000")
    refuses(path, too_many)
    replaced(path, data="x" * 5000)
    refuses(path, r"a text must have at most 4,096 bytes, not 5,000")
    replaced(path, data=["x" * 4000] * 2200)
    refuses(path, r"its texts must take at most 4,194,304 bytes, but take more")
    with h5py.File(path, "a") as file:
        del file[WEIGHT]
        file[f"node/{'x' * 300}"] = 1
    refuses(path, r"'node' has a name of more than 256 bytes")


def test_groups_are_bounded_in_depth_and_number(path):
    with h5py.File(path, "a") as file:
        file.create_group("node/metadata/" + "/".join("a" * (DEEPEST - 2)))
    read_tree(path)
    with h5py.File(path, "a") as file:
        file.create_group("node/metadata/" + "/".join("a" * (DEEPEST - 1)))
    refuses(path, f"it must have at most {DEEPEST} groups inside each other, but has more")
    with h5py.File(path, "a") as file:
        del file["node/metadata"]
        for number in range(MOST_OBJECTS):
            file.create_group(f"node/metadata/{number}")
    refuses(path, f"it must hold at most {MOST_OBJECTS:,} groups and datasets, but holds more")


def test_objects_under_several_names_are_refused(path):
    several = "has several names in the file, but each object must have one"
    with h5py.File(path, "a") as file:
        group = file.create_group("node/metadata/bomb")
        for _ in range(27):  # 2**27 paths through it
            inner = group.create_group("l")
            group["r"] = inner
            group = inner
    refuses(path, rf"'node/metadata/bomb(/l)*/r' {several}")
    with h5py.File(path, "a") as file:
        del file["node/metadata"]
        file["node/nodes/loop"] = file["node"]
    refuses(path, rf"'node/nodes/loop' {several}")


def test_filters_that_are_not_built_in_are_refused(path):
    with h5py.File(path, "a") as file:
        del file[WEIGHT]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((2, 3))
        plan.set_filter(h5py.h5z.FILTER_NBIT)
        space = h5py.h5s.create_simple((2, 3))
        h5py.h5d.create(file["node/nodes/fc"].id, b"weight", h5py.h5t.NATIVE_INT32, space, plan)
    refuses(path, f"'{WEIGHT}' must be plain or packed by deflate or LZF, not by filter {h5py.h5z.FILTER_NBIT}")


def test_a_hang_inside_the_library_is_one_sentence_within_10_s():
    begin = time.monotonic()
    with pytest.raises(LoadError, match=r"^cannot read '.*': reading it does not end: it is damaged or malicious$"):
        read_tree(HOSTILE / "hang.nir")
    assert time.monotonic() - begin < 10


def planted(monkeypatch, tmp_path, text):
    """Replace the reader process by another program."""
    (tmp_path / "nir_child.py").write_text(text)
    monkeypatch.setattr(nir_file, "__file__", str(tmp_path / "nir_file.py"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", "the HDF5 library crashes on it: it is damaged or malicious"),
        ("import time; time.sleep(60)", "reading it does not end: it is damaged or malicious"),
        ("import nothing", "the reader process does not start; h5py and NumPy must be installed .*"),
        ("print('x' * 7, end='')", "the HDF5 library crashes on it: it is damaged or malicious"),
        ("import sys; sys.stdout.buffer.write(bytes(8) + b'{}')", "the HDF5 library crashes on it: .*"),
        ("import sys; sys.stdout.buffer.write(b'\\xff' * 100)", "the HDF5 library crashes on it: .*"),
        ("import sys; sys.stdout.buffer.write(bytes([2]) + bytes(7) + b'[]')", "the HDF5 library crashes on it: .*"),
        (
            "import sys, json; t = json.dumps({'tree': [['w', 'numbers', [1 << 40], '<f8']]}).encode();"
            "sys.stdout.buffer.write(len(t).to_bytes(8, 'little') + t)",
            "the HDF5 library crashes on it: .*",
        ),
        (
            "import sys, json; t = json.dumps({'tree': [['w', 'numbers', [2], '|O']]}).encode();"
            "sys.stdout.buffer.write(len(t).to_bytes(8, 'little') + t + bytes(16))",
            "the HDF5 library crashes on it: .*",
        ),
        *(
            (
                "import sys, json;"
                f"t = json.dumps({{'tree': [['weight', 'sparse', [2, 3], '<i8', {count}]]}}).encode();"
                f"n = b''.join(k.to_bytes(8, 'little', signed=True) for k in {places});"
                "sys.stdout.buffer.write(len(t).to_bytes(8, 'little') + t + n + bytes(800))",
                "the HDF5 library crashes on it: .*",
            )
            for count, places in ((2, [3, 1]), (2, [1, 1]), (1, [6]), (1, [-1]), (7, list(range(7))), (-1, []))
        ),
    ],
)
def test_whatever_becomes_of_the_process_is_one_sentence(path, monkeypatch, tmp_path, text, message):
    planted(monkeypatch, tmp_path, text)
    assert nir_file._ASLEEP_S < 10
    monkeypatch.setattr(nir_file, "_ASLEEP_S", 2.0)
    refuses(path, message)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="another system does not say whether a process waits")
def test_a_reader_that_waits_for_a_processor_is_not_ended(path, monkeypatch, tmp_path):
    """Neither its own work nor the time that the machine gives to other processes counts as idle time."""
    monkeypatch.setattr(nir_file, "_ASLEEP_S", 0.5)
    child = Path(nir_file.__file__).with_name("nir_child.py").read_text()
    busy = "import time\nwhile time.process_time() < 1.5: pass\n"
    head, future, rest = child.partition("from __future__ import annotations\n")
    planted(monkeypatch, tmp_path, head + future + busy + rest)
    assert "nodes" in read_tree(path)


def test_without_the_times_of_the_system_the_timeout_is_longer(path, monkeypatch, tmp_path):
    planted(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(nir_file._Answer, "_awake_s", lambda self: None)
    monkeypatch.setattr(nir_file, "_ASLEEP_S", 0.1)
    monkeypatch.setattr(nir_file, "_PATIENCE_S", 1.0)
    begin = time.monotonic()
    refuses(path, "reading it does not end: it is damaged or malicious")
    assert time.monotonic() - begin > 1


def test_the_process_can_open_nothing_more_and_its_resources_are_bounded(path, monkeypatch, tmp_path):
    """The limits are in force during reading, in the real process with one call inserted."""
    child = Path(nir_file.__file__).with_name("nir_child.py").read_text()
    probe = (
        "import resource as r; found = [r.getrlimit(k)[0] for k in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CPU)]\n"
        "            try: open('/etc/hosts')\n"
        "            except OSError as error: found.append(error.errno)\n"
        "            raise _Refused(str(found))\n            reader ="
    )
    assert child.count("reader =") == 1
    planted(monkeypatch, tmp_path, child.replace("reader =", probe))
    refuses(path, r"\[0, 0, 3, 24\]")


def test_reading_takes_less_than_a_third_of_a_second_of_processor_time(path):
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    read_tree(path)
    before = used()
    for _ in range(3):
        read_tree(path)
    assert (used() - before) / 3 < 0.3


def test_no_descriptor_and_no_process_stays(path):
    read_tree(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        read_tree(path)
    with pytest.raises(LoadError):
        read_tree(HOSTILE / "nothing.nir")
    assert len(os.listdir("/proc/self/fd")) == before
    assert "nir_child" not in Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refuses(tmp_path / "pipe", "it is not a file")


def test_the_import_path_of_this_python_is_used(path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["/nowhere", *sys.path])
    assert read_tree(path)["type"] == "NIRGraph"
    os.close(open_file(path))
