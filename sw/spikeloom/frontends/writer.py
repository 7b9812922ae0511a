"""Which framework wrote a NIR graph, as far as its numbers show.

NIR names no writer, but each exporter leaves traces: the unit of its time constants, the relation of ``r`` to them, the
kinds of nodes, the width of its floats. `writers` compares a graph with these traces. A *characteristic* trace occurs
in the files of one framework only, in practice; the others also fit graphs that were written by hand.

======================= ================================================================================
framework               trace
======================= ================================================================================
snnTorch 1.0.0          characteristic: r dt/tau is 1 with dt = 1e-4 s (w_in dt/tau_syn likewise)
Rockpool 3.1.0          characteristic: r dt/tau is exp(-dt/tau) for a usual dt
Norse 1.1.0             characteristic: r is 1 and tau at most 1e-4, because it is dt/tau_inv; IF: r is 1
sinabs 3.1.3            characteristic: r is 1 and tau at least 0.5, in steps; IF: r is 1, and no v_reset
Spyx 1.0.0              characteristic: r is 1 - dt/tau, and nodes are named ``layer_0``; IF: r is 1
SpikingJelly 2.0.0      double precision, one number per layer, v_leak = v_reset; r is 1 or tau/dt; IF: 1/dt
======================= ================================================================================

Without leak, where tau is infinite, snnTorch and Rockpool write the same numbers. There the names decide: Rockpool's
``Sequential`` names nodes after its classes, such as ``0_LinearTorch``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import Graph, Node
from spikeloom.frontends.presets import PRESETS
from spikeloom.frontends.shapes import array_of

__all__ = ["AUTO", "Writer", "chosen_preset", "doubts", "writers"]

AUTO = "auto"
"""Value of the option ``preset`` that takes the framework which `writers` finds."""

FloatArray = NDArray[np.float64]

_NODES = ("LIF", "LI", "IF", "I", "CubaLIF", "CubaLI")  # other kinds of neurons are written by no exporter
_LARGEST_NORSE_TAU = 1e-4  # dt times a time constant of 0.1 s
_SMALLEST_SINABS_TAU = 0.5  # in steps; half a second would be a very slow neuron
_TOLERANCE = 1e-3
_USUAL_STEPS_S = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
_SPYX_NAME = re.compile(r"layer_\d+")
_ROCKPOOL_NAME = re.compile(r"\d+_[A-Z]\w*Torch")


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A framework that may have written a graph, and the trace that shows it.

    ``characteristic`` is true for a trace that other frameworks and hand-written files do not have.
    """

    preset: str
    trace: str
    characteristic: bool


def writers(graph: Graph, time_step_s: float | None = None) -> tuple[Writer, ...]:
    """Return the frameworks whose traces all neurons of ``graph`` have, the characteristic ones first.

    ``time_step_s`` is tried besides the default time step of frameworks that have a choice.
    """
    nodes = [node for node in graph.nodes.values() if node.kind in _NODES]
    if not nodes:
        return ()
    found: list[Writer] = []
    for preset, (kinds, fits, trace, is_characteristic) in _TRACES.items():
        steps = [PRESETS[preset].time_step_s or 0.0]
        if preset in ("spikingjelly", "rockpool", "spyx"):  # their exporters take a time step
            steps += [*_USUAL_STEPS_S, *([] if time_step_s is None else [time_step_s])]
        try:
            if any(all(node.kind in kinds and fits(node, dt) for node in nodes) for dt in steps):
                strong = any(is_characteristic(node) for node in nodes)
                found.append(Writer(preset=preset, trace=trace, characteristic=strong))
        except LoadError:  # a parameter is missing or no number: reported where it is used
            continue
    if found and any(np.isinf(_values(node, _tau(node))).all() for node in nodes if node.kind in ("LIF", "CubaLIF")):
        named = any(_ROCKPOOL_NAME.search(name) for name in graph.nodes)
        found = [writer for writer in found if writer.preset != ("snntorch" if named else "rockpool")]
    if not any(_SPYX_NAME.match(name) for name in graph.nodes):
        found = [writer for writer in found if writer.preset != "spyx"]
    return tuple(sorted(found, key=lambda writer: not writer.characteristic))


