"""Discretisation of continuous neurons, against closed forms."""

import nir
import numpy as np
import pytest
from harness.nir_graphs import (
    affine,
    exactly,
    feed_forward,
    graph,
    integrate_and_fire,
    integrator,
    lif,
    linear,
    only,
    weight,
)

from spikeloom.frontends.nir import Discretisation, LoadError, load
from spikeloom.sim.core.neuron import Compare, Reset


def test_euler_is_the_default_and_folds_gain_and_leak_potential():
    source = graph({"fc": affine(2, 3), "lif": lif(2, tau=4e-3, r=2.0, leak=0.5, threshold=0.7)})
    network = load(source, time_step_s=1e-3)
    assert only(network).beta.tolist() == [0.75, 0.75]
    np.testing.assert_allclose(weight(network), 0.5 * source.nodes["fc"].weight)
    np.testing.assert_allclose(only(network).bias, 0.5 * source.nodes["fc"].bias + 0.25 * 0.5)
    assert only(network).threshold.tolist() == [0.7, 0.7]
    assert (only(network).compare, only(network).reset) == (Compare.GREATER, Reset.ZERO)
    assert (only(network).reset_delay, only(network).refractory) == (0, 0)
    assert network.input_shape == (3,)
    assert network.time_step_s == 1e-3


def test_exponential():
    source = feed_forward(lif(2, tau=4e-3, r=2.0, leak=0.5))
    network = load(source, time_step_s=1e-3, discretisation="exponential")
    beta = np.exp(-0.25)
    np.testing.assert_allclose(only(network).beta, beta, rtol=1e-12)
    np.testing.assert_allclose(weight(network), 2 * (1 - beta) * source.nodes["fc"].weight, rtol=1e-12)
    np.testing.assert_allclose(only(network).bias, 0.5 * (1 - beta), rtol=1e-12)


def test_integrate_and_fire_has_no_leak_and_a_gain_of_r_times_the_step():
    source = graph({"fc": affine(2, 3), "lif": integrate_and_fire(2, r=500.0)})
    network = load(source, time_step_s=1e-3)
    assert only(network).beta.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(weight(network), 0.5 * source.nodes["fc"].weight)
    np.testing.assert_allclose(only(network).bias, 0.5 * source.nodes["fc"].bias)


def test_an_integrator_approaches_its_closed_form():
    """With constant input, v_n = r I (1 - beta**n) under both discretisations, which is exact for the exponential
    one."""
    source = graph(
        {"fc": nir.Linear(weight=np.array([[0.5]])), "li": integrator(1, tau=1e-2, r=3.0)}, None, None, (1,), (1,)
    )
    n = np.arange(1, 51)
    for how, beta in ((Discretisation.EULER, 0.9), (Discretisation.EXPONENTIAL, np.exp(-0.1))):
        network = load(source, time_step_s=1e-3, discretisation=how)
        assert not only(network).spiking
        np.testing.assert_allclose(network.simulate(np.ones((50, 1)))[:, 0, 0], 1.5 * (1 - beta**n), rtol=1e-9)


def test_constant_drive_makes_a_neuron_fire_with_its_textbook_period():
    """A LIF under constant drive above threshold fires every tau log(R I / (R I - threshold)) seconds."""
    tau, drive = 20e-3, 1.5
    source = graph({"fc": nir.Linear(weight=np.array([[drive]])), "lif": lif(1, tau=tau)}, None, None, (1,), (1,))
    network = load(source, time_step_s=1e-5, discretisation="exponential")
    fired = np.flatnonzero(network.simulate(np.ones((20000, 1)))[:, 0, 0])
    period = np.diff(fired).mean() * 1e-5
    assert fired.size > 5
    assert period == pytest.approx(tau * np.log(drive / (drive - 1)), rel=2e-3)


def test_v_reset_of_the_file_makes_a_reset_to_a_value():
    network = load(feed_forward(lif(2, reset=-0.25)), time_step_s=1e-3)
    assert only(network).reset is Reset.VALUE
    assert only(network).reset_value.tolist() == [-0.25, -0.25]
    network = load(feed_forward(lif(2, reset=-0.25)), time_step_s=1e-3, reset="subtract")
    assert only(network).reset is Reset.SUBTRACT
    assert "lif: v_reset of the file is not used, because reset is subtract" in network.notes


def test_single_precision_noise_of_the_file_is_taken_off():
    """7/8 stored as a single-precision tau is 0.87500001, with which a sum equal to the threshold would exceed it."""
    neuron = lif(2, tau=np.float32(1e-4) / np.float32(0.125), r=np.float32(8), kind=np.float32)
    network = load(feed_forward(neuron), time_step_s=1e-4)
    assert 1.0 - 1e-4 / float(neuron.tau[0]) != 0.875
    assert only(network).beta.tolist() == [0.875, 0.875]
    assert np.array_equal(weight(network), linear(2, 3).weight)
    other = load(feed_forward(lif(2, tau=1e-4 / 0.1234567, kind=np.float32)), time_step_s=1e-4)
    assert only(other).beta[0] == pytest.approx(1 - 0.1234567, rel=1e-6)


def test_a_time_step_of_tau_leaves_no_memory_and_a_longer_one_is_refused():
    neuron = lif(2, tau=np.float32(1e-4), kind=np.float32)
    assert float(neuron.tau[0]) < 1e-4, "tau must be a little short for this test to mean anything"
    assert only(load(feed_forward(neuron), time_step_s=1e-4)).beta.tolist() == [0.0, 0.0]
    for how in Discretisation:
        with pytest.raises(
            LoadError,
            match=exactly("the time step must be at most tau, not 0.01 s, because tau of node 'lif' is 0.008 s"),
        ):
            load(feed_forward(lif(2)), time_step_s=1e-2, discretisation=how)
