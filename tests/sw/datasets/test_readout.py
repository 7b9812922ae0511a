"""Answers from spikes and membranes, with ties to the lowest neuron, as from the readout on the board."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets.readout import Decision, accuracy, classify
from spikeloom.sim.host.readout import ReadoutMode, answers, scores

SPIKES = np.zeros((3, 4, 3), bool)
SPIKES[:, 0, 2] = True
SPIKES[:2, 1, 1] = SPIKES[1:, 1, 2] = True  # twice each
SPIKES[0, 2, 0] = SPIKES[1:, 2, 1] = True


def test_the_neuron_that_fired_most_often_wins():
    assert classify(SPIKES).tolist() == [2, 1, 1, 0]
    assert accuracy(SPIKES, [2, 1, 0, 0]) == 0.75


def test_numbers_of_spikes_count_as_often():
    """Three spikes in one step win against two in two steps, and the first spike is the one in the earlier step."""
    counts = np.array([[[0, 1]], [[3, 1]]], np.uint8)
    assert classify(counts).tolist() == classify(counts, Decision.MOST_SPIKES).tolist() == [0]
    assert classify(counts, Decision.FIRST_TO_SPIKE).tolist() == [1]
    assert classify(counts[::-1], Decision.FIRST_TO_SPIKE).tolist() == [0]
    with pytest.raises(ValueError, match=r"^the output must give membranes for the decision sum-of-membranes, not sp"):
        classify(counts, Decision.SUM_OF_MEMBRANES)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, n\), not \(3, 4\)$"):
        classify(SPIKES[..., 0])
    with pytest.raises(ValueError, match=r"^labels must have shape \(4,\) and not be empty, not \(3,\)$"):
        accuracy(SPIKES, [1, 2, 0])
    with pytest.raises(ValueError, match=r"^labels must have shape \(0,\) and not be empty, not \(0,\)$"):
        accuracy(SPIKES[:, :0], [])


def test_float_membranes_are_not_truncated():
    membranes = np.array([[[0.5, 0.25, 0.75]], [[0.25, 0.5, 0.125]]])
    assert classify(membranes).tolist() == [2]
    assert classify(membranes[:, :, :2] + [[0.0, 0.25]]).tolist() == [1]


MODES = dict(zip(Decision, list(ReadoutMode)[1:], strict=True))


@pytest.mark.parametrize("decision", list(Decision), ids=lambda decision: decision.value)
def test_every_rule_is_that_of_the_readout_on_the_board(decision, request):
    rng = rng_of(request.node.nodeid)
    for steps, share in ((1, 0.2), (7, 0.05), (7, 0.4), (20, 0.02)):
        spikes = rng.random((steps, 60, 5)) < share
        values = spikes if decision.by_spikes else rng.integers(-20, 20, spikes.shape)
        expected = answers(scores(MODES[decision], values))
        assert np.array_equal(classify(values, decision), expected)
        assert len(set(expected.tolist())) == 5
        if not decision.by_spikes:
            assert np.array_equal(classify(values / 8, decision), expected)


def test_rules_differ():
    membranes = np.array([[[5, 0, 3]], [[-5, 0, 3]], [[1, 2, 0]]])
    rules = [Decision.LARGEST_MEMBRANE, Decision.LAST_MEMBRANE, Decision.SUM_OF_MEMBRANES]
    assert [int(classify(membranes, rule)[0]) for rule in rules] == [0, 1, 2]
    assert classify(SPIKES, Decision.FIRST_TO_SPIKE).tolist() == [2, 1, 0, 0]
    assert accuracy(SPIKES, [2, 1, 0, 1], Decision.FIRST_TO_SPIKE) == 0.75
    assert [Decision.usual(spiking=spiking) for spiking in (True, False)] == [
        Decision.MOST_SPIKES,
        Decision.SUM_OF_MEMBRANES,
    ]
    assert len({rule.words for rule in Decision}) == len(Decision)


@pytest.mark.parametrize(
    ("values", "rule", "needed"),
    [
        (SPIKES, Decision.LARGEST_MEMBRANE, "membranes for the decision largest-membrane, not spikes"),
        (SPIKES * 1.0, Decision.MOST_SPIKES, "spikes for the decision most-spikes, not membranes"),
    ],
)
def test_a_rule_for_another_output_is_refused(values, rule, needed):
    with pytest.raises(ValueError, match=f"^the output must give {needed}$"):
        classify(values, rule)
