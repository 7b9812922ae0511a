"""Tracing of torch modules as they are written: classes with a loop over time, functions between layers, own states.

The ``forward`` of the module runs as Python code, with values in place of tensors that know their shape and where they
come from (`Flow`). During the run, layers and neurons are replaced: a layer adds itself to the flow, and a neuron
records the flow that reaches it in this step and returns its spikes. This unrolls a loop over time. Its steps must be
equal, which is checked; the first step may only lack what a previous step would have contributed.

``torch.fx`` is not used, because a symbolic trace stops at ``range(x.size(0))``, knows neither shapes nor steps, and
needs torch. Neither are hooks on tensors, because functions between layers (``x.flatten(1)``, ``F.max_pool2d``) leave
no trace in them. Torch is not imported: values answer its functions by the ``__torch_function__`` protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from spikeloom.frontends.affine import Path
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.flow import LAYERS, MAX_POOLINGS, Flow, Key, array_of, pooling_window, through
from spikeloom.model.population import INPUT

__all__ = ["BATCH", "POOL", "Call", "NeuronKind", "Trace", "kind_of"]

BATCH = 3
"""Extent of the batch while a module is traced: odd, so that shapes that mix it with another extent are noticed."""

POOL = "MaxPool"
"""Kind of a call that is no neuron of the module: a maximum over windows of spikes."""

_TRACED_STEPS = 3


def kind_of(module: Any) -> str:
    """Return the class name of a module."""
    return type(module).__name__


@dataclass(frozen=True, kw_only=True)
class NeuronKind:
    """How neurons of a kind are called: ``forward(input, *states)`` returns spikes and the states.

    ``hears_itself``: the first state passed consists of the spikes of the previous step, and is not returned.
    ``without_time``: an activation such as ReLU, of which every call is a layer of its own.
    """

    states: int
    hears_itself: bool = False
    without_time: bool = False


@dataclass(kw_only=True)
class Call:
    """A layer of neurons, or a `POOL`, as it is called in every step.

    ``first`` and ``later`` are the flows that reach it in the first step and in the others, with delays in place of
    steps; ``later`` is None if it was called once.
    """

    name: str
    kind: str
    where: str
    module: Any
    count: int = 0
    first: Flow | None = None
    later: Flow | None = None

    @property
    def flow(self) -> Flow:
        """The flow that reaches it in every step but perhaps the first."""
        found = self.later or self.first
        assert found is not None
        return found

    def add(self, flow: Flow) -> None:
        """Record the flow that reaches it in the next step."""
        delayed = self._delayed(flow)
        if self.count == 0:
            self.first = delayed
        elif self.count == 1:
            assert self.first is not None
            early = {key: several for key, several in delayed.paths.items() if not key[1] or key in self.first.paths}
            self._compare(replace(delayed, paths=early), self.first)
            self.later = delayed
        else:
            assert self.later is not None
            self._compare(delayed, self.later)
        self.count += 1

    def _delayed(self, flow: Flow) -> Flow:
        paths: dict[Key, tuple[Path, ...]] = {}
        for (source, step), several in flow.paths.items():
            delay = 0 if step is None else self.count - step
            if source == INPUT and delay:
                raise LoadError(f"{self.where} gets the input of step {step} in step {self.count}, expected the same")
            if delay not in (0, 1):
                raise LoadError(
                    f"{self.where} gets spikes that {source!r} fires in step {step} in step {self.count}, expected the "
                    "same step or the next; each layer of neurons must be called once in every step"
                )
            paths[source, delay] = several
        return replace(flow, paths=paths)

    def _compare(self, flow: Flow, other: Flow) -> None:
        same = flow.shape == other.shape and flow.paths.keys() == other.paths.keys()
        same = same and np.array_equal(flow.bias, other.bias)
        same = same and all(_equal(several, other.paths[key]) for key, several in flow.paths.items())
        if not same:
            raise LoadError(
                f"{self.where} gets other inputs in step {self.count} than in the step before, but a network must do "
                "the same in every step"
            )


def _equal(some: Sequence[Path], others: Sequence[Path]) -> bool:
    return len(some) == len(others) and all(
        (one.convolution, one.pooling, one.scale) == (other.convolution, other.pooling, other.scale)
        and (one.weight is None) == (other.weight is None)
        and (one.weight is None or np.array_equal(one.weight, other.weight))  # type: ignore[arg-type]
        for one, other in zip(some, others, strict=True)
    )


_UNCHANGED = ("float", "double", "to", "cpu", "cuda", "clone", "detach", "contiguous", "type", "requires_grad_")
"""Methods of a tensor that change neither its values nor its place in the network."""


class _Traced:
    """Base class of what a module gets in place of tensors. Attributes that are not defined lead to `_other`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _UNCHANGED:
            return lambda *arguments, **options: self
        return self._other(name)

    def _other(self, name: str) -> Any:
        raise NotImplementedError


