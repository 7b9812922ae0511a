"""Modules with a ``forward`` of their own, with stand-ins for torch; `frameworks` runs real ones."""

import re
from dataclasses import replace

import numpy as np
import pytest
from harness.float_networks import same
from harness.networks import rng_of
from harness.torch_modules import (
    Conv2d,
    Leaky,
    Linear,
    MaxPool2d,
    Module,
    RLeaky,
    Sequential,
    Synaptic,
    Tensor,
)

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.snntorch import from_snntorch


def torch_function(name):
    """A function of torch: it calls ``__torch_function__`` of its first argument, or of the first one in a list."""

    def function(*arguments, **options):
        first = arguments[0][0] if isinstance(arguments[0], list | tuple) else arguments[0]
        if not hasattr(type(first), "__torch_function__"):
            first = arguments[1]
        return type(first).__torch_function__(function, (), arguments, options)

    function.__name__ = name
    return function


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.5, shape).astype(np.float32)


def zeros(*shape):
    return Tensor(np.zeros(shape))


class Loop(Module):
    """The network of the tutorials: a loop over the steps with explicit states and recorded spikes."""

    def __init__(self, steps=None):
        self.fc1, self.lif1 = Linear(weights(6, 4), weights(6, seed=1)), Leaky(0.5)
        self.fc2, self.lif2 = Linear(weights(3, 6, seed=2)), Leaky(0.75, reset_mechanism="zero")
        self.steps = steps

    def forward(self, x):
        mem1, mem2 = zeros(0), zeros(0)
        spikes, membranes = [], []
        for step in range(self.steps or x.size(0)):
            now = x if self.steps else x[step]
            spk1, mem1 = self.lif1(self.fc1(now.view(now.shape[0], -1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem=mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch_function("stack")(spikes, dim=0), torch_function("stack")(membranes)


def of_layers(module):
    """The same network as a Sequential, with its names."""
    return from_snntorch(Sequential(fc1=module.fc1, lif1=module.lif1, fc2=module.fc2, lif2=module.lif2), 4)


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_a_loop_over_the_steps_of_the_input(shape):
    module = Loop()
    network = from_snntorch(module, shape, sequence="time first")
    assert same(replace(network, input_shape=(4,)), of_layers(module))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_loop_that_presents_the_same_input(steps):
    module = Loop(steps)
    assert same(from_snntorch(module, 4), of_layers(module))


def test_the_module_is_as_before():
    module = Loop(3)
    module.note = kept = {"fc1": 3}
    before = {name: dict(vars(part)) for name, part in module.named_modules()}
    from_snntorch(module, 4)
    module.note["fc1"] = 4
    assert {name: dict(vars(part)) for name, part in module.named_modules()} == before
    assert module.note is kept
    module.fc2 = Linear(weights(3, 5))
    with pytest.raises(LoadError, match=r"^module 'fc2' must get values of shape \(5,\), not \(6,\)$"):
        from_snntorch(module, 4)
    assert "forward" not in vars(module.lif1)


@pytest.mark.parametrize(
    "take", [lambda x, t: x[:, t], lambda x, t: x.transpose(0, 1)[t], lambda x, t: x.permute(1, 0, 2)[t]]
)
def test_a_batch_may_come_first(take):
    class BatchFirst(Loop):
        def forward(self, x):
            spikes, mem1, mem2 = [], None, None
            for step in range(x.shape[1]):
                spk1, mem1 = self.lif1(self.fc1(take(x, step)), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                spikes.append(spk2)
            return spikes

    module = BatchFirst()
    assert same(from_snntorch(module, 4, sequence="batch first"), of_layers(module))


class Steps(Module):
    """One step per call, with states inside the neurons, spikes fed back from the previous step, and a residual."""

    def __init__(self):
        options = {"init_hidden": True}
        self.conv, self.lif1 = Conv2d(weights(2, 1, 2, 2), weights(2, seed=1)), Leaky(0.5, **options)
        self.fc, self.back = Linear(weights(8, 8)), Linear(weights(8, 8, seed=2), weights(8, seed=3))
        self.lif2 = Leaky(0.75, output=True, **options)
        self.last = None

    def forward(self, x):
        first = torch_function("max_pool2d")(self.lif1(self.conv(x)), 2)
        first = torch_function("flatten")(first, 1)
        heard = zeros(x.shape[0], 8) if self.last is None else self.last
        total = torch_function("dropout")(self.fc(first) + self.back(heard) + 0.5 * first, 0.5, self.training)
        self.last, mem = self.lif2(total / 2)
        return self.last, mem


def test_one_step_with_feedback_a_residual_and_a_maximum(request):
    """Compared with the same equations in a loop."""
    module = Steps()
    network = from_snntorch(module, (1, 5, 5))
    assert module.last is None
    assert module.training
    assert [(c.source, c.target, c.delay) for c in network.connections] == [
        ("input", "lif1", 0), ("lif1", "lif1.pool", 0), *[("lif1.pool", "lif2", 0)] * 2, ("lif2", "lif2", 1)
    ]  # fmt: skip
    inputs = rng_of(request.node.nodeid).random((40, 2, 25)) < 0.3
    spikes = network.simulate(inputs)
    kernel, v1, v2, last = module.conv.weight.value.astype(float), np.zeros((2, 2, 4, 4)), np.zeros((2, 8)), 0
    last = np.zeros((2, 8))
    fc, back = module.fc.weight.value.astype(float), module.back.weight.value.astype(float)
    for t, image in enumerate(inputs.reshape(40, 2, 5, 5)):
        windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), (2, 2), (1, 2))
        current = np.einsum("byxij,oij->boyx", windows, kernel[:, 0]) + module.conv.bias.value[:, None, None]
        v1 = 0.5 * v1 + current - (v1 > 1)
        first = (v1 > 1).reshape(2, 2, 2, 2, 2, 2).max((3, 5)).reshape(2, 8).astype(float)
        total = first @ fc.T + last @ back.T + module.back.bias.value + 0.5 * first
        v2 = 0.75 * v2 + total / 2 - (v2 > 1)
        last = (v2 > 1).astype(float)
        assert np.array_equal(spikes[t], last > 0)
    assert 0 < spikes.sum() < spikes.size


def test_a_pool_of_the_module_is_named_by_its_place():
    class Pooled(Steps):
        def __init__(self):
            super().__init__()
            self.pool = MaxPool2d(2, stride=1)

        def forward(self, x):
            return self.lif1(self.pool(self.lif1(x)))

    one = Sequential(Leaky(0.5), MaxPool2d(2, stride=1, padding=1), Leaky(0.5))
    network = from_snntorch(one, (2, 3, 3))
    assert [(p.name, p.shape) for p in network.populations] == [("0", (2, 3, 3)), ("1", (2, 4, 4)), ("2", (2, 4, 4))]
    pool = network.population("1")
    assert (pool.equation, pool.threshold.any()) == ("v = I; spike if v > 0; no reset", False)
    with pytest.raises(LoadError, match=r"^module 'lif1' gets other inputs in step 1 than in the step before"):
        from_snntorch(Pooled(), (1, 4, 4))


def test_neurons_that_receive_their_own_spikes_and_synaptic_states():
    class Recurrent(Module):
        def __init__(self):
            self.fc, self.one = Linear(weights(3, 4)), RLeaky(0.5, Linear(weights(3, 3, seed=4)))
            self.two = Synaptic(0.25, 0.5)

        def forward(self, x):
            spk, mem, syn2, mem2, out = zeros(3, 3), zeros(3, 3), None, None, 0
            for now in x:
                spk, mem = self.one(self.fc(now), spk, mem)
                fired, syn2, mem2 = self.two(spk, syn2, mem2)
                out = out + fired
            return out / 3

    module = Recurrent()
    network = from_snntorch(module, 4, sequence="time first")
    expected = from_snntorch(Sequential(fc=module.fc, one=module.one, two=module.two), 4)
    assert same(network, expected)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: torch_function("relu")(m.fc1(x)), "the function relu of torch is not supported between layers"),
        (
            lambda m, x: m.lif1(torch_function("dropout")(m.fc1(x), 0.5)),
            "the function dropout must be called with training=self.training, because it drops values at random in",
        ),
        (lambda m, x: m.fc1(x).softmax(1), "softmax of a tensor is not supported between layers"),
        (lambda m, x: m.fc1(x), "module 'fc1' leads to the output without a neuron; end the module with a neuron such"),
        (
            lambda m, x: None,
            "the module must return the spikes or the membranes of its last neurons, but returns neither",
        ),
        (lambda m, x: m.lif1(m.fc1(x))[0] if x > 0 else 0, "a module must do the same for all inputs, without condi"),
        (lambda m, x: m.lif1(m.fc1(x))[0] if x else 0, "a module must do the same for all inputs, without conditions"),
        (lambda m, x: m.lif1(m.fc1(x), Tensor([0.5])), "module 'lif1' must start from states of 0"),
        (
            lambda m, x: m.lif2(m.lif1(m.fc1(x))[1]),
            "module 'lif2' must get spikes or the input of one step, not membran",
        ),
        (lambda m, x: m.lif1(m.fc1(x))[1] * 2, "the membranes of 'lif1' must not be added to or multiplied with other"),
        (lambda m, x: m.lif1(m.fc1(x))[1].exp(), "the membranes of 'lif1' must be read out as they are, without exp"),
        (
            lambda m, x: m.lif1(m.fc1(x).view(-1)),
            "a view of values of shape (6,) must keep the batch as its first dimen",
        ),
        (
            lambda m, x: m.lif1(x * x),
            "values must not be multiplied with each other between layers, only with constant",
        ),
        (
            lambda m, x: [m.lif2(m.fc2(m.lif1(m.fc1(x))[0])), m.lif1(m.fc1(x))],
            "module 'lif1' is called 2 times, but module 'lif2' 1 times; each layer of neurons must be called once in",
        ),
        (
            lambda m, x: m.lif1(m.lif1(x)[0] + 1),
            "module 'lif1' gets other inputs in step 1 than in the step before, bu",
        ),
        (
            lambda m, x: [m.lif2(m.fc2([m.lif1(m.fc1(x))[0], m.lif1(m.fc1(x))][0]))],
            "module 'lif1' is called 2 times, but module 'lif2' 1 times",
        ),
        (
            lambda m, x: [m.lif1(m.fc1(x)), m.lif2(m.fc2(m.lif1(m.fc1(x))[0]))],
            "module 'lif2' gets spikes that 'lif1' fires in step 1 in step 0, expected the same step or the next",
        ),
    ],
)
def test_modules_that_are_not_networks_are_refused(forward, message):
    class Wrong(Loop):
        def forward(self, x):
            return forward(self, x)

    with pytest.raises(LoadError, match=f"^{re.escape(message)}"):
        from_snntorch(Wrong(), 4)


