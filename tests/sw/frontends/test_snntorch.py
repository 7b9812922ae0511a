"""The snnTorch frontend, with stand-ins for the modules of torch and snnTorch."""

import re

import numpy as np
import pytest
from harness.loops import convolved, pooled
from harness.networks import rng_of
from harness.torch_modules import (
    Alpha,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Lapicque,
    Leaky,
    Linear,
    MaxPool2d,
    OneToOne,
    ReLU,
    RLeaky,
    RSynaptic,
    Sequential,
    Synaptic,
    Tensor,
)

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.snntorch import from_snntorch
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.network.projection import Convolution


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.5, shape).astype(np.float32)


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_a_leaky_layer_steps_as_snntorch_does(mechanism, reset_delay):
    """Compared with a loop over the equations of ``snntorch.Leaky.forward``, with a drive of up to several
    thresholds."""
    beta, threshold = 0.75, 1.0
    weight, bias = np.abs(weights(5, 7)), weights(5, seed=1) / 8
    module = Sequential(Linear(weight, bias), Leaky(beta, threshold, mechanism, reset_delay))
    network = from_snntorch(module, 7)
    inputs = rng_of("test_a_leaky_layer_steps_as_snntorch_does").random((60, 3, 7)) < 0.4
    spikes, v = network.simulate(inputs), np.zeros((3, 5))
    for t in range(60):
        current, reset = inputs[t] @ weight.T.astype(float) + bias, (v > threshold).astype(float)
        v = beta * (v * (1 - reset) if mechanism == "zero" else v) + current
        if mechanism == "subtract":
            v = v - reset * threshold
        fired = v > threshold
        assert np.array_equal(spikes[t], fired)
        if not reset_delay and mechanism != "none":
            v = v - (fired - reset) * (threshold if mechanism == "subtract" else v)
    assert 0 < spikes.sum() < spikes.size
    (population,) = network.populations
    assert population.reset is {"subtract": Reset.SUBTRACT, "zero": Reset.ZERO, "none": Reset.NONE}[mechanism]
    assert (population.compare, population.reset_delay) == (Compare.GREATER, int(reset_delay))
    assert population.second_threshold == (mechanism == "subtract" and not reset_delay)
    assert network.notes == ()


def test_layers_compose_and_are_named_by_their_place():
    first, second, third = weights(6, 12), weights(4, 6, seed=1), weights(2, 4, seed=2)
    body = Sequential(
        Linear(first, weights(6, seed=3)), Linear(second, weights(4, seed=4)), Dropout(), hidden=Leaky([0.5] * 4)
    )
    network = from_snntorch(
        Sequential(Flatten(), body, Linear(third), Leaky(0.75, [1.0, 2.0])), (3, 4), name="net", time_step_s=2e-3
    )
    assert [population.name for population in network.populations] == ["1.hidden", "3"]
    assert (network.name, network.output, network.input_shape, network.time_step_s) == ("net", "3", (3, 4), 2e-3)
    into, onward = network.connections
    np.testing.assert_allclose(into.weight, second.astype(float) @ first)
    np.testing.assert_allclose(
        network.populations[0].bias, second.astype(float) @ weights(6, seed=3) + weights(4, seed=4)
    )
    assert np.array_equal(onward.weight, third)
    assert network.populations[1].threshold.tolist() == [1.0, 2.0]
    assert not network.populations[1].bias.any()


def test_a_recurrent_layer_hears_itself_one_step_later():
    weight, recurrent, bias, threshold, beta = (
        weights(4, 3),
        weights(4, 4, seed=1) / 2,
        weights(4, seed=2) / 4,
        1.0,
        0.875,
    )
    module = Sequential(Linear(weight), RLeaky(beta, Linear(recurrent, bias)))
    network = from_snntorch(module, 3)
    assert [(c.source, c.target, c.delay) for c in network.connections] == [("1", "1", 1), ("input", "1", 0)]
    inputs = rng_of("test_a_recurrent_layer_hears_itself_one_step_later").random((50, 2, 3)) < 0.5
    spikes, v, spike = network.simulate(inputs), np.zeros((2, 4)), np.zeros((2, 4))
    for t in range(50):
        heard = spike @ recurrent.T.astype(float) + bias
        v = beta * v + inputs[t] @ weight.T.astype(float) + heard - (v > threshold) * threshold
        spike = v > threshold
        assert np.array_equal(spikes[t], spike)
    assert 0 < spikes.sum() < spikes.size