class _TracedTensor(_Traced):
    """Base class of what functions of torch accept."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _function(func, args, kwargs or {})


@dataclass(frozen=True, kw_only=True)
class _State(_TracedTensor):
    """State ``index`` of the neurons ``name`` at the end of a step; it can only go back to them, or to the output."""

    name: str
    index: int
    step: int

    def _other(self, name: str) -> Any:
        raise LoadError(f"the membranes of {self.name!r} must be read out as they are, without {name}")

    def _refuse(self, other: Any) -> Any:
        raise LoadError(f"the membranes of {self.name!r} must not be added to or multiplied with other values")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __gt__ = __lt__ = _refuse


@dataclass(frozen=True, kw_only=True)
class _Record(_TracedTensor):
    """Values and states that were stacked; they can only go to the output."""

    items: tuple[Any, ...]

    def _other(self, name: str) -> Any:
        return lambda *arguments, **options: self

    def __truediv__(self, other: Any) -> _Record:
        return self


class _Value(_TracedTensor):
    """Stand-in for a tensor ``(BATCH, *shape)`` of one step."""

    def __init__(self, trace: Trace, flow: Flow) -> None:
        self.trace, self.flow = trace, flow

    device, dtype, requires_grad = "cpu", None, False

    @property
    def shape(self) -> tuple[int, ...]:
        return (BATCH, *self.flow.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dimension: int | None = None) -> Any:
        return self.shape if dimension is None else self.shape[dimension]

    def view(self, *shape: Any) -> _Value:
        given = [int(extent) for extent in (shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)]
        if given.count(-1) == 1:
            rest = prod(extent for extent in given if extent != -1)
            whole = BATCH * self.flow.size
            given = [whole // rest if extent == -1 and rest and not whole % rest else extent for extent in given]
        if given[0] != BATCH or prod(given) != BATCH * self.flow.size:
            raise LoadError(
                f"a view of values of shape {self.flow.shape} must keep the batch as its first dimension and the "
                "number of values"
            )
        return _Value(self.trace, self.flow.reshaped(tuple(given[1:]) or (1,)))

    reshape = view

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> _Value:
        options = SimpleNamespace(start_dim=start_dim, end_dim=end_dim)
        return _Value(self.trace, through("flatten", "Flatten", options, self.flow))

    def __add__(self, other: Any) -> _Value:
        return _Value(self.trace, self.flow.plus(self.trace.flow_of(other, self.flow.shape)))

    __radd__ = __add__

    def add(self, other: Any) -> _Value:
        return self + other

    def __mul__(self, other: Any) -> _Value:
        if isinstance(other, _Value | _State | _Record):
            raise LoadError("values must not be multiplied with each other between layers, only with constants")
        factors = np.broadcast_to(array_of("a factor between layers", other), self.flow.shape).reshape(-1)
        return _Value(self.trace, self.flow.scaled("a factor between layers", factors))

    __rmul__ = __mul__

    def mul(self, other: Any) -> _Value:
        return self * other

    def __truediv__(self, other: Any) -> _Value:
        return self * (1.0 / array_of("a divisor between layers", other))

    def div(self, other: Any) -> _Value:
        return self / other

    def sum(self, *arguments: Any, **options: Any) -> _Record:
        return _Record(items=(self,))

    mean = sum

    def relu(self) -> _Value:
        return _Value(self.trace, self.trace.activated("ReLU", self.flow))

    def probable(self) -> _Record:
        if not self.trace.ends_linear:
            raise LoadError("the function softmax of torch is not supported between layers")
        return _Record(items=(self,))  # a softmax does not change the answer

    def _refuse(self, *others: Any) -> Any:
        raise LoadError("a module must do the same for all inputs, without conditions on the values of tensors")

    __bool__ = __gt__ = __ge__ = __lt__ = __le__ = _refuse

    def _other(self, name: str) -> Any:
        raise LoadError(f"{name} of a tensor is not supported between layers")


class _Sequence(_Traced):
    """The input of all steps: (steps, batch, ...), or (batch, steps, ...) with ``axis`` 1."""

    device, dtype, requires_grad = "cpu", None, False

    def __init__(self, trace: Trace, axis: int) -> None:
        self.trace, self.axis = trace, axis

    @property
    def shape(self) -> tuple[int, ...]:
        first = (BATCH, _TRACED_STEPS) if self.axis else (_TRACED_STEPS, BATCH)
        return (*first, *self.trace.input_shape)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dimension: int | None = None) -> Any:
        return self.shape if dimension is None else self.shape[dimension]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> _Value:
        places = index if isinstance(index, tuple) else (index,)
        places = tuple(place for place in places if place is not Ellipsis)
        before = [place for place in places[:-1] if place == slice(None)]
        fits = len(places) == self.axis + 1 and len(before) == self.axis and isinstance(places[-1], int)
        if not fits or not -_TRACED_STEPS <= places[-1] < _TRACED_STEPS:
            raise LoadError(f"a step of the input must be taken as x[{':, ' * self.axis}step], not as x[{index!r}]")
        return self.trace.input_value(places[-1] % _TRACED_STEPS)

    def __iter__(self) -> Iterator[_Value]:
        if self.axis:
            raise LoadError("a loop over the input must be over its steps, but its first axis is the batch")
        return iter([self[step] for step in range(_TRACED_STEPS)])

    def transpose(self, first: int, second: int) -> _Sequence:
        if {first, second} != {0, 1}:
            raise LoadError("only steps and batch of the input may be transposed")
        return _Sequence(self.trace, 1 - self.axis)

    def permute(self, *axes: Any) -> _Sequence:
        order = tuple(axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)
        if order[:2] != (1, 0) or order[2:] != tuple(range(2, len(order))):
            raise LoadError("only steps and batch of the input may be permuted")
        return _Sequence(self.trace, 1 - self.axis)

    def _other(self, name: str) -> Any:
        raise LoadError(f"the input of all steps must be taken step by step, without {name}")


def _function(func: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Answer a function of torch that was called with a value."""
    name = getattr(func, "__name__", str(func)).strip("_")
    known = _FUNCTIONS.get(name)
    if known is None:
        raise LoadError(f"the function {name} of torch is not supported between layers")
    return known(*arguments, **options)


