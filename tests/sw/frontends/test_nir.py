"""The NIR front door: graphs as each framework writes them, composition, recurrence, metadata, bad input."""

import re
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets.encoders import RateEncoder, encoder_from
from spikeloom.frontends.nir import ENCODER_KEY, METADATA_KEYS, PRESETS, Discretisation, LoadError, load
from spikeloom.model.describe import describe
from spikeloom.sim.core.neuron import Compare, Reset


def full(size, value, kind=np.float64):
    return np.full(size, value, kind)


def lif(size, *, tau=8e-3, r=1.0, threshold=1.0, leak=0.0, reset=0.0, kind=np.float64, metadata=None):
    return nir.LIF(
        tau=full(size, tau, kind),
        r=full(size, r, kind),
        v_leak=full(size, leak, kind),
        v_threshold=full(size, threshold, kind),
        v_reset=full(size, reset, kind),
        metadata=metadata or {},
    )


def integrate_and_fire(size, *, r=1.0, threshold=1.0, kind=np.float64):
    return nir.IF(r=full(size, r, kind), v_threshold=full(size, threshold, kind))


def integrator(size, *, tau=8e-3, r=1.0, leak=0.0, kind=np.float64):
    return nir.LI(tau=full(size, tau, kind), r=full(size, r, kind), v_leak=full(size, leak, kind))


def linear(*shape, seed=0):
    return nir.Linear(weight=np.random.default_rng(seed).normal(size=shape))


def affine(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return nir.Affine(weight=generator.normal(size=shape), bias=generator.normal(size=shape[0]))


def graph(nodes, edges=None, metadata=None, inputs=(3,), outputs=(2,)):
    """A graph with an ``in`` and an ``out``; ``edges`` is text such as ``"in fc, fc lif"``, a chain if None."""
    nodes = {"in": nir.Input(np.array(inputs)), **nodes, "out": nir.Output(np.array(outputs))}
    if edges is None:
        names = list(nodes)
        pairs = list(pairwise(names))
    else:
        pairs = [tuple(pair.split()) for pair in edges.split(",")]
    return nir.NIRGraph(nodes=nodes, edges=pairs, metadata=metadata or {}, type_check=False)


def feed_forward(neuron, metadata=None):
    return graph({"fc": linear(2, 3), "lif": neuron}, metadata=metadata)


def exactly(message):
    return f"^{re.escape(message)}$"


def only(network):
    (population,) = network.populations
    return population


def weight(network, source="input", target="lif"):
    (connection,) = [c for c in network.connections if (c.source, c.target) == (source, target)]
    return connection.weight


# Discretisation


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
    """Constant input: v_n = r I (1 - beta**n) under both discretisations, with the exact solution for exponential."""
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
    """7/8 through tau in single precision is 0.87500001, and a sum that meets the threshold would cross it."""
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
            match=exactly("the time step must be at most tau, not 0.01 s where tau of node 'lif' is 0.008 s"),
        ):
            load(feed_forward(lif(2)), time_step_s=1e-2, discretisation=how)


# Presets: each graph holds what that framework's exporter writes for the step next to it


def step_by_step(network, inputs, one_step, threshold, compare, reset):
    """Compare a network of one population with a framework's own equation, spelled out in a loop."""
    spikes = network.simulate(inputs)
    v = np.zeros(spikes.shape[1:])
    for t, current in enumerate(inputs):
        v = one_step(v, current)
        expected = v > threshold if compare == ">" else v >= threshold
        assert np.array_equal(spikes[t], expected), t
        v = np.where(expected, reset(v), v)
    assert 0 < spikes.sum() < spikes.size


def stimulus(name, steps=80, batch=4, lines=3):
    return rng_of(name).random((steps, batch, lines)) < 0.5


def positive(*shape):
    return nir.Linear(weight=np.random.default_rng(3).uniform(0.1, 0.6, shape))


