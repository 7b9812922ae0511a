"""snnTorch frontend: convert a module to a float `Network`, without NIR in between.

A NIR file loses the behaviour of snnTorch's neurons after a spike; the module has it. One step of ``snntorch.Leaky``
is::

    r = (v > threshold)                                           of the previous step
    reset_delay=True    subtract: v = beta v + I - r threshold    zero: v = beta v (1 - r) + I
    reset_delay=False   v = beta v + I; s = (v > threshold); then v = v - s threshold, or v = 0

``RLeaky`` receives its own spikes of the previous step as part of ``I``; ``Synaptic`` and ``RSynaptic`` add a synaptic
current, ``i = alpha i + I``, which takes the place of ``I``. ``Lapicque`` is ``v = (1 - dt/(R C)) v + dt/C I``, also
where it was made with a ``beta``, from which it derives R C. With a delayed reset to zero these four behave
differently: the membrane is 0 in the step after a spike, whatever the input, which equals a reset plus one refractory
step. An ``RSynaptic`` resets in the step after a spike even with ``reset_delay=False``, because snnTorch 1.0.0 discards
the immediate reset. The membrane of an ``Alpha`` is the difference of two currents, with resets of its own
(`spikeloom.model.population`); it runs in the float model only.

`spikeloom.model.network` supports all of these steps. `spikeloom.frontends.trace` follows the spikes from layer to
layer. Neither torch nor snnTorch is imported: modules are recognised by their class names, tensors by their ``detach``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.constants import with_constants
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.flow import LAYERS, MAX_POOLINGS, array_of
from spikeloom.frontends.trace import POOL, Call, NeuronKind, Trace, kind_of
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Compare, Reset

__all__ = ["from_snntorch", "layers_of"]

FloatArray = NDArray[np.float64]

_KINDS: Mapping[str, NeuronKind] = {
    "Leaky": NeuronKind(states=1),
    "RLeaky": NeuronKind(states=1, hears_itself=True),
    "Synaptic": NeuronKind(states=2),
    "RSynaptic": NeuronKind(states=2, hears_itself=True),
    "Lapicque": NeuronKind(states=1),
    "Alpha": NeuronKind(states=3),
}


def from_snntorch(
    module: Any,
    input_shape: int | tuple[int, ...],
    *,
    name: str = "network",
    time_step_s: float = 1e-3,
    sequence: Literal["time first", "batch first"] | None = None,
    readout: Literal["spikes", "membrane"] | None = None,
) -> Network:
    """Convert a module of snnTorch neurons and the layers of torch between them, as it was written for training.

    A ``torch.nn.Sequential`` is read layer by layer. Any other module is traced: its ``forward`` runs once as Python
    code, with a loop over time or for one step (`spikeloom.frontends.trace`).

    Parameters
    ----------
    module
        Trained module with neurons ``Leaky``, ``RLeaky``, ``Synaptic``, ``RSynaptic``, ``Lapicque`` and ``Alpha``,
        with and without ``init_hidden``; dropout is ignored and BatchNorm folded, as in evaluation. A maximum over
        windows of spikes becomes a population that fires where any of them fires.
    input_shape
        Shape of one sample for one step, without time and batch.
    name, time_step_s
        Name of the network and duration of a step; no arithmetic depends on either.
    sequence
        Axes of what ``forward`` takes: ``"time first"`` for (steps, batch, ...), ``"batch first"`` for (batch, steps,
        ...), None for the input (batch, ...) of one step, which a loop inside presents in every step.
    readout
        Result of the last neurons: ``"spikes"``, or ``"membrane"``, which needs ``reset_mechanism="none"``. Default:
        the membrane if the module returns membranes only and never resets them, otherwise spikes.

    Raises `LoadError` with one sentence for a module or an option that is not supported.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not shape or any(not isinstance(extent, int) or extent < 1 for extent in shape):
        raise LoadError(f"input_shape must be one or more positive integers, not {input_shape!r}")
    axes = {None: None, "time first": 0, "batch first": 1}
    if sequence not in axes:
        raise LoadError(f"sequence must be 'time first', 'batch first' or None, not {sequence!r}")
    if readout not in (None, "spikes", "membrane"):
        raise LoadError(f"readout must be 'spikes', 'membrane' or None, not {readout!r}")
    trace = Trace(input_shape=shape, kinds=_KINDS)
    layers = list(layers_of(module))
    if sequence is None and (_is_chain(layers) or not hasattr(module, "named_modules")):
        trace.walk(layers)
    else:
        trace.run(module, steps_axis=axes[sequence])
    builder = _Builder()
    output, membrane = _output(trace, readout)
    for call in trace.calls.values():
        builder.add(call, spiking=call.name != output or not membrane)
    try:
        populations, connections, notes = with_constants(builder.populations, builder.connections, builder.constants)
        return Network(
            name=name,
            input_shape=shape,
            populations=populations,
            connections=connections,
            output=output,
            time_step_s=time_step_s,
            notes=(*builder.notes, *notes),
        )
    except ValueError as error:
        raise LoadError(str(error)) from error


