"""Evaluation of points: the same network and samples, quantised, run by the reference, and fitted to a board.

Nothing here is synthesised or simulated in hardware: accuracy is exact, because the hardware equals the reference in
every spike; resources, clock, rate and energy are estimates. Only *validation* samples are used. A file of samples
may say which they are, by an array ``validation`` of their indices, or which are not, by an array ``held_out``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, Scales, quantise
from spikeloom.datasets.encoders import Encoder, LevelEncoder
from spikeloom.datasets.inputs import InputError, Inputs, inputs_from
from spikeloom.datasets.readout import Decision, accuracy, classify
from spikeloom.explore.choose import choose
from spikeloom.explore.cost import explain, rates_of
from spikeloom.explore.energy import energy_of
from spikeloom.explore.points import Behaviour, Point, WeightBits
from spikeloom.model.network import Network
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.messages import encode_spikes, encode_values
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import ReferenceResult, simulate

__all__ = [
    "DEFAULT_SAMPLES",
    "Estimate",
    "Outcome",
    "Score",
    "Study",
    "behaviour_of",
    "behaviours",
    "evaluate",
    "validation_arrays",
]

DEFAULT_SAMPLES = 500
_SEED = 0
_ENCODED_SAMPLES = 16  # enough for the mean of the bytes per image
_BITS_PER_BYTE = 10  # on a serial line, with start and stop bit
_DERIVED = ("images_per_second", "energy_nj")
"""Figures of an estimate that follow from its fields."""
_BATCH_AXIS = {"spikes": 1, "images": 0, "series": 1}


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What all points of an exploration share.

    Parameters
    ----------
    network
        The float network.
    arrays
        ``spikes`` ``(T, B, n)``, ``images`` ``(B, ...)`` or ``series`` ``(T, B, channels)``, and optionally ``labels``
        ``(B,)``; see `validation_arrays`.
    where
        Their source, for messages.
    decision
        Rule by which the output becomes an answer; None: the usual one.
    scales
        Neurons that share a scale of weights.
    """

    network: Network
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    where: str = "the samples"
    decision: Decision | None = None
    scales: Scales = Scales.POPULATION

    @property
    def samples(self) -> int:
        """Number of samples."""
        name = _values_of(self.arrays, self.where)
        return int(self.arrays[name].shape[_BATCH_AXIS[name]])

    @property
    def has_labels(self) -> bool:
        """Whether answers are compared with labels; otherwise with those of the float model."""
        return "labels" in self.arrays