def test_preset_snntorch():
    """snnTorch 1.0.0, Leaky(beta, threshold): tau = 1e-4 / (1 - beta), r = 1 / (1 - beta), in single precision."""
    beta, threshold = np.array([0.875, 0.93], np.float32), np.array([1.0, 1.25], np.float32)
    neuron = nir.LIF(
        tau=np.float32(1e-4) / (1 - beta),
        r=np.float32(1e-4) / (1 - beta) / np.float32(1e-4),
        v_leak=np.zeros(2, np.float32),
        v_threshold=threshold,
        v_reset=np.zeros(2, np.float32),
    )
    fc = positive(2, 3)
    network = load(graph({"fc": fc, "lif": neuron}), preset="snntorch")
    assert np.array_equal(weight(network), fc.weight)
    np.testing.assert_allclose(only(network).beta, beta, rtol=1e-6)
    assert network.time_step_s == 1e-4
    population = only(network)
    assert (population.compare, population.reset, population.reset_delay) == (Compare.GREATER, Reset.SUBTRACT, 1)
    assert network.notes == (
        "a time step of 0.0001 s is assumed: the default of snnTorch",
        "lif: reset subtract is assumed, because snnTorch does not export it",
        "lif: reset_delay 1 is assumed, because snnTorch does not export it",
    )
    inputs, v = stimulus("test_preset_snntorch"), np.zeros((4, 2))
    spikes = network.simulate(inputs)
    for t, current in enumerate(inputs):
        v = population.beta * v + current @ fc.weight.T - (v > threshold) * threshold
        assert np.array_equal(spikes[t], v > threshold)
    assert 0 < spikes.sum() < spikes.size
    told = load(graph({"fc": fc, "lif": neuron}), preset="snntorch", reset="zero", reset_delay=0)
    assert (only(told).reset, only(told).reset_delay) == (Reset.ZERO, 0)
    assert told.notes == network.notes[:1]


def test_preset_snntorch_knows_a_beta_of_one_and_refuses_other_gains():
    """A beta of 1 divides by zero there: tau and r are infinite."""
    network = load(feed_forward(lif(2, tau=np.inf, r=np.inf)), preset="snntorch")
    assert only(network).beta.tolist() == [1.0, 1.0]
    assert np.array_equal(weight(network), linear(2, 3).weight)
    with pytest.raises(
        LoadError,
        match=exactly(
            "r dt/tau of node 'lif' must be 1, as snnTorch writes it, not 0.0125; it was written with another time "
            "step or by another framework"
        ),
    ):
        load(feed_forward(lif(2)), preset="snntorch")


def test_preset_norse():
    """Norse 1.1.0, LIFBoxCell: tau = dt / tau_inv with dt = 1e-3, so 1e-5 for 100 Hz, without dimensions."""
    step, rate, threshold = 1e-3, 100.0, 0.6
    neuron = nir.LIF(
        tau=np.array(step / rate, np.float32),
        r=np.array(1.0, np.float32),
        v_leak=np.array(0.1, np.float32),
        v_threshold=np.array(threshold, np.float32),
    )
    fc = nir.Affine(weight=np.array([[1.0, 2.0, 0.5], [0.5, 1.5, 3.0]]), bias=np.zeros(2))
    network = load(graph({"fc": fc, "lif": neuron}), preset="norse")
    np.testing.assert_allclose(only(network).beta, 0.9, rtol=1e-6)
    np.testing.assert_allclose(weight(network), 0.1 * fc.weight, rtol=1e-6)
    assert network.time_step_s == step
    step_by_step(
        network,
        stimulus("test_preset_norse"),
        lambda v, spikes: v + step * rate * (np.float32(0.1) + spikes @ fc.weight.T - v),
        np.float32(threshold),
        ">",
        lambda v: 0,
    )
    assert "lif: one set of parameters is used for all 2 neurons" in network.notes
    assert "lif: Norse does not export its reset potential; the file's v_reset is taken" in network.notes
    # Its integrate-and-fire neuron adds the input as it is.
    fires = load(graph({"fc": fc, "lif": integrate_and_fire((), kind=np.float32)}), preset="norse")
    assert np.array_equal(weight(fires), fc.weight)


@pytest.mark.parametrize("decay_input", [True, False])
def test_preset_spikingjelly(decay_input):
    """SpikingJelly 2.0.0, LIFNode(tau): tau dt, r = 1 or tau, v_leak = v_reset, and it fires at the threshold."""
    tau, reset = 4.0, 0.25
    neuron = lif(2, tau=tau * 1e-4, r=1.0 if decay_input else tau, leak=reset, reset=reset)
    fc = nir.Linear(weight=np.array([[1.0, 1.0, 1.0], [4.0, 2.0, -1.0]]) / (1.0 if decay_input else tau))
    network = load(graph({"fc": fc, "lif": neuron}), preset="spikingjelly")
    population = only(network)
    assert (population.compare, population.reset) == (Compare.GREATER_EQUAL, Reset.VALUE)
    assert population.reset_delay == 0
    step_by_step(
        network,
        stimulus("test_preset_spikingjelly"),
        lambda v, spikes: (
            v + (spikes @ fc.weight.T - (v - reset)) / tau
            if decay_input
            else v - (v - reset) / tau + spikes @ fc.weight.T
        ),
        1.0,
        ">=",
        lambda v: reset,
    )
    assert "lif: fires at v >= threshold as SpikingJelly does, where NIR says >" in network.notes


