"""Recordings of six frameworks, replayed: the float model, the integers, and presets of other frameworks."""

import itertools
import re

import pytest
from frameworks.__main__ import HERE
from frameworks.replay import FRAMEWORKS, RECORDINGS, differences, read, recordings, verdict_of
from frameworks.table import PAGE, filled, tables

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir import PRESETS, load

PATHS = list(recordings())
READABLE = [path for path in PATHS if not read(path).about["refused"]]


def name_of(path):
    return f"{path.parent.name}-{path.stem}"


@pytest.fixture(scope="module")
def verdicts():
    return {}


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_recording(path, verdicts):
    verdict = verdicts[path] = verdict_of(read(path))
    assert verdict.kept, verdict.text
    # What the file lacks must make a difference here, or the case would show nothing.
    assert verdict.verdict != "equal" or not read(path).about["lost"]


def test_the_page_shows_the_verdicts(verdicts):
    rows = [verdicts.get(path) or verdict_of(read(path)) for path in PATHS]
    page = PAGE.read_text(encoding="utf-8")
    assert tables(rows) in page
    assert filled(page, rows) == page, "make frameworks, with --keep"


def test_every_framework_is_recorded():
    counts = {name: sum(path.parent.name == name for path in PATHS) for name in FRAMEWORKS}
    assert min(counts.values()) >= 10
    assert sum(path.stat().st_size for path in PATHS) < 600_000
    assert {path.parent.name for path in RECORDINGS.glob("*/*")} == set(FRAMEWORKS)


def test_lost_is_noted():
    """Everything that an exporter drops is named in a note of every network with its preset."""
    lost = [read(path) for path in READABLE if read(path).about["lost"]]
    assert len(lost) > 10
    for recording in lost:
        try:
            notes = recording.network().notes
        except LoadError:
            continue
        word = max(re.findall(r"drops (\w+)", recording.about["lost"]) or ["several times"], key=len)
        assert any(word in note or word.replace("_", " ") in note for note in notes), recording.name


@pytest.mark.parametrize("preset", PRESETS)
def test_wrong_presets_are_refused_or_warned_about(preset):
    """Every recording is read with every preset that is not its own; it must be refused or noted, unless every spike is
    the same."""
    silent = []
    pairs = [(read(path), preset) for path in READABLE if read(path).framework != preset]
    for recording, wrong in pairs:
        try:
            network = load(recording.graph(), preset=wrong, time_step_s=1e-3 if wrong == "nir" else None)
        except LoadError:
            continue
        if any("may not come from" in note or "can hardly fire" in note for note in network.notes):
            continue
        if differences(network, recording)[0]:
            silent.append(recording.name)
    assert len(pairs) > 50
    assert silent == []


@pytest.mark.parametrize("name", [*FRAMEWORKS, "torch"])
def test_requirements_are_pinned(name):
    lines = (HERE / "requirements" / f"{name}.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+|#.*", line) for line in lines)


def test_recordings_are_small_and_different():
    contents = [(read(path).nir, read(path).inputs.tobytes()) for path in READABLE]
    assert not any(a == b for a, b in itertools.combinations(contents, 2))