@dataclass(frozen=True, kw_only=True)
class Score:
    """Result of a behaviour.

    ``accuracy`` is the share, 0 to 1, of samples with the right answer, None without labels; ``agreement`` that with
    the answer of the float model on the same input, None with labels. ``steps`` per sample and input ``events``,
    ``synaptic_operations`` and ``line_bytes`` (to the board, without framing) are means per sample.
    """

    samples: int
    accuracy: float | None
    agreement: float | None
    steps: int
    events: float
    synaptic_operations: float
    line_bytes: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimate of a core on a board.

    ``lut`` to ``lut_ram`` are resources with the host link; ``utilisation`` is the share, 0 to 1, of the ``fullest``
    one of those for use. ``clock_mhz`` is the clock for which the board's general fabric is built. At this clock the
    core, which takes ``cycles`` per image, runs ``core_images_per_second``; the serial line brings
    ``line_images_per_second``, None on a board with another link. Energies per image are in nanojoules, see
    `spikeloom.explore.energy`.
    """

    lanes: int
    lut: int
    ff: int
    ram: int
    dsp: int
    single_port: int
    lut_ram: int
    utilisation: float
    fullest: str
    clock_mhz: float
    cycles: float
    core_images_per_second: float
    line_images_per_second: float | None
    computing_nj: float
    memory_nj: float

    @property
    def images_per_second(self) -> float:
        """Rate that both the core and the serial line reach."""
        line = self.line_images_per_second
        return self.core_images_per_second if line is None else min(self.core_images_per_second, line)

    @property
    def energy_nj(self) -> float:
        """Energy per image in nanojoules."""
        return self.computing_nj + self.memory_nj

    def content(self) -> dict[str, Any]:
        """Return the fields and the figures derived from them as plain values."""
        return asdict(self) | {name: getattr(self, name) for name in _DERIVED}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a point. Without a score or an estimate, ``refused`` says why in one sentence."""

    point: Point
    score: Score | None = None
    estimate: Estimate | None = None
    refused: str = ""

    @property
    def quality(self) -> float:
        """The accuracy, or without labels the agreement with the float model, 0 to 1."""
        assert self.score is not None
        found = self.score.agreement if self.score.accuracy is None else self.score.accuracy
        assert found is not None
        return found

    def content(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            **self.point.content(),
            "score": None if self.score is None else asdict(self.score),
            "estimate": None
            if self.estimate is None
            else asdict(self.estimate) | {"energy_nj": self.estimate.energy_nj},
            "refused": self.refused,
        }

    @classmethod
    def of(cls, point: Point, content: Mapping[str, Any]) -> Outcome:
        """Return the outcome of ``point`` with this `content`. Raises ``ValueError`` for other content."""
        try:
            score, estimate = content["score"], content["estimate"]
            if estimate is not None:
                estimate = {name: value for name, value in estimate.items() if name not in _DERIVED}
            return cls(
                point=point,
                score=None if score is None else Score(**score),
                estimate=None if estimate is None else Estimate(**estimate),
                refused=str(content["refused"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("content must be that of an outcome") from error


def validation_arrays(
    arrays: Mapping[str, NDArray[Any]], where: str, *, limit: int | None = DEFAULT_SAMPLES
) -> dict[str, NDArray[Any]]:
    """Return the validation samples of ``arrays`` with their labels.

    ``spikes`` are ``(T, B, n)``, ``images`` ``(B, ...)`` and ``series`` ``(T, B, channels)``. Validation samples are
    those with an index in an array ``validation``, if there is one, else all but those in an array ``held_out``. If
    there are more than ``limit``, ``limit`` of them are drawn at random, the same ones each time. Raises `InputError`.
    """
    name = _values_of(arrays, where)
    values, axis = arrays[name], _BATCH_AXIS[name]
    if values.ndim <= axis:
        raise InputError(f"{where}: {name} must have samples along axis {axis}, not the shape {values.shape}")
    count = values.shape[axis]
    labels = arrays.get("labels")
    if labels is not None and labels.shape != (count,):
        raise InputError(f"{where}: labels must have shape {(count,)}, not {labels.shape}")
    chosen = np.arange(count)
    if "validation" in arrays:
        chosen = _indices(arrays["validation"], count, f"{where}: validation")
    if "held_out" in arrays:
        chosen = np.setdiff1d(chosen, _indices(arrays["held_out"], count, f"{where}: held_out"))
    if not len(chosen):
        raise InputError(f"{where} must hold at least one sample for validation, but all are held out")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    if limit is not None and len(chosen) > limit:
        # Files are often sorted by class, so the first samples would not be representative.
        chosen = np.sort(np.random.Generator(np.random.PCG64(_SEED)).permutation(chosen)[:limit])
    found = {name: values.take(chosen, axis=axis)}
    return found if labels is None else found | {"labels": labels[chosen]}


def _values_of(arrays: Mapping[str, NDArray[Any]], where: str) -> str:
    for name in _BATCH_AXIS:
        if name in arrays:
            return name
    raise InputError(
        f"{where} must hold an array 'spikes', 'images' or 'series', not {', '.join(map(repr, arrays)) or 'nothing'}"
    )


def _indices(array: NDArray[Any], count: int, what: str) -> NDArray[np.int64]:
    if array.ndim != 1 or array.dtype.kind not in "iu" or (len(array) and not 0 <= array.min() <= array.max() < count):
        raise InputError(f"{what} must be indices of samples, from 0 to {count - 1}, not {array.dtype} {array.shape}")
    return array.astype(np.int64)


def behaviour_of(point: Point) -> Behaviour:
    """Return the behaviour of ``point``. Raises ``ValueError`` for an unknown board."""
    from spikeloom.boards.targets.registry import find_board

    return Behaviour(
        weight_bits=point.weight_bits,
        encoder=point.encoder,
        steps=point.steps,
        multiplier=find_board(point.board).device.dsp > 0,
    )


def evaluate(study: Study, points: Sequence[Point]) -> list[Outcome]:
    """Return the outcomes of ``points``, which have the same `Behaviour`: the network is run once.

    Values that cannot be built give an outcome that is ``refused``, not an exception. Raises ``ValueError`` if the
    points have different behaviours.
    """
    if not points:
        return []
    behaviour = behaviour_of(points[0])
    if any(behaviour_of(point) != behaviour for point in points):
        raise ValueError("points must have one behaviour, not several")
    try:
        quantised = _quantised(study, behaviour)
        inputs = _inputs(study, behaviour)
        result = simulate(quantised, inputs.spikes)
    except (ValueError, TypeError) as error:  # of the encoder, the quantiser and the inputs
        return [Outcome(point=point, refused=str(error)) for point in points]
    score = _score(study, result, inputs)
    return [_outcome(study, behaviour, point, score, result) for point in points]


def _outcome(study: Study, behaviour: Behaviour, point: Point, score: Score, result: ReferenceResult) -> Outcome:
    try:
        return Outcome(point=point, score=score, estimate=_estimate(study, behaviour, point, score, result))
    except ValueError as error:  # of the choice and the placement
        return Outcome(point=point, score=score, refused=str(error))


@lru_cache(maxsize=32)  # a process evaluates other steps and encoders of the same widths
def _quantised_as(study: Study, weight_bits: WeightBits, multiplier: bool) -> QuantisedNetwork:
    names = [population.name for population in study.network.populations]
    # All populations are named, because those that are not have the width that the file asks for.
    widths = dict.fromkeys(names, weight_bits) if isinstance(weight_bits, int) else dict(weight_bits)
    return quantise(study.network, Quantisation(multiplier=multiplier, scales=study.scales, weight_widths=widths))


def _quantised(study: Study, behaviour: Behaviour) -> QuantisedNetwork:
    return _quantised_as(study, behaviour.weight_bits, behaviour.multiplier)


def _inputs(study: Study, behaviour: Behaviour) -> Inputs:
    """Return the samples, encoded in the number of steps."""
    network, arrays, steps = study.network, study.arrays, behaviour.steps
    encoder = behaviour.encoder
    if "spikes" in arrays:
        available = len(arrays["spikes"])
        if steps is not None and steps > available:
            raise InputError(f"steps must be at most the {available} of the spikes in {study.where}, not {steps}")
        arrays = {**arrays, "spikes": arrays["spikes"][:steps]}
    elif steps is not None:
        encoder = _with_steps(encoder, steps)
    return inputs_from(
        arrays,
        network.inputs,
        encoder,
        where=study.where,
        classes=network.population(network.output).size,
        value_width=network.input_value_width,
    )


def _with_steps(encoder: Encoder | None, steps: int) -> Encoder | None:
    if encoder is None or steps == encoder.steps:
        return encoder
    if not isinstance(encoder, LevelEncoder):
        raise InputError(
            f"steps must be left out for the {encoder.kind} encoder, which takes one per sample, not {steps}"
        )
    return replace(encoder, steps=steps)


def _score(study: Study, result: ReferenceResult, inputs: Inputs) -> Score:
    network, spikes = study.network, inputs.spikes
    spiking = result.network.population(network.output).parameters.spiking
    output = result.fired(network.output) if spiking else result.states[network.output].v
    right = agreed = None
    if inputs.labels is not None:
        right = accuracy(output, inputs.labels, study.decision)
    else:
        floats = network.run(spikes)
        expected = floats.fired(network.output) if spiking else floats.membranes[network.output]
        agreed = float(np.mean(classify(output, study.decision) == classify(expected, study.decision)))
    encode = encode_values if network.input_value_width else encode_spikes
    encoded = [len(encode(spikes[:, n])) for n in range(min(_ENCODED_SAMPLES, spikes.shape[1]))]
    return Score(
        samples=spikes.shape[1],
        accuracy=right,
        agreement=agreed,
        steps=len(spikes),
        events=float(np.count_nonzero(spikes) / spikes.shape[1]),
        synaptic_operations=float(result.synaptic_operations.mean()),
        line_bytes=float(np.mean(encoded)),
    )


@lru_cache(maxsize=64)  # all steps and encoders of the same widths have the same cores
def _placed(
    study: Study, weight_bits: WeightBits, multiplier: bool, lanes: int | None, device_name: str, link: LinkKind
) -> tuple[Program, Any, Any]:
    from spikeloom.boards.families.device import DEVICES

    network = _quantised_as(study, weight_bits, multiplier)
    given: dict[str, Any] = {} if lanes is None else {"lanes": lanes}
    choice = choose(network, DEVICES[device_name], link=link, **given)
    return place(network, FabricConfig(core=choice.core)), choice.resources, choice.room


def _estimate(study: Study, behaviour: Behaviour, point: Point, score: Score, result: ReferenceResult) -> Estimate:
    from spikeloom.boards.sizing.choose import RESOURCES
    from spikeloom.boards.targets.registry import find_board

    board = find_board(point.board)
    program, resources, room = _placed(
        study, behaviour.weight_bits, behaviour.multiplier, point.lanes, board.device_name, board.link_kind
    )
    work = explain(program, rates_of(result))
    (tile,) = work.work
    core = next(iter(program.fabric.cores.values()))
    energy = energy_of(
        core, words_added=tile.words_added * score.steps, words_updated=float(tile.words_updated * score.steps)
    )
    cycles = work.cycles * score.steps
    line = board.baud_rate / _BITS_PER_BYTE / score.line_bytes if board.link_kind is LinkKind.UART else None
    used = {title: (getattr(resources, name), getattr(room, name)) for name, title in RESOURCES.items()}
    shares = {title: taken / available for title, (taken, available) in used.items() if available}
    fullest = max(shares, key=lambda title: shares[title])
    return Estimate(
        lanes=core.lanes,
        **asdict(resources),
        utilisation=shares[fullest],
        fullest=fullest,
        clock_mhz=board.clock_hz / 1e6,
        cycles=cycles,
        core_images_per_second=board.clock_hz / cycles,
        line_images_per_second=line,
        computing_nj=energy.computing_j * 1e9,
        memory_nj=energy.memory_j * 1e9,
    )


def behaviours(points: Iterable[Point]) -> list[list[Point]]:
    """Group ``points`` by behaviour, in the order of their first appearance."""
    groups: dict[Behaviour, list[Point]] = {}
    for point in points:
        groups.setdefault(behaviour_of(point), []).append(point)
    return list(groups.values())