def test_preset_spikingjelly_integrate_and_fire():
    """IFNode: r = 1 / dt, so that the input counts as it is; an exact tie with the threshold fires."""
    fc = nir.Linear(weight=np.array([[0.25, 0.5, 0.0], [0.0, 0.25, 1.0]]))
    network = load(graph({"fc": fc, "lif": integrate_and_fire(2, r=1 / 1e-4)}), preset="spikingjelly")
    assert np.array_equal(weight(network), fc.weight)
    step_by_step(
        network,
        stimulus("test_preset_spikingjelly_integrate_and_fire"),
        lambda v, spikes: v + spikes @ fc.weight.T,
        1.0,
        ">=",
        lambda v: 0,
    )


def test_preset_sinabs():
    """sinabs 3.1.3, LIF(tau_mem, norm_input=True): tau in steps, no dimensions, alpha = exp(-1 / tau), subtract."""
    neuron = nir.LIF(tau=np.array(5.0), r=np.array(1.0), v_leak=np.array(0.0), v_threshold=np.array(1.0))
    fc = nir.Affine(weight=np.array([[0.8, 1.2, 0.4], [1.5, 0.5, 0.1]]), bias=np.zeros(2))
    network = load(graph({"fc": fc, "lif": neuron}), preset="sinabs")
    alpha = np.exp(-1 / 5)
    population = only(network)
    assert (population.compare, population.reset) == (Compare.GREATER_EQUAL, Reset.SUBTRACT)
    step_by_step(
        network,
        stimulus("test_preset_sinabs"),
        lambda v, spikes: alpha * v + (1 - alpha) * (spikes @ fc.weight.T),
        1.0,
        ">=",
        lambda v: v - 1.0,
    )
    notes = " ".join(network.notes)
    for word in ("norm_input", "reset subtract is assumed", "several times in a step", "no result depends on it"):
        assert word in notes
    fires = load(graph({"fc": fc, "lif": integrate_and_fire(2)}), preset="sinabs")
    assert np.array_equal(weight(fires), fc.weight)
    assert only(fires).reset is Reset.SUBTRACT


def test_preset_rockpool():
    """Rockpool 3.1.0, LIFNeuronTorch: v = alpha v + I, whatever r = (tau / dt) exp(-dt / tau) suggests."""
    tau, step = 20e-3, 1e-3
    alpha = np.exp(-step / tau)
    fc = nir.Linear(weight=np.array([[0.2, 0.3, 0.1], [0.4, 0.1, 0.2]]))
    network = load(graph({"fc": fc, "lif": lif(2, tau=tau, r=tau / step * alpha, kind=np.float32)}), preset="rockpool")
    assert np.array_equal(weight(network), fc.weight)
    np.testing.assert_allclose(only(network).beta, alpha, rtol=1e-6)
    step_by_step(
        network,
        stimulus("test_preset_rockpool"),
        lambda v, spikes: only(network).beta * v + spikes @ fc.weight.T,
        1.0,
        ">=",
        lambda v: v - 1.0,
    )
    # ExpSynTorch: the input decays in its own step too.
    synapse = load(graph({"fc": fc, "lif": integrator(2, tau=tau, r=tau / step * alpha)}), preset="rockpool")
    np.testing.assert_allclose(weight(synapse), alpha * fc.weight, rtol=1e-12)
    with pytest.raises(LoadError, match=r"^r dt/tau of node 'lif' must be 0\.904837, as Rockpool writes it, not 1\.90"):
        load(graph({"fc": fc, "lif": lif(2, tau=tau, r=tau / step * alpha)}), preset="rockpool", time_step_s=2e-3)


def test_preset_nir_steps_by_the_equations_of_nir_and_needs_a_time_step():
    network = load(feed_forward(lif(2)), preset="nir", time_step_s=1e-3)
    assert network.notes == ()
    assert load(feed_forward(lif(2)), time_step_s=1e-3).notes == (
        "no preset was named, so neurons are stepped by NIR's own equations",
    )
    with pytest.raises(
        LoadError,
        match=exactly("time_step_s must be given or a preset named, because NIR holds time constants but no time step"),
    ):
        load(feed_forward(lif(2)))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_caller_overrides_every_preset(preset):
    ratio = {"snntorch": 8.0, "rockpool": 8.0 * np.exp(-1 / 8)}.get(preset, 1.0)
    tau = {"sinabs": 8.0, "norse": 8e-6}.get(preset, 8e-3)
    network = load(
        feed_forward(lif(2, tau=tau, r=ratio)),
        preset=preset,
        time_step_s=1e-3,
        discretisation="euler",
        compare=Compare.GREATER,
        reset=Reset.NONE,
        reset_delay=0,
        refractory=3,
    )
    population = only(network)
    assert population.equation == "v = 0.875 v + I; spike if v > 1; no reset; held for 3 steps after a spike"
    assert not any("assumed, because" in note or "fires at" in note for note in network.notes)


