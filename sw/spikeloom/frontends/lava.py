"""Lava-dl frontend: convert a ``.net`` file, as ``export_hdf5`` of lava-dl writes it, to a float `Network`.

A ``.net`` file holds the layers of a network for Intel's Loihi in order, with integer weights. On Loihi, one step of a
layer of neurons (type ``CUBA``, in older files ``LOIHI``) is, in units of 1/64 of a weight::

    u = trunc(u (4096 - iDecay) / 4096) + 64 (sum of the weights of the spikes) 2**wgtExp
    v = trunc(v (4096 - vDecay) / 4096) + u + 64 bias
    spike if v > 64 vThMant; then v = 0, and v stays 0 for refDelay - 1 steps

``trunc`` rounds towards 0. Here the unit is one weight, and the float model does not round. If both decays are 0 or
4096, it equals Loihi, also after quantisation to any width; otherwise a few cells differ, and a note says so. ``bias``,
``iDecay`` and ``vDecay`` are one number for all neurons, or one per channel or neuron.

Loihi delivers spikes in the next step. Without biases, this only delays the output, so the delays are left out. A layer
with a bias, however, starts before the spikes of the first layer reach it; connections then have a delay of one step.

Files are read as NIR files are (`spikeloom.frontends.nir_file`): they may be hostile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.direct import DirectEncoder
from spikeloom.datasets.encoders.scale import Scale
from spikeloom.frontends.affine import geometry_of
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_file import read_tree
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, FloatArray, Population
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.lib.files import shown
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["MOST_NEURONS", "SUFFIX", "load_net", "network_of"]

SUFFIX = ".net"
"""Suffix of the files."""

MOST_NEURONS = 1 << 20
"""Maximum number of neurons, and of inputs."""

_UNIT = 4096
_NEVER = 131071
_KINDS = ("LOIHI", "CUBA", "CUBA-LIF")
_INPUT_BITS, _INPUT_STEPS = 8, 32

Layer = Mapping[str, Any]


def load_net(path: str | PathLike[str], *, name: str | None = None) -> Network:
    """Read a ``.net`` file and return the float network.

    ``name`` is the name of the network; default: the file name without its suffix. Input, dense, conv, pool, flatten
    and average layers are supported. Raises `LoadError` with one sentence for anything that is not supported.
    """
    return network_of(read_tree(path, "layer"), name or Path(path).stem)


def network_of(layers: Mapping[str, Any], name: str) -> Network:
    """Return the network of the group ``layer`` of a file, as nested dictionaries. Raises `LoadError` as `load_net`."""
    keys = [str(number) for number in range(len(layers))]
    if not keys or set(keys) != set(layers) or not all(isinstance(layer, Mapping) for layer in layers.values()):
        raise LoadError(f"layers must be groups numbered from 0, not {shown(list(layers))}")
    builder = _Builder(last=len(keys) - 1)
    for number, key in enumerate(keys):
        builder.add(number, layers[key])
    return builder.network(name)


@dataclass(kw_only=True)
class _Builder:
    """Populations and connections of a network under construction.

    ``source`` and ``shape`` are those of the spikes that the next layer gets.
    """

    last: int
    source: str = INPUT
    shape: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()
    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: bool = False
    analogue: bool = False
    rounded: bool = False

    def add(self, number: int, layer: Layer) -> None:
        """Add a layer of the file."""
        where = f"layer {number}"
        kinds: Mapping[str, Callable[[int, str, Layer], None]] = {
            "input": self._input,
            "dense": self._dense,
            "conv": self._conv,
            "pool": self._pool,
            "flatten": self._flatten,
            "average": self._average,
        }
        kind = _text(where, "type", layer)
        if kind not in kinds:
            raise LoadError(f"type of {where} must be one of {', '.join(kinds)}, not {shown(kind)}")
        if self.ended:
            raise LoadError(f"{where} must not follow an average layer, which must be the last")
        delay = layer.get("delay")
        if delay is not None and np.any(_whole(where, "delay", delay, 0, 62)):
            raise LoadError(f"{where} has axonal delays, which are not supported; train it with delay=False")
        kinds[kind](number, where, layer)

    def network(self, name: str) -> Network:
        """Return the network."""
        if not self.populations:
            raise LoadError("the file must have at least one layer of neurons, not only inputs")
        late = any(np.any(p.bias) for p in self.populations[1:])
        connections = [self._timed(connection) for connection in self.connections] if late else self.connections
        if len(self.populations) > 1:
            self.notes.append(
                "spikes reach the next layer one step later, as on Loihi, because layers have biases"
                if late
                else "spikes reach the next layer in the same step, not one step later as on Loihi: each layer fires "
                "as many steps earlier as its number, and otherwise alike"
            )
        if self.rounded:
            self.notes.append(_ROUNDING)
        encoder = None
        if self.analogue:
            scale = Scale(low=(0.0,), high=(1.0,), bits=_INPUT_BITS)
            encoder = DirectEncoder(steps=_INPUT_STEPS, bits=_INPUT_BITS, scale=scale)
        try:
            return Network(
                name=name,
                input_shape=self.input_shape,
                populations=tuple(self.populations),
                connections=tuple(connections),
                output=self.populations[-1].name,
                time_step_s=1e-3,
                notes=tuple(self.notes),
                encoder=None if encoder is None else encoder.settings(),
                input_value_width=0 if encoder is None else encoder.value_width,
            )
        except ValueError as error:
            raise LoadError(str(error)) from error

    @staticmethod
    def _timed(connection: Connection) -> Connection:
        if connection.source == INPUT or connection.target == _AVERAGE:
            return connection
        return Connection(
            source=connection.source,
            target=connection.target,
            weight=connection.weight,
            convolution=connection.convolution,
            delay=1,
        )

    def _input(self, number: int, where: str, layer: Layer) -> None:
        if number:
            raise LoadError(f"{where} is an input layer, which must be the first")
        self.shape = self.input_shape = _shape(where, layer)
        if "neuron" not in layer:
            return
        # Real numbers x from 0 to 1 reach these neurons as weight (2 x - 1) + bias in every step.
        weight = _one(where, "weight", layer.get("weight", 64), -(1 << 16), 1 << 16)
        bias = _one(where, "bias", layer.get("bias", 0), -(1 << 16), 1 << 16)
        size = prod(self.shape)
        diagonal = np.arange(size)
        step = np.full(size, 2.0 * weight / (1 << _INPUT_BITS))
        matrix = SparseMatrix.of((size, size), diagonal, diagonal, step)
        self._neurons(where, layer, self.shape, matrix, bias=np.full(size, float(bias - weight)))
        self.analogue = True
        self.notes.append(
            f"{self.source}: numbers x from 0 to 1 enter it as {weight} (2 x - 1) + {bias} in every step, from the "
            f"encoder direct with {_INPUT_BITS} bits"
        )

    def _dense(self, number: int, where: str, layer: Layer) -> None:
        size = prod(_shape(where, layer))
        weight = self._weight(where, layer)
        if isinstance(weight, SparseMatrix):
            weight = weight.map(lambda values: values.astype(np.float64))
        elif weight.ndim == 1 and not weight.size % size:
            weight = weight.reshape(size, -1)
        if not self.shape and len(weight.shape) == 2:
            self.shape = self.input_shape = (int(weight.shape[1]),)
        if weight.shape != (size, prod(self.shape)):
            raise LoadError(f"weight of {where} must have shape {(size, prod(self.shape))}, not {tuple(weight.shape)}")
        self._neurons(where, layer, (size,), weight)

    def _conv(self, number: int, where: str, layer: Layer) -> None:
        weight = self._weight(where, layer)
        if isinstance(weight, SparseMatrix) or weight.ndim not in (4, 5) or weight.shape[4:] not in ((), (1,)):
            raise LoadError(
                f"weight of {where} must have shape (outputs, inputs, height, width), not {tuple(weight.shape)}"
            )
        weight = weight.reshape(weight.shape[:4])
        groups = _one(where, "groups", layer.get("groups", 1), 1, MOST_NEURONS)
        self._convolved(where, layer, weight, groups)

    def _pool(self, number: int, where: str, layer: Layer) -> None:
        """Add a convolution with the same weights for every channel, each channel by itself."""
        weight = self._weight(where, layer)
        if isinstance(weight, SparseMatrix) or weight.ndim not in (4, 5) or weight.size != prod(weight.shape[2:4]):
            raise LoadError(f"weight of {where} must have shape (1, 1, height, width), not {tuple(weight.shape)}")
        window = weight.reshape(weight.shape[2:4])
        channels, _, _ = self._image(where)
        kernel = np.broadcast_to(window, (channels, 1, *window.shape)).copy()
        self._convolved(where, layer, kernel, channels)

    def _convolved(self, where: str, layer: Layer, weight: FloatArray, groups: int) -> None:
        image = self._image(where)
        given = {key: _whole(where, key, layer.get(key, low), low, 1 << 12) for key, low in _GEOMETRY.items()}
        geometry = geometry_of(where, image, outputs=len(weight), kernel=weight.shape[2:], groups=groups, **given)
        if weight.shape != geometry.weight_shape:
            raise LoadError(f"weight of {where} must have shape {geometry.weight_shape}, not {weight.shape}")
        shape = _shape(where, layer)
        if shape != geometry.output_shape:
            raise LoadError(f"shape of {where} must be {geometry.output_shape}, as its kernel gives, not {shape}")
        self._neurons(where, layer, shape, weight, convolution=geometry)

    def _flatten(self, number: int, where: str, layer: Layer) -> None:
        if not self.shape:
            raise LoadError(f"{where} must not be the first, because the shape of the input is needed")
        self.shape = (prod(self.shape),)

    def _average(self, number: int, where: str, layer: Layer) -> None:
        """Add the output: in each step, the mean number of spikes of each of several equal groups of neurons."""
        outputs, size = prod(_shape(where, layer)), prod(self.shape)
        if self.source == INPUT or size % outputs:
            raise LoadError(
                f"shape of {where} must be a divisor of the {size:,} neurons of the layer before it, not {outputs}"
            )
        several = size // outputs
        rows = np.arange(size) // several
        weight = SparseMatrix((outputs, size), rows, np.arange(size), np.full(size, 1.0 / several))
        self.connections.append(Connection(source=self.source, target=_AVERAGE, weight=weight))
        self.populations.append(Population(name=_AVERAGE, shape=(outputs,), spiking=False, reset=Reset.NONE))
        self.ended = True

    def _image(self, where: str) -> tuple[int, int, int]:
        if len(self.shape) != 3:
            found = f"{self.shape}" if self.shape else "unknown without an input layer"
            raise LoadError(f"{where} must get an input of shape (channels, height, width), which is {found}")
        channels, height, width = self.shape
        return channels, height, width

    def _weight(self, where: str, layer: Layer) -> Any:
        weight = layer.get("weight")
        if isinstance(weight, Mapping):
            raise LoadError(f"weight of {where} must be real, not complex, as resonators have them")
        if isinstance(weight, SparseMatrix):
            _whole(where, "weight", weight.values, -256, 255)
            return weight
        return _whole(where, "weight", weight, -256, 255).astype(np.float64)

    def _neurons(
        self,
        where: str,
        layer: Layer,
        shape: tuple[int, ...],
        weight: Any,
        *,
        bias: FloatArray | None = None,
        convolution: Any = None,
    ) -> None:
        neuron = layer.get("neuron")
        if not isinstance(neuron, Mapping):
            raise LoadError(f"{where} must have a group 'neuron'")
        kind = _text(f"neuron of {where}", "type", neuron, "CUBA-LIF")
        if kind not in _KINDS:
            raise LoadError(f"neurons of {where} must be one of {', '.join(_KINDS)}, not {shown(kind)}")
        name, size = where.replace(" ", ""), prod(shape)
        if sum(p.size for p in self.populations) + size > MOST_NEURONS:
            raise LoadError(f"the layers must have at most {MOST_NEURONS:,} neurons, but have more")

        def numbers(key: str, low: int, high: int, default: int | None = None) -> FloatArray:
            values = _whole(where, key, neuron.get(key, default), low, high)
            return _spread(f"{key} of {where}", values, shape)

        if np.any(numbers("gradedSpike", 0, 1, 0)):
            raise LoadError(f"{where} has graded spikes, which are not supported for its neurons")
        exponent = _one(where, "wgtExp", neuron.get("wgtExp", 0), -8, 7)
        if exponent:
            weight = weight.map(lambda w: np.ldexp(w, exponent)) if isinstance(weight, SparseMatrix) else (
                np.ldexp(weight, exponent)
            )  # fmt: skip
            self.notes.append(f"{name}: its weights are multiplied by 2**{exponent}, its wgtExp, which netx ignores")
        hold = _one(where, "refDelay", neuron.get("refDelay", 1), 1, 64) - 1
        if hold:
            self.notes.append(f"{name}: is held for {hold} steps after a spike, its refDelay, which netx ignores")
        current, leak = numbers("iDecay", 0, _UNIT), numbers("vDecay", 0, _UNIT)
        self.rounded = self.rounded or any(np.any((d > 0) & (d < _UNIT)) for d in (current, leak))
        threshold = numbers("vThMant", 0, _NEVER)
        if bias is None:
            given = _whole(where, "bias", layer.get("bias", 0), -(1 << 16), 1 << 16)
            bias = _spread(f"bias of {where}", given, shape)
        silent = where == f"layer {self.last}" and bool(np.all(threshold == _NEVER))
        if silent:
            self.notes.append(f"{name}: its threshold is the largest possible, so that its membrane is the result")
        try:
            population = Population(
                name=name,
                shape=shape,
                beta=1.0 - leak / _UNIT,
                alpha=None if np.all(current == _UNIT) else 1.0 - current / _UNIT,
                threshold=np.zeros(()) if silent else threshold,
                bias=bias,
                refractory=0 if silent else hold,
                spiking=not silent,
                reset=Reset.NONE if silent else Reset.ZERO,
            )
            connection = Connection(source=self.source, target=name, weight=weight, convolution=convolution)
        except ValueError as error:
            raise LoadError(str(error)) from error
        self.populations.append(population)
        self.connections.append(connection)
        self.source, self.shape = name, shape


_AVERAGE = "average"
_ROUNDING = (
    "decays are rounded towards 0 on Loihi, in steps of 1/64 of a weight, and not here: 0.03 % of the cells of random "
    "networks differ"
)
_GEOMETRY = {"stride": 1, "padding": 0, "dilation": 1}


def _text(where: str, key: str, group: Layer, default: str = "") -> str:
    """Return a text, which some files store as an array of one text."""
    value = group.get(key, default)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype == object:
        value = value.reshape(-1)[0]
    if not isinstance(value, str):
        raise LoadError(f"{key} of {where} must be a text, not {shown(value)}")
    return value


def _whole(where: str, key: str, value: Any, low: int, high: int) -> NDArray[np.int64]:
    """Return integers from ``low`` to ``high``, which some files store as floats or booleans."""
    array = np.asarray(value)
    if array.dtype.kind not in "iufb" or not array.size:
        raise LoadError(f"{key} of {where} must be integers from {low} to {high}, not {shown(value)}")
    wrong = (array != np.rint(array)) | (array < low) | (array > high)
    if np.any(wrong):
        raise LoadError(f"{key} of {where} must be integers from {low} to {high}, not {array[wrong].reshape(-1)[0]}")
    return array.astype(np.int64)


def _one(where: str, key: str, value: Any, low: int, high: int) -> int:
    values = _whole(where, key, value, low, high).reshape(-1)
    if np.any(values != values[0]):
        raise LoadError(f"{key} of {where} must be one number for all, not {shown(values.tolist())}")
    return int(values[0])


def _shape(where: str, layer: Layer) -> tuple[int, ...]:
    extents = _whole(where, "shape", layer.get("shape"), 1, MOST_NEURONS).reshape(-1).tolist()
    if len(extents) > 3 or prod(extents) > MOST_NEURONS:
        raise LoadError(
            f"shape of {where} must be at most 3 extents and {MOST_NEURONS:,} neurons, not {shown(extents)}"
        )
    return tuple(extents)


def _spread(name: str, values: NDArray[np.int64], shape: tuple[int, ...]) -> FloatArray:
    """Return one number per neuron: given for all, for each channel, or for each neuron."""
    size = prod(shape)
    flat = values.reshape(-1).astype(np.float64)
    if flat.size not in (1, shape[0], size):
        raise LoadError(f"{name} must have 1, {shape[0]} or {size} values, not {flat.size}")
    return np.repeat(flat, size // flat.size)
