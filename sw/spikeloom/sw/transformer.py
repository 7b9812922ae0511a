"""The spiking transformer of examples/train_digits_transformer.py as a network of integers.

Tokens are the positions of a convolution and features its channels, so that the weights that all tokens share are
stored once: patches are a kernel of 2 by 2 with stride 2, the other shared layers kernels of 1. A residual is a kernel
that gives each feature the weight of the threshold: one spike of the block's input adds one threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.attention import AttentionParameters
from spikeloom.sim.network import INPUT, QuantisedAttention, QuantisedConnection, QuantisedNetwork, QuantisedPopulation
from spikeloom.sim.neuron import Compare, Leak, NeuronParameters, Reset
from spikeloom.sim.projection import Convolution

__all__ = ["transformer"]

SIDE = 4
HEADS = 2


def transformer(integers: Mapping[str, NDArray[Any]], *, seed: int = 0) -> QuantisedNetwork:
    """The network of ``<layer>_weight`` ``(out, in)``, ``<layer>_bias`` ``(out,)``, or ``(tokens, out)`` of patches,
    and ``<layer>_threshold``, all integers, for ``patch``, ``qkv``, ``projection``, ``expand``, ``contract`` and
    ``readout``. Every sample draws the samples of attention from ``seed``."""
    tokens, features = SIDE * SIDE, len(integers["projection_weight"])
    populations: list[QuantisedPopulation] = []
    connections: list[QuantisedConnection] = []

    def population(name: str, bias: NDArray[Any], threshold: int) -> None:
        parameters = NeuronParameters(
            size=bias.size,
            leak=Leak.NONE,
            reset=Reset.SUBTRACT,
            compare=Compare.GREATER,
            threshold=threshold,
            bias=bias.reshape(-1).astype(np.int64),
        )
        populations.append(QuantisedPopulation(name=name, parameters=parameters))

    def shared(source: str, target: str, weight: NDArray[Any]) -> None:
        geometry = Convolution(input_shape=(weight.shape[1], SIDE, SIDE), output_channels=len(weight), kernel=(1, 1))
        connections.append(
            QuantisedConnection(
                source=source, target=target, weight=weight.astype(np.int64)[:, :, None, None], convolution=geometry
            )
        )

    def layer(name: str, source: str, part: slice = slice(None), target: str = "") -> None:
        bias = np.repeat(integers[f"{name}_bias"][part], tokens)
        population(target or name, bias, int(integers[f"{name}_threshold"]))
        shared(source, target or name, integers[f"{name}_weight"][part])

    def residual(source: str, target: str) -> None:
        shared(source, target, np.eye(features, dtype=np.int64) * int(integers[f"{target}_threshold"]))

    population("patch", integers["patch_bias"].T, int(integers["patch_threshold"]))
    patch = Convolution(input_shape=(1, 2 * SIDE, 2 * SIDE), output_channels=features, kernel=(2, 2), stride=(2, 2))
    kernel = integers["patch_weight"].astype(np.int64).reshape(features, 1, 2, 2)
    connections.append(QuantisedConnection(source=INPUT, target="patch", weight=kernel, convolution=patch))
    for index, name in enumerate(("query", "key", "value")):
        layer("qkv", "patch", slice(index * features, (index + 1) * features), name)
    layer("projection", "attention")
    residual("patch", "projection")
    layer("expand", "projection")
    layer("contract", "expand")
    residual("projection", "contract")
    population("readout", integers["readout_bias"], int(integers["readout_threshold"]))
    classes = len(integers["readout_weight"])
    weight = integers["readout_weight"].reshape(classes, tokens, features).swapaxes(1, 2).reshape(classes, -1)
    connections.append(QuantisedConnection(source="contract", target="readout", weight=weight.astype(np.int64)))
    attention = QuantisedAttention(
        name="attention",
        query="query",
        key="key",
        value="value",
        parameters=AttentionParameters(tokens=tokens, features=features // HEADS, heads=HEADS),
        seed=seed,
    )
    return QuantisedNetwork(
        name="digits-transformer",
        inputs=4 * tokens,
        populations=tuple(populations),
        connections=tuple(connections),
        output="readout",
        attentions=(attention,),
    )