# Graphs


def test_chains_of_linear_nodes_compose_exactly():
    nodes = {
        "a": affine(4, 3, seed=1),
        "b": affine(5, 4, seed=2),
        "flat": nir.Flatten(None, 0),
        "c": linear(2, 5, seed=3),
    }
    network = load(graph(nodes | {"lif": integrate_and_fire(2)}), time_step_s=1.0)
    a, b, c = nodes["a"], nodes["b"], nodes["c"]
    np.testing.assert_allclose(weight(network), c.weight @ b.weight @ a.weight)
    np.testing.assert_allclose(only(network).bias, c.weight @ (b.weight @ a.bias + b.bias))


def test_edges_between_neurons_are_identities_and_parallel_edges_add_up():
    network = load(
        graph(
            {"lif": integrate_and_fire(3), "fc": affine(3, 3), "second": integrate_and_fire(3)},
            "in lif, lif second, lif fc, fc second, in second, second out",
            outputs=(3,),
        ),
        time_step_s=1.0,
    )
    assert np.array_equal(weight(network), np.eye(3))
    np.testing.assert_allclose(weight(network, "lif", "second"), np.eye(3) + affine(3, 3).weight)
    assert np.array_equal(weight(network, "input", "second"), np.eye(3))
    np.testing.assert_allclose(network.populations[1].bias, affine(3, 3).bias)
    assert [connection.delay for connection in network.connections] == [0, 0, 0]


def test_flatten_counts_without_the_batch_and_keeps_the_order():
    nodes = {"flat": nir.Flatten(None, 0, -1), "fc": linear(2, 12), "lif": integrate_and_fire(2)}
    network = load(graph(nodes, inputs=(3, 4)), time_step_s=1.0)
    assert network.input_shape == (3, 4)
    assert np.array_equal(weight(network), nodes["fc"].weight)
    with pytest.raises(
        LoadError,
        match=exactly(
            "node 'fc' must get values of one dimension, not of shape (3, 4) from 'flat'; put a Flatten between them, "
            "with dimensions counted without the batch"
        ),
    ):
        load(graph(nodes | {"flat": nir.Flatten(None, 1, -1)}, inputs=(3, 4)), time_step_s=1.0)
    with pytest.raises(
        LoadError,
        match=exactly(
            "node 'flat' must flatten dimensions of a value of shape (3, 4), not 2 to -1; a batch dimension does "
            "not count"
        ),
    ):
        load(graph(nodes | {"flat": nir.Flatten(None, 2, -1)}, inputs=(3, 4)), time_step_s=1.0)


def test_a_population_keeps_its_shape():
    network = load(graph({"lif": integrate_and_fire((2, 3))}, inputs=(2, 3), outputs=(2, 3)), time_step_s=1.0)
    assert only(network).shape == (2, 3)
    assert only(network).size == 6


def test_parameters_without_dimensions_take_the_size_of_their_neighbours(tmp_path):
    source = graph(
        {"first": integrate_and_fire(()), "fc": linear(2, 3), "lif": lif(()), "flat": nir.Flatten(np.array([2]), 0)}
    )
    nir.write(tmp_path / "scalars.nir", source, compression=None)
    for given in (source, tmp_path / "scalars.nir"):
        network = load(given, time_step_s=1e-3)
        assert [population.size for population in network.populations] == [3, 2]
        assert network.populations[1].beta.tolist() == [0.875, 0.875]
    # One neuron before a Linear node is told its size by that node alone.
    recurrent = graph({"lif": integrate_and_fire(()), "w": linear(2, 2)}, "in w, w lif, lif w, lif out", inputs=(2,))
    assert only(load(recurrent, time_step_s=1.0)).size == 2


def test_mixed_scalar_and_per_neuron_parameters_of_a_file_are_accepted(tmp_path):
    nir.write(tmp_path / "mixed.nir", feed_forward(lif(2)))
    with h5py.File(tmp_path / "mixed.nir", "a") as file:
        del file["node/nodes/lif/tau"]
        file["node/nodes/lif/tau"] = 4e-3
    assert only(load(tmp_path / "mixed.nir", time_step_s=1e-3)).beta.tolist() == [0.75, 0.75]


# Recurrence


