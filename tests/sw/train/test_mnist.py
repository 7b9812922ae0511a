"""The recipes of ``make train``: their bounds, and outcomes that miss them. They run in tests/training."""

import dataclasses
import json

import numpy as np
import pytest

from spikeloom.datasets.shipped import Digits
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.train.mnist import RECIPES, Outcome, checkpoint, complaints, split, write_summary

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def outcome_of(name, **fields):
    recipe = BY_NAME[name]
    width = None if recipe.quantisation is None else recipe.quantisation.weight_width
    given = {
        "name": name,
        "weight_bits": width,
        "images": 10_000,
        "part": "test",
        "accuracy": 0.99,
        "integer_accuracy": None if width is None else fields.get("accuracy", 0.99),
        "cells": 1,
        "differing": 0,
        "epochs": recipe.epochs,
        "seconds": 60.0,
    }
    return Outcome(**given | fields)


def test_the_bounds():
    bounds = {r.quantisation.weight_width: r.least_accuracy for r in RECIPES if r.hidden == 128}
    assert bounds == {8: 0.98, 4: 0.975, 2: 0.965, 1: 0.95}
    fine_tuned = BY_NAME["784-1000-10 at 4 bits"]
    assert (fine_tuned.most_lost, fine_tuned.most_seconds) == (0.01, 900)
    assert BY_NAME[fine_tuned.start].quantisation is None
    names = [recipe.name for recipe in RECIPES]
    assert names.index(fine_tuned.start) < names.index(fine_tuned.name)


def test_no_complaints_about_good_outcomes():
    assert complaints([outcome_of(name) for name in BY_NAME]) == []


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("784-128-10 at 4 bits", {"accuracy": 0.97}, "accuracy must be at least 97.5 %, not 97.00 %"),
        (
            "784-128-10 at 1 bit",
            {"differing": 3},
            "the integers must equal the training in every cell, but 3 differ",
        ),
        ("784-128-10 at 8 bits", {"integer_accuracy": 0.98}, "the integers must equal the training in every cell"),
        ("784-1000-10 at 4 bits", {"accuracy": 0.975}, "accuracy must be at least 98.00 %, not 97.50 %"),
        ("784-1000-10 at 4 bits", {"seconds": 1000.0}, "training must take at most 900 s, not 1000 s"),
    ],
)
def test_complaints(name, fields, message):
    outcomes = [outcome_of(other, **(fields if other == name else {})) for other in BY_NAME]
    (found,) = complaints(outcomes)
    assert found.startswith(f"{name}: {message}")
    validation = [dataclasses.replace(outcome, part="validation") for outcome in outcomes]
    assert complaints(validation) == []


def test_the_last_images_are_split_off():
    images = np.arange(10 * 784, dtype=np.uint8).reshape(10, 28, 28)
    fitted, held = split(Digits(images=images, labels=np.arange(10)), 3)
    assert np.array_equal(fitted.labels, np.arange(7))
    assert np.array_equal(held.labels, [7, 8, 9])
    assert np.array_equal(np.concatenate([fitted.images, held.images]), images)


def test_every_recipe_has_a_file_of_its_own(tmp_path):
    assert len({checkpoint(recipe, tmp_path) for recipe in RECIPES}) == len(RECIPES)


def test_summary(tmp_path):
    outcomes = [outcome_of(name) for name in BY_NAME]
    write_summary(tmp_path / "new" / "summary.json", outcomes)
    found = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert all(entry.pop("format") == SUMMARY_FILE.number for entry in found)
    assert [Outcome(**entry) for entry in found] == outcomes
