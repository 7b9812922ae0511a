"""The trainings of ``make train`` in short: they learn, equal the integers, and resume after an interruption."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from harness.mnist import strokes
from harness.networks import rng_of

from spikeloom.compiler.quantise import quantise
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import Digits
from spikeloom.frontends.nir import load
from spikeloom.sim.network.reference import simulate
from spikeloom.train import __main__ as command
from spikeloom.train.mnist import RECIPES, VALIDATION, checkpoint, measure, network_file, split, train

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def digits_of(name, count=640):
    """Ten stroke patterns, with the same number of noisy images each."""
    rng = rng_of(name)
    patterns = strokes(rng_of("patterns"), 10)
    labels = rng.integers(0, 10, count)
    noise = rng.integers(0, 120, (count, 28, 28))
    return Digits(images=np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8), labels=labels)


def same(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", [name for name in BY_NAME if "128" in name])
def test_trainings_learn_and_equal_the_integers(name, tmp_path):
    torch.set_num_threads(1)
    recipe = dataclasses.replace(BY_NAME[name], epochs=10, batch=16)
    model, seconds = train(recipe, digits_of("fit"), folder=tmp_path, report=lambda line: None)
    outcome = measure(recipe, model, digits_of("measured", 200), part="test", seconds=seconds)
    assert outcome.accuracy > 0.9
    assert outcome.integer_accuracy == outcome.accuracy
    assert outcome.differing == 0
    assert outcome.cells == 200 * 4 * (128 + 10)


def test_an_output_is_read_out_by_its_membranes(tmp_path):
    """It begins with the weights of one that fires."""
    torch.set_num_threads(1)
    short = {"epochs": 6, "batch": 16, "hidden": 60, "learning_rate": 2e-3}
    fires = dataclasses.replace(BY_NAME["784-1000-10 at 4 bits"], **short, start="")
    recipe = dataclasses.replace(fires, name="read out", readout=True, epochs=6)
    fitted, measured = digits_of("fit"), digits_of("measured", 200)
    train(fires, fitted, folder=tmp_path, report=lambda line: None)
    model, seconds = train(recipe, fitted, folder=tmp_path, start=checkpoint(fires, tmp_path), report=lambda line: None)
    outcome = measure(recipe, model, measured, part="test", seconds=seconds)
    assert outcome.accuracy > 0.9
    assert (outcome.integer_accuracy, outcome.differing) == (outcome.accuracy, 0)
    assert outcome.cells == 200 * 25 * (60 + 10)


def test_a_network_in_floats_is_fine_tuned(tmp_path):
    torch.set_num_threads(1)
    short = {"epochs": 3, "batch": 32, "hidden": 60, "learning_rate": 2e-3}
    floats = dataclasses.replace(BY_NAME["784-1000-10 in floats"], **short)
    fitted, measured = digits_of("fit"), digits_of("measured", 200)
    model, seconds = train(floats, fitted, folder=tmp_path, report=lambda line: None)
    before = measure(floats, model, measured, part="test", seconds=seconds)
    assert (before.cells, before.integer_accuracy) == (0, None)
    recipe = dataclasses.replace(BY_NAME["784-1000-10 at 4 bits"], **short)
    start = checkpoint(floats, tmp_path)
    model, seconds = train(recipe, fitted, folder=tmp_path, start=start, report=lambda line: None)
    outcome = measure(recipe, model, measured, part="test", seconds=seconds)
    assert outcome.accuracy > 0.9
    assert outcome.integer_accuracy == outcome.accuracy
    assert outcome.differing == 0


def test_an_interrupted_training_goes_on(tmp_path):
    torch.set_num_threads(1)
    recipe = dataclasses.replace(BY_NAME["784-128-10 at 2 bits"], epochs=3)
    fitted = digits_of("fit", 300)
    whole, _ = train(recipe, fitted, folder=tmp_path / "whole", report=lambda line: None)

    class Interrupted(Exception):
        pass

    def stop(line):
        if "epoch 2" in line:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(recipe, fitted, folder=tmp_path / "cut", report=stop)
    lines = []
    resumed, _ = train(recipe, fitted, folder=tmp_path / "cut", report=lines.append)
    assert len(lines) == 1
    assert same(whole, resumed)


def test_the_network_is_saved_with_its_bits(tmp_path, monkeypatch):
    """Its integers are those that were measured, without any option."""
    recipe = dataclasses.replace(BY_NAME["784-128-10 at 2 bits"], epochs=8, batch=16, hidden=60)
    monkeypatch.setattr(command, "RECIPES", (recipe,))
    monkeypatch.setattr(command, "load_mnist", lambda folder, part: digits_of(part, 6000))
    assert command.main(["--data", ".", "--output", str(tmp_path), "--validate"]) == 0
    outcome = json.loads((tmp_path / "summary.json").read_text())[0]
    network = load(network_file(recipe, tmp_path))
    digits = split(digits_of("train", 6000), VALIDATION)[1]
    spikes = recipe.encoder.encode(pixel_levels(digits.images, recipe.pixel_bits))
    found = simulate(quantise(network), spikes).spikes["digit"]
    assert accuracy(found, digits.labels) == outcome["accuracy"] > 0.5
    assert {population.weight_bits for population in network.populations} == {2}


def test_the_order_of_recipes_is_checked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "load_mnist", lambda folder, part: digits_of(part, 6000))
    assert command.main(["--data", ".", "--output", str(tmp_path), "--only", "1000-10 at 4"]) == 2
    message = "spikeloom: 784-1000-10 at 4 bits must follow 784-1000-10 in floats: train that first\n"
    assert capsys.readouterr().err == message
    assert command.main(["--data", ".", "--only", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("spikeloom: --only must be part of one of 784-128-10 at 8 bits, ")
