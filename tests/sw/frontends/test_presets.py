"""Presets: the step of each framework, from graphs as its exporter writes them."""

import nir
import numpy as np
import pytest
from harness.nir_graphs import (
    exactly,
    feed_forward,
    graph,
    integrate_and_fire,
    integrator,
    lif,
    linear,
    only,
    positive,
    step_by_step,
    stimulus,
    weight,
)

from spikeloom.frontends.nir import PRESETS, LoadError, load
from spikeloom.sim.core.neuron import Compare, Reset


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
        "snnTorch does not export inhibition and graded_spikes_factor, so neither is applied",
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
    assert told.notes == network.notes[:2]


def test_preset_snntorch_with_an_immediate_subtraction():
    """Leaky(reset_delay=False): a membrane above the threshold after its reset is compared with twice the threshold."""
    beta, threshold = 0.75, np.array([1.0, 1.25])
    neuron = nir.LIF(tau=np.full(2, 4e-4), r=np.full(2, 4.0), v_leak=np.zeros(2), v_threshold=threshold)
    fc = nir.Linear(weight=np.array([[1.0, 2.0, 0.5], [0.5, 1.5, 3.0]]))
    network = load(graph({"fc": fc, "lif": neuron}), preset="snntorch", reset="subtract", reset_delay=0)
    assert only(network).second_threshold
    inputs = stimulus("test_preset_snntorch_with_an_immediate_subtraction")
    spikes, v, twice = network.simulate(inputs), np.zeros((4, 2)), 0
    for t, current in enumerate(inputs):
        reset = (v > threshold).astype(float)
        v = beta * v + current @ fc.weight.T - reset * threshold
        fired = v > threshold
        assert np.array_equal(spikes[t], fired)
        v = v - (fired - reset) * threshold
        twice += int(reset.sum())
    assert 0 < spikes.sum() < spikes.size
    assert twice > 20
    for other in ({"reset": "zero", "reset_delay": 0}, {"reset": "subtract", "reset_delay": 1}):
        assert not only(load(graph({"fc": fc, "lif": neuron}), preset="snntorch", **other)).second_threshold


def test_preset_snntorch_knows_a_beta_of_one_and_refuses_other_gains():
    """A beta of 1 divides by zero in snnTorch: tau and r are infinite."""
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
    """Norse 1.1.0, LIFBoxCell: tau = dt / tau_inv with dt = 1e-3, so 1e-5 for 100 Hz; parameters have no dimensions."""
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
        start=float(np.float32(0.1)),
    )
    assert "lif: its membrane starts at v_leak, 0.1; here it is relative to that value" in network.notes
    assert "lif: one set of parameters is used for all 2 neurons" in network.notes
    assert (
        "lif: Norse does not export v_reset and reset_method; a reset to the file's v_reset is assumed" in network.notes
    )
    # Its integrate-and-fire neuron adds its input unscaled.
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
    # Relative to v_reset, at which it starts, the membrane is reset to 0.
    assert (population.compare, population.reset) == (Compare.GREATER_EQUAL, Reset.ZERO)
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
        start=reset,
    )
    assert "lif: its membrane starts at v_reset, 0.25; here it is relative to that value" in network.notes
    assert "lif: fires at v >= threshold as SpikingJelly does, where NIR says >" in network.notes


def test_preset_spikingjelly_integrate_and_fire():
    """IFNode: r = 1 / dt, so that the input is unscaled; a membrane equal to the threshold fires."""
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
    """sinabs 3.1.3, LIF(tau_mem, norm_input=True): tau in steps, no dimensions, alpha = exp(-1 / tau), reset
    subtract."""
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


@pytest.mark.parametrize("preset", ["sinabs", "rockpool", "nir"])
def test_several_spikes_per_step_are_asked_for(preset):
    """The number of spikes is the quotient of membrane and threshold; the option of a layer takes precedence."""
    fc = nir.Linear(weight=np.array([[1.0, 0.5, 0.25]]))
    source = graph({"fc": fc, "lif": integrate_and_fire(1, r=1.0 if preset == "sinabs" else 1e3)}, outputs=(1,))
    options = {"preset": preset, "time_step_s": 1e-3, "reset": "subtract", "compare": ">="}
    network = load(source, **options, max_spikes=15)
    assert only(network).max_spikes == 15
    assert not any("several times in a step" in note for note in network.notes)
    one = load(source, **options)
    assert only(one).max_spikes == 1
    assert any("several times in a step" in note for note in one.notes) == (preset != "nir")
    assert only(load(source, **options, max_spikes=15, layers={"lif": {"max_spikes": 2}})).max_spikes == 2
    with pytest.raises(LoadError, match=r"^max_spikes must be an integer from 1 to 15, not 16$"):
        load(source, **options, max_spikes=16)