def synaptic_forward(inputs, alpha, beta, threshold, mechanism, reset_delay, recurrent=None):
    """``snntorch.Synaptic.forward``, or ``RSynaptic`` with weights and bias, of version 1.0.0 in NumPy, line by line:
    the drive ``(T, B, n)`` in, spikes out."""
    syn = mem = spk = np.zeros(inputs.shape[1:])
    fired = []
    for drive in inputs:
        if recurrent is not None:
            drive = drive + spk @ recurrent[0].T.astype(float) + recurrent[1]
        reset = (mem > threshold).astype(float)
        syn = alpha * syn + drive
        mem = beta * mem + syn
        if mechanism == "subtract":
            mem = mem - reset * threshold
        elif mechanism == "zero":
            mem = mem - reset * mem
        spk = (mem > threshold).astype(float)
        if not reset_delay and recurrent is None:  # RSynaptic assigns to a local name there and keeps its membrane
            do_reset = spk - reset
            if mechanism == "subtract":
                mem = mem - do_reset * threshold
            elif mechanism == "zero":
                mem = mem - do_reset * mem
        fired.append(spk > 0)
    return np.stack(fired)


def alpha_forward(inputs, alpha, beta, threshold, mechanism):
    """``snntorch.Alpha.forward`` of version 1.0.0 in NumPy, line by line: the drive ``(T, B, n)`` in, spikes out."""
    exc = inh = mem = np.zeros(inputs.shape[1:])
    with np.errstate(divide="ignore"):
        tau = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
    fired = []
    for drive in inputs:
        reset = (mem > threshold).astype(float)
        new_exc, new_inh = alpha * exc + drive, beta * inh - drive
        new_mem = tau * (new_exc + new_inh)
        if mechanism == "subtract":
            parts = (threshold, beta * inh - drive, -inh)
        elif mechanism == "zero":
            parts = (new_exc, new_inh, new_mem)
        else:
            parts = (0.0, 0.0, 0.0)
        exc, inh, mem = (value - part * reset for value, part in zip((new_exc, new_inh, new_mem), parts, strict=True))
        fired.append(mem > threshold)
    return np.stack(fired)


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_an_alpha_layer_steps_as_snntorch_does(mechanism):
    alpha, beta = np.array([0.875, 0.75, 1.0, 0.9375, 0.75]), np.array([0.5, 0.625, 0.75, 0.0, 0.5])
    threshold = np.array([1.0, 0.5, 0.75, 0.75, 1.0])
    weight, bias = np.abs(weights(5, 7)) / 4, weights(5, seed=1) / 16
    layer = Alpha(alpha, beta, threshold=threshold, reset_mechanism=mechanism)
    network = from_snntorch(Sequential(Linear(weight, bias), layer), 7)
    inputs = rng_of("test_an_alpha_layer_steps_as_snntorch_does").random((60, 3, 7)) < 0.3
    spikes = network.simulate(inputs)
    expected = alpha_forward(inputs @ weight.T.astype(float) + bias, alpha, beta, threshold, mechanism)
    assert np.array_equal(spikes, expected)
    assert spikes.sum((0, 1)).min() > 0
    assert spikes.sum((0, 1)).max() < 180
    constant, population = network.populations
    assert (constant.name, network.output) == ("constant", "1")
    assert population.alpha_function
    assert not population.bias.any()
    assert (population.compare, population.refractory) == (Compare.GREATER, 0)


@pytest.mark.parametrize("decays", [([0.5, 1.5], [0.75, 0.5]), (1.5, 1.25), (-0.25, -0.5)])
def test_an_alpha_layer_that_falls_before_it_rises_is_refused(decays):
    message = "alpha of module '0' must be greater than its beta, both within 0 and 1"
    with pytest.raises(LoadError, match=exactly(message)):
        from_snntorch(Sequential(Alpha(*decays)), 2)