def recurrent_inside(size=2):
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([size])),
            "lif": lif(size),
            "w_rec": affine(size, size, seed=9),
            "output": nir.Output(np.array([size])),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )


def recurrent_networks():
    nested = graph({"0": linear(2, 3), "1": recurrent_inside(), "2": linear(2, 2, seed=4), "3": lif(2)})
    flat = graph(
        {"0": linear(2, 3), "1.w_rec": affine(2, 2, seed=9), "1.lif": lif(2), "2": linear(2, 2, seed=4), "3": lif(2)},
        "1.w_rec 1.lif, 1.lif 2, 2 3, in 0, 0 1.lif, 3 out, 1.lif 1.w_rec",
    )
    return nested, flat


def test_nested_and_flattened_recurrence_are_the_same_network():
    first, second = (load(source, time_step_s=1e-3) for source in recurrent_networks())
    for network in (first, second):
        assert [population.name for population in network.populations] == ["1.lif", "3"]
        assert [(c.source, c.target, c.delay) for c in network.connections] == [
            ("input", "1.lif", 0),
            ("1.lif", "1.lif", 1),
            ("1.lif", "3", 0),
        ]
        np.testing.assert_allclose(weight(network, "1.lif", "1.lif"), affine(2, 2, seed=9).weight / 8)
        np.testing.assert_allclose(network.populations[0].bias, affine(2, 2, seed=9).bias / 8)
    inputs = stimulus("test_nested_and_flattened_recurrence_are_the_same_network") * 1
    assert np.array_equal(first.simulate(inputs), second.simulate(inputs))


def test_nested_graphs_in_nested_graphs_unfold():
    inner = recurrent_inside()
    outer = nir.NIRGraph(
        nodes={"i": nir.Input(np.array([2])), "rec": inner, "o": nir.Output(np.array([2]))},
        edges=[("i", "rec"), ("rec", "o")],
    )
    network = load(graph({"block": outer}, inputs=(2,)), time_step_s=1e-3)
    assert only(network).name == "block.rec.lif"
    assert [connection.delay for connection in network.connections] == [0, 1]


def test_only_the_connection_that_closes_a_loop_has_a_delay():
    """A feedback loop over three layers with a skip; skips of any length stay without delay."""
    nodes = {name: integrate_and_fire(2) for name in ("c", "a", "b")} | {"back": linear(2, 2)}
    for edges in (
        "in a, a b, b c, a c, c back, back a, c out",
        "c out, back a, c back, a c, b c, a b, in a",
        "in a, in c, a b, b c, a c, c out",
    ):
        network = load(
            graph(nodes if "back" in edges else {k: nodes[k] for k in "cab"}, edges, inputs=(2,)), time_step_s=1.0
        )
        assert [population.name for population in network.populations] == ["a", "b", "c"]
        delayed = [(c.source, c.target) for c in network.connections if c.delay]
        assert delayed == ([("c", "a")] if "back" in edges else [])
        assert ("a: spikes of c arrive one step later, because they close a cycle" in network.notes) == bool(delayed)


def test_a_delayed_bias_counts_in_every_step():
    """As in snnTorch, where the recurrent layer is asked in the first step too."""
    source = graph(
        {"lif": integrate_and_fire(1, threshold=10.0), "w": nir.Affine(weight=np.zeros((1, 1)), bias=np.array([0.5]))},
        "in lif, lif w, w lif, lif out",
        inputs=(1,),
        outputs=(1,),
    )
    membranes = load(source, time_step_s=1.0).run(np.zeros((3, 1)), record_membranes=["lif"]).membranes["lif"]
    assert membranes[:, 0, 0].tolist() == [0.5, 1.0, 1.5]


def test_a_cycle_without_a_neuron_is_refused_by_name():
    nodes = {"a": linear(2, 2), "b": linear(2, 2), "lif": lif(2)}
    with pytest.raises(
        LoadError,
        match=r"^the nodes ('a' -> 'b' -> 'a'|'b' -> 'a' -> 'b') form a cycle without delay, because none is a neuron$",
    ):
        load(graph(nodes, "in a, a b, b a, b lif, lif out", inputs=(2,)), time_step_s=1e-3)
    with pytest.raises(
        LoadError, match=exactly("the nodes 'flat' -> 'flat' form a cycle without delay, because none is a neuron")
    ):
        load(graph({"flat": nir.Flatten(None, 0), "lif": lif(())}, "in flat, flat flat, flat lif, lif out"))


def test_a_population_that_leads_nowhere_is_noted():
    network = load(graph({"lif": lif(2), "lost": lif(2)}, "in lif, lif lost, lif out", inputs=(2,)), time_step_s=1e-3)
    assert "lost: nothing of it reaches the output" in network.notes
    assert network.output == "lif"