def test_a_lower_bound_of_sinabs_is_asked_for():
    """IAF(min_v_mem=...), which the file does not hold; a layer's own option takes precedence."""
    fc, fc2 = linear(2, 3), linear(2, 2)
    nodes = {"fc": fc, "lif": integrate_and_fire(2), "fc2": fc2, "last": integrator(2, tau=4.0)}
    asked = (
        "lif: its membrane has no lower bound; sinabs does not export min_v_mem: if its neurons have one, load with "
    )
    network = load(graph(nodes), preset="sinabs")
    assert network.population("lif").lower_bound is None
    assert asked + "lower_bound" in network.notes
    assert not any("lower bound" in note for note in network.notes if not note.startswith("lif: "))
    network = load(graph(nodes), preset="sinabs", lower_bound=-0.5)
    assert network.population("lif").lower_bound.tolist() == [-0.5, -0.5]
    assert network.population("last").lower_bound is None
    assert [note for note in network.notes if "lower" in note] == [
        "last: lower_bound is not applied, because its membrane is read out without a bound"
    ]
    each = load(graph(nodes), preset="sinabs", layers={"lif": {"lower_bound": [-1.0, 0.25]}}, lower_bound=-0.5)
    assert each.population("lif").lower_bound.tolist() == [-1.0, 0.25]
    for wrong, message in (
        ([1.0, 2.0, 3.0], "lower_bound of node 'lif' must have 1 or 2 values, not 3"),
        ("low", "lower_bound must be finite numbers, not 'low'"),
        (np.nan, "lower_bound must be finite numbers, not nan"),
    ):
        with pytest.raises(LoadError, match=exactly(message)):
            load(graph(nodes), preset="sinabs", lower_bound=wrong)


def test_a_lower_bound_moves_with_the_start_of_the_membrane():
    """SpikingJelly's membranes start at v_reset, from which threshold and bound are counted."""
    node = lif(2, reset=-0.25, threshold=1.0)
    network = load(feed_forward(node), preset="spikingjelly", lower_bound=-0.5)
    assert only(network).lower_bound.tolist() == [-0.25, -0.25]
    assert only(network).threshold.tolist() == [1.25, 1.25]


@pytest.mark.parametrize(("norm_input", "expected"), [(None, None), (True, True), (False, False)])
def test_the_gain_of_sinabs(norm_input, expected):
    """LIF(norm_input=True) and ExpLeak(norm_input=False) by default: a gain of 1 - alpha, or 1."""
    neuron = nir.LIF(tau=np.array(5.0), r=np.array(1.0), v_leak=np.array(0.0), v_threshold=np.array(1.0))
    leak = nir.LI(tau=np.array(4.0), r=np.array(1.0), v_leak=np.array(0.0))
    nodes = {"fc": linear(2, 3), "lif": neuron, "fc2": linear(2, 2, seed=1), "last": leak}
    network = load(graph(nodes), preset="sinabs", norm_input=norm_input)
    scales = {
        "lif": 1.0 if expected is False else 1 - np.exp(-1 / 5),
        "last": 1 - np.exp(-1 / 4) if expected else 1.0,
    }
    np.testing.assert_allclose(weight(network), scales["lif"] * nodes["fc"].weight)
    np.testing.assert_allclose(weight(network, "lif", "last"), scales["last"] * nodes["fc2"].weight)
    assumed = [note for note in network.notes if "norm_input" in note and "hardly" not in note]
    assert len(assumed) == (2 if norm_input is None else 0)
    if norm_input is None:
        assert assumed == [
            "lif: norm_input True, a gain of 1 - beta, is assumed, the default of sinabs, which does not export it",
            "last: norm_input False, a gain of 1, is assumed, the default of sinabs, which does not export it",
        ]
    assert "sinabs does not export tau_syn, so it is not applied" in network.notes
    one = load(graph(nodes), preset="sinabs", layers={"lif": {"norm_input": False}})
    np.testing.assert_allclose(weight(one), nodes["fc"].weight)
    np.testing.assert_allclose(weight(one, "lif", "last"), nodes["fc2"].weight)