def test_alpha_is_clamped_as_in_snntorch():
    network = from_snntorch(Sequential(Linear(weights(2, 3)), Alpha([1.25, 0.5], [0.5, -0.5])), 3)
    (population,) = network.populations
    assert (population.alpha.tolist(), population.beta.tolist()) == ([1.0, 0.5], [0.5, 0.0])
    assert network.notes == tuple(
        f"1: {name} is clamped to 0 .. 1, as snnTorch does in every step" for name in ("alpha", "beta")
    )


@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_a_synaptic_layer_steps_as_snntorch_does(mechanism, reset_delay):
    alpha, beta, threshold = np.array([0.5, 0.75, 0.25, 0.5, 0.125], np.float32), 0.75, 2.0
    weight, bias = np.abs(weights(5, 7)) / 5, weights(5, seed=1) / 16
    layer = Synaptic(alpha, beta, threshold=threshold, reset_mechanism=mechanism, reset_delay=reset_delay)
    network = from_snntorch(Sequential(Linear(weight, bias), layer), 7)
    inputs = rng_of("test_a_synaptic_layer_steps_as_snntorch_does").random((60, 3, 7)) < 0.3
    drive = inputs @ weight.T.astype(float) + bias
    spikes = network.simulate(inputs)
    assert np.array_equal(spikes, synaptic_forward(drive, alpha, beta, threshold, mechanism, reset_delay))
    assert 0 < spikes.sum() < spikes.size
    constant, population = network.populations
    assert (constant.name, network.output) == ("constant", "1")
    assert population.alpha.tolist() == alpha.tolist()
    # Reset to zero with a delay: the membrane is 0 in the step after a spike, whatever the current.
    assert population.refractory == int(mechanism == "zero" and reset_delay)


@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_a_recurrent_synaptic_layer_steps_as_snntorch_does(mechanism, reset_delay):
    alpha, beta, threshold = 0.5, 0.75, 1.5
    weight, recurrent, bias = np.abs(weights(4, 6)) / 6, weights(4, 4, seed=5) / 2, weights(4, seed=2) / 16
    options = {"threshold": threshold, "reset_mechanism": mechanism, "reset_delay": reset_delay}
    network = from_snntorch(Sequential(Linear(weight), RSynaptic(alpha, beta, Linear(recurrent, bias), **options)), 6)
    inputs = rng_of("test_a_recurrent_synaptic_layer_steps_as_snntorch_does").random((60, 3, 6)) < 0.3
    spikes = network.simulate(inputs)
    drive = inputs @ weight.T.astype(float)
    expected = synaptic_forward(drive, alpha, beta, threshold, mechanism, reset_delay, (recurrent, bias))
    assert np.array_equal(spikes, expected)
    assert 0 < spikes.sum() < spikes.size
    noted = any("despite reset_delay=False" in note for note in network.notes)
    assert noted == (not reset_delay and mechanism != "none")


def test_a_recurrent_layer_that_resets_to_zero_with_a_delay_drops_what_reaches_it():
    """``snntorch.RLeaky``: v = f - r f with f = beta v + I + recurrent, so 0 in the step after a spike."""
    weight, recurrent, beta = np.abs(weights(4, 3)), weights(4, 4, seed=1) / 2, 0.875
    network = from_snntorch(Sequential(Linear(weight), RLeaky(beta, Linear(recurrent), reset_mechanism="zero")), 3)
    inputs = rng_of("test_a_recurrent_layer_that_resets_to_zero").random((50, 2, 3)) < 0.5
    spikes, v, spike = network.simulate(inputs), np.zeros((2, 4)), np.zeros((2, 4))
    for t in range(50):
        reset = v > 1.0
        f = beta * v + inputs[t] @ weight.T.astype(float) + spike @ recurrent.T.astype(float)
        v = f - reset * f
        spike = (v > 1.0).astype(float)
        assert np.array_equal(spikes[t], spike > 0)
    assert 0 < spikes.sum() < spikes.size


