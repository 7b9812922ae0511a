"""Evaluated points: accuracy is that of the reference, estimates are those of the parts."""

import dataclasses

import numpy as np
import pytest
from harness.networks import rng_of
from harness.studies import ENCODER, point, small_images, small_network, small_study

from spikeloom.boards.sizing.estimate import estimate
from spikeloom.boards.targets.registry import find_board
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, Scales, quantise
from spikeloom.datasets.encoders import LatencyEncoder, StepForwardEncoder
from spikeloom.datasets.inputs import InputError
from spikeloom.datasets.readout import Decision, accuracy
from spikeloom.explore.choose import choose
from spikeloom.explore.cost import explain, measured_rates
from spikeloom.explore.energy import energy_of
from spikeloom.explore.study import Outcome, behaviours, evaluate, validation_arrays
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.messages import encode_spikes
from spikeloom.sim.network.reference import simulate


def only(study, at):
    (found,) = evaluate(study, [at])
    return found


@pytest.mark.parametrize("bits", [8, 2])
def test_accuracy_is_that_of_the_reference(bits):
    study = small_study()
    found = only(study, point(bits, steps=4))
    spikes = dataclasses.replace(ENCODER, steps=4).encode(study.arrays["images"])
    network = quantise(study.network, Quantisation(weight_width=bits))
    result = simulate(network, spikes)
    assert found.quality == found.score.accuracy == accuracy(result.spikes["class"], study.arrays["labels"])
    assert 0 < found.quality < 1
    assert found.score.agreement is None
    assert found.score.steps == 4
    assert found.score.events == np.count_nonzero(spikes) / 40
    assert found.score.synaptic_operations == result.synaptic_operations.mean()
    assert found.score.line_bytes == np.mean([len(encode_spikes(spikes[:, n])) for n in range(16)])


def test_widths_of_single_populations():
    """A single number is the width of all weights, whatever the file says."""
    study = small_study()
    both, hidden, output = (only(study, point((("hidden", a), ("class", b)))) for a, b in ((3, 3), (3, 8), (8, 3)))
    assert both.score == only(study, point(3)).score
    assert len({found.score for found in (both, hidden, output)}) == 3
    first, second = study.network.populations
    own = dataclasses.replace(study.network, populations=(dataclasses.replace(first, weight_bits=3), second))
    assert only(small_study(network=own), point(8)).score == only(study, point(8)).score
    assert hidden.estimate.ram >= both.estimate.ram  # a core stores all weights at the width of its widest


def test_without_labels_answers_are_those_of_the_floats():
    """At 16 bits almost all answers are equal; the labels of the study are the answers of the float model."""
    study = small_study()
    blind = small_study(arrays={"images": study.arrays["images"]})
    for bits in (16, 2):
        seen, unseen = only(study, point(bits)), only(blind, point(bits))
        assert unseen.score.accuracy is None
        assert unseen.quality == unseen.score.agreement == seen.score.accuracy
    assert only(blind, point(2)).quality < only(blind, point(16)).quality


def test_the_estimate_is_made_of_its_parts():
    study, board = small_study(), find_board("icebreaker")
    found = only(study, point(4, lanes=2)).estimate
    network = quantise(study.network, Quantisation(weight_width=4))
    choice = choose(network, board.device, lanes=2)
    assert (found.lanes, found.lut, found.ram) == (2, choice.resources.lut, choice.resources.ram)
    assert choice.resources == estimate(choice.core, board.device)
    program = place(network, FabricConfig(core=choice.core))
    spikes = ENCODER.encode(study.arrays["images"])
    explained = explain(program, measured_rates(network, spikes))
    (work,) = explained.work
    energy = energy_of(choice.core, words_added=6 * work.words_added, words_updated=6 * work.words_updated)
    assert found.cycles == pytest.approx(6 * explained.cycles)
    assert found.energy_nj == pytest.approx(energy.total_j * 1e9)
    assert found.clock_mhz == board.clock_hz / 1e6
    assert found.core_images_per_second == pytest.approx(board.clock_hz / found.cycles)
    bytes_per_image = only(study, point(4, lanes=2)).score.line_bytes
    assert found.line_images_per_second == pytest.approx(board.baud_rate / 10 / bytes_per_image)
    assert found.images_per_second == min(found.core_images_per_second, found.line_images_per_second)
    assert 0 < found.utilisation <= 1


def test_points_of_one_behaviour_share_a_run():
    points = [
        point(bits, board=board, lanes=lanes)
        for bits in (8, 4)
        for board in ("icebreaker", "ulx3s-12f")
        for lanes in (1, 2)
    ]
    groups = behaviours(points)
    assert [len(group) for group in groups] == [4, 4]
    outcomes = evaluate(small_study(), groups[0])
    assert len({id(outcome.score) for outcome in outcomes}) == 1
    assert len({outcome.estimate for outcome in outcomes}) == 4
    with pytest.raises(ValueError, match=r"^points must have one behaviour, not several$"):
        evaluate(small_study(), points)
    assert evaluate(small_study(), []) == []