def test_only_sinabs_has_norm_input():
    with pytest.raises(
        LoadError,
        match=exactly("norm_input must be left out with preset Norse, because it is an option of sinabs"),
    ):
        load(feed_forward(lif(2, tau=8e-6)), preset="norse", norm_input=True)


@pytest.mark.parametrize("reset", ["zero", "value", "none", "subtract"])
def test_membranes_of_norse_start_at_v_leak(reset):
    rest, step = np.array([0.25, -0.5]), 0.125
    neuron = nir.LIF(
        tau=np.full(2, 8e-6), r=np.ones(2), v_leak=rest, v_threshold=np.array([0.75, 0.5]), v_reset=np.full(2, 0.125)
    )
    fc = nir.Linear(weight=np.array([[1.0, 2.0, 0.5], [0.5, 1.5, 3.0]]))
    network = load(graph({"fc": fc, "lif": neuron}), preset="norse", reset=reset)
    resets = {
        "zero": lambda v: 0.0,
        "value": lambda v: 0.125,
        "none": lambda v: v,
        "subtract": lambda v: v - neuron.v_threshold,
    }
    step_by_step(
        network,
        stimulus("test_membranes_of_norse_start_at_v_leak"),
        lambda v, spikes: v + step * (rest - v + spikes @ fc.weight.T),
        neuron.v_threshold,
        ">",
        resets[reset],
        start=rest,
    )
    assert len(network.populations) == (2 if reset == "subtract" else 1)


def test_a_readout_of_norse_starts_at_v_leak_too():
    rest, fc = np.array([0.25, -0.5]), linear(2, 3)
    leak = nir.LI(tau=np.full(2, 8e-6), r=np.ones(2), v_leak=rest)
    network = load(graph({"fc": fc, "li": leak}), preset="norse")
    assert "li: its membrane starts at v_leak, -0.5 to 0.25, by an input in the first step" in network.notes
    assert "start: fires in the first step and sets the membranes of li" in network.notes
    inputs = stimulus("test_a_readout_of_norse_starts_at_v_leak_too")
    membranes, v = network.simulate(inputs), np.broadcast_to(rest, (4, 2))
    for t, spikes in enumerate(inputs):
        v = v + 0.125 * (rest - v + spikes @ fc.weight.T)
        np.testing.assert_allclose(membranes[t], v, atol=1e-12)


def test_a_start_that_a_synaptic_current_hides_is_noted():
    values = {"tau_syn": 5e-6, "tau_mem": 8e-6, "r": 1.0, "v_leak": 0.25, "v_threshold": 1.0}
    neuron = nir.CubaLIF(**{name: np.full(2, value) for name, value in values.items()})
    source = graph({"fc": positive(2, 3), "lif": neuron})
    moved = load(source, preset="norse")
    assert moved.populations[0].threshold.tolist() == [0.75, 0.75]
    assert not moved.populations[0].bias.any()
    kept = load(source, preset="norse", reset="subtract")
    assert "lif: its membrane starts at 0, whereas that of Norse starts at v_leak, 0.25" in kept.notes


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
    source = graph({"fc": nir.Linear(np.full((2, 3), 0.5)), "lif": lif(2)})
    network = load(source, preset="nir", time_step_s=1e-3)
    assert network.notes == ()
    assert load(source, time_step_s=1e-3).notes == (
        "no preset was given, so neurons are stepped with the equations of NIR",
    )
    with pytest.raises(
        LoadError,
        match=exactly(
            "preset must be named ('auto' finds it), or time_step_s given, because NIR holds time constants but no "
            "time step"
        ),
    ):
        load(feed_forward(lif(2)))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_caller_overrides_every_preset(preset):
    ratio = {"snntorch": 8.0, "rockpool": 8.0 * np.exp(-1 / 8), "spyx": 0.875}.get(preset, 1.0)
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