def test_a_recurrent_layer_can_be_one_to_one():
    network = from_snntorch(Sequential(RLeaky(0.5, OneToOne(0.25)), RLeaky(0.5, OneToOne([0.5, -1.0]))), 2)
    recurrent = {c.target: c.weight for c in network.connections if c.delay}
    assert np.array_equal(recurrent["0"], 0.25 * np.eye(2))
    assert np.array_equal(recurrent["1"], np.diag([0.5, -1.0]))
    assert np.array_equal(network.connections[1].weight, np.eye(2))


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_a_lapicque_layer_steps_as_snntorch_does(mechanism):
    """``snntorch.Lapicque``: f = dt/C I + (1 - dt/(R C)) v; v = f - r threshold, or v = f - r f."""
    weight, bias = np.abs(weights(5, 7)), weights(5, seed=1) / 8
    layer = Lapicque(4.0, [0.5, 1.0, 2.0, 1.0, 0.25], threshold=0.75, reset_mechanism=mechanism)
    network = from_snntorch(Sequential(Linear(weight, bias), layer), 7)
    inputs = rng_of("test_a_lapicque_layer_steps_as_snntorch_does").random((60, 3, 7)) < 0.2
    spikes, v, C = network.simulate(inputs), np.zeros((3, 5)), np.array([0.5, 1.0, 2.0, 1.0, 0.25])
    for t in range(60):
        reset = v > 0.75
        f = (inputs[t] @ weight.T.astype(float) + bias) / C + (1 - 1 / (4.0 * C)) * v
        v = f - reset * {"subtract": 0.75, "zero": f, "none": 0.0}[mechanism]
        assert np.array_equal(spikes[t], v > 0.75)
    assert 0 < spikes.sum() < spikes.size


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Lapicque(0.5, 1.0), "time_step of module '0' must be at most R C, for which its decay is not negative"),
        (Lapicque(1.0, -1.0), "C of module '0' must be positive, not -1.0"),
    ],
)
def test_a_lapicque_layer_without_a_decay_is_refused(layer, message):
    with pytest.raises(LoadError, match=exactly(message)):
        from_snntorch(Sequential(layer), 4)


@pytest.mark.parametrize(("asked", "spiking"), [(None, True), ("spikes", True), ("membrane", False)])
def test_membranes_that_are_never_reset_can_be_the_result(asked, spiking):
    network = from_snntorch(Sequential(Linear(weights(2, 4)), Leaky(0.5, reset_mechanism="none")), 4, readout=asked)
    assert network.population(network.output).spiking == spiking
    inputs = rng_of("test_membranes").random((10, 2, 4)) < 0.5
    result, v = network.simulate(inputs), np.zeros((2, 2))
    for t in range(10):
        v = 0.5 * v + inputs[t] @ weights(2, 4).T.astype(float)
        assert np.array_equal(result[t], v > 1.0 if spiking else v)


def test_a_membrane_that_is_reset_is_no_result():
    with pytest.raises(
        LoadError, match=r"^reset_mechanism of module '0' must be 'none' to read out its membrane, not 'z"
    ):
        from_snntorch(Sequential(Leaky(0.5, reset_mechanism="zero")), 4, readout="membrane")
    with pytest.raises(LoadError, match=r"^readout must be 'spikes', 'membrane' or None, not 'rate'$"):
        from_snntorch(Sequential(Leaky(0.5)), 4, readout="rate")