# Metadata


def test_metadata_survives_a_file_and_is_used_where_the_caller_is_silent(tmp_path):
    hints = {
        "preset": "snntorch",
        "time_step_s": 1e-3,
        "discretisation": "euler",
        "seed": 5,
        "input_value_width": 4,
        "compare": ">=",
        "reset": "zero",
        "reset_delay": 0,
        "refractory": 2,
    }
    assert tuple(hints) == METADATA_KEYS
    neuron = lif(2, r=8.0)
    neuron.metadata = {"spikeloom": {"reset": "subtract", "reset_delay": True}, "author": "someone else"}
    source = graph(
        {"fc": linear(2, 3), "lif": neuron, "fc2": linear(2, 2), "last": lif(2, r=8.0)}, metadata={"spikeloom": hints}
    )
    nir.write(tmp_path / "hints.nir", source)
    assert nir.read(tmp_path / "hints.nir").nodes["lif"].metadata["spikeloom"]["reset"] == "subtract"
    for given in (source, tmp_path / "hints.nir"):
        network = load(given)
        first, last = network.populations
        assert network.time_step_s == 1e-3
        assert (network.seed, network.input_value_width) == (5, 4)
        assert (first.reset, first.reset_delay, first.refractory) == (Reset.SUBTRACT, 1, 2)
        assert (last.reset, last.reset_delay, last.refractory) == (Reset.ZERO, 0, 2)
        assert first.compare is last.compare is Compare.GREATER_EQUAL
        assert network.notes == ()
        told = load(given, reset="none", refractory=0, seed=6)
        assert told.seed == 6
        assert {population.reset for population in told.populations} == {Reset.NONE}
        assert {population.refractory for population in told.populations} == {0}
    assert load(tmp_path / "hints.nir").name == "hints"
    assert load(tmp_path / "hints.nir", name="mine").name == "mine"


def test_metadata_of_a_nested_graph_is_noted_as_unused(tmp_path):
    inner = recurrent_inside()
    inner.metadata = {"spikeloom": {"reset": "none"}}
    nir.write(tmp_path / "nested.nir", graph({"rec": inner}, inputs=(2,)))
    network = load(tmp_path / "nested.nir", time_step_s=1e-3)
    assert "metadata of the nested graph 'rec' is not used" in network.notes
    assert only(network).reset is Reset.ZERO


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"dt": 1e-3}, f"metadata 'spikeloom' of the graph must have keys out of {', '.join(METADATA_KEYS)}, not 'dt'"),
        ("snntorch", "metadata 'spikeloom' of the graph must be a group of keys, not 'snntorch'"),
        ({"reset": "hard"},
         "metadata of the graph: reset must be one of 'none', 'zero', 'value', 'subtract', not 'hard'"),
        ({"reset_delay": 2}, "metadata of the graph: reset_delay must be an integer from 0 to 1, not 2"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_used_is_refused(hints, message, tmp_path):
    source = feed_forward(lif(2), metadata={"spikeloom": hints})
    nir.write(tmp_path / "hints.nir", source)
    for given in (source, tmp_path / "hints.nir"):
        with pytest.raises(LoadError, match=exactly(message)):
            load(given, time_step_s=1e-3)


def test_time_constants_are_no_metadata_of_a_node():
    neuron = lif(2, metadata={"spikeloom": {"time_step_s": 1e-3}})
    with pytest.raises(
        LoadError,
        match=exactly(
            "metadata 'spikeloom' of node 'lif' must have keys out of compare, reset, reset_delay, refractory, "
            "adaptation_tau_s, adaptation_step, noise, value_limit, not 'time_step_s'"
        ),
    ):
        load(feed_forward(neuron), time_step_s=1e-3)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "lava"}, f"preset must be one of {', '.join(PRESETS)}, not 'lava'"),
        ({"time_step_s": 0}, "time_step_s must be positive, not 0.0"),
        ({"time_step_s": "fast"}, "time_step_s must be a finite number, not 'fast'"),
        ({"discretisation": "exact"}, "discretisation must be one of 'euler', 'exponential', not 'exact'"),
        ({"compare": "="}, "compare must be one of '>', '>=', not '='"),
        ({"reset_delay": 2}, "reset_delay must be an integer from 0 to 1, not 2"),
        ({"refractory": 0.5}, "refractory must be an integer from 0 to 255, not 0.5"),
        ({"seed": 0}, "seed must be an integer from 1 to 4294967295, not 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(feed_forward(lif(2)), **({"time_step_s": 1e-3} | options))


SUPPORTED = (
    "supported are Input, Output, Linear, Affine, LIF, IF, LI, I, CubaLIF, CubaLI, Threshold, Delay, Conv1d, Conv2d, "
    "SumPool2d, AvgPool2d and Flatten"
)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (nir.Scale(scale=np.ones(2)), "node 'x' is a Scale: scaling of single lines is not supported yet"),
    ],
)  # fmt: skip
def test_other_nodes_are_refused_by_name_and_reason(node, message, tmp_path):
    source = graph({"x": node, "lif": lif(2)})
    nir.write(tmp_path / "other.nir", source)
    for given in (source, tmp_path / "other.nir"):
        with pytest.raises(LoadError, match=exactly(f"{message}; {SUPPORTED}")):
            load(given, time_step_s=1e-3)


