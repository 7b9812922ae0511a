"""NIR nodes with synaptic currents, thresholds and delays, and features in metadata, in files written by nir."""

import re
from itertools import pairwise

import nir
import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.frontends.nir import LoadError, load
from spikeloom.model.describe import describe
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.network.reference import simulate

STEP = 1e-3


def cuba(size=2, *, tau_syn=4e-3, tau_mem=8e-3, r=1.0, w_in=1.0, threshold=1.0, leak=0.0, kind=np.float64, **options):
    def full(value):
        return np.full(size, value, kind)

    return nir.CubaLIF(
        tau_syn=full(tau_syn),
        tau_mem=full(tau_mem),
        r=full(r),
        v_leak=full(leak),
        v_threshold=full(threshold),
        w_in=full(w_in),
        **options,
    )


def cuba_integrator(size=1, *, tau_syn=4e-3, tau_mem=8e-3, r=1.0, w_in=1.0):
    parameters = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": r, "v_leak": 0.0, "w_in": w_in}
    return nir.CubaLI(**{name: np.full(size, value) for name, value in parameters.items()})


def lif(size=2, metadata=None, **parameters):
    values = {"tau": 8e-3, "r": 8.0, "v_leak": 0.0, "v_threshold": 1.0} | parameters
    return nir.LIF(**{name: np.full(size, value) for name, value in values.items()}, metadata=metadata or {})


def linear(*shape, seed=0):
    return nir.Linear(weight=np.random.default_rng(seed).uniform(0.1, 0.6, shape))


def affine(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return nir.Affine(weight=generator.uniform(0.1, 0.6, shape), bias=generator.uniform(-0.1, 0.2, shape[0]))


def graph(nodes, edges=None, metadata=None, inputs=(3,), outputs=(2,)):
    nodes = {"in": nir.Input(np.array(inputs)), **nodes, "out": nir.Output(np.array(outputs))}
    pairs = list(pairwise(nodes)) if edges is None else [tuple(pair.split()) for pair in edges.split(",")]
    return nir.NIRGraph(nodes=nodes, edges=pairs, metadata=metadata or {}, type_check=False)


def through_file(tmp_path, source, **options):
    """The network of a graph, which must be the same when loaded from the graph and from a file."""
    nir.write(tmp_path / "network.nir", source)
    network, direct = load(tmp_path / "network.nir", **options), load(source, name="network", **options)
    for one, other in zip(network.connections, direct.connections, strict=True):
        assert np.array_equal(one.weight, other.weight)
    assert [row.equation for row in describe(network)] == [row.equation for row in describe(direct)]
    return network


def exactly(message):
    return f"^{re.escape(message)}$"


def stimulus(name, steps=80, batch=4, lines=3):
    return rng_of(name).random((steps, batch, lines)) < 0.5


@pytest.mark.parametrize("discretisation", ["euler", "exponential"])
def test_a_synaptic_current_is_stepped_before_the_membrane_and_w_in_goes_into_the_weights(discretisation, tmp_path):
    """NIR's two equations, step by step, in the units of the file; the current here is in the units of the membrane."""
    fc = affine(2, 3)
    source = graph({"fc": fc, "lif": cuba(r=3.0, w_in=2.5, leak=0.25)})
    network = through_file(tmp_path, source, time_step_s=STEP, discretisation=discretisation)
    x, y = STEP / 8e-3, STEP / 4e-3
    if discretisation == "exponential":
        x, y = 1 - np.exp(-x), 1 - np.exp(-y)
    population = network.population("lif")
    np.testing.assert_allclose(population.alpha, 1 - y, rtol=1e-12)
    np.testing.assert_allclose(population.beta, 1 - x, rtol=1e-12)
    inputs, v, current = stimulus("cuba"), np.zeros((4, 2)), np.zeros((4, 2))
    spikes = network.simulate(inputs)
    for t, events in enumerate(inputs):
        current = (1 - y) * current + y * 2.5 * (events @ fc.weight.T + fc.bias)
        v = (1 - x) * v + x * (0.25 + 3.0 * current)
        fired = v > 1.0
        assert np.array_equal(spikes[t], fired)
        v = np.where(fired, 0.0, v)
    assert 0 < spikes.sum() < spikes.size
    assert network.populations[0].name == "constant"
    assert "constant: fires in every step and adds the biases of the inputs of lif" in network.notes


def test_a_synapse_without_bias_needs_no_constant():
    network = load(graph({"fc": linear(2, 3), "lif": cuba()}), time_step_s=STEP)
    assert [population.name for population in network.populations] == ["lif"]
    (row,) = describe(network)
    assert row.equation == "i = 0.75 i + I; v = 0.875 v + i; spike if v > 1; then v = 0"


def test_a_current_based_integrator_follows_its_closed_form(tmp_path):
    """For one spike with the exponential discretisation, v = w_in (1 - a) r (1 - b) (a**n - b**n) / (a - b), where a
    and b are the two decays."""
    a, b = np.exp(-STEP / 4e-3), np.exp(-STEP / 8e-3)
    source = graph(
        {"fc": nir.Linear(weight=np.array([[0.5]])), "li": cuba_integrator(r=2.0, w_in=3.0)}, None, None, (1,), (1,)
    )
    network = through_file(tmp_path, source, time_step_s=STEP, discretisation="exponential")
    assert not network.population("li").spiking
    membranes = network.simulate(np.eye(1, 60).T)[:, 0, 0]
    n = np.arange(1, 61)
    np.testing.assert_allclose(membranes, 0.5 * 3 * (1 - a) * 2 * (1 - b) * (a**n - b**n) / (a - b), rtol=1e-9)
    for width, error in ((8, 0.12), (16, 1e-3)):
        quantised = quantise(network, Quantisation(weight_width=width, v_width=24))
        state = simulate(quantised, np.eye(1, 60).T).states["li"]
        scale = 2.0 ** np.round(np.log2(state.v[0, 0, 0] / membranes[0]))
        assert np.abs(state.v[:, 0, 0] / scale - membranes).max() < error * membranes.max()
        assert state.current[-1, 0, 0] <= 2, "a product that is rounded to the nearest ends within 0.5 / (1 - alpha)"


def test_an_integrator_without_leak_adds_up(tmp_path):
    source = graph({"fc": nir.Linear(weight=np.array([[0.5]])), "i": nir.I(r=np.array([2e3]))}, None, None, (1,), (1,))
    network = through_file(tmp_path, source, time_step_s=STEP)
    assert network.simulate(np.ones((4, 1)))[:, 0, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    (row,) = describe(network)
    assert row.equation == "v = v + I; never spikes"


def recurrent(neuron, size=2):
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([size])),
            "lif": neuron,
            "w_rec": affine(size, size, seed=9),
            "output": nir.Output(np.array([size])),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )


