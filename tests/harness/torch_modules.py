"""Stand-ins with only the attributes of torch and snnTorch modules that the frontends may use."""

from __future__ import annotations

import numpy as np


class Tensor:
    """A tensor as far as ``.detach().cpu().numpy()`` needs it."""

    def __init__(self, value):
        self.value = np.asarray(value, np.float32)

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.value


class Module:
    """A module as far as calls and names of parts of ``torch.nn.Module`` are concerned."""

    training = True

    def named_children(self):
        return iter([(name, part) for name, part in vars(self).items() if isinstance(part, Module)])

    def named_modules(self, prefix=""):
        yield prefix, self
        for name, part in self.named_children():
            yield from part.named_modules(f"{prefix}.{name}" if prefix else name)

    def __call__(self, *arguments, **options):
        return self.forward(*arguments, **options)


class Sequential(Module):
    def __init__(self, *layers, **named):
        self.layers = [(str(position), layer) for position, layer in enumerate(layers)] + list(named.items())

    def named_children(self):
        return iter(self.layers)

    def forward(self, value):
        for _, layer in self.layers:
            value = layer(value)
        return value


class Linear(Module):
    def __init__(self, weight, bias=None):
        self.weight = Tensor(weight)
        self.bias = None if bias is None else Tensor(bias)


class Flatten(Module):
    def __init__(self, start_dim=1, end_dim=-1):
        self.start_dim, self.end_dim = start_dim, end_dim


class Dropout(Module):
    pass


class Conv2d(Module):
    def __init__(self, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        self.weight, self.bias = Tensor(weight), None if bias is None else Tensor(bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.padding_mode = "zeros"


class AvgPool2d(Module):
    def __init__(self, kernel_size, stride=None, padding=0, **options):
        self.kernel_size, self.stride, self.padding = kernel_size, stride or kernel_size, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = False, True, None
        for name, value in options.items():
            setattr(self, name, value)


class MaxPool2d(Module):
    def __init__(self, kernel_size=2, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size, self.stride, self.padding = kernel_size, stride or kernel_size, padding
        self.dilation, self.ceil_mode, self.return_indices = dilation, ceil_mode, False


class MaxPool1d(MaxPool2d):
    pass


class AvgPool1d(AvgPool2d):
    pass


class Conv1d(Conv2d):
    def __init__(self, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1):
        super().__init__(weight, bias, stride, padding, dilation, groups)


class BatchNorm2d(Module):
    def __init__(self, mean, variance, weight=None, bias=None, eps=1e-5):
        self.running_mean = None if mean is None else Tensor(mean)
        self.running_var = None if variance is None else Tensor(variance)
        self.weight, self.bias = (None if each is None else Tensor(each) for each in (weight, bias))
        self.eps = eps


class BatchNorm1d(BatchNorm2d):
    pass


class ReLU(Module):
    pass


class Leaky(Module):
    def __init__(self, beta, threshold=1.0, reset_mechanism="subtract", reset_delay=True, **options):
        self.beta, self.threshold = Tensor(beta), Tensor(threshold)
        self.reset_mechanism, self.reset_delay = reset_mechanism, reset_delay
        self.inhibition, self.state_quant, self.graded_spikes_factor = False, False, Tensor(1.0)
        for name, value in options.items():
            setattr(self, name, value)


class OneToOne(Module):
    def __init__(self, weight):
        self.V = Tensor(weight)


class RLeaky(Leaky):
    def __init__(self, beta, recurrent, **options):
        super().__init__(beta, **options)
        self.recurrent, self.all_to_all = recurrent, not isinstance(recurrent, OneToOne)


class Synaptic(Leaky):
    def __init__(self, alpha, beta, **options):
        super().__init__(beta, **options)
        self.alpha = Tensor(alpha)


class Alpha(Leaky):
    def __init__(self, alpha, beta, reset_mechanism="zero", **options):
        super().__init__(beta, reset_mechanism=reset_mechanism, **options)
        self.alpha = Tensor(alpha)


class Lapicque(Leaky):
    """A neuron made with R and C; its step does not use ``beta``."""

    def __init__(self, R, C, time_step=1.0, **options):
        super().__init__(0.5, **options)
        self.R, self.C, self.time_step = Tensor(R), Tensor(C), Tensor(time_step)
        del self.reset_delay


class RSynaptic(RLeaky):
    def __init__(self, alpha, beta, recurrent, **options):
        super().__init__(beta, recurrent, **options)
        self.alpha = Tensor(alpha)
