"""Data of a report: answers, mismatches, membranes, and the samples shown."""

import dataclasses

import numpy as np
import pytest
from harness.cores import MESHED
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.datasets.readout import accuracy, classify
from spikeloom.report.collect import gather
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate


@pytest.fixture(scope="module")
def case():
    rng = rng_of("report collect")
    core = MESHED
    network = random_network(rng, core, sizes=(9, 7, 5))
    spikes = random_spikes(rng, 12, 20, network.inputs)
    return network, place(network, FabricConfig(core=core)), spikes


def output_of(network, spikes):
    result = simulate(network, spikes, record=(network.output,))
    spiking = {p.name: p.parameters.spiking for p in network.populations}[network.output]
    return result.spikes[network.output] if spiking else result.states[network.output].v


def test_answers_and_confusion_are_those_of_the_readout(case):
    network, program, spikes = case
    answers = classify(output_of(network, spikes))
    labels = answers.copy()
    labels[::3] = (labels[::3] + 1) % 5
    report = gather(network, program, spikes, labels=labels)
    assert report.answers.tolist() == answers.tolist()
    assert report.accuracy == pytest.approx(accuracy(output_of(network, spikes), labels))
    assert report.wrong.tolist() == list(range(0, 20, 3))
    assert report.shown == [0, 1, 2, 3, 4, 5, 6, 9]
    for label, answer in np.ndindex(report.confusion.shape):
        assert report.confusion[label, answer] == sum((labels == label) & (answers == answer))
    assert len(report.confusion) == report.classes


def test_without_labels_there_is_neither_accuracy_nor_a_matrix(case):
    network, program, spikes = case
    report = gather(network, program, spikes)
    assert (report.accuracy, report.confusion, report.wrong.tolist()) == (None, None, [])
    assert report.shown == [0, 1, 2, 3, 4, 5]


def test_a_label_beyond_the_classes_makes_the_matrix_larger(case):
    network, program, spikes = case
    report = gather(network, program, spikes, labels=np.full(20, 11))
    assert report.confusion.shape == (12, 12)
    assert report.confusion.sum() == report.confusion[11].sum() == 20


def test_what_hardware_gave_is_compared_everywhere(case):
    network, program, spikes = case
    measured = output_of(network, spikes).copy()
    same = gather(network, program, spikes, measured={network.output: measured})
    assert [c.differs.any() for c in same.comparisons] == [False]
    measured[3, 4, 2] = ~measured[3, 4, 2] if measured.dtype == bool else measured[3, 4, 2] + 1
    other = gather(network, program, spikes, measured={network.output: measured})
    assert np.argwhere(other.comparisons[0].differs).tolist() == [[3, 4, 2]]


def test_membranes_are_those_of_the_reference_where_they_were_recorded(case):
    network, program, spikes = case
    names = tuple(p.name for p in network.populations)
    report = gather(network, program, spikes, record=names)
    states = simulate(network, spikes, record=names).states
    assert set(report.membranes) == set(names)
    assert all(np.array_equal(report.membranes[name], states[name].v) for name in names)
    assert any(report.membranes[name].any() for name in names)
    default = gather(network, program, spikes)
    assert network.output in default.membranes
    assert next(iter(report.spikes)) == INPUT


def test_a_report_is_a_value(case):
    network, program, spikes = case
    report = gather(network, program, spikes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.classes = 3
