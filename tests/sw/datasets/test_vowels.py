"""The reader of the Japanese vowels, on generated files, and their download."""

import subprocess
import zipfile

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets import vowels as module
from spikeloom.datasets.vowels import CHANNELS, LONGEST, VowelsError, fetch_vowels, load_vowels, read_series

HEADER = "#A comment\n@problemName JapaneseVowels\n@data\n"


def text_of(series, lengths, labels):
    """The text of a file: channels and label, separated by colons."""
    lines = []
    for sample, (length, label) in enumerate(zip(lengths, labels, strict=True)):
        channels = [
            ",".join(f"{value:.6f}" for value in series[:length, sample, channel]) for channel in range(CHANNELS)
        ]
        lines.append(":".join([*channels, str(label + 1)]))
    return HEADER + "\n".join(lines) + "\n"


def drawn(name, count=5):
    rng = rng_of(name)
    series = np.round(rng.normal(size=(LONGEST, count, CHANNELS)), 6)
    lengths = rng.integers(7, LONGEST + 1, count)
    return series, lengths, rng.integers(0, 9, count)


def test_series_stay_at_their_last_sample(tmp_path, request):
    series, lengths, labels = drawn(request.node.name)
    path = tmp_path / "JapaneseVowels_TEST.ts"
    path.write_text(text_of(series, lengths, labels))
    for read in (read_series(path), load_vowels(tmp_path, "test")):
        assert len(read) == 5
        assert read.lengths.tolist() == lengths.tolist()
        assert read.labels.tolist() == labels.tolist()
        for sample, length in enumerate(lengths):
            assert np.array_equal(read.series[:length, sample], series[:length, sample])
            assert (read.series[length:, sample] == series[length - 1, sample]).all()
    part = read.part(np.array([3, 1]))
    assert np.array_equal(part.series, read.series[:, [3, 1]])
    assert part.labels.tolist() == labels[[3, 1]].tolist()


ROW = ":".join(["1,2,3"] * CHANNELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"holds no utterance$"),
        ("1,2:1\n", r"^line 4 of '.*' must have 12 channels and a label, not 1 channels$"),
        (
            ROW.replace("1,2,3", "1,2", 1) + ":4\n",
            r"must have the same number of samples in each channel, and a label$",
        ),
        (ROW + ":ten\n", r"must have the same number of samples in each channel, and a label$"),
        (ROW + ":10\n", r"must have a label from 1 to 9, not 10$"),
        (ROW.replace("3", "nan") + ":1\n", r"must have 1 to 29 finite samples per channel, not 3$"),
        (
            ":".join([",".join(["1"] * 30)] * CHANNELS) + ":1\n",
            r"must have 1 to 29 finite samples per channel, not 30$",
        ),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = tmp_path / "a.ts"
    path.write_text(HEADER + content)
    with pytest.raises(VowelsError, match=message):
        read_series(path)


def test_no_file(tmp_path):
    with pytest.raises(VowelsError, match=r"^'.*' does not exist; give a file of the Japanese vowels$"):
        load_vowels(tmp_path, "train")
    (tmp_path / "a.ts").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(VowelsError, match=r"^'.*' is not text$"):
        read_series(tmp_path / "a.ts")


def test_what_is_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    for name, _ in module._FILES.values():
        (tmp_path / name).write_text("")
    assert fetch_vowels(tmp_path) == tmp_path


def test_fetching(tmp_path, monkeypatch):
    """A package that cannot be downloaded, one with other files, and one with the right files."""
    said, content = [], {}

    def download(command, **_):
        if content:
            folder = command[command.index("--dest") + 1]
            with zipfile.ZipFile(f"{folder}/aeon-1.6.0-py3-none-any.whl", "w") as package:
                for name, text in content.items():
                    package.writestr(f"aeon/datasets/data/JapaneseVowels/{name}", text)
        return subprocess.CompletedProcess(command, int(not content), "", "Looking\nERROR: no network")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(
        VowelsError, match=r"^aeon==1.6.0 cannot be downloaded \(ERROR: no network\); without network, name"
    ):
        fetch_vowels(tmp_path, announce=said.append)
    assert said == [f"Downloading aeon==1.6.0 with pip: 6 MB, once, to {tmp_path}"]
    content |= {name: "other" for name, _ in module._FILES.values()}
    with pytest.raises(VowelsError, match=r"does not have the known SHA-256 checksum$"):
        fetch_vowels(tmp_path, announce=said.append)
    digest = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"  # of "other"
    monkeypatch.setattr(module, "_FILES", {part: (name, digest) for part, (name, _) in module._FILES.items()})
    assert fetch_vowels(tmp_path, announce=said.append) == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["JapaneseVowels_TEST.ts", "JapaneseVowels_TRAIN.ts"]
