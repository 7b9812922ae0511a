"""NumPy files: permitted content, and refusals before memory is allocated."""

import io
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.lib import arrays as module
from spikeloom.sim.lib.arrays import arrays_from
from spikeloom.sim.lib.files import FileError


def refuses(message):
    return pytest.raises(FileError, match=f"^'.*' {message}$")


def npy(descr="'|u1'", shape="(4,)", data=b"1234", *, fortran="False", version=1, length=None):
    """The bytes of a ``.npy`` file with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode("latin-1")
    size = struct.pack("<H" if version == 1 else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes((version, 0)) + size + header + data


@pytest.mark.parametrize(
    "kind", ["?", "i1", "u1", "<i2", "<u2", ">i4", "<u4", "<i8", "<u8", "<f2", ">f4", "<f8", "<U3", "S5"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_saves_is_read(tmp_path, request, kind, order):
    array = rng_of(request.node.name).integers(0, 2, (3, 4, 2)).astype(kind, order=order)
    np.save(tmp_path / "one.npy", array)
    np.savez(tmp_path / "plain.npz", one=array, two=array[0])
    np.savez_compressed(tmp_path / "packed.npz", one=array, empty=array[:0], scalar=array[0, 0, 0])
    read = arrays_from(tmp_path / "one.npy")
    assert (read.dtype, read.shape, read.flags.writeable) == (array.dtype, array.shape, True)
    assert np.array_equal(read, array)
    assert {name: a.shape for name, a in arrays_from(tmp_path / "plain.npz").items()} == {
        "one": (3, 4, 2),
        "two": (4, 2),
    }
    packed = arrays_from(tmp_path / "packed.npz")
    assert {name: a.shape for name, a in packed.items()} == {"one": (3, 4, 2), "empty": (0, 4, 2), "scalar": ()}
    assert np.array_equal(packed["one"], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a NumPy file .*"),
        (b"hello", "must be a NumPy file .*"),
        (npy(length=60_000), "must be a NumPy file .*"),
        (npy(version=2, length=(1 << 32) - 1), "must be a NumPy file .*"),
        (npy(version=3), "must be of version 1 or 2 of NumPy's format"),
        (npy(shape="(5,)"), "must hold 5 bytes of its array, as its header says, not 4"),
        (npy(shape="(3,)"), "must hold 3 bytes of its array, as its header says, not 4"),
        (npy(shape="(4611686018427387904, 4, 4)"), "must hold 73,786,976,294,838,206,464 bytes .*"),
        (npy(shape="(-1,)"), r"must have a shape of integers from 0, not \(-1,\)"),
        (npy(shape="(True, 4)"), r"must have a shape of integers from 0, not \(True, 4\)"),
        (npy(shape="4"), "must be a NumPy file .*"),
        (npy("'|O'"), "must hold booleans, integers, floats or text, not object"),
        (npy("[('a', '<i4')]"), "must hold booleans, integers, floats or text, not void32"),
        (npy("('<i2', (2,))"), ".*"),
        (npy("'<c8'", shape="()", data=bytes(8)), "must hold booleans, integers, floats or text, not complex64"),
        (npy("'<f16'", shape="()", data=bytes(16)), "must hold booleans, integers, floats or text, not .*"),
        (npy("'<M8[s]'", shape="()", data=bytes(8)), "must hold booleans, integers, floats or text, not datetime64.*"),
        (npy("(" * 3000), "must be a NumPy file .*"),
        (npy("'|u1', " + "'x': " + "[" * 90 + "]" * 90), "must be a NumPy file .*"),
        (npy("'|u1'" + " " * 20_000), "must be a NumPy file .*"),
        (npy("__import__('os')"), "must be a NumPy file .*"),
        (npy("4L"), "must be a NumPy file .*"),
    ],
)
def test_other_arrays_are_refused(tmp_path, content, message):
    path = tmp_path / "array.npy"
    path.write_bytes(content)
    with refuses(message):
        arrays_from(path)
    with zipfile.ZipFile(tmp_path / "array.npz", "w") as archive:
        archive.writestr("one.npy", content)
    with pytest.raises(FileError, match=f"^'.*'(: array 'one')? {message}$"):
        arrays_from(tmp_path / "array.npz")


def test_what_unpacks_to_too_much_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", npy(shape=f"({64 << 20},)", data=bytes(64 << 20)))
    tracemalloc.start()
    with refuses("must unpack to at most 1,048,576 bytes, but is larger"):
        arrays_from(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_several_arrays_have_one_limit_together(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 10_000)
    np.savez(tmp_path / "fits.npz", a=np.zeros(4000, np.uint8), b=np.zeros(4000, np.uint8))
    assert set(arrays_from(tmp_path / "fits.npz")) == {"a", "b"}
    np.savez(tmp_path / "both.npz", a=np.zeros(6000, np.uint8), b=np.zeros(6000, np.uint8))
    with refuses("must unpack to at most 10,000 bytes, but is larger"):
        arrays_from(tmp_path / "both.npz")


def test_a_size_that_lies_does_not_help(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100_000)
    path = tmp_path / "lie.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", npy(shape=f"({1 << 20},)", data=bytes(1 << 20)))
    content = path.read_bytes()
    size = struct.pack("<I", len(npy(shape=f"({1 << 20},)", data=b"")) + (1 << 20))
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, struct.pack("<I", 50)))
    with refuses("must (be a NumPy file|unpack to) .*"):
        arrays_from(path)


def test_the_limits_are_those_of_the_documents():
    assert module.LARGEST == 512 * 1024**2
    assert module._LARGEST_DIRECTORY == 1024**2


def test_as_many_arrays_as_permitted_and_as_large(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(64):
            archive.writestr(f"{number}.npy", npy())
    assert len(arrays_from(tmp_path / "many.npz")) == 64
    monkeypatch.setattr(module, "LARGEST", 64 * len(npy()))
    assert len(arrays_from(tmp_path / "many.npz")) == 64
    monkeypatch.setattr(module, "LARGEST", 64 * len(npy()) - 1)
    with refuses(f"must unpack to at most {64 * len(npy()) - 1:,} bytes, but is larger"):
        arrays_from(tmp_path / "many.npz")


@pytest.mark.parametrize("length", [10_000, 10_001])
def test_the_longest_header(tmp_path, length):
    content = npy("'|u1'" + " " * (length - len(npy(data=b"")) + 10))
    assert int.from_bytes(content[8:10], "little") == length
    (tmp_path / "array.npy").write_bytes(content)
    if length == 10_000:
        assert arrays_from(tmp_path / "array.npy").tolist() == list(b"1234")
    else:
        with refuses("must be a NumPy file .*"):
            arrays_from(tmp_path / "array.npy")


def test_archives_of_too_many_names_or_the_same_twice_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(65):
            archive.writestr(f"{number}.npy", npy())
    with refuses("must hold at most 64 arrays, not 65"):
        arrays_from(tmp_path / "many.npz")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("one.npy", npy())
        archive.writestr("one", npy())
    with refuses("must hold one array 'one', not several"):
        arrays_from(tmp_path / "twice.npz")


def test_a_directory_of_millions_of_names_is_not_read():
    pieces = module._Pieces(bytes((1 << 20) + 1))
    with pytest.raises(FileError, match=r"^the directory of an \.npz file must have at most 1,048,576 bytes$"):
        pieces.read()
    assert pieces.read(0) == b"", "no byte is not the rest"
    assert len(pieces.read(1 << 20)) == 1 << 20
    assert len(pieces.read()) == 1, "the rest"


def test_a_file_cut_anywhere_is_refused(tmp_path, request):
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(50), b=np.ones(7, bool))
    path, content = tmp_path / "cut.npz", stream.getvalue()
    for length in rng_of(request.node.name).integers(0, len(content), 40):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match=rf"^{re.escape(repr(str(path)))}.* must .*$"):
            arrays_from(path)
