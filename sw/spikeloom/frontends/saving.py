"""Write networks as NIR files that are read back identically, in every field of the float `Network`.

NIR holds time constants and gains, from which the factors of a step cannot be computed back without rounding, and has
no place for firing rules, delays of connections, or the order of populations. A saved file is therefore two things at
once:

* nodes that any reader of NIR understands. Neurons have a gain of 1 with Euler's discretisation, ``tau = dt / (1 -
  beta)`` and ``r = 1 / (1 - beta)``, likewise ``tau_syn`` and ``w_in``; a beta of 1 makes an IF with ``r = 1 / dt``. A
  bias of neurons without a synaptic current is stored with their first weights if these can hold it, else as
  ``v_leak = bias / (1 - beta)``.
* a group ``exact`` in the metadata ``spikeloom`` of the graph and of its nodes, with what NIR cannot hold, bit for bit.
  The weights are in the nodes only.

`spikeloom.frontends.saved` builds the network from both.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from math import prod
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.encoder_settings import ENCODER_KEY
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_child import LARGEST
from spikeloom.frontends.nir_content import check_content
from spikeloom.frontends.tensors import content_of
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, FloatArray, Population
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.lib.files import replaced, shown
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.sparse import SparseMatrix

if TYPE_CHECKING:
    import nir

__all__ = ["EXACT", "graph_of", "save"]

EXACT = "exact"
"""Group in the metadata ``spikeloom`` of a saved graph and of its nodes."""

_LONGEST_TEXT = 4096
_LONGEST_NAME = 80  # node names are made of two of them


def save(network: Network, path: str | PathLike[str]) -> None:
    """Write ``network`` to ``path`` as a NIR file, which ``load`` reads back equal in every field.

    An existing file is replaced only when the new one is complete. Raises ``ValueError`` with one sentence for a
    network that the limits of NIR files (docs/loading.md) exclude.
    """
    import nir

    graph = graph_of(network)
    try:
        check_content(content_of(graph))
    except LoadError as error:
        raise ValueError(str(error)) from None
    with replaced(path) as scratch:
        nir.write(scratch, graph)


def graph_of(network: Network) -> nir.NIRGraph:
    """Return ``network`` as the graph that `save` writes. Raises ``ValueError`` as `save` does."""
    return _Writer(network).graph()


class _Writer:
    """Graph of a network; node by node in the order of its populations."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes: dict[str, nir.NIRNode] = {}
        self._edges: list[tuple[str, str]] = []
        self._check_limits()
        names = [p.name for p in network.populations] + [a.name for a in network.attentions]
        self._taken = {INPUT, *names}
        self._output = self._unique("output")
        self._shapes = {p.name: self._shape_of(p) for p in network.populations}
        self._shapes[INPUT] = network.input_shape
        for attention in network.attentions:
            shape = attention.parameters
            first = network.population(attention.query).shape
            channels = shape.heads * shape.features
            fits = first[0] == channels and prod(first[1:]) == shape.tokens
            self._shapes[attention.name] = first if fits else (channels, shape.tokens)

    def graph(self) -> nir.NIRGraph:
        import nir

        network = self._network
        self._nodes[INPUT] = nir.Input(input_type={"input": np.array(network.input_shape)})
        homes = self._bias_homes()
        for population in network.populations:
            for number, connection in enumerate(network.connections):
                if connection.target == population.name:
                    self._connect(number, connection, homes.get(number))
            own = population.name not in {network.connections[number].target for number in homes}
            self._nodes[population.name] = self._neurons(population, own_bias=own)
        for attention in network.attentions:
            self._attend(attention)
        shape = self._shapes[network.output]
        self._nodes[self._output] = nir.Output(output_type={"output": np.array(shape)})
        self._edges.append((network.output, self._output))
        return nir.NIRGraph(nodes=self._nodes, edges=self._edges, metadata=self._metadata(), type_check=False)

    def _check_limits(self) -> None:
        network, size = self._network, 0
        for name in [p.name for p in network.populations] + [a.name for a in network.attentions]:
            if "/" in name or "\0" in name or name == "." or len(name.encode()) > _LONGEST_NAME:
                raise ValueError(
                    f"name of a population must have at most {_LONGEST_NAME} bytes and no '/' to be saved, not "
                    f"{shown(name)}"
                )
        for note in (network.name, *network.notes):
            if len(note.encode()) > _LONGEST_TEXT or "\0" in note:
                raise ValueError(
                    f"name and notes of a network must have at most {_LONGEST_TEXT:,} bytes each, not {shown(note)}"
                )
        for connection in network.connections:
            size += 8 * prod(connection.weight.shape)
            if connection.convolution is not None and connection.convolution.extent is not None:
                raise ValueError(
                    f"extent of the connection from {connection.source!r} to {connection.target!r} must be None to be "
                    "saved, because NIR has no slices of convolutions"
                )
        if size > LARGEST:
            raise ValueError(
                f"the weights of a network must have at most {LARGEST:,} bytes to be saved, not {size:,}, because NIR "
                "stores matrices with all their zeros"
            )

    def _unique(self, base: str) -> str:
        name = next(
            name for name in (base, *(f"{base}.{k}" for k in range(len(self._taken)))) if name not in self._taken
        )
        self._taken.add(name)
        return name

    def _shape_of(self, population: Population) -> tuple[int, ...]:
        """Return the shape of the arrays of a neuron node: flat where a matrix leads to it, because NIR cannot fold."""
        into = [c for c in self._network.connections if c.target == population.name]
        fits = all(
            c.convolution is not None and population.shape in (c.convolution.output_shape, _line(c.convolution))
            for c in into
        )
        return population.shape if fits else (population.size,)

    def _metadata(self) -> dict[str, Any]:
        network = self._network
        exact: dict[str, Any] = {
            "name": network.name,
            "populations": [p.name for p in network.populations],
            "connections": len(network.connections),
            "output": network.output,
        }
        if network.attentions:
            exact["attentions"] = [a.name for a in network.attentions]
        if network.notes:
            exact["notes"] = list(network.notes)
        group = NIR_METADATA.entry | {
            "preset": "nir",
            "time_step_s": network.time_step_s,
            "seed": network.seed,
            "input_value_width": network.input_value_width,
            EXACT: exact,
        }
        metadata: dict[str, Any] = {"spikeloom": group}
        if network.encoder is not None:
            settings = network.encoder.items()
            metadata[ENCODER_KEY] = {k: np.array(v) if isinstance(v, tuple) else v for k, v in settings}
        return metadata

    def _bias_homes(self) -> dict[int, FloatArray]:
        """Return the connections whose weights carry the bias of their target, by number, and the bias."""
        homes: dict[int, FloatArray] = {}
        for population in self._network.populations:
            if population.alpha is not None or population.delay is not None or not np.any(population.bias):
                continue
            for number, connection in enumerate(self._network.connections):
                if connection.target != population.name or connection.delay:
                    continue
                if connection.convolution is None:
                    homes[number] = population.bias
                    break
                by_channel = population.bias.reshape(connection.convolution.output_channels, -1)
                if np.all(by_channel == by_channel[:, :1]):
                    homes[number] = by_channel[:, 0]
                    break
        return homes

    def _connect(self, number: int, connection: Connection, bias: FloatArray | None) -> None:
        """Add the nodes of a connection, and the edges from its source to its target."""
        import nir

        base = f"{connection.source}-{connection.target}"
        at, shape = connection.source, self._shapes[connection.source]
        exact: dict[str, Any] = {
            "number": number,
            "source": connection.source,
            "target": connection.target,
            "delay": connection.delay,
        }
        steps: list[tuple[str, Any]] = []
        if connection.pooling is not None:
            pooling = connection.pooling
            window = np.array(pooling.window)
            exact |= {"pooling_input": np.array(pooling.input_shape), "pooling_window": window}
            pool = nir.SumPool2d(kernel_size=window, stride=window, padding=np.array([0, 0]))
            steps.append((f"{base}.pool", pool))
            shape = pooling.output_shape
        convolution, weight = connection.convolution, connection.weight
        if convolution is None:
            if len(shape) > 1:
                flat = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
                steps.append((f"{base}.flat", flat))
            exact["sparse"] = int(isinstance(weight, SparseMatrix))
            matrix = weight.dense() if isinstance(weight, SparseMatrix) else weight
            metadata = {"spikeloom": {EXACT: exact}}
            node: nir.NIRNode = nir.Linear(weight=matrix, metadata=metadata)
            if bias is not None:
                node = nir.Affine(weight=matrix, bias=bias, metadata=metadata)
        else:
            exact["input"] = np.array(convolution.input_shape)
            metadata = {"spikeloom": {EXACT: exact}}
            kernel = connection.kernel
            biases = np.zeros(convolution.output_channels) if bias is None else bias
            if len(shape) == 2 and convolution.kernel[0] == 1 and connection.pooling is None:
                exact |= {"stride": np.array(convolution.stride), "padding": np.array(convolution.padding)}
                exact["dilation"] = np.array(convolution.dilation)
                node = nir.Conv1d(
                    input_shape=convolution.input_shape[2],
                    weight=kernel[:, :, 0],
                    stride=convolution.stride[1],
                    padding=convolution.padding[1],
                    dilation=convolution.dilation[1],
                    groups=convolution.groups,
                    bias=biases,
                    metadata=metadata,
                )
            else:
                node = nir.Conv2d(
                    input_shape=convolution.input_shape[1:],
                    weight=kernel,
                    stride=convolution.stride,
                    padding=convolution.padding,
                    dilation=convolution.dilation,
                    groups=convolution.groups,
                    bias=biases,
                    metadata=metadata,
                )
        steps.append((base, node))
        for suggested, step in steps:
            name = self._unique(suggested)
            self._nodes[name] = step
            self._edges.append((at, name))
            at = name
        self._edges.append((at, connection.target))

    def _neurons(self, population: Population, *, own_bias: bool) -> nir.NIRNode:
        """Return the node of a population; with ``own_bias``, the node must hold the bias itself."""
        import nir

        shape, dt = self._shapes[population.name], self._network.time_step_s
        rule: dict[str, Any] = {EXACT: _exact_population(population)}
        if population.delay is not None:
            delay = population.delay.reshape(shape) * dt
            return nir.Delay(delay=delay, metadata={"spikeloom": rule})
        rest = (1.0 - population.beta).reshape(shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            tau, r = dt / rest, 1.0 / rest
            leak = np.where(rest == 0.0, 0.0, population.bias.reshape(shape) / rest)
        arrays: dict[str, Any] = {"r": r, "v_leak": leak if own_bias else np.zeros(shape)}
        if population.spiking:
            rule |= {
                "compare": population.compare.value,
                "reset": population.reset.value,
                "reset_delay": population.reset_delay,
                "refractory": population.refractory,
            }
            # Left out if not used, so that the files of other networks do not change.
            rule |= {"max_spikes": population.max_spikes} if population.max_spikes > 1 else {}
            if population.lower_bound is not None:
                rule["lower_bound"] = _shortest(population.lower_bound)
            after = population.reset_value if population.reset is Reset.VALUE else np.zeros(population.size)
            arrays |= {"v_threshold": population.threshold.reshape(shape), "v_reset": after.reshape(shape)}
        metadata = {"spikeloom": rule}
        if population.alpha is not None:
            with np.errstate(divide="ignore"):
                w_in = 1.0 / (1.0 - population.alpha).reshape(shape)
            arrays |= {"tau_mem": tau, "tau_syn": w_in * dt, "w_in": w_in}
            if population.alpha_function:
                # The same response to input, one step earlier: the nearest model in NIR.
                arrays["w_in"] = w_in * population.synaptic_gain.reshape(shape)
            return (nir.CubaLIF if population.spiking else nir.CubaLI)(**arrays, metadata=metadata)
        if np.all(rest == 0.0):
            del arrays["v_leak"]
            arrays["r"] = np.full(shape, 1.0 / dt)
            return (nir.IF if population.spiking else nir.I)(**arrays, metadata=metadata)
        return (nir.LIF if population.spiking else nir.LI)(tau=tau, **arrays, metadata=metadata)

    def _attend(self, attention: QuantisedAttention) -> None:
        from spikeloom.frontends.nir_attention import SpikeloomAttention

        shape = attention.parameters
        exact = {"tokens": shape.tokens, "features": shape.features, "rows": shape.rows}
        node = SpikeloomAttention(
            shape=np.array(self._shapes[attention.name]),
            heads=shape.heads,
            query=attention.query,
            key=attention.key,
            value=attention.value,
            seed=attention.seed,
            causal=attention.causal,
        )
        node.metadata = {"spikeloom": {EXACT: exact}}
        self._nodes[attention.name] = node
        self._edges += [(source, attention.name) for source in dict.fromkeys(attention.sources)]


def _line(convolution: Convolution) -> tuple[int, ...]:
    """Return the output shape of a one-dimensional convolution, or of a two-dimensional one if it has a height."""
    channels, height, width = convolution.output_shape
    return (channels, width) if height == 1 else (channels, height, width)


_SKIPPED = ("name",)
_LATER = {
    "alpha_function": False,
    "max_spikes": 1,
}  # fields, with their defaults, that older files of the same format do not have


def _exact_population(population: Population) -> dict[str, Any]:
    """Return the fields of a population as text, numbers and arrays; a field that is None is left out."""
    exact: dict[str, Any] = {}
    for field in fields(population):
        value = getattr(population, field.name)
        if field.name in _SKIPPED or value is None:
            continue
        if field.name in _LATER and value == _LATER[field.name]:
            continue
        if isinstance(value, Enum):
            exact[field.name] = value.value
        elif isinstance(value, np.ndarray):
            exact[field.name] = _shortest(value)
        else:
            exact[field.name] = int(value) if isinstance(value, bool) else value
    exact["shape"] = np.array(population.shape)
    return exact


def _shortest(values: NDArray[Any]) -> Any:
    """Return the one number that ``values`` ``(n,)`` hold, as most do, or the array."""
    return values[0] if np.all(values == values[0]) else values