def chosen_preset(graph: Graph, time_step_s: float | None = None) -> tuple[str, str]:
    """Return the preset that `AUTO` stands for, and a note that names the trace.

    Raises `LoadError` if the graph fits no framework, or several equally well.
    """
    found = writers(graph, time_step_s)
    best = [writer for writer in found if writer.characteristic] or list(found)
    # SpikingJelly's LIFNode(decay_input=False) has the numbers of snnTorch's Leaky in double precision.
    best += [writer for writer in found if writer.preset == "spikingjelly" and writer not in best]
    names = ", ".join(PRESETS)
    if not best:
        raise LoadError(
            f"preset {AUTO!r} must be replaced by one of {names}, because the numbers of the graph are those of no "
            "exporter"
        )
    if len(best) > 1:
        raise LoadError(
            f"preset {AUTO!r} must be replaced by the framework that wrote the graph, because its numbers fit "
            f"{' and '.join(writer.preset for writer in best)}"
        )
    (writer,) = best
    return writer.preset, f"preset {writer.preset} was found: {writer.trace}"


def doubts(graph: Graph, preset: str, time_step_s: float | None = None) -> list[str]:
    """Return notes about a ``preset`` that was given although the graph looks like that of another framework."""
    found = writers(graph, time_step_s)
    title = PRESETS[preset].title
    if any(writer.preset == preset for writer in found):
        # Where the traces of two frameworks coincide, only the characteristic one casts doubt on the other, except that
        # sinabs always leaves one, and that SpikingJelly's double precision is rare in files of snnTorch.
        own = next(writer for writer in found if writer.preset == preset)
        others = tuple(writer for writer in found if writer is not own)
        if own.characteristic:
            found = tuple(w for w in others if (w.preset, preset) == ("spikingjelly", "snntorch"))
        elif preset != "sinabs":
            found = tuple(writer for writer in others if writer.characteristic)
        else:
            found = others
    elif preset == "nir":
        found = tuple(writer for writer in found if writer.characteristic)
    return [
        f"the graph may not come from {title}: it looks like a file of {PRESETS[writer.preset].title}, because "
        f"{writer.trace}; --preset {writer.preset} reads it as such"
        for writer in found
    ]


def _values(node: Node, key: str) -> FloatArray:
    return array_of("", node, key).astype(np.float64).reshape(-1)


def _near(values: FloatArray, expected: FloatArray | float) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(values - expected) <= _TOLERANCE * np.abs(expected)))


def _zero(node: Node, *keys: str) -> bool:
    return not any(key in node.parameters and _values(node, key).any() for key in keys)


