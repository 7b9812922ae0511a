"""The integers of trained layers: as a quantised network, and as the float network that the quantiser turns into it.

Layers follow each other in a chain, each with an optional recurrent connection. A float network holds the integers
divided by a power of two, so that nothing is rounded again; `float_network` verifies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.model.network import Connection, EncoderSetting, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution

__all__ = ["LayerIntegers", "float_network", "quantised_network"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerIntegers:
    """The integers of a layer.

    An integer ``k`` of a weight or of the neurons stands for ``k 2**-exponent``. ``weight`` is ``(n, n_in)``, or the
    kernel of ``convolution``; ``recurrent`` is ``(n, n)`` or None.
    """

    name: str
    exponent: int
    weight: IntArray
    convolution: Convolution | None
    recurrent: IntArray | None
    parameters: NeuronParameters

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the layer's neurons."""
        return (self.parameters.size,) if self.convolution is None else self.convolution.output_shape


def quantised_network(
    layers: Sequence[LayerIntegers],
    *,
    name: str,
    inputs: int,
    quantisation: Quantisation,
    input_value_width: int = 0,
) -> QuantisedNetwork:
    """Return the layers as a chain from the input to the last layer, the output."""
    widths = {layer.name: quantisation.for_layer(layer.name).weight_width for layer in layers}
    widest = max(widths.values())
    connections = []
    for source, layer in zip([INPUT, *(layer.name for layer in layers)], layers, strict=False):
        forward = QuantisedConnection(
            source=source, target=layer.name, weight=layer.weight, convolution=layer.convolution
        )
        connections.append(forward)
        if layer.recurrent is not None:
            connections.append(
                QuantisedConnection(source=layer.name, target=layer.name, weight=layer.recurrent, delay=1)
            )
    return QuantisedNetwork(
        name=name,
        inputs=inputs,
        populations=tuple(
            QuantisedPopulation(
                name=x.name,
                parameters=x.parameters,
                weight_width=None if widths[x.name] == widest else widths[x.name],
            )
            for x in layers
        ),
        connections=tuple(connections),
        output=layers[-1].name,
        weight_width=widest,
        input_value_width=input_value_width,
    )


def float_network(
    layers: Sequence[LayerIntegers],
    *,
    name: str,
    input_shape: tuple[int, ...],
    quantisation: Quantisation,
    time_step_s: float,
    input_value_width: int = 0,
    encoder: Mapping[str, EncoderSetting] | None = None,
) -> Network:
    """Return the float network of the same chain, from which `quantise` makes the same integers. Its populations ask
    for the width that their weights have in ``quantisation``.

    Raises ``ValueError`` if ``quantise`` gives other integers with ``quantisation``.
    """
    connections = []
    for source, layer in zip([INPUT, *(layer.name for layer in layers)], layers, strict=False):
        weight = np.ldexp(layer.weight, -layer.exponent)
        connections.append(Connection(source=source, target=layer.name, weight=weight, convolution=layer.convolution))
        if layer.recurrent is not None:
            weight = np.ldexp(layer.recurrent, -layer.exponent)
            connections.append(Connection(source=layer.name, target=layer.name, weight=weight, delay=1))
    network = Network(
        name=name,
        input_shape=input_shape,
        populations=tuple(_population(layer, quantisation) for layer in layers),
        connections=tuple(connections),
        output=layers[-1].name,
        time_step_s=time_step_s,
        encoder=encoder,
        input_value_width=input_value_width,
    )
    wanted = quantised_network(
        layers,
        name=name,
        inputs=prod(input_shape),
        quantisation=quantisation,
        input_value_width=input_value_width,
    )
    _check_same(quantise(network, quantisation), wanted)
    return network


def _population(layer: LayerIntegers, quantisation: Quantisation) -> Population:
    p = layer.parameters

    def scaled(values: Any) -> NDArray[np.float64]:
        return np.ldexp(np.asarray(values, np.float64), -layer.exponent)

    return Population(
        name=layer.name,
        shape=layer.shape,
        beta=_factor(p.leak, p.leak_factor, p),
        threshold=scaled(p.threshold),
        reset_value=scaled(p.reset_value),
        bias=scaled(p.bias),
        spiking=p.spiking,
        compare=p.compare,
        reset=p.reset,
        reset_delay=p.reset_delay,
        refractory=p.refractory,
        alpha=None if p.current_leak is None else _factor(p.current_leak, p.current_leak_factor, p),
        # Commands take the trained width from the file, so that no option has to repeat it.
        weight_bits=quantisation.for_layer(layer.name).weight_width,
    )


def _factor(kind: Leak, factor: Any, p: NeuronParameters) -> NDArray[np.float64]:
    """Return the factor ``(n,)`` of a leak."""
    match kind:
        case Leak.NONE:
            return np.ones(p.size)
        case Leak.CLEAR:
            return np.zeros(p.size)
        case Leak.SHIFT:
            return 1.0 - np.ldexp(1.0, -np.asarray(factor))
        case Leak.MULTIPLY:
            return np.ldexp(np.asarray(factor, np.float64), -p.beta_fraction)


def _check_same(found: QuantisedNetwork, wanted: QuantisedNetwork) -> None:
    """Raise ``ValueError`` where the integers of ``found`` are not those of ``wanted``."""
    for connection, other in zip(found.connections, wanted.connections, strict=True):
        if not np.array_equal(connection.kernel, other.kernel):
            raise ValueError(
                f"layer {other.target}: its weights must be of the scale that the quantiser chooses at "
                f"{wanted.width_of(other.target)} bits; call rescale() before"
            )
    for population, expected in zip(found.populations, wanted.populations, strict=True):
        for item in fields(NeuronParameters):
            values, others = (getattr(x.parameters, item.name) for x in (population, expected))
            if not np.array_equal(values, others):
                raise ValueError(
                    f"layer {population.name}: its {item.name} must survive the quantiser, but {others!r} became "
                    f"{values!r}"
                )