def layers_of(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules that are not containers, in order, each with its path in the tree such as ``2`` or
    ``body.0``."""
    if kind_of(module) != "Sequential":
        yield path or "0", module
        return
    for key, child in module.named_children():
        yield from layers_of(child, f"{path}.{key}" if path else str(key))


def _is_chain(layers: list[tuple[str, Any]]) -> bool:
    """Whether the layers follow one another: each is known, or has no parts that a trace would find."""
    return all(
        kind_of(layer) in (*_KINDS, *LAYERS, *MAX_POOLINGS) or not list(getattr(layer, "named_children", tuple)())
        for _, layer in layers
    )


def _output(trace: Trace, readout: str | None) -> tuple[str, bool]:
    """Return the neurons that the module returns last, and whether their membrane is the result."""
    last = max((name for name, _ in trace.readout), key=list(trace.calls).index)
    call = trace.calls[last]
    if call.kind == POOL:
        raise LoadError(
            f"{call.where} leads to the output without a neuron; end the module with a neuron such as Leaky"
        )
    numbers = [number for name, number in trace.readout if name == last]
    kept = call.module.reset_mechanism == "none"
    if readout == "membrane" and not kept:
        raise LoadError(
            f"reset_mechanism of {call.where} must be 'none' to read out its membrane, not "
            f"{call.module.reset_mechanism!r}"
        )
    return last, readout == "membrane" or (readout is None and kept and None not in numbers)


def _linear(where: str, module: Any) -> tuple[FloatArray, FloatArray]:
    weight = array_of(f"weight of {where}", module.weight)
    if module.bias is None:
        return weight, np.zeros(weight.shape[0])
    return weight, array_of(f"bias of {where}", module.bias)


@dataclass(kw_only=True)
class _Builder:
    """Populations and connections of a network under construction."""

    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    constants: dict[str, FloatArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, call: Call, *, spiking: bool) -> None:
        """Add the population of a call, and the connections that lead to it."""
        if call.kind == POOL:
            self._connect(call, np.ones(call.flow.size))
            # Fires where any spike of its window arrives.
            pool = Population(name=call.name, shape=call.flow.shape, threshold=np.zeros(()), reset=Reset.NONE)
            self.populations.append(pool)
            return
        self._neurons(call, spiking=spiking)

    def _connect(self, call: Call, gain: FloatArray) -> None:
        for (source, delay), several in call.flow.paths.items():
            for path in several:
                onto = path.projection(call.where, call.flow.shape, gain)
                self.connections.append(
                    Connection(
                        source=source,
                        target=call.name,
                        weight=onto.weight,
                        convolution=onto.convolution,
                        pooling=onto.pooling,
                        delay=delay or 0,
                    )
                )

    def _neurons(self, call: Call, *, spiking: bool) -> None:
        path, where, module, kind = call.name, call.where, call.module, call.kind
        for option in ("inhibition", "state_quant"):
            if getattr(module, option, False):
                raise LoadError(f"{where} is a {kind} with {option}, which is not supported")
        factor = array_of(f"graded_spikes_factor of {where}", getattr(module, "graded_spikes_factor", 1.0))
        if np.any(factor != 1.0):
            raise LoadError(f"graded_spikes_factor of {where} must be 1, because spikes are events without a value")
        shape, size = call.flow.shape, call.flow.size
        beta, gain = self._membrane(call)
        alpha = _per_neuron(call, "alpha", module.alpha) if kind in ("Synaptic", "RSynaptic", "Alpha") else None
        for name, values in (("alpha", alpha), ("beta", beta)):
            if values is not None and (values.min() < 0.0 or values.max() > 1.0):
                self.notes.append(f"{path}: {name} is clamped to 0 .. 1, as snnTorch does in every step")
        alpha = None if alpha is None else np.clip(alpha, 0.0, 1.0)
        try:
            reset = {"subtract": Reset.SUBTRACT, "zero": Reset.ZERO, "none": Reset.NONE}[module.reset_mechanism]
        except KeyError:
            raise LoadError(
                f"reset_mechanism of {where} must be 'subtract', 'zero' or 'none', not {module.reset_mechanism!r}"
            ) from None
        delay = int(bool(getattr(module, "reset_delay", True)))
        if kind == "RSynaptic" and not delay and reset is not Reset.NONE:
            delay = 1
            self.notes.append(f"{path}: resets in the step after a spike, as snnTorch does despite reset_delay=False")
        threshold = _per_neuron(call, "threshold", module.threshold)
        if kind == "Alpha":
            delay = int(reset is not Reset.NONE)  # it has no reset_delay, and resets in the step after a spike
            assert alpha is not None
            if np.any(np.clip(beta, 0.0, 1.0) >= alpha):
                raise LoadError(f"alpha of {where} must be greater than its beta, both within 0 and 1")
        held = int(reset is Reset.ZERO and delay == 1 and kind not in ("Leaky", "Alpha"))
        if held and threshold.min() < 0.0:
            raise LoadError(
                f"threshold of {where}, a {kind} that resets to zero with a delay, must be at least 0, not "
                f"{threshold.min()}"
            )
        bias = call.flow.bias * gain
        if kind in ("RLeaky", "RSynaptic"):
            recurrent, more = _recurrent(call)
            self.connections.append(Connection(source=path, target=path, weight=recurrent, delay=1))
            bias = bias + more
        self._connect(call, gain)
        try:
            population = Population(
                name=path,
                shape=shape,
                beta=np.clip(beta, 0.0, 1.0),
                threshold=threshold,
                bias=bias if alpha is None else np.zeros(size),
                spiking=spiking,
                alpha=alpha,
                refractory=held,
                compare=Compare.GREATER,
                reset=reset,
                reset_delay=delay,
                second_threshold=reset is Reset.SUBTRACT and not delay,
                alpha_function=kind == "Alpha",
            )
        except ValueError as error:
            raise LoadError(str(error)) from error
        self.populations.append(population)
        if alpha is not None:
            self.constants[path] = bias

    def _membrane(self, call: Call) -> tuple[FloatArray, FloatArray]:
        """Return the factor of the membrane and the gain of its input, each ``(n,)``."""
        module = call.module
        if call.kind != "Lapicque":
            return _per_neuron(call, "beta", module.beta), np.ones(call.flow.size)
        resistance, capacitance = (_per_neuron(call, name, getattr(module, name)) for name in ("R", "C"))
        step = _per_neuron(call, "time_step", module.time_step)
        for name, values in (("R", resistance), ("C", capacitance), ("time_step", step)):
            if values.min() <= 0.0:
                raise LoadError(f"{name} of {call.where} must be positive, not {values.min()}")
        beta = 1.0 - step / (resistance * capacitance)
        if beta.min() < 0.0:
            raise LoadError(f"time_step of {call.where} must be at most R C, for which its decay is not negative")
        return beta, step / capacitance


def _per_neuron(call: Call, name: str, value: Any) -> FloatArray:
    array = array_of(f"{name} of {call.where}", value)
    shape, size = call.flow.shape, call.flow.size
    if array.size == size:
        return array.reshape(size)
    try:  # one per channel, as (channels, 1, 1), which torch broadcasts too
        return np.broadcast_to(array.reshape(()) if array.size == 1 else array, shape).reshape(size)
    except ValueError:
        raise LoadError(f"{name} of {call.where} must have 1 or {size:,} values, not {array.size:,}") from None


def _recurrent(call: Call) -> tuple[FloatArray, FloatArray]:
    """Return weights ``(n, n)`` and bias of the recurrent connection; the bias is added in every step."""
    inner, where, size = call.module.recurrent, call.where, call.flow.size
    if not call.module.all_to_all:
        return np.diag(_per_neuron(call, "V", inner.V)), np.zeros(size)
    if kind_of(inner) != "Linear":
        raise LoadError(f"{where} has a {kind_of(inner)} for its recurrent connection, which is not supported")
    weight, bias = _linear(f"the recurrent connection of {where}", inner)
    if weight.shape != (size, size):
        raise LoadError(f"the recurrent connection of {where} must have shape {(size, size)}, not {weight.shape}")
    return weight, bias
