"""Modules of snnTorch with a ``forward`` of their own, converted and compared with what they compute.

`make frameworks` runs this in the environment of snnTorch, with the sources of spikeloom on its path. It writes, for
each module, ``NAME.npz`` into the folder that is its argument: ``nir``, the bytes of the converted network as it is
saved; ``inputs`` ``(T, B, n)`` as packed bits; ``result``, spikes as packed bits, or membranes. It fails if a spike
differs. The kept files are replayed without torch by ``test_torch_modules.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from torch import nn
from torch.nn import functional

from spikeloom.frontends.saving import save
from spikeloom.frontends.snntorch import from_snntorch

STEPS, BATCH = 40, 4


class Loop(nn.Module):
    """The loop of snnTorch's tutorials."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(20, 30), snn.Leaky(beta=0.875)
        self.fc2, self.lif2 = nn.Linear(30, 10), snn.Leaky(beta=0.875, reset_mechanism="zero")

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step].flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


class Convolutional(nn.Module):
    """BatchNorm, a maximum of spikes, synaptic currents, neurons that receive their own spikes."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm, self.lif1 = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), snn.Leaky(beta=0.75)
        self.pool = nn.MaxPool2d(2)
        self.conv2, self.lif2 = nn.Conv2d(6, 4, 3), snn.Synaptic(alpha=0.5, beta=0.75)
        self.fc, self.lif3 = nn.Linear(16, 10), snn.RLeaky(beta=0.75, linear_features=10)

    def forward(self, x):
        mem1, (syn, mem2), (spk3, mem3) = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spikes = []
        for now in x:
            spk1, mem1 = self.lif1(self.norm(self.conv1(now)), mem1)
            spk2, syn, mem2 = self.lif2(self.conv2(self.pool(spk1)), syn, mem2)
            hidden = functional.dropout(spk2.view(now.size(0), -1), 0.5, self.training)
            spk3, mem3 = self.lif3(self.fc(hidden), spk3, mem3)
            spikes.append(spk3)
        return torch.stack(spikes)


class OneStep(nn.Module):
    """One step per call, with states inside the neurons, spikes that are fed back, and functions between layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif1 = nn.Conv1d(2, 6, 3, padding=1), snn.Lapicque(beta=0.8, init_hidden=True)
        self.fc, self.norm, self.back = nn.Linear(24, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
        self.lif2 = snn.Leaky(beta=0.9, init_hidden=True, reset_delay=False, threshold=0.7)
        self.last = None

    def forward(self, x):
        spikes = functional.max_pool1d(self.lif1(self.conv(x)), 2)
        if self.last is None:
            self.last = torch.zeros(x.size(0), 8)
        self.last = self.lif2(self.norm(self.fc(torch.flatten(spikes, 1))) + self.back(self.last))
        return self.last


class Readout(nn.Module):
    """The same input in every step, and membranes as the result."""

    def __init__(self):
        super().__init__()
        options = {"threshold": 0.2, "reset_mechanism": "zero"}
        self.fc1, self.lif1 = nn.Linear(16, 30), snn.Lapicque(R=5.0, C=0.8, time_step=1, **options)
        self.fc2, self.lif2 = nn.Linear(30, 4), snn.Leaky(beta=0.875, reset_mechanism="none")

    def forward(self, x):
        mem1, mem2 = self.lif1.init_lapicque(), self.lif2.init_leaky()
        membranes = []
        for _ in range(STEPS):
            spikes, mem1 = self.lif1(self.fc1(x), mem1)
            _, mem2 = self.lif2(self.fc2(spikes), mem2)
            membranes.append(mem2)
        return torch.stack(membranes)


class Alphas(nn.Module):
    """Alpha neurons with each reset, with explicit and with internal states."""

    def __init__(self):
        super().__init__()
        self.fc1, self.first = nn.Linear(12, 24), snn.Alpha(alpha=0.9, beta=0.7, threshold=0.5)
        options = {"threshold": 0.5, "reset_mechanism": "subtract", "init_hidden": True}
        self.fc2, self.second = nn.Linear(24, 16), snn.Alpha(alpha=0.85, beta=0.5, **options)
        self.fc3, self.third = nn.Linear(16, 8), snn.Alpha(alpha=0.8, beta=0.6, reset_mechanism="none")

    def forward(self, x):
        states, others = self.first.reset_mem(), self.third.reset_mem()
        spikes = []
        for now in x:
            spk1, *states = self.first(self.fc1(now), *states)
            spk3, *others = self.third(self.fc3(self.second(self.fc2(spk1))), *others)
            spikes.append(spk3)
        return torch.stack(spikes)


CASES = {
    "loop": (Loop, (20,), "time first", lambda module, x: module(x)[0]),
    "convolutional": (Convolutional, (2, 8, 8), "time first", lambda module, x: module(x)),
    "one-step": (OneStep, (2, 8), None, lambda module, x: torch.stack([module(now) for now in x])),
    "readout": (Readout, (16,), None, lambda module, x: module(x[0])),
    "alpha": (Alphas, (12,), "time first", lambda module, x: module(x)),
}


def with_statistics(module):
    """Return a module in evaluation mode, with normalisation statistics as after training, and larger weights."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.1, 0.6)
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.normal_(0.2, 0.3)
        elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            layer.weight.mul_(3.0)  # so that all layers fire
    return module.eval()


@torch.no_grad()
def main() -> int:
    folder, differing = Path(sys.argv[1]), 0
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    for name, (build, shape, sequence, run) in CASES.items():
        module = with_statistics(build())
        inputs = (torch.rand(STEPS, BATCH, *shape) < 0.4).float()
        if name == "readout":
            inputs = inputs[:1].expand(STEPS, *inputs.shape[1:]).contiguous()
        network = from_snntorch(module, shape, name=name, sequence=sequence)
        result, bits = run(module, inputs).numpy(), inputs.numpy().reshape(STEPS, BATCH, -1) > 0
        found = network.simulate(bits)
        if name == "readout":
            wrong = int(np.count_nonzero(np.abs(found - result) > 1e-5))
            arrays = {"result": result}
        else:
            wrong = int(np.count_nonzero(found != (result > 0)))
            arrays = {"result": np.packbits(result > 0), "shape": result.shape}
            assert 0.02 < np.mean(result) < 0.8, (name, np.mean(result))
        with tempfile.TemporaryDirectory() as scratch:
            save(network, Path(scratch) / "net.nir")
            content = np.frombuffer((Path(scratch) / "net.nir").read_bytes(), np.uint8)
        arrays |= {"nir": content, "inputs": np.packbits(bits), "input_shape": bits.shape}
        np.savez_compressed(folder / f"{name}.npz", **arrays)
        print(f"  snntorch module {name}: {wrong} of {found.size:,} cells differ", flush=True)
        differing += wrong
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