def test_recurrence_goes_through_the_current_a_step_later(tmp_path):
    """snnTorch's RSynaptic as exported: a nested graph of a CubaLIF and its recurrent weights."""
    alpha, beta = 0.75, 0.875
    neuron = cuba(tau_syn=1e-4 / (1 - alpha), tau_mem=1e-4 / (1 - beta), r=1 / (1 - beta), w_in=1 / (1 - alpha))
    inner = recurrent(neuron)
    network = through_file(tmp_path, graph({"fc": linear(2, 3), "rec": inner}), preset="snntorch")
    w, again = np.random.default_rng(0).uniform(0.1, 0.6, (2, 3)), inner.nodes["w_rec"]
    inputs = stimulus("recurrent")
    spikes = network.simulate(inputs)
    syn, mem, spk = (np.zeros((4, 2)) for _ in range(3))
    for t, events in enumerate(inputs):
        reset = mem > 1.0
        syn = alpha * syn + events @ w.T + spk @ again.weight.T + again.bias
        mem = beta * mem + syn - reset
        spk = mem > 1.0
        assert np.array_equal(spikes[t], spk)
    assert 0 < spikes.sum() < spikes.size


def test_the_reset_to_zero_of_snntorch_is_noted_and_can_be_had():
    neuron = cuba(tau_syn=4e-4, tau_mem=8e-4, r=8.0, w_in=4.0)
    source = graph({"fc": linear(2, 3), "lif": neuron})
    note = (
        "lif: the input in the step after a spike is counted, whereas snnTorch drops it from the membrane; "
        "refractory 1 does "
        "the same"
    )
    assert note in load(source, preset="snntorch", reset="zero", reset_delay=1).notes
    network = load(source, preset="snntorch", reset="zero", reset_delay=1, refractory=1)
    assert note not in network.notes
    inputs = stimulus("zero")
    spikes = network.simulate(inputs)
    syn, mem = np.zeros((4, 2)), np.zeros((4, 2))
    for t, events in enumerate(inputs):
        reset = mem > 1.0
        syn = 0.75 * syn + events @ source.nodes["fc"].weight.T
        mem = np.where(reset, 0.0, 0.875 * mem + syn)
        assert np.array_equal(spikes[t], mem > 1.0)
    assert 0 < spikes.sum() < spikes.size