def test_beta_is_clamped_with_a_note():
    network = from_snntorch(Sequential(Leaky([1.25, -0.5])), 2)
    assert network.populations[0].beta.tolist() == [1.0, 0.0]
    assert network.notes == ("0: beta is clamped to 0 .. 1, as snnTorch does in every step",)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "the module leads to the output without a neuron; end the module with a neuron such as Leaky"),
        ([Leaky(0.5), Linear(weights(2, 4))],
         "module '1' leads to the output without a neuron; end the module with a neuron such as Leaky"),
        ([ReLU(), Leaky(0.5)],
         "module '0' is a ReLU, which is not supported; supported are Sequential, Linear, Conv1d, Conv2d, AvgPool1d, "
         "AvgPool2d, BatchNorm1d, BatchNorm2d, Flatten, Dropout, Dropout1d, Dropout2d, AlphaDropout, Identity, "
         "MaxPool1d, MaxPool2d, Leaky, RLeaky, Synaptic, RSynaptic, Lapicque and Alpha"),
        ([MaxPool2d(2), Leaky(0.5)],
         "module '0' must get values of shape (channels, length) or (channels, height, width), not (4,)"),
        ([Leaky(0.5), MaxPool2d(2)],
         "module '1' must get values of shape (channels, length) or (channels, height, width), not (4,)"),
        ([Linear(weights(2, 3)), Leaky(0.5)], "module '0' must get values of shape (3,), not (4,)"),
        ([Flatten(0), Leaky(0.5)], "module '0' must flatten from dimension 1, not 0, which is the batch"),
        ([Flatten(2), Leaky(0.5)],
         "module '0' must flatten dimensions of a value of shape (4,), not 1 to -1; a batch dimension does not count"),
        ([Leaky(0.5, inhibition=True)], "module '0' is a Leaky with inhibition, which is not supported"),
        ([Leaky(0.5, state_quant=print)], "module '0' is a Leaky with state_quant, which is not supported"),
        ([Leaky(0.5, graded_spikes_factor=Tensor(2.0))],
         "graded_spikes_factor of module '0' must be 1, because spikes are events without a value"),
        ([Leaky(0.5, reset_mechanism="half")],
         "reset_mechanism of module '0' must be 'subtract', 'zero' or 'none', not 'half'"),
        ([Leaky([0.5] * 3)], "beta of module '0' must have 1 or 4 values, not 3"),
        ([Leaky(np.nan)], "beta of module '0' must be finite, not nan"),
        ([Synaptic(0.5, 0.5, threshold=-1.0, reset_mechanism="zero")],
         "threshold of module '0', a Synaptic that resets to zero with a delay, must be at least 0, not -1.0"),
        ([Synaptic([0.5] * 3, 0.5)], "alpha of module '0' must have 1 or 4 values, not 3"),
        ([RLeaky(0.5, Conv2d(np.ones((1, 1, 1, 1))))],
         "module '0' has a Conv2d for its recurrent connection, which is not supported"),
        ([RLeaky(0.5, Linear(weights(3, 3)))],
         "the recurrent connection of module '0' must have shape (4, 4), not (3, 3)"),
    ],
)  # fmt: skip
def test_modules_that_cannot_be_kept_are_refused(layers, message):
    with pytest.raises(LoadError, match=exactly(message)):
        from_snntorch(Sequential(*layers), 4)


@pytest.mark.parametrize("shape", [0, (), (2, 0), (2.0,)])
def test_the_input_shape_is_checked(shape):
    with pytest.raises(LoadError, match=exactly(f"input_shape must be one or more positive integers, not {shape!r}")):
        from_snntorch(Sequential(Leaky(0.5)), shape)
    with pytest.raises(LoadError, match=r"^time_step_s must be positive and finite, not 0$"):
        from_snntorch(Sequential(Leaky(0.5)), 1, time_step_s=0)


