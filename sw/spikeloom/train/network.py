"""A chain of layers: trained with PyTorch, and returned as a network that every other part of spikeloom takes.

::

    layers = [Dense("hidden", 784, 128, Neurons()), Dense("digit", 128, 10, Neurons())]
    model = SpikingNetwork(layers, input_shape=(784,), quantisation=Quantisation(weight_width=4), encoder=encoder)
    counts = model(encoded(encoder, levels)).sum(0)  # (B, 10), differentiable; train as usual
    network = model.to_network()  # `quantise` gives the integers that were trained
"""

# PyTorch is installed only where networks are trained.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from spikeloom.compiler.quantise import Quantisation
from spikeloom.datasets.encoders import Encoder
from spikeloom.model.network import Network
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.train.integers import LayerIntegers, float_network, quantised_network
from spikeloom.train.layers import Layer

__all__ = ["SpikingNetwork", "encoded"]


def encoded(encoder: Encoder, values: ArrayLike) -> Tensor:
    """Return what ``encoder`` makes of ``values``, as floats ``(T, B, n)``: the integers of the hardware, exactly."""
    return torch.from_numpy(np.asarray(encoder.encode(values)).astype(np.float32))


class SpikingNetwork(torch.nn.Module):
    """Chain of layers.

    Parameters
    ----------
    layers
        From the input to the output; only the last may consist of neurons that never spike.
    input_shape
        Extents of the input; lines are numbered in C order.
    input_value_width
        0 for input spikes, or the width, 2 to 16 bits, of signed integer input values.
    quantisation
        Widths of the integers; None to train in floats first (`quantise`).
    encoder
        Encoder of the input, to be stored with the network.
    name, time_step_s
        As in `spikeloom.model.network.Network`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_shape: Sequence[int],
        input_value_width: int = 0,
        quantisation: Quantisation | None = None,
        encoder: Encoder | None = None,
        name: str = "trained",
        time_step_s: float = 1e-3,
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must be at least one, not none")
        silent = [layer.name for layer in layers[:-1] if not layer.neurons.spiking]
        if silent:
            raise ValueError(f"only the last layer may consist of neurons that never spike, not {silent[0]!r}")
        self.layers = torch.nn.ModuleList(layers)
        self.input_shape = tuple(input_shape)
        self.input_value_width = input_value_width
        self.encoder = encoder
        self.name = name
        self.time_step_s = time_step_s
        self.quantisation: Quantisation | None = None
        self.quantise(quantisation)

    def quantise(self, quantisation: Quantisation | None) -> None:
        """Compute from now on with the integers of ``quantisation``, or in floats for None.

        Raises ``ValueError`` for a quantisation with a calibration.
        """
        if quantisation is not None and quantisation.calibration is not None:
            raise ValueError("calibration must be None where the weights are trained at their scale")
        self.quantisation = quantisation
        for number, layer in enumerate(self.layers):
            of_values = number == 0 and self.input_value_width > 0
            own = None if quantisation is None else quantisation.for_layer(layer.name)
            layer.quantise(own, 1 << (self.input_value_width - 1) if of_values else 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the spikes ``(T, B, n)`` of the last layer, or its membranes if it never spikes.

        ``inputs`` are spikes of 0 and 1, or integer values, ``(T, B, n_in)``.
        """
        return self.run(inputs)[-1][1]

    def run(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what `Layer.run` of each layer returns: its sums and its spikes or membranes, ``(T, B, n)`` each."""
        found = []
        for layer in self.layers:
            sums, inputs = layer.run(inputs)
            found.append((sums, inputs))
        return found

    def constrain(self) -> None:
        """Move parameters back into what the integers can represent: call it after each update."""
        for layer in self.layers:
            layer.constrain()

    def rescale(self) -> None:
        """Choose the scales of all layers anew (`Layer.rescale`): call it after each epoch, and before an export."""
        for layer in self.layers:
            layer.rescale()

    def integers(self) -> QuantisedNetwork:
        """Return the integers of the present parameters. Raises ``ValueError`` without a quantisation."""
        return quantised_network(
            self._integers(),
            name=self.name,
            inputs=prod(self.input_shape),
            quantisation=self._widths(),
            input_value_width=self.input_value_width,
        )

    def to_network(self) -> Network:
        """Return the float network from which ``quantise(network, self.quantisation)`` makes `integers`, which is
        verified.

        Raises ``ValueError`` without a quantisation, or if the quantiser would give other integers.
        """
        return float_network(
            self._integers(),
            name=self.name,
            input_shape=self.input_shape,
            quantisation=self._widths(),
            time_step_s=self.time_step_s,
            input_value_width=self.input_value_width,
            encoder=None if self.encoder is None else self.encoder.settings(),
        )

    def _widths(self) -> Quantisation:
        if self.quantisation is None:
            raise ValueError("a network must have a quantisation to have integers, not None")
        return self.quantisation

    def _integers(self) -> list[LayerIntegers]:
        self._widths()
        return [layer.integers() for layer in self.layers]