def test_snntorch_refuses_a_file_with_other_gains():
    with pytest.raises(
        LoadError,
        match=exactly(
            "w_in dt/tau_syn of node 'lif' must be 1, as snnTorch writes it, not 0.025; it was written with another "
            "time step or by another framework"
        ),
    ):
        load(graph({"fc": linear(2, 3), "lif": cuba(r=80.0)}), preset="snntorch")


def test_norse_adds_its_input_to_the_current_as_it_is(tmp_path):
    """Norse 1.1.0, LIFCell: i_jump = i + input; v += dt tau_mem_inv (v_leak - v + i_jump); i = i_jump decayed."""
    neuron = cuba((), tau_syn=STEP / 200.0, tau_mem=STEP / 100.0, kind=np.float32)
    fc = linear(2, 3, seed=2)
    fc.weight = fc.weight * 4
    network = load(graph({"fc": fc, "lif": neuron}), preset="norse")
    inputs, v, i = stimulus("norse"), np.zeros((4, 2)), np.zeros((4, 2))
    spikes = network.simulate(inputs)
    for t, events in enumerate(inputs):
        jump = i + events @ fc.weight.T
        v = v + STEP * 100.0 * (0.0 - v + jump)
        i = jump - STEP * 200.0 * jump
        fired = v > 1.0
        assert np.array_equal(spikes[t], fired)
        v = np.where(fired, 0.0, v)
    assert 0 < spikes.sum() < spikes.size
    assert "lif: Norse does not export v_reset; that of the file is taken" in network.notes


def test_spikingjelly_writes_gains_of_one(tmp_path):
    """SpikingJelly 2.0.0, CUBALIFNode: c = c_decay c + x; v = v_decay v + c; fires at the threshold."""
    c_decay, v_decay, dt = 0.5, 0.75, 1e-4
    neuron = cuba(tau_syn=dt / (1 - c_decay), tau_mem=dt / (1 - v_decay), r=1 / (1 - v_decay), w_in=1 / (1 - c_decay))
    fc = nir.Linear(weight=np.array([[0.25, 0.5, 0.125], [0.5, 0.25, 0.25]]))
    network = through_file(tmp_path, graph({"fc": fc, "lif": neuron}), preset="spikingjelly")
    inputs, v, c = stimulus("jelly"), np.zeros((4, 2)), np.zeros((4, 2))
    spikes = network.simulate(inputs)
    met = 0
    for t, events in enumerate(inputs):
        c = c_decay * c + events @ fc.weight.T
        v = v_decay * v + c
        fired = v >= 1.0
        met += int((v == 1.0).sum())
        assert np.array_equal(spikes[t], fired)
        v = np.where(fired, 0.0, v)
    assert met > 0, "some membranes meet the threshold exactly"


def test_rockpool_decays_its_current_before_the_membrane_takes_it():
    """Rockpool 3.1.0, LIFTorch: isyn = beta (isyn + input); vmem = alpha vmem + isyn; subtracts its threshold."""
    a, b = np.exp(-STEP / 8e-3), np.exp(-STEP / 4e-3)
    fc = linear(2, 3, seed=4)
    network = load(graph({"fc": fc, "lif": cuba(r=8 * a)}), preset="rockpool")
    inputs, v, i = stimulus("rockpool"), np.zeros((4, 2)), np.zeros((4, 2))
    spikes = network.simulate(inputs)
    for t, events in enumerate(inputs):
        i = b * (i + events @ fc.weight.T)
        v = a * v + i
        fired = v >= 1.0
        assert np.array_equal(spikes[t], fired)
        v = v - fired
    assert 0 < spikes.sum() < spikes.size


