"""Japanese vowels: vowels spoken by nine speakers as time series, from a package that contains them. NumPy only.

M. Kudo, J. Toyama and M. Shimbo, Multidimensional curve classification using passing-through regions, Pattern
Recognition Letters 20, 1999. Each of 640 utterances has 7 to 29 samples of 12 cepstral coefficients; 270 are for
training, 30 per speaker, and 370 for testing. spikeloom does not ship them: `fetch_vowels` extracts the two files from
the package ``aeon`` (BSD 3-clause), which pip downloads without installing it or its dependencies.

A file is text: lines that begin with ``#`` or ``@``, and one line per utterance, with colons between the 12 channels
and the label, and commas between the samples of a channel.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.lib.files import write_whole

__all__ = ["CHANNELS", "LONGEST", "SPEAKERS", "Vowels", "VowelsError", "fetch_vowels", "load_vowels", "read_series"]

CHANNELS, SPEAKERS, LONGEST = 12, 9, 29

_PACKAGE = "aeon==1.6.0"
_FOLDER = "aeon/datasets/data/JapaneseVowels"
_FILES = {
    "train": ("JapaneseVowels_TRAIN.ts", "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
    "test": ("JapaneseVowels_TEST.ts", "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
}
_LONGEST_LINE = 1 << 16


class VowelsError(ValueError):
    """The series are unavailable or damaged. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Vowels:
    """Utterances: ``series`` ``(29, B, 12)``, ``lengths`` ``(B,)`` and the speakers ``labels`` ``(B,)`` from 0 to 8.

    After its end, a series is padded with its last sample.
    """

    series: NDArray[np.float64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Vowels:
        """Return the utterances selected by ``chosen``, indices ``(k,)`` or a mask ``(B,)``."""
        return Vowels(series=self.series[:, chosen], lengths=self.lengths[chosen], labels=self.labels[chosen])


def fetch_vowels(cache: Path, *, announce: Callable[[str], None] = print) -> Path:
    """Return the folder ``cache`` with the two files; download them if they are missing.

    Raises `VowelsError` if the package cannot be downloaded, or if its files do not match the known checksums.
    """
    if all((cache / name).is_file() for name, _ in _FILES.values()):
        return cache
    announce(f"Downloading {_PACKAGE} with pip: 6 MB, once, to {cache}")
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(cache), _PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(cache.glob("aeon-*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise VowelsError(
            f"{_PACKAGE} cannot be downloaded ({reason}); without network, name a folder that holds "
            f"{' and '.join(name for name, _ in _FILES.values())}"
        )
    with zipfile.ZipFile(wheels[-1]) as package:
        for name, digest in _FILES.values():
            content = package.read(f"{_FOLDER}/{name}")
            if hashlib.sha256(content).hexdigest() != digest:
                raise VowelsError(f"{name} of {_PACKAGE} does not have the known SHA-256 checksum")
            write_whole(cache / name, content)
    wheels[-1].unlink()
    return cache


def _utterance(line: str, where: str) -> tuple[NDArray[np.float64], int]:
    """Return the samples ``(time, 12)`` and the speaker of one line."""
    *channels, label = line.split(":")
    if len(line) > _LONGEST_LINE or len(channels) != CHANNELS:
        raise VowelsError(f"{where} must have {CHANNELS} channels and a label, not {len(channels)} channels")
    try:
        samples = np.array([[float(sample) for sample in channel.split(",")] for channel in channels])
        speaker = int(label)
    except ValueError as error:
        raise VowelsError(f"{where} must have the same number of samples in each channel, and a label") from error
    if not 1 <= samples.shape[1] <= LONGEST or not np.isfinite(samples).all():
        raise VowelsError(f"{where} must have 1 to {LONGEST} finite samples per channel, not {samples.shape[1]}")
    if not 1 <= speaker <= SPEAKERS:
        raise VowelsError(f"{where} must have a label from 1 to {SPEAKERS}, not {speaker}")
    return samples.T, speaker - 1


def read_series(path: Path) -> Vowels:
    """Return the utterances of a file. Raises `VowelsError` if it is damaged."""
    try:
        lines = path.read_text(encoding="utf8").splitlines()
    except FileNotFoundError as error:
        raise VowelsError(f"{str(path)!r} does not exist; give a file of the Japanese vowels") from error
    except UnicodeDecodeError as error:
        raise VowelsError(f"{str(path)!r} is not text") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line[0] not in "#@"]
    if not numbered:
        raise VowelsError(f"{str(path)!r} holds no utterance")
    found = [_utterance(line, f"line {number} of {str(path)!r}") for number, line in numbered]
    lengths = np.array([len(samples) for samples, _ in found])
    series = np.stack([samples[np.minimum(np.arange(LONGEST), len(samples) - 1)] for samples, _ in found], axis=1)
    return Vowels(series=series, lengths=lengths, labels=np.array([speaker for _, speaker in found]))


def load_vowels(folder: Path, part: str) -> Vowels:
    """Load the ``part`` "train" or "test" of the files in ``folder``. Raises `VowelsError`."""
    return read_series(folder / _FILES[part][0])