def _pooled(value: _Value, kernel_size: Any, stride: Any = None, padding: Any = 0, **options: Any) -> SimpleNamespace:
    return SimpleNamespace(kernel_size=kernel_size, stride=stride or kernel_size, padding=padding, **options)


def _max_pool(
    value: _Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Value:  # fmt: skip
    window = _pooled(value, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)
    window.return_indices = return_indices
    return _Value(value.trace, value.trace.pooled("", window, value.flow))


def _average_pool(
    value: _Value, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> _Value:  # fmt: skip
    window = _pooled(value, kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    window.divisor_override = divisor_override
    kind = "AvgPool1d" if len(value.flow.shape) == 2 else "AvgPool2d"
    return _Value(value.trace, through(kind, kind, window, value.flow))


def _stack(items: Sequence[Any], *arguments: Any, **options: Any) -> _Record:
    return _Record(items=tuple(items))


def _zeros(value: Any, *arguments: Any, **options: Any) -> float:
    return 0.0


def _unchanged(value: Any, *arguments: Any, **options: Any) -> Any:
    return value


def _dropout(value: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Return ``value``: modules are traced in evaluation mode, where dropout has no effect unless it is requested."""
    if training and p:
        raise LoadError(
            "the function dropout must be called with training=self.training, because it drops values at random in "
            "evaluation too otherwise"
        )
    return value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "stack": _stack,
    "cat": _stack,
    "zeros_like": _zeros,
    "dropout": _dropout,
    "detach": _unchanged,
    "clone": _unchanged,
    "sum": lambda value, *arguments, **options: value.sum(),
    "mean": lambda value, *arguments, **options: value.mean(),
    "flatten": lambda value, *arguments, **options: value.flatten(*arguments, **options),
    "reshape": lambda value, *shape: value.view(*shape),
    "add": lambda one, other: one + other if isinstance(one, _Value | _State) else other + one,
    "mul": lambda one, other: one * other if isinstance(one, _Value | _State) else other * one,
    "div": lambda one, other: one / other,
    "relu": lambda value, *arguments, **options: _Value(value.trace, value.trace.activated("ReLU", value.flow)),
    "softmax": lambda value, *arguments, **options: value.probable(),
    "log_softmax": lambda value, *arguments, **options: value.probable(),
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool1d": _average_pool,
    "avg_pool2d": _average_pool,
}


@dataclass(kw_only=True)
class Trace:
    """Neurons of a module, and the flows between them in one step.

    Parameters
    ----------
    input_shape
        Shape of the input of one step, without the batch.
    kinds
        Kinds of neurons by class name.
    ends_linear
        Whether the module returns the values behind its last layers, `end`, and not spikes.
    """

    input_shape: tuple[int, ...]
    kinds: Mapping[str, NeuronKind]
    ends_linear: bool = False
    end: Flow | None = None
    calls: dict[str, Call] = field(default_factory=dict)
    readout: list[tuple[str, int | None]] = field(default_factory=list)
    """What the module returns: a name of `calls` with None for its spikes, or the number of its state."""

    def input_value(self, step: int | None) -> _Value:
        """Return the input of a step, or that of every step."""
        return _Value(self, Flow.of_spikes((INPUT, step), self.input_shape))

    def walk(self, layers: Sequence[tuple[str, Any]]) -> None:
        """Send one step through layers that follow one another, each with its path in the module."""
        flow = self.input_value(None).flow
        for path, module in layers:
            flow = self._layer(path, module, flow)
        self._read_out(_Value(self, flow))

    def _layer(self, path: str, module: Any, flow: Flow) -> Flow:
        kind, where = kind_of(module), f"module {path!r}"
        if kind in self.kinds:
            return self._fired(path, kind, where, module, flow)
        if kind in MAX_POOLINGS:
            return self.pooled(path, module, flow)
        if kind in LAYERS:
            return through(where, kind, module, flow)
        supported = ("Sequential", *LAYERS, *MAX_POOLINGS, *self.kinds)
        raise LoadError(
            f"{where} is a {kind}, which is not supported; supported are {', '.join(supported[:-1])} and "
            f"{supported[-1]}"
        )

    def run(self, module: Any, *, steps_axis: int | None) -> None:
        """Run the ``forward`` of a module: on a sequence of steps along an axis, 0 or 1, or on the input of one step.

        A module that calls each neuron once for the input of one step is run again, as for the next step. Raises
        `LoadError` for a module that is not supported.
        """
        with self._replaced(module):
            if steps_axis is not None:
                result = module(_Sequence(self, steps_axis))
            else:
                result = module(self.input_value(None))
                timeless = any(kind.without_time for kind in self.kinds.values())
                if self.calls and not timeless and all(call.count == 1 for call in self.calls.values()):
                    result = module(self.input_value(None))
        counts = {call.count for call in self.calls.values()}
        if len(counts) > 1:
            one, other = (next(c for c in self.calls.values() if c.count == n) for n in (max(counts), min(counts)))
            raise LoadError(
                f"{one.where} is called {one.count} times, but {other.where} {other.count} times; each layer of "
                "neurons must be called once in every step"
            )
        self._read_out(result)

    @contextmanager
    def _replaced(self, root: Any) -> Iterator[None]:
        """Replace the ``forward`` of layers and neurons, in evaluation mode; restore all modules afterwards."""
        modules = dict(root.named_modules())
        kept = {path: dict(module.__dict__) for path, module in modules.items()}
        try:
            for path, module in modules.items():
                module.__dict__["training"] = False
                kind = kind_of(module)
                if kind in self.kinds or kind in LAYERS or kind in MAX_POOLINGS:
                    module.__dict__["forward"] = self._stand_in(path, module)
            yield
        finally:
            for path, module in modules.items():
                module.__dict__.clear()
                module.__dict__.update(kept[path])

    def _stand_in(self, path: str, module: Any) -> Callable[..., Any]:
        kind, where = kind_of(module), f"module {path!r}"

        def layer(value: Any, *others: Any, **options: Any) -> _Value:
            flow = value.flow if isinstance(value, _Value) else self._constant(where, value)
            return _Value(self, self._layer(path, module, flow))

        def neurons(value: Any, *states: Any, **named: Any) -> Any:
            flow = value.flow if isinstance(value, _Value) else self._constant(where, value)
            step = self.calls[path].count if path in self.calls else 0
            for number, state in enumerate((*states, *named.values())):
                self._check_state(path, where, self.kinds[kind], step, number, state)
            spikes = _Value(self, self._fired(path, kind, where, module, flow))
            if self.kinds[kind].without_time:
                return spikes
            if getattr(module, "init_hidden", False) and not getattr(module, "output", False):
                return spikes
            return (spikes, *(_State(name=path, index=k, step=step) for k in range(self.kinds[kind].states)))

        return neurons if kind in self.kinds else layer

    def _check_state(self, path: str, where: str, kind: NeuronKind, step: int, number: int, state: Any) -> None:
        """Raise `LoadError` unless a state passed to neurons is None, 0, or their own of the previous step."""
        if state is None:
            return
        if isinstance(state, _Value) and kind.hears_itself and number == 0:
            if state.flow.is_spikes and (path, step - 1) in state.flow.paths:
                return
            raise LoadError(f"{where} must receive its own spikes of the step before, not other values")
        if isinstance(state, _State):
            if (state.name, state.step) == (path, step - 1):
                return
            raise LoadError(f"{where} must get its own states of the step before, not those of {state.name!r}")
        if isinstance(state, _Value | _Record | _Sequence) or np.any(array_of(f"initial state of {where}", state)):
            raise LoadError(f"{where} must start from states of 0")

    def _constant(self, where: str, value: Any) -> Flow:
        """Return a flow of no spikes, for a tensor ``(BATCH, ...)`` that the module made, such as initial spikes."""
        if isinstance(value, _State | _Record | _Sequence):
            raise LoadError(f"{where} must get spikes or the input of one step, not membranes or several steps")
        array = array_of(f"the input of {where}", value)
        if array.ndim < 2 or len(array) != BATCH or np.any(array != array[:1]):
            raise LoadError(f"a constant input of {where} must be the same for each sample of the batch")
        return Flow(shape=array.shape[1:], paths={}, bias=array[0].reshape(-1))

    def flow_of(self, value: Any, shape: tuple[int, ...]) -> Flow:
        """Return the flow of a value, or of a constant of ``shape``. Raises `LoadError` if it is neither."""
        if isinstance(value, _Value):
            return value.flow
        if isinstance(value, _State | _Record | _Sequence):
            raise LoadError("membranes must not be added to other values")
        constant = array_of("a constant between layers", value)
        if constant.ndim == len(shape) + 1 and len(constant) == BATCH and np.all(constant == constant[:1]):
            constant = constant[0]
        return Flow(shape=shape, paths={}, bias=np.broadcast_to(constant, shape).reshape(-1))

    def _fired(self, name: str, kind: str, where: str, module: Any, flow: Flow) -> Flow:
        """Record a call of neurons and return their spikes."""
        if kind in self.kinds and self.kinds[kind].without_time:
            if flow.is_spikes:
                return flow  # a ReLU of values that are not negative changes nothing
            # The same module may stand behind several layers.
            own = (f"{name}.{number}" if number else name for number in range(len(self.calls) + 1))
            name = next(each for each in own if each not in self.calls)
        call = self.calls.setdefault(name, Call(name=name, kind=kind, where=where, module=module))
        call.add(flow)
        return Flow.of_spikes((name, call.count - 1), call.flow.shape)

    def activated(self, kind: str, flow: Flow) -> Flow:
        """Record a call of an activation as a function, and return its values. Raises `LoadError` for others."""
        if kind not in self.kinds:
            raise LoadError(f"the function {kind.lower()} of torch is not supported between layers")
        name = flow.layer.partition("'")[2].rpartition("'")[0] or "input"
        return self._fired(
            f"{name}.{kind.lower()}", kind, f"{kind.lower()} behind {flow.layer or 'the input'}", None, flow
        )

    def pooled(self, path: str, module: Any, flow: Flow) -> Flow:
        """Record a maximum over windows of spikes, which is 1 if any of them is, and return it.

        Raises `LoadError` for a maximum of anything but spikes.
        """
        where = f"module {path!r}" if path else "max_pool of spikes"
        if not flow.is_spikes:
            raise LoadError(
                f"{where} must get spikes, of which a maximum is an OR, not a sum of weights; put the neurons in "
                "front of it, or use an average"
            )
        only = (("dilation", 1), ("ceil_mode", False), ("return_indices", False))
        window, shape = pooling_window(where, module, flow.shape, only)
        ((source, _),) = flow.paths
        sums = flow.mapped(where, shape, lambda path: path.through_pooling(where, window, 1.0), np.zeros(prod(shape)))
        return self._fired(path or f"{source}.pool", POOL, where, module, sums)

    def _read_out(self, result: Any) -> None:
        """Find what leads to the output in what the module returned."""
        if self.ends_linear:
            while isinstance(result, _Record) and len(result.items) == 1:
                (result,) = result.items
            if not isinstance(result, _Value):
                raise LoadError("the module must return one value for each class")
            self.end = result.flow
            return
        found: dict[tuple[str, int | None], None] = {}

        def search(item: Any) -> None:
            if isinstance(item, _Record):
                search(item.items)
            elif isinstance(item, _State):
                found[item.name, item.index] = None
            elif isinstance(item, _Value):
                for key, several in item.flow.paths.items():
                    plain = all(path.weight is None and path.pooling is None for path in several)
                    if key[0] not in self.calls or not plain or item.flow.bias.any():
                        last = item.flow.layer or "the module"
                        raise LoadError(
                            f"{last} leads to the output without a neuron; end the module with a neuron such as Leaky"
                        )
                    found[key[0], None] = None
            elif isinstance(item, Mapping):
                search(tuple(item.values()))
            elif isinstance(item, list | tuple):
                for each in item:
                    search(each)

        search(result)
        if not found:
            raise LoadError(
                "the module must return the spikes or the membranes of its last neurons, but returns neither"
            )
        self.readout = list(found)