def test_a_board_without_multipliers_is_another_behaviour():
    """Leaks that are not shifts are refused there, and the factors of currents are not products."""
    assert not find_board("hx8k-b-evn").device.dsp
    groups = behaviours([point(board="icebreaker"), point(board="hx8k-b-evn"), point(board="ulx3s-12f")])
    assert [[each.board for each in group] for group in groups] == [["icebreaker", "ulx3s-12f"], ["hx8k-b-evn"]]
    (found,) = evaluate(small_study(), groups[1])
    assert found.estimate.dsp == 0


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (point(encoder=LatencyEncoder(steps=4, bits=1)), "images must be from 0 to 2, not from 0 to 4"),
        (
            point(encoder=StepForwardEncoder(threshold=1), steps=3),
            "steps must be left out for the step-forward encoder",
        ),
        (point(encoder=None), "images need an encoder, which the network does not define"),
        (point(lanes=256), "lanes"),
    ],
    ids=["range", "steps", "no encoder", "lanes"],
)
def test_what_is_not_possible_is_refused_with_a_reason(at, message):
    found = only(small_study(), at)
    assert found.estimate is None
    assert message in found.refused


def test_spikes_are_cut_to_the_first_steps():
    spikes = ENCODER.encode(small_images()["images"])
    study = small_study(arrays={"spikes": spikes, "labels": small_images()["labels"]})
    assert only(study, point(steps=3, encoder=None)).score.events == np.count_nonzero(spikes[:3]) / 40
    assert only(study, point(encoder=None)).score == only(small_study(), point()).score
    assert "steps must be at most the 6" in only(study, point(steps=7, encoder=None)).refused


def test_options_of_the_study_count():
    """Scales per neuron give different integers; another decision gives different answers."""
    plain = only(small_study(), point(2))
    assert only(small_study(scales=Scales.NEURON), point(2)).score != plain.score
    first = only(small_study(decision=Decision.FIRST_TO_SPIKE), point(2)).score
    assert first.accuracy != plain.score.accuracy
    assert first.synaptic_operations == plain.score.synaptic_operations


def test_content_comes_back():
    for found in (only(small_study(), point()), only(small_study(), point(lanes=256))):
        assert Outcome.of(found.point, found.content()) == found
    with pytest.raises(ValueError, match=r"^content must be that of an outcome$"):
        Outcome.of(point(), {"score": 3})


def test_held_out_samples_are_never_used(request):
    rng = rng_of(request.node.name)
    images = rng.integers(0, 5, (50, 2, 2))
    labels, held_out = np.arange(50), rng.permutation(50)[:20]
    arrays = {"images": images, "labels": labels, "held_out": held_out}
    for limit, count in ((None, 30), (12, 12), (30, 30)):
        found = validation_arrays(arrays, "x", limit=limit)
        assert set(found) == {"images", "labels"}
        assert len(found["labels"]) == count
        assert not set(found["labels"]) & set(held_out)
        assert np.array_equal(found["images"], images[found["labels"]])
        assert np.array_equal(found["labels"], validation_arrays(arrays, "x", limit=limit)["labels"])
    chosen = validation_arrays(arrays | {"validation": np.array([3, *held_out[:2]])}, "x")["labels"]
    assert list(chosen) == [3] if 3 not in held_out else True
    spikes = {"spikes": np.zeros((5, 50, 4), bool), "held_out": held_out}
    assert validation_arrays(spikes, "x")["spikes"].shape == (5, 30, 4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"held_out": np.arange(4)}, r"^x must hold at least one sample for validation, but all are held out$"),
        ({"held_out": np.array([4])}, r"^x: held_out must be indices of samples, from 0 to 3, not int64 \(1,\)$"),
        (
            {"validation": np.array([0.5])},
            r"^x: validation must be indices of samples, from 0 to 3, not float64 \(1,\)$",
        ),
        ({"labels": np.arange(3)}, r"^x: labels must have shape \(4,\), not \(3,\)$"),
    ],
)
def test_splits_that_do_not_fit(more, message):
    with pytest.raises(InputError, match=message):
        validation_arrays({"images": np.zeros((4, 2, 2), int)} | more, "x")


def test_arrays_without_samples():
    with pytest.raises(InputError, match=r"^x must hold an array 'spikes', 'images' or 'series', not 'labels'$"):
        validation_arrays({"labels": np.arange(3)}, "x")
    with pytest.raises(InputError, match=r"^limit must be at least 1, not 0$"):
        validation_arrays({"images": np.zeros((4, 2, 2), int)}, "x", limit=0)


def test_the_small_network_is_worth_exploring():
    outputs = small_images()["labels"]
    assert len(set(outputs.tolist())) > 2
    assert small_network().neurons == 14
