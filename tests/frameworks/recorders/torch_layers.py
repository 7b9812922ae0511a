"""Layers of torch with given weights, and step-by-step runs of a module, for the frameworks based on torch."""

from __future__ import annotations

import copy

import numpy as np
import torch

torch.set_num_threads(1)


def tensor(values):
    return torch.tensor(np.asarray(values, np.float32))


def linear(weight, bias=None):
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(tensor(weight))
        if bias is not None:
            layer.bias.copy_(tensor(bias))
    return layer


def conv(weight, bias=None, **options):
    groups = options.get("groups", 1)
    kind = torch.nn.Conv1d if weight.ndim == 3 else torch.nn.Conv2d
    layer = kind(weight.shape[1] * groups, weight.shape[0], weight.shape[2:], bias=bias is not None, **options)
    with torch.no_grad():
        layer.weight.copy_(tensor(weight))
        if bias is not None:
            layer.bias.copy_(tensor(bias))
    return layer


def in_double(module):
    """Return a copy of a module that computes in double precision with its single-precision values."""
    module = copy.deepcopy(module).double().eval()
    for part in module.modules():  # surrogate gradients return spikes in single precision
        part.register_forward_pre_hook(
            lambda _module, inputs: tuple(x.double() if isinstance(x, torch.Tensor) else x for x in inputs)
        )
    return module


def outputs_of_modules(module, names, run, pick=lambda output: output[0] if isinstance(output, tuple) else output):
    """Return the result of ``run()`` and, by name, the outputs ``(T, ...)`` of the modules ``names`` over all calls."""
    found = {name: [] for name in names}
    modules = dict(module.named_modules())
    hooks = [
        modules[name].register_forward_hook(
            lambda _module, _inputs, output, name=name: found[name].append(pick(output).detach().numpy().copy())
        )
        for name in names
    ]
    with torch.no_grad():
        result = run()
    for hook in hooks:
        hook.remove()
    return result, {name: np.stack(outputs) for name, outputs in found.items()}
