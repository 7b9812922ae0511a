"""NIR frontend: convert a NIR file or graph to a float `Network`.

NIR describes neurons in continuous time, without time step, discretisation or reset rule. The caller, the metadata of
the file or a framework *preset* (`spikeloom.frontends.presets`) supplies them. Every assumption is a note of the
network; anything that cannot be preserved is a `LoadError` of one sentence.

The gain of a neuron is folded into its input weights and biases. Linear, Affine, convolution, pooling and Flatten nodes
between neurons are composed exactly (`spikeloom.frontends.affine`). A connection that closes a cycle has delay 1, any
other delay 0 (`spikeloom.frontends.order.closing_pairs` has the rule). `docs/loading.md` has the tables, and
`docs/nir-attention.md` describes the one node that is not part of NIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.frontends.compose import Arrival, compose
from spikeloom.frontends.constants import with_constants
from spikeloom.frontends.discretise import RuleOptions, Stepping, population_of
from spikeloom.frontends.encoder_settings import ENCODER_KEY, encoder_settings
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.lava import SUFFIX, load_net
from spikeloom.frontends.nir_content import check_content
from spikeloom.frontends.nir_file import read_tree
from spikeloom.frontends.nir_graph import NEURONS, RULE_KEYS, Graph, Node, scalar, text, unfold
from spikeloom.frontends.order import closing_pairs, in_order
from spikeloom.frontends.presets import PRESETS, Discretisation, TimeUnit
from spikeloom.frontends.saved import saved_network
from spikeloom.frontends.shapes import keep_large_weights_sparse
from spikeloom.frontends.spyx import repaired
from spikeloom.frontends.tensors import content_of
from spikeloom.frontends.writer import AUTO, chosen_preset, doubts
from spikeloom.model.drive import drives
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.core.features import MODEL_KEYS, Numbers
from spikeloom.sim.core.neuron import MOST_SPIKES, Compare, Reset
from spikeloom.sim.lib.files import FileError, shown
from spikeloom.sim.lib.formats import FORMAT_KEY, NIR_METADATA
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.projection import Projection

__all__ = ["AUTO", "ENCODER_KEY", "METADATA_KEYS", "PRESETS", "Discretisation", "LoadError", "load"]

FloatArray = NDArray[np.float64]

_BITS_KEY = "weight_bits"

METADATA_KEYS = (
    *(FORMAT_KEY, "preset", "time_step_s", "discretisation", "seed", "input_value_width"),
    *(_BITS_KEY, *RULE_KEYS),
)
"""Keys under ``metadata["spikeloom"]`` of a graph."""

_INTEGERS = {
    "reset_delay": (0, 1),
    "refractory": (0, 255),
    "max_spikes": (1, MOST_SPIKES),
    "norm_input": (0, 1),
    "seed": (1, (1 << 32) - 1),
    "input_value_width": (0, 16),
    _BITS_KEY: (1, 16),
}


# Numbers that overflow during the conversion become infinite; the network then refuses them in one sentence.
@np.errstate(over="ignore", invalid="ignore")
def load(
    source: str | PathLike[str] | Any,
    *,
    name: str | None = None,
    preset: str | None = None,
    time_step_s: float | None = None,
    discretisation: Discretisation | str | None = None,
    compare: Compare | str | None = None,
    reset: Reset | str | None = None,
    reset_delay: int | None = None,
    refractory: int | None = None,
    max_spikes: int | None = None,
    lower_bound: ArrayLike | None = None,
    norm_input: bool | None = None,
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int | None = None,
) -> Network:
    """Read a NIR file, or convert a ``nir.NIRGraph``, and return the float network.

    Parameters
    ----------
    source
        Path of a NIR file, or of a Lava-dl file by its suffix ``.net``, or a ``nir.NIRGraph``.
    name
        Name of the network; default: the file name without its suffix.
    preset
        Key of `PRESETS`, the framework that wrote the file, or `AUTO` to find it by the numbers of the file
        (`spikeloom.frontends.writer`); default: ``"nir"``.
    time_step_s, discretisation
        Discretisation of continuous time; default: that of the preset. ``"nir"`` has no time step and uses Euler.
    compare, reset, reset_delay, refractory
        Firing rule of all neurons, as enumeration members or their values.
    max_spikes
        Largest number of spikes of a neuron per step, 1 to 15; default: 1. By default, neurons of sinabs and Rockpool
        fire as often as the membrane reaches the threshold, which the exporters do not write.
    lower_bound
        Smallest membrane of spiking neurons, one number or one per neuron; default: none. This is ``min_v_mem`` of
        sinabs, which does not export it.
    norm_input
        For sinabs: True for neurons with a gain of 1 - beta, False for a gain of 1.
    layers
        The same options, from ``compare`` to ``norm_input``, for single neuron nodes by name: they take precedence.
    seed
        Seed from which noisy neurons derive their seeds; default: 1.

    Each option is taken from the arguments if it is not None, otherwise from the metadata of the node, then of the
    graph (see `METADATA_KEYS`), otherwise from the preset. Raises `LoadError` with one sentence about the cause.
    """
    rule = {
        "compare": compare,
        "reset": reset,
        "reset_delay": reset_delay,
        "refractory": refractory,
        "max_spikes": max_spikes,
        "lower_bound": lower_bound,
        "norm_input": norm_input,
    }
    caller = _options("", preset=preset, time_step_s=time_step_s, discretisation=discretisation, seed=seed, **rule)
    given = caller | ({"layers": layers} if layers else {})
    if isinstance(source, str | PathLike):
        path = Path(source)
        if path.suffix == SUFFIX:
            return _with_options(load_net(path), name, given, "a Lava-dl file has the exact steps of its neurons")
        content, default_name = read_tree(path), path.stem
    elif hasattr(source, "to_dict"):
        content, default_name = content_of(source), "network"
    else:
        raise LoadError(f"source must be the path of a NIR file or a nir.NIRGraph, not {type(source).__name__}")
    check_content(content)
    saved = saved_network(content)
    if saved is not None:
        return _with_options(saved, name, given, "spikeloom saved the file with the exact steps of its neurons")
    graph = unfold(content)
    keep_large_weights_sparse(graph)
    del content  # free the weight arrays that are now sparse
    hints = _metadata(graph.metadata, "the graph", METADATA_KEYS)
    single = _layers(layers or {}, graph)
    notes = list(graph.notes)
    stepping = _stepping(graph, hints, caller, notes)
    if stepping.preset is PRESETS["spyx"]:
        graph = repaired(graph, notes)
    shared = hints | caller
    composition = compose(graph)
    populations: list[Population] = []
    projections: dict[tuple[str, str], list[Projection]] = {}
    constants: dict[str, FloatArray] = {}
    starts: dict[str, FloatArray] = {}
    for neuron in composition.neurons:
        node = graph.nodes[neuron]
        own = _metadata(node.metadata, f"node {neuron!r}", (_BITS_KEY, *RULE_KEYS, *MODEL_KEYS))
        given = shared | own | caller | single.get(neuron, {})
        options = {key: given[key] for key in RULE_KEYS if key in given}
        models = {key: given[key] for key in MODEL_KEYS if key in given}
        arrival = composition.arrivals[neuron]
        if node.kind == "Delay":
            _check_delayed(neuron, arrival)
        stepped = population_of(
            neuron,
            node,
            composition.shapes[neuron],
            arrival.bias,
            stepping,
            RuleOptions(**options, models=models),
            notes,
        )
        # Set here, because no step equation depends on it.
        populations.append(replace(stepped.population, weight_bits=given.get(_BITS_KEY)))
        constants[neuron], starts[neuron] = stepped.constant, stepped.start
        for origin, paths in arrival.paths.items():
            projections[origin, neuron] = [
                path.projection(f"node {neuron!r}", composition.shapes[neuron], stepped.gain) for path in paths
            ]
    return _assemble(
        graph,
        name=name or default_name,
        input_shape=composition.shapes[graph.input],
        populations={population.name: population for population in populations},
        projections=projections,
        attentions=[
            _attention(name, graph.nodes[name], composition.shapes[name], sources)
            for name, sources in composition.attentions.items()
        ],
        constants=constants,
        starts=starts,
        notes=notes,
        output=composition.output,
        time_step_s=stepping.time_step_s,
        late=stepping.preset.late,
        encoder=encoder_settings(graph.metadata),
        seed=shared.get("seed", 1),
        input_value_width=shared.get("input_value_width", 0),
    )


def _with_options(saved: Network, name: str | None, given: Mapping[str, Any], why: str) -> Network:
    """Return a network whose steps are given with the name and seed of the caller: other options are refused."""
    for key, value in given.items():
        if key != "seed" and (key, value) != ("preset", AUTO):
            raise LoadError(f"{key} must be left out, because {why}; change the network in Python and save it again")
    return replace(saved, name=name or saved.name, seed=given.get("seed", saved.seed))


def _attention(name: str, node: Node, shape: tuple[int, ...], sources: tuple[str, ...]) -> QuantisedAttention:
    """Return the attention of a node (docs/nir-attention.md) and the populations of its query, key and value."""

    def whole(key: str, low: int, high: int, default: int | None = None) -> int:
        value = np.asarray(node.parameters.get(key, default))
        if value.dtype.kind not in "iub" or value.size != 1 or not low <= int(value.reshape(())) <= high:
            raise LoadError(
                f"{key} of node {name!r} must be an integer from {low} to {high}, not {shown(value.tolist())}"
            )
        return int(value.reshape(()))

    heads, channels, tokens = whole("heads", 1, 16), shape[0], prod(shape[1:])
    if channels % heads:
        raise LoadError(f"shape of node {name!r} must have channels divisible by {heads} heads, not {channels}")
    query, key, value = sources
    try:
        return QuantisedAttention(
            name=name,
            query=query,
            key=key,
            value=value,
            parameters=AttentionParameters(tokens=tokens, features=channels // heads, heads=heads),
            seed=whole("seed", 0, (1 << 64) - 1, 0),
            causal=bool(whole("causal", 0, 1, 0)),
        )
    except LoadError:
        raise
    except ValueError as error:
        raise LoadError(f"node {name!r}: {error}") from error


def _check_delayed(name: str, arrival: Arrival) -> None:
    """Check that a delay line gets the spikes of one source, because it stores spikes, not sums."""
    ways = [path for paths in arrival.paths.values() for path in paths]
    if len(ways) != 1 or not ways[0].is_identity or np.any(arrival.bias):
        raise LoadError(
            f"node {name!r} is a Delay and must get the unmodified spikes of one neuron or of the Input; put it in "
            "front of the weights"
        )


def _options(where: str, **options: Any) -> dict[str, Any]:
    """Return the options that are not None, each converted to its type; ``where`` precedes the name in messages."""
    checked: dict[str, Any] = {}
    for key, value in options.items():
        name = f"{where}{key}"
        if value is None:
            continue
        if key == "preset":
            if text(value) not in PRESETS and not (text(value) == AUTO and not where):
                allowed = ", ".join(PRESETS if where else (*PRESETS, AUTO))
                raise LoadError(f"{name} must be one of {allowed}, not {shown(text(value))}")
            checked[key] = text(value)
        elif key == "time_step_s":
            checked[key] = scalar(name, value)
            if checked[key] <= 0:
                raise LoadError(f"{name} must be positive, not {checked[key]}")
        elif key in _INTEGERS:
            number, (low, high) = scalar(name, value), _INTEGERS[key]
            if number != int(number) or not low <= number <= high:
                raise LoadError(f"{name} must be an integer from {low} to {high}, not {number:g}")
            checked[key] = bool(number) if key == "norm_input" else int(number)
        elif key in MODEL_KEYS and MODEL_KEYS[key].numbers is Numbers.ONE:
            checked[key] = scalar(name, value)
        elif key == "lower_bound" or key in MODEL_KEYS:
            array = np.asarray(value)
            if array.dtype.kind not in "fiu" or not array.size or not np.isfinite(array).all():
                raise LoadError(f"{name} must be finite numbers, not {shown(value)}")
            checked[key] = array.astype(np.float64)
        else:
            kind: type[Enum] = {"discretisation": Discretisation, "compare": Compare, "reset": Reset}[key]
            try:
                checked[key] = value if isinstance(value, kind) else kind(text(value))
            except ValueError:
                allowed = ", ".join(repr(member.value) for member in kind)
                raise LoadError(f"{name} must be one of {allowed}, not {shown(text(value))}") from None
    return checked


def _metadata(metadata: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    hints = metadata.get("spikeloom")
    if hints is None:
        return {}
    if not isinstance(hints, Mapping):
        raise LoadError(f"metadata 'spikeloom' of {where} must be a group of keys, not {shown(hints)}")
    if FORMAT_KEY in keys:
        # Check the format before the keys: a newer format has unknown keys, and its number explains them better.
        try:
            NIR_METADATA.check(hints)
        except FileError as error:
            raise LoadError(str(error)) from None
    for key in hints:
        if key not in keys:
            raise LoadError(f"metadata 'spikeloom' of {where} must have keys out of {', '.join(keys)}, not {key!r}")
    return _options(f"metadata of {where}: ", **{key: value for key, value in hints.items() if key != FORMAT_KEY})


def _layers(layers: Mapping[str, Mapping[str, Any]], graph: Graph) -> dict[str, dict[str, Any]]:
    """Return the options of the caller for single nodes, checked."""
    checked: dict[str, dict[str, Any]] = {}
    for name, options in layers.items():
        if name not in graph.nodes or graph.nodes[name].kind not in NEURONS:
            names = ", ".join(repr(each) for each, node in graph.nodes.items() if node.kind in NEURONS)
            raise LoadError(f"layers must name neuron nodes of the graph, {names}, not {shown(name)}")
        for key in options:
            if key not in RULE_KEYS:
                raise LoadError(f"layers of node {name!r} must have keys out of {', '.join(RULE_KEYS)}, not {key!r}")
        checked[name] = _options(f"layers of node {name!r}: ", **options)
    return checked


def _stepping(graph: Graph, hints: Mapping[str, Any], caller: dict[str, Any], notes: list[str]) -> Stepping:
    """Return the discretisation that the options of the file and of the caller give; resolve the preset `AUTO`."""
    given = {**hints, **caller}
    time_step_s = given.get("time_step_s")
    if caller.get("preset") == AUTO:
        del caller["preset"]
        if "preset" not in hints:  # a file that names its framework needs no guess
            caller["preset"], note = chosen_preset(graph, time_step_s)
            notes.append(note)
        given = {**hints, **caller}
    elif "preset" in caller:
        notes.extend(doubts(graph, caller["preset"], time_step_s))
    if "preset" not in given:
        notes.append("no preset was given, so neurons are stepped with the equations of NIR")
        notes.extend(doubts(graph, "nir", time_step_s))
    preset = PRESETS[given.get("preset", "nir")]
    if "preset" in caller:
        notes.extend(preset.unseen)
    time_step_s = given.get("time_step_s", preset.time_step_s)
    if time_step_s is None:
        raise LoadError(
            "preset must be named ('auto' finds it), or time_step_s given, because NIR holds time constants but no "
            "time step"
        )
    if "time_step_s" not in given:
        why = f"the default of {preset.title}"
        if preset.tau_unit is TimeUnit.STEPS:
            why = f"a step has no length in {preset.title} and no result depends on it"
        notes.append(f"a time step of {time_step_s:g} s is assumed: {why}")
    return Stepping(
        preset=preset, time_step_s=time_step_s, discretisation=given.get("discretisation", preset.discretisation)
    )


def _assemble(
    graph: Graph,
    *,
    populations: Mapping[str, Population],
    projections: Mapping[tuple[str, str], list[Projection]],
    attentions: list[QuantisedAttention],
    constants: Mapping[str, FloatArray],
    starts: Mapping[str, FloatArray],
    notes: list[str],
    output: str,
    late: bool,
    **settings: Any,
) -> Network:
    """Return the network of populations, their arrivals, and the ``settings`` passed to it unchanged.

    With ``late``, spikes arrive at other populations one step later.
    """
    for source, target in projections:
        if source in populations and not populations[source].spiking:
            raise LoadError(
                f"node {source!r} is {'a' if graph.nodes[source].kind == 'CubaLI' else 'an'} "
                f"{graph.nodes[source].kind} that leads to {target!r}: its membrane can only be the network output"
            )
    pairs = [*projections, *((source, a.name) for a in attentions for source in a.sources)]
    everything = [*populations, *(a.name for a in attentions)]
    closing = closing_pairs(everything, pairs)
    for source, target in sorted(closing):
        if target not in populations:
            raise LoadError(
                f"the spikes of {source!r} must reach attention {target!r} without closing a cycle; close the loop "
                "at neurons"
            )
    everything = in_order(everything, [pair for pair in pairs if pair not in closing])
    order = [name for name in everything if name in populations]
    for source, target in sorted(closing):
        if source != target:
            notes.append(f"{target}: spikes of {source} arrive one step later, because they close a cycle")
    reach = {output}
    while more := {source for source, target in pairs if target in reach and source != INPUT} - reach:
        reach |= more
    notes.extend(f"{name}: it does not reach the output" for name in order if name not in reach)
    try:
        connections = [
            Connection(
                source=source,
                target=target,
                weight=projection.weight,
                convolution=projection.convolution,
                pooling=projection.pooling,
                delay=int((source, target) in closing or (late and source != INPUT)),
            )
            for target in order
            for source in (INPUT, *everything)
            for projection in projections.get((source, target), ())
        ]
        ordered, connected, more_notes = with_constants(
            [populations[name] for name in order], connections, constants, starts
        )
        network = Network(
            populations=ordered,
            connections=connected,
            attentions=tuple(attentions),
            notes=(*notes, *more_notes),
            output=output,
            **settings,
        )
    except ValueError as error:
        raise LoadError(str(error)) from error
    return replace(network, notes=(*network.notes, *_weak(network)))


def _weak(network: Network) -> list[str]:
    """Return notes about populations that can hardly fire: a sign of a wrong preset, time step or gain."""
    return [
        f"{name}: it can hardly fire, because a quarter of its inputs in every step brings no membrane above "
        f"{drive.membrane:.3g}, and the threshold is {drive.threshold:.3g}; check preset, time step and norm_input"
        for name, drive in drives(network).items()
        if not drive.can_fire
    ]