def _ratio(node: Node, gain: str, tau: str, dt: float) -> FloatArray:
    """Return ``gain dt/tau``; 1 where both are infinite, as exporters write a decay factor of 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        endless = np.isinf(_values(node, gain)) & np.isinf(_values(node, tau))
        return np.where(endless, 1.0, _values(node, gain) * dt / _values(node, tau))


def _tau(node: Node) -> str:
    return "tau_mem" if node.kind.startswith("Cuba") else "tau"


def _snntorch(node: Node, dt: float) -> bool:
    fits = _near(_ratio(node, "r", _tau(node), dt), 1.0) and _zero(node, "v_leak", "v_reset")
    return fits and (node.kind == "LIF" or _near(_ratio(node, "w_in", "tau_syn", dt), 1.0))


def _rockpool(node: Node, dt: float) -> bool:
    tau = _values(node, _tau(node))
    with np.errstate(divide="ignore", over="ignore"):
        return _zero(node, "v_leak", "v_reset") and _near(_ratio(node, "r", _tau(node), dt), np.exp(-dt / tau))


def _spyx(node: Node, dt: float) -> bool:
    if node.kind == "IF":
        return _near(_values(node, "r"), 1.0)
    if node.kind == "CubaLIF" and not _near(_values(node, "w_in"), 1.0):
        return False
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = 1.0 - dt / _values(node, _tau(node))
        return _zero(node, "v_leak", "v_reset") and bool(np.all(np.abs(_values(node, "r") - beta) <= _TOLERANCE))


def _norse(node: Node, dt: float) -> bool:
    if not _near(_values(node, "r"), 1.0) or not _zero(node, "v_reset"):
        return False
    return node.kind == "IF" or bool(np.all(_values(node, _tau(node)) <= _LARGEST_NORSE_TAU))


def _sinabs(node: Node, dt: float) -> bool:
    if not _near(_values(node, "r"), 1.0) or not _zero(node, "v_leak", "v_reset"):
        return False
    return node.kind == "IF" or bool(np.all(_values(node, "tau") >= _SMALLEST_SINABS_TAU))


def _spikingjelly(node: Node, dt: float) -> bool:
    keys = ("r", "v_threshold", *(() if node.kind == "IF" else (_tau(node),)))
    arrays = [array_of("", node, key) for key in keys]
    if any(array.dtype != np.float64 or np.ptp(array.reshape(-1)) for array in arrays):
        return False
    reset = _values(node, "v_reset") if "v_reset" in node.parameters else np.zeros(1)
    if node.kind == "IF":
        return _near(_values(node, "r") * dt, 1.0)
    tau = _values(node, _tau(node))
    if np.any((tau < dt) | (tau >= _SMALLEST_SINABS_TAU)):
        return False
    ratio = _ratio(node, "r", _tau(node), dt)
    if node.kind == "CubaLIF":
        return _near(ratio, 1.0) and _near(_ratio(node, "w_in", "tau_syn", dt), 1.0) and _zero(node, "v_leak")
    starts_at_rest = bool(np.all(_values(node, "v_leak") == reset))
    return starts_at_rest and (_near(ratio, 1.0) or _near(_values(node, "r"), 1.0))


def _always(node: Node) -> bool:
    return True


def _leaks(node: Node) -> bool:
    return node.kind not in ("IF", "I")


def _is_old(node: Node) -> bool:
    """Whether ``v_reset`` is missing, as in files of nir 1.0.4, to which sinabs is pinned."""
    return _leaks(node) or (node.kind == "IF" and "v_reset" not in node.parameters)


def _only_spikingjelly(node: Node) -> bool:
    return node.kind == "IF"


_Trace = tuple[tuple[str, ...], Callable[[Node, float], bool], str, Callable[[Node], bool]]
_TRACES: Mapping[str, _Trace] = {
    "snntorch": (("LIF", "CubaLIF"), _snntorch, "r dt/tau is 1 for a step of 1e-4 s", _always),
    "rockpool": (("LIF", "LI", "CubaLIF"), _rockpool, "r dt/tau is exp(-dt/tau)", _always),
    "norse": (
        ("LIF", "LI", "IF", "CubaLIF"),
        _norse,
        f"r is 1 and each tau at most {_LARGEST_NORSE_TAU:g}, a time constant in seconds times the step",
        _leaks,
    ),
    "sinabs": (
        ("LIF", "LI", "IF"),
        _sinabs,
        "r is 1, and each tau is a number of steps or v_reset is missing",
        _is_old,
    ),
    "spyx": (("LIF", "IF", "CubaLIF"), _spyx, "r is 1 - dt/tau and nodes are named layer_0", _always),
    "spikingjelly": (
        ("LIF", "IF", "CubaLIF"),
        _spikingjelly,
        "its numbers have double precision, one per layer, v_leak equals v_reset, and r fits the step",
        _only_spikingjelly,
    ),
}