def test_a_threshold_has_no_memory_and_is_strict(tmp_path):
    fc = nir.Linear(weight=np.array([[0.5, 0.25, 0.25], [1.0, -1.0, 0.5]]))
    source = graph({"fc": fc, "th": nir.Threshold(threshold=np.array([0.5, 0.25]))})
    network = through_file(tmp_path, source, time_step_s=STEP)
    inputs = stimulus("threshold")
    assert np.array_equal(network.simulate(inputs), inputs @ fc.weight.T > np.array([0.5, 0.25]))
    (row,) = describe(network)
    assert row.equation == "v = I; spike if v > [0.25 .. 0.5]; no reset"
    assert load(source, time_step_s=STEP, compare=">=").population("th").compare is Compare.GREATER_EQUAL
    integers = simulate(quantise(network), inputs).spikes["th"]
    assert np.array_equal(integers, network.simulate(inputs))


def test_delays_are_seconds_and_become_steps(tmp_path):
    delay = np.array([0.0, 2e-3, 7e-3], np.float32)
    source = graph({"wait": nir.Delay(delay=delay), "fc": linear(2, 3), "lif": lif()})
    network = through_file(tmp_path, source, time_step_s=STEP)
    assert network.population("wait").delay.tolist() == [0, 2, 7]
    inputs = stimulus("delay")
    fired = network.run(inputs).spikes["wait"]
    for n, steps in enumerate((0, 2, 7)):
        assert np.array_equal(fired[steps:, :, n], inputs[: 80 - steps, :, n])
        assert not fired[:steps, :, n].any()
    assert describe(network)[0].equation == "spike [0 .. 7] steps after I > 0"
    after = graph({"fc": linear(2, 3), "lif": lif(), "wait": nir.Delay(delay=np.full(2, 3e-3))})
    network = load(after, time_step_s=STEP)
    result = network.run(inputs)
    assert np.array_equal(result.spikes["wait"][3:], result.spikes["lif"][:-3])
    assert result.spikes["wait"].any()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"d": nir.Delay(delay=np.full(3, 1.5e-3)), "fc": linear(2, 3), "lif": lif()},
         "delay of node 'd' must be a whole number of steps of 0.001 s, not 0.0015 s; choose a time_step_s that "
         "divides it"),
        ({"d": nir.Delay(delay=np.full(3, 24e-3)), "fc": linear(2, 3), "lif": lif()},
         "delay of node 'd' must be at most 23 steps of 0.001 s, not 24; choose a longer time_step_s or put several "
         "Delay nodes in a row"),
        ({"d": nir.Delay(delay=np.full(3, -1e-3)), "fc": linear(2, 3), "lif": lif()},
         "delay of node 'd' must be at least 0 s, not -0.001 s"),
        ({"fc": linear(2, 3), "d": nir.Delay(delay=np.full(2, 1e-3)), "lif": lif()},
         "node 'd' is a Delay and must get the unmodified spikes of one neuron or of the Input; put it in front of "
         "the weights"),
        ({"fc": linear(2, 3), "lif": cuba(tau_syn=0.5e-3)},
         "the time step must be at most tau_syn, not 0.001 s, because tau_syn of node 'lif' is 0.0005 s"),
        ({"fc": linear(2, 3), "lif": cuba(tau_mem=-1.0)}, "tau_mem of node 'lif' must be positive, not -1.0"),
        ({"fc": linear(2, 3), "lif": cuba(w_in=np.nan)}, "w_in of node 'lif' must be finite, not nan"),
        ({"fc": linear(2, 3), "li": cuba_integrator(2), "fc2": linear(2, 2), "lif": lif()},
         "node 'li' is a CubaLI that leads to 'lif': its membrane can only be the network output"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_neuron_are_refused(nodes, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(graph(nodes), time_step_s=STEP)


# Features without a NIR node


def modelled(size=2, **hints):
    return lif(size, metadata={"spikeloom": hints})


@pytest.mark.parametrize("discretisation", ["euler", "exponential"])
def test_an_adaptive_threshold_from_metadata(discretisation, tmp_path):
    source = graph({"fc": linear(2, 3), "lif": modelled(adaptation_tau_s=16e-3, adaptation_step=0.5)})
    network = through_file(tmp_path, source, time_step_s=STEP, discretisation=discretisation)
    population = network.population("lif")
    rho = 1 - 1 / 16 if discretisation == "euler" else np.exp(-1 / 16)
    np.testing.assert_allclose(population.adaptation_factor, rho, rtol=1e-12)
    assert population.adaptation_step.tolist() == [0.5, 0.5]
    plain = load(graph({"fc": linear(2, 3), "lif": lif()}), time_step_s=STEP, discretisation=discretisation)
    inputs = stimulus("adaptive")
    assert 0 < network.simulate(inputs).sum() < plain.simulate(inputs).sum()


def test_each_neuron_can_adapt_in_its_own_way(tmp_path):
    source = graph({"fc": linear(2, 3), "lif": modelled(adaptation_tau_s=np.array([4e-3, 8e-3]), adaptation_step=0.25)})
    network = through_file(tmp_path, source, time_step_s=STEP)
    assert network.population("lif").adaptation_factor.tolist() == [0.75, 0.875]


def test_noise_and_values_from_metadata(tmp_path):
    source = graph(
        {"fc": linear(2, 3), "lif": modelled(noise=0.25, value_limit=4.0), "fc2": linear(2, 2), "last": lif()},
        metadata={"spikeloom": {"seed": 9}},
    )
    network = through_file(tmp_path, source, time_step_s=STEP)
    population = network.population("lif")
    assert (population.noise, population.value_limit, network.seed) == (0.25, 4.0, 9)
    assert describe(network)[0].equation == (
        "v = 0.875 v + I; spike if v + noise > 1; then v = 0; noise is uniform in -0.25 .. 0.25; a spike carries v, "
        "at most 4"
    )
    result = network.run(stimulus("noise"))
    values = result.values["lif"][result.spikes["lif"]]
    assert values.min() >= 0.75
    assert len(set(values.tolist())) > 5


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (modelled(adaptation_step=0.5), "node 'lif' must have both adaptation_tau_s and adaptation_step, or neither"),
        (modelled(adaptation_tau_s=0.0, adaptation_step=0.5),
         "adaptation_tau_s of node 'lif' must be positive, not 0"),
        (modelled(adaptation_tau_s=0.5e-3, adaptation_step=0.5),
         "the time step must be at most adaptation_tau_s, not 0.001 s, because that of node 'lif' is 0.0005 s"),
        (modelled(adaptation_tau_s="slow", adaptation_step=0.5),
         "metadata of node 'lif': adaptation_tau_s must be finite numbers, not 'slow'"),
        (modelled(adaptation_tau_s=np.ones(3), adaptation_step=0.5),
         "adaptation_tau_s of node 'lif' must have 1 or 2 values, not 3"),
        (modelled(noise=-1.0), "noise of population 'lif' must be finite and at least 0, not -1.0"),
        (modelled(noise="much"), "metadata of node 'lif': noise must be a finite number, not 'much'"),
        (modelled(value_limit=0.0), "value_limit of population 'lif' must be finite and positive, not 0.0"),
        (modelled(gradedness=1.0),
         "metadata 'spikeloom' of node 'lif' must have keys out of weight_bits, compare, reset, reset_delay, "
         "refractory, max_spikes, lower_bound, norm_input, adaptation_tau_s, adaptation_step, noise, value_limit, not "
         "'gradedness'"),
        (modelled(adaptation_tau_s=8e-3, adaptation_step=0.5, reset="subtract", reset_delay=1),
         "population 'lif' has an adaptive threshold, which must be subtracted in the step of the spike (reset_delay "
         "0), because the threshold of the comparison is not stored"),
    ],
)  # fmt: skip
def test_malformed_metadata_is_refused(node, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(graph({"fc": linear(2, 3), "lif": node}), time_step_s=STEP)


def test_an_integrator_cannot_have_noise():
    node = cuba_integrator(2)
    node.metadata = {"spikeloom": {"noise": 0.5}}
    with pytest.raises(
        LoadError, match=exactly("node 'li' is a CubaLI and cannot have noise, which is for spiking neurons only")
    ):
        load(graph({"fc": linear(2, 3), "li": node}), time_step_s=STEP)


def test_a_reset_of_the_caller_does_not_change_a_threshold():
    source = graph({"fc": linear(2, 3), "th": nir.Threshold(threshold=np.ones(2))})
    population = load(source, time_step_s=STEP, reset="subtract", reset_delay=1).population("th")
    assert (population.reset, population.reset_delay) == (Reset.NONE, 0)