@pytest.mark.parametrize(
    ("sequence", "forward", "message"),
    [
        (
            "time first",
            lambda m, x: m.fc1(x),
            "module 'fc1' must get spikes or the input of one step, not membranes or",
        ),
        (
            "time first",
            lambda m, x: [m.lif1(m.fc1(x[0])), m.lif1(m.fc1(x[0]))],
            "module 'lif1' gets the input of step 0 in",
        ),
        ("time first", lambda m, x: m.lif1(m.fc1(x[:, 0])), "a step of the input must be taken as x[step], not as x["),
        (
            "batch first",
            lambda m, x: m.lif1(m.fc1(x[0])),
            "a step of the input must be taken as x[:, step], not as x[0]",
        ),
        (
            "batch first",
            lambda m, x: [m.lif1(m.fc1(now)) for now in x],
            "a loop over the input must be over its steps, ",
        ),
        ("time first", lambda m, x: x.flatten(), "the input of all steps must be taken step by step, without flatten"),
        ("steps first", lambda m, x: x, "sequence must be 'time first', 'batch first' or None, not 'steps first'"),
    ],
)
def test_sequences_that_are_not_taken_step_by_step_are_refused(sequence, forward, message):
    class Wrong(Loop):
        def forward(self, x):
            return forward(self, x)

    with pytest.raises(LoadError, match=f"^{re.escape(message)}"):
        from_snntorch(Wrong(), 4, sequence=sequence)