def test_an_unknown_node_of_a_file_is_refused_too(tmp_path):
    path = tmp_path / "future.nir"
    nir.write(path, feed_forward(lif(2)))
    with h5py.File(path, "a") as file:
        del file["node/nodes/lif/type"]
        file["node/nodes/lif/type"] = "AdLIF"
    with pytest.raises(LoadError, match=exactly(f"node 'lif' is a AdLIF: this kind of node is unknown; {SUPPORTED}")):
        load(path, time_step_s=1e-3)


def test_every_nir_node_is_supported_or_has_a_reason():
    from spikeloom.frontends import nir_graph as module

    kinds = set(nir.ir.__all__) - {"NIRGraph", "NIRNode", "str2NIRNode", "dict2NIRNode"}
    assert kinds == set(module._SUPPORTED) | set(module._REASONS)


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({"fc": linear(2, 4), "lif": lif(2)}, None, "node 'fc' must get 4 values, not 3 from 'in'"),
        ({"fc": linear(4, 3), "lif": lif(2)}, None, "node 'lif' must get 2 values, not 4 from 'fc'"),
        ({"fc": linear(4, 3), "lif": lif(4)}, None, "node 'out' must get 2 values, not 4 from 'lif'"),
        ({"lif": lif(2), "fc": linear(2, 2)}, "in lif, lif fc, fc out",
         "node 'lif' must get 2 values, not 3 from 'in'"),
        ({"fc": linear(2, 3), "lif": lif(2), "last": linear(2, 2)}, None,
         "node 'last' leads to the Output without a neuron; end the network with a LIF, IF or LI"),
        ({"fc": linear(2, 3), "a": lif(2), "b": lif(2)}, "in fc, fc a, fc b, a out, b out",
         "the Output must get the value of one node, not a sum of several"),
        ({"fc": linear(2, 3), "li": integrator(2), "lif": lif(2)}, None,
         "node 'li' is an LI that leads to 'lif': its membrane can only be the network's output"),
        ({"fc": linear(2, 3), "lost": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lost lif, lif out",
         "node 'lost' has no edge that leads to it"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lif out, lif in",
         "the edge from 'lif' to 'in' leads into the graph's Input or out of its Output"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, fc lif, lif out",
         "the edge from 'fc' to 'lif' is listed twice"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lif away, lif out",
         "the edge from 'lif' to 'away' names 'away', which is no node"),
        ({"fc": linear(2, 3), "lif": lif(2), "second": nir.Input(np.array([2]))}, "in fc, fc lif, second lif, lif out",
         "a graph must have one Input node, not 2"),
        ({"fc": linear(2, 3), "lif": lif(2), "second": nir.Output(np.array([2]))}, "in fc, fc lif, lif second, lif out",
         "a graph must have one Output node, not 2"),
        ({"fc": nir.Linear(weight=np.full((2, 3), np.nan)), "lif": lif(2)}, None,
         "weight of node 'fc' must be finite, not nan"),
        ({"fc": nir.Linear(weight=np.ones((2, 2, 3))), "lif": lif(2)}, None,
         "weight of node 'fc' must have two dimensions, not shape (2, 2, 3)"),
        ({"fc": nir.Affine(weight=np.ones((2, 3)), bias=np.ones(3)), "lif": lif(2)}, None,
         "bias of node 'fc' must have 2 values, not 3"),
        ({"fc": linear(2, 3), "lif": lif(2, tau=0.0)}, None, "tau of node 'lif' must be positive, not 0.0"),
        ({"fc": linear(2, 3), "lif": lif(2, tau=np.nan)}, None, "tau of node 'lif' must be positive, not nan"),
        ({"fc": linear(2, 3), "lif": lif(2, r=np.inf)}, None, "r of node 'lif' must be finite, not inf"),
        ({"fc": linear(2, 3), "lif": lif(2, threshold=np.nan)}, None,
         "v_threshold of node 'lif' must be finite, not nan"),
        ({"fc": linear(2, 3), "input": lif(2)}, None,
         "node 'input' is a LIF and must have another name, because connections call the network's input so"),
    ],
)  # fmt: skip
def test_graphs_that_make_no_network_are_refused(nodes, edges, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(graph(nodes, edges), time_step_s=1e-3)


def test_what_is_no_graph_is_refused(tmp_path):
    with pytest.raises(LoadError, match=exactly("source must be the path of a NIR file or a nir.NIRGraph, not int")):
        load(3, time_step_s=1e-3)
    nir.write(tmp_path / "single.nir", lif(2))
    with pytest.raises(LoadError, match=exactly("a network must be a NIRGraph, not LIF")):
        load(tmp_path / "single.nir", time_step_s=1e-3)


def test_files_that_are_missing_cut_or_something_else_are_refused(tmp_path):
    def refuses(path, why):
        with pytest.raises(LoadError, match=exactly(f"cannot read {str(path)!r}: {why}")):
            load(path, time_step_s=1e-3)

    refuses(tmp_path / "missing.nir", "there is no such file")
    refuses(tmp_path, "it is not a file")
    other = tmp_path / "text.nir"
    other.write_text("hello")
    refuses(other, "it is cut short or not an HDF5 file, as a NIR file is")
    other.write_bytes(b"")
    refuses(other, "it is cut short or not an HDF5 file, as a NIR file is")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    refuses(tmp_path / "data.h5", "it is an HDF5 file but not a NIR file, it has no graph")
    whole = tmp_path / "whole.nir"
    nir.write(whole, feed_forward(lif(2)))
    content = whole.read_bytes()
    for part in (1, 3, 7, 9):
        other.write_bytes(content[: len(content) * part // 10])
        refuses(other, "it is cut short or not an HDF5 file, as a NIR file is")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "cut.nir"
    nir.write(path, recurrent_networks()[0])
    content = path.read_bytes()
    for length in rng_of("test_a_file_cut_anywhere_is_refused").integers(1, len(content), 20):
        path.write_bytes(content[:length])
        with pytest.raises(
            LoadError, match=r"^cannot read '.*cut\.nir': it is cut short or not an HDF5 file, as a NIR file is$"
        ):
            load(path, time_step_s=1e-3)


def test_a_file_and_its_graph_are_the_same_network(tmp_path):
    for source in recurrent_networks():
        nir.write(tmp_path / "network.nir", source)
        first, second = load(source, time_step_s=1e-3), load(str(tmp_path / "network.nir"), time_step_s=1e-3)
        assert second.name == "network"
        assert [describe(first)] == [describe(second)]
        for one, other in zip(first.connections, second.connections, strict=True):
            assert np.array_equal(one.weight, other.weight)


def test_the_encoder_of_the_metadata_is_kept(tmp_path):
    encoder = RateEncoder(steps=12, bits=4)
    content = feed_forward(lif(2), {"spikeloom": {"time_step_s": 1e-3}, ENCODER_KEY: encoder.settings()})
    nir.write(tmp_path / "net.nir", content)
    for source in (content, tmp_path / "net.nir"):
        settings = load(source).encoder
        assert settings is not None
        assert encoder_from(settings) == encoder


def test_an_encoder_that_is_no_group_is_refused():
    content = feed_forward(lif(2), {"spikeloom": {"time_step_s": 1e-3}, ENCODER_KEY: "rate"})
    message = "metadata 'spikeloom_encoder' of the graph must be a group of keys, not 'rate'"
    with pytest.raises(LoadError, match=exactly(message)):
        load(content)


@pytest.mark.parametrize(
    "nodes",
    [
        {"w": nir.Linear(np.full((2, 3), 1e300)), "lif": integrate_and_fire(2, r=1e300)},
        {"w": nir.Linear(np.full((2, 3), 1e300)), "w2": nir.Linear(np.full((2, 2), 1e300)), "lif": lif(2)},
    ],
    ids=["gain", "product"],
)
def test_weights_that_overflow_are_refused(nodes):
    """In one sentence and without a warning."""
    with pytest.raises(LoadError, match=r"^weight of the connection from 'input' to 'lif' must be finite, not inf$"):
        load(graph(nodes), preset="norse")


def test_a_bias_that_overflows_is_refused():
    nodes = {"w": nir.Affine(np.zeros((2, 3)), full(2, 1e300)), "lif": integrate_and_fire(2, r=1e300)}
    with pytest.raises(LoadError, match=r"^bias of population 'lif' must be finite, not inf$"):
        load(graph(nodes), preset="norse")
