"""The snnTorch front door, with stand-ins that have the attributes of torch's and snnTorch's modules and no more."""

import re

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.neuron import Compare, Reset
from spikeloom.sw.network import LoadError
from spikeloom.sw.snntorch import from_snntorch


class Tensor:
    """What ``.detach().cpu().numpy()`` needs."""

    def __init__(self, value):
        self.value = np.asarray(value, np.float32)

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.value


class Sequential:
    def __init__(self, *layers, **named):
        self.layers = [(str(position), layer) for position, layer in enumerate(layers)] + list(named.items())

    def named_children(self):
        return iter(self.layers)


class Linear:
    def __init__(self, weight, bias=None):
        self.weight = Tensor(weight)
        self.bias = None if bias is None else Tensor(bias)


class Flatten:
    def __init__(self, start_dim=1, end_dim=-1):
        self.start_dim, self.end_dim = start_dim, end_dim


class Dropout:
    pass


class Conv2d:
    pass


class Leaky:
    def __init__(self, beta, threshold=1.0, reset_mechanism="subtract", reset_delay=True, **options):
        self.beta, self.threshold = Tensor(beta), Tensor(threshold)
        self.reset_mechanism, self.reset_delay = reset_mechanism, reset_delay
        self.inhibition, self.state_quant, self.graded_spikes_factor = False, False, Tensor(1.0)
        for name, value in options.items():
            setattr(self, name, value)


class OneToOne:
    def __init__(self, weight):
        self.V = Tensor(weight)


class RLeaky(Leaky):
    def __init__(self, beta, recurrent, **options):
        super().__init__(beta, **options)
        self.recurrent, self.all_to_all = recurrent, not isinstance(recurrent, OneToOne)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.5, shape).astype(np.float32)


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_a_leaky_layer_steps_as_snntorch_does(mechanism, reset_delay):
    """The equations of ``snntorch.Leaky.forward`` in a loop; its drive is too small for two thresholds at once."""
    beta, threshold = 0.75, 1.0
    weight, bias = np.abs(weights(5, 7)) / 4, weights(5, seed=1) / 8
    module = Sequential(Linear(weight, bias), Leaky(beta, threshold, mechanism, reset_delay))
    network = from_snntorch(module, 7)
    inputs = rng_of("test_a_leaky_layer_steps_as_snntorch_does").random((60, 3, 7)) < 0.4
    spikes, v = network.simulate(inputs), np.zeros((3, 5))
    for t in range(60):
        current, earlier = inputs[t] @ weight.T.astype(float) + bias, (v > threshold) & reset_delay
        v = beta * (v * ~earlier if mechanism == "zero" else v) + current
        if mechanism == "subtract":
            v = v - earlier * threshold
        fired = v > threshold
        assert np.array_equal(spikes[t], fired)
        if not reset_delay and mechanism != "none":
            v = v - fired * (threshold if mechanism == "subtract" else v)
    assert 0 < spikes.sum() < spikes.size
    (population,) = network.populations
    assert population.reset is {"subtract": Reset.SUBTRACT, "zero": Reset.ZERO, "none": Reset.NONE}[mechanism]
    assert (population.compare, population.reset_delay) == (Compare.GREATER, int(reset_delay))
    assert bool(network.notes) == (mechanism == "subtract" and not reset_delay)


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


def test_a_recurrent_layer_can_be_one_to_one():
    network = from_snntorch(Sequential(RLeaky(0.5, OneToOne(0.25)), RLeaky(0.5, OneToOne([0.5, -1.0]))), 2)
    recurrent = {c.target: c.weight for c in network.connections if c.delay}
    assert np.array_equal(recurrent["0"], 0.25 * np.eye(2))
    assert np.array_equal(recurrent["1"], np.diag([0.5, -1.0]))
    assert np.array_equal(network.connections[1].weight, np.eye(2))


def test_beta_is_clamped_with_a_note():
    network = from_snntorch(Sequential(Leaky([1.25, -0.5])), 2)
    assert network.populations[0].beta.tolist() == [1.0, 0.0]
    assert network.notes == ("0: beta is clamped to 0 .. 1, as snnTorch does in every step",)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "the module leads to the output without a neuron; end the module with a Leaky or RLeaky"),
        ([Leaky(0.5), Linear(weights(2, 4))],
         "module '1' leads to the output without a neuron; end the module with a Leaky or RLeaky"),
        ([Conv2d(), Leaky(0.5)],
         "module '0' is a Conv2d, which is not supported; supported are Sequential, Linear, Flatten, Dropout, "
         "Identity, Leaky and RLeaky"),
        ([Linear(weights(2, 3)), Leaky(0.5)], "module '0' must get values of shape (3,), not (4,)"),
        ([Flatten(0), Leaky(0.5)], "module '0' must flatten from dimension 1, not 0, because that one is the batch"),
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
        ([RLeaky(0.5, Linear(weights(4, 4)), reset_mechanism="zero")],
         "module '0' is an RLeaky that resets to zero with a delay, where snnTorch drops the input of the step after a "
         "spike too; train it with reset_delay=False"),
        ([RLeaky(0.5, Conv2d())],
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
