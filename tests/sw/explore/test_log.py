"""Log of finished points: logged points are not computed again, and only whole lines are kept."""

import dataclasses
import json
import os
from enum import Enum

import numpy as np
import pytest
from harness.studies import point, small_images, small_network, small_study

from spikeloom.compiler.quantise import Scales
from spikeloom.datasets.readout import Decision
from spikeloom.explore.log import code_version, digest, opened_log, study_digest
from spikeloom.explore.study import evaluate
from spikeloom.sim.lib.files import FileError


class Colour(Enum):
    RED = 1
    BLUE = 2


def test_outcomes_are_found_again(tmp_path):
    study, path = small_study(), tmp_path / "new" / "points.jsonl"
    outcomes = evaluate(study, [point(), point(board="ulx3s-12f")]) + evaluate(study, [point(lanes=256)])
    with opened_log(path, study) as log:
        assert log.find(point()) is None
        log.add(outcomes[:1])
        log.add(outcomes[1:])
    with opened_log(path, small_study()) as log:
        assert [log.find(outcome.point) for outcome in outcomes] == outcomes
        assert log.find(point(4)) is None
    first = json.loads(path.read_text().splitlines()[0])
    assert next(iter(first.items())) == ("format", 1)


def test_a_line_that_was_cut_off_is_removed(tmp_path):
    study, path = small_study(), tmp_path / "points.jsonl"
    outcomes = evaluate(study, [point(), point(lanes=2)])
    with opened_log(path, study) as log:
        log.add(outcomes)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with opened_log(path, study) as log:
        assert log.find(point()) == outcomes[0]
        assert log.find(point(lanes=2)) is None
        log.add(outcomes[1:])
    assert path.read_bytes() == whole


def test_a_write_that_ends_early_goes_on(tmp_path, monkeypatch):
    study, path, write = small_study(), tmp_path / "points.jsonl", os.write
    outcomes = evaluate(study, [point(), point(lanes=2)])
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:100]))
    with opened_log(path, study) as log:
        log.add(outcomes)
    with opened_log(path, study) as log:
        assert [log.find(outcome.point) for outcome in outcomes] == outcomes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", r"^line 1 of '.*' must be the result of a point, not '\[\]'; remove the file$"),
        ("{", r"^line 1 of '.*' must be JSON"),
        ('{"format": 2, "key": ""}', r"^line 1 of '.*' has format 2, expected 1: it was written by a newer version"),
    ],
)
def test_files_that_are_not_logs(tmp_path, line, message):
    path = tmp_path / "points.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(FileError, match=message), opened_log(path, small_study()):
        pass


def test_one_exploration_at_a_time(tmp_path):
    path, study = tmp_path / "points.jsonl", small_study()
    with (
        opened_log(path, study),
        pytest.raises(FileError, match=r"is in use by another exploration; wait for it, or choose another --output$"),
        opened_log(path, study),
    ):
        pass
    with opened_log(path, study):
        pass


def test_keys_depend_on_everything_that_results_depend_on(tmp_path):
    images = small_images()
    changed = {name: array.copy() for name, array in images.items()}
    changed["labels"][3] += 1
    network = small_network()
    studies = [
        small_study(),
        small_study(arrays=changed),
        small_study(decision=Decision.FIRST_TO_SPIKE),
        small_study(scales=Scales.NEURON),
        small_study(network=small_network("other")),
        small_study(network=dataclasses.replace(network, seed=2)),
    ]
    assert len({study_digest(study) for study in studies}) == len(studies)
    assert study_digest(small_study()) == study_digest(small_study())
    with opened_log(tmp_path / "points.jsonl", small_study()) as log:
        points = [point(), point(4), point(steps=6), point(lanes=2), point(board="ulx3s-12f"), point(encoder=None)]
        assert len({log.key(each) for each in points}) == len(points)


def test_other_sources_give_other_keys(tmp_path, monkeypatch):
    with opened_log(tmp_path / "points.jsonl", small_study()) as log:
        key = log.key(point())
        monkeypatch.setattr("spikeloom.explore.log.code_version", lambda: "other")
        assert log.key(point()) != key


def test_the_version_of_the_code_is_a_hash():
    assert len(code_version()) == 64
    assert code_version() == code_version()


def test_digests_tell_values_apart():
    values = [
        *(None, True, 1, 1.0, "1", b"1", Colour.RED, Colour.BLUE),
        *((), [1, 2], [[1], 2], {"a": 1}, {"b": 1}, {}),
        *(np.zeros(2), np.zeros(2, int), np.zeros((2, 1)), np.float64(0.0)),
    ]
    assert len({digest(value) for value in values}) == len(values)
    assert digest([1, 2]) == digest((1, 2))
    # The boundaries of the pieces matter: joined, these are the same bytes.
    assert digest([b"xbytesy", b"z"]) != digest([b"x", b"ybytesz"])
    assert digest(np.arange(6).reshape(2, 3).T) == digest(np.arange(6).reshape(2, 3).T.copy())
    with pytest.raises(TypeError, match=r"^value must be a dataclass, mapping, .* or plain value, not object$"):
        digest(object())
