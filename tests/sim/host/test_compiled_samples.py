"""The compiled inner loops give the same bytes as those in NumPy, for any input."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.host import compiled_samples as module
from spikeloom.sim.host import samples
from spikeloom.sim.host.compiled_samples import LIBRARY, CompiledSamples, compiled_samples
from spikeloom.sim.host.samples import SampleEncoder, encode_images

ROOT = Path(__file__).parents[3]
KINDS = (np.uint8, np.int8, np.uint16, np.int32, np.uint64, np.int64, np.dtype(">i2"), np.dtype(">u8"))


def build_hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The library compiled from these sources, wherever the package was built."""
    library = tmp_path_factory.mktemp("library") / LIBRARY.name
    assert build_hook().compile_library(ROOT, library)
    return CompiledSamples(library)


@pytest.fixture
def both(compiled, monkeypatch):
    """Call a function with and without the library."""

    def call(function):
        monkeypatch.setattr(samples, "compiled_samples", lambda: compiled)
        fast = function()
        monkeypatch.setattr(samples, "compiled_samples", lambda: None)
        slow = function()
        assert fast == slow
        return slow

    return call


@pytest.mark.parametrize("axons", ["in order", "sorted", "any", "far"])
def test_spikes(request, axons, both):
    rng = rng_of(request.node.name)
    sizes = set()
    for number in range(60):
        steps, count, inputs = (int(rng.integers(1, most)) for most in (6, 9, 400))
        numbers = np.arange(inputs) + number if axons == "in order" else rng.choice(1 << 16, inputs, replace=False)
        if axons == "far":  # nearly every spike has a SKIP
            numbers = (1 << 16) - 1 - 129 * np.arange(inputs)
        if axons != "any":
            numbers.sort()
        # All memory layouts: time first, samples first, every other input, reversed.
        spikes = rng.random((steps, count, 2 * inputs)) < rng.choice([0, 0.01, 0.3, 1])
        spikes = (spikes[..., :inputs], spikes[..., ::2], spikes[::-1, :, inputs:])[number % 3]
        if number % 2:
            spikes = np.ascontiguousarray(spikes.transpose(1, 0, 2)).transpose(1, 0, 2)
        encoder = SampleEncoder(numbers)
        for last in (False, True):
            encoded = both(lambda: encoder.encode(spikes, last=last))  # noqa: B023 - called at once
            both(lambda: encoder.encode_step(spikes[0, 0], last=last))  # noqa: B023 - called at once
            assert len(encoded) <= steps * count * (2 * inputs + 9)
        sizes.add(len(encoded))
    assert len(sizes) > 30


def test_the_farthest_axon(both):
    for axon in (0, 127, 128, 8191, 8192, 8319, 8320, 65535):
        encoded = both(lambda: SampleEncoder([axon]).encode(np.ones((2, 3, 1), np.bool_)))  # noqa: B023 - called at once
        assert encoded[-2] == 0x80 | axon & 127


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 15, 16])
def test_images(request, bits, both):
    rng = rng_of(request.node.name)
    for number in range(40):
        kind = np.dtype(KINDS[number % len(KINDS)])
        most = min(1 << bits, np.iinfo(kind).max)
        shape = int(rng.integers(1, 9)), int(rng.choice([1, 7, 300, 9000 if bits < 9 else 30]))
        images = rng.integers(0, most + 1, shape) * (rng.random(shape) < rng.choice([0, 0.01, 0.5, 1]))
        images = images.astype(kind)
        if number % 3 == 0:
            images = np.repeat(images, 2, axis=1)[:, ::2]
        encoded = both(lambda: encode_images(images, bits))  # noqa: B023 - called at once
        assert encoded.count(0x21) == len(images)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_out_of_range_are_refused(kind, both):
    for wrong in (9, 100, -1, np.iinfo(kind).min, np.iinfo(kind).max):
        if not np.iinfo(kind).min <= wrong <= np.iinfo(kind).max or wrong == 0:
            continue
        images = np.zeros((3, 50), kind)
        images[2, 49] = wrong

        def refused(images=images):
            with pytest.raises(ValueError, match=r"^images must be from 0 to 8, not from ") as error:
                encode_images(images, 3)
            return str(error.value)

        both(refused)


def test_another_library_is_not_used(compiled, tmp_path, monkeypatch):
    """A library that is missing, has other functions, or was compiled from other sources is ignored."""
    library = tmp_path / "library.so"
    with pytest.raises(OSError, match=r"library\.so"):
        CompiledSamples(library)
    source = tmp_path / "samples.c"
    source.write_text("int nothing(void) { return 0; }")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    with pytest.raises(OSError, match=r"library\.so must be compiled from samples\.c \("):
        CompiledSamples(library)
    changed = tmp_path / "changed"
    (changed / "sim/spikeloom/sim/host").mkdir(parents=True)
    text = (ROOT / build_hook().SOURCE).read_text()
    (changed / build_hook().SOURCE).write_text(f"{text}\n")
    assert build_hook().compile_library(changed, tmp_path / "other.so")
    with pytest.raises(OSError, match=r"other\.so must be compiled from the samples\.c beside it, not from another"):
        CompiledSamples(tmp_path / "other.so")
    monkeypatch.setattr(module, "LIBRARY", tmp_path / "other.so")
    compiled_samples.cache_clear()
    assert compiled_samples() is None
    compiled_samples.cache_clear()


def test_the_environment_forbids_it(tmp_path, compiled):
    """The environment variable, as users set it, with a copy of the library where the package expects it."""
    library = tmp_path / LIBRARY.name
    shutil.copy(compiled.path, library)
    script = (
        "import pathlib, sys; from spikeloom.sim.host import compiled_samples as module;"
        "module.LIBRARY = pathlib.Path(sys.argv[1]); print(module.compiled_samples() is not None)"
    )
    for value, found in (("0", "False"), ("1", "True")):
        environment = {"SPIKELOOM_COMPILED": value, "PATH": "", "PYTHONPATH": str(ROOT / "sim")}
        done = subprocess.run(
            [sys.executable, "-c", script, str(library)], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == found


def test_without_a_compiler_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CC", "a-compiler-that-is-not-there")
    assert not build_hook().compile_library(ROOT, tmp_path / "library.so")
    monkeypatch.setenv("CC", "false")
    assert not build_hook().compile_library(ROOT, tmp_path / "library.so")
    assert "samples.c is left out, because false cannot compile it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