def test_convolutions_and_averages_are_composed_as_their_definitions(request):
    """Convolution, average, neurons; average, convolution, neurons; average, Flatten, Linear, neurons."""
    kernel, bias, other, matrix = weights(4, 2, 3, 2), weights(4, seed=1), weights(6, 2, 2, 2, seed=2), weights(3, 12)
    module = Sequential(
        Conv2d(kernel, bias, stride=(1, 2), padding=(1, 0)),
        AvgPool2d((2, 1)),
        Leaky(0.5, 1.0),
        AvgPool2d((1, 2)),
        Conv2d(other, padding="valid", groups=2),
        Leaky(0.75, 2.0),
        AvgPool2d((3, 1)),
        Flatten(),
        Linear(matrix[:, :6]),
        Leaky(0.75, 1.0),
    )
    network = from_snntorch(module, (2, 8, 8))
    assert [population.shape for population in network.populations] == [(4, 4, 4), (6, 3, 1), (3,)]
    rng = rng_of(request.node.name)
    one, two, three = network.connections

    def by_hand(kernel, image, **options):
        geometry = {"input_shape": image.shape, "output_channels": len(kernel), "kernel": kernel.shape[2:]}
        return convolved(Convolution(**geometry, **options), kernel.astype(float), image)

    image = rng.normal(size=(2, 8, 8))
    np.testing.assert_allclose(
        one.sum(image.ravel()) + network.populations[0].bias,
        (pooled((2, 1), by_hand(kernel, image, stride=(1, 2), padding=(1, 0)) + bias[:, None, None]) / 2).ravel(),
    )
    image = rng.normal(size=(4, 4, 4))
    np.testing.assert_allclose(two.sum(image.ravel()), by_hand(other, pooled((1, 2), image) / 2, groups=2).ravel())
    image = rng.normal(size=(6, 3, 1))
    np.testing.assert_allclose(three.sum(image.ravel()), matrix[:, :6] @ pooled((3, 1), image).ravel() / 3)
    assert (two.pooling.window, three.pooling.window) == ((1, 2), (3, 1))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv2d(weights(4, 3, 3, 3))], "module '0' must get values of 3 channels, not 2"),
        ([Conv2d(weights(4, 2, 3, 3), stride=(0, 1))],
         "module '0': stride of a convolution must be 2 integers of at least 1, not (0, 1)"),
        ([Conv2d(weights(4, 2, 2, 3), padding="same")],
         "padding of module '0' must be integers, 'valid', or 'same' with stride 1 and odd kernels, not 'same'"),
        ([AvgPool2d(2, ceil_mode=True)], "ceil_mode of module '0' must be False, not True"),
        ([AvgPool2d(2, count_include_pad=False)], "count_include_pad of module '0' must be True, not False"),
        ([Conv2d(weights(4, 2, 3, 3)), Conv2d(weights(4, 4, 3, 3))],
         "module '1' follows a convolution or an overlapping pooling without a neuron between them, which is not "
         "supported"),
        ([AvgPool2d(3, 1), Conv2d(weights(4, 2, 3, 3))],
         "module '1' follows a convolution or an overlapping pooling without a neuron between them, which is not "
         "supported"),
        ([Conv2d(weights(4, 2, 3, 3)), AvgPool2d(2, padding=1)],
         "module '1' pools a convolution with padding, which is not supported"),
        ([Conv2d(weights(4, 2, 3, 3)), Flatten(), Linear(weights(2, 144))],
         "module '2' follows a convolution without a neuron between them, which is not supported"),
    ],
)  # fmt: skip
def test_windows_that_cannot_be_kept_are_refused(layers, message):
    with pytest.raises(LoadError, match=exactly(message)):
        from_snntorch(Sequential(*layers, Leaky(0.5)), (2, 8, 8))


def test_parameters_per_channel_and_other_kinds_of_tensors():
    class Half(Tensor):
        """A tensor of type bfloat16, which NumPy does not have."""

        def numpy(self):
            raise TypeError("Got unsupported ScalarType BFloat16")

        def float(self):
            return Tensor(self.value)

    convolution = Conv2d(weights(3, 2, 3, 3))
    neurons = Leaky(np.array([0.5, 0.75, 0.875]).reshape(3, 1, 1))
    neurons.threshold = Half([1.5])
    network = from_snntorch(Sequential(convolution, neurons), (2, 4, 4))
    (population,) = network.populations
    assert population.beta.reshape(3, 4).tolist() == [[0.5] * 4, [0.75] * 4, [0.875] * 4]
    assert set(population.threshold.tolist()) == {1.5}
    with pytest.raises(LoadError, match=exactly("beta of module '1' must have 1 or 12 values, not 5")):
        from_snntorch(Sequential(convolution, Leaky(np.full(5, 0.5))), (2, 4, 4))
