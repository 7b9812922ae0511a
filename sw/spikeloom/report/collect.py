"""Everything that a network does on a fabric, collected for one page (`spikeloom.report.page` writes it).

The reference runs all samples. Its spikes and membranes are shown; where hardware ran beside it, the hardware's are
compared with them, and the hardware's counters are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.datasets.readout import classify
from spikeloom.explore.cost import Explanation, explain, measured_rates
from spikeloom.report.traffic import Traffic
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import as_spikes, as_values, simulate
from spikeloom.sim.noc.mesh import Link, LinkCount, MeshParameters

__all__ = ["Comparison", "Report", "gather"]

_FIRST, _WRONG = 6, 4  # samples that are shown: the first ones, and then the first that are answered wrong


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Output of a population on hardware beside the reference's: ``differs`` ``(T, B, n)`` where they are not equal."""

    population: str
    differs: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Everything on the page.

    ``spikes`` and ``membranes`` are ``(T, B, n)`` by population, the input first; ``answers`` ``(B,)`` are the output
    neurons with most spikes or, ``answered_by_spikes`` false, the largest sum of membranes; ``labels`` ``(B,)`` None
    where none are known; ``comparisons`` those with the hardware, empty where none ran; ``counters`` those
    of the run by tile, empty where none are counted; ``cycles_per_sample`` None likewise; ``timing`` what a build or a
    synthesis reports, as it is named there. Without a mesh, ``mesh`` is a row of host and core, to be drawn.
    """

    program: Program
    explanation: Explanation
    mesh: MeshParameters
    traffic: Traffic
    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, NDArray[np.int64]]
    answers: NDArray[np.int64]
    classes: int
    answered_by_spikes: bool
    labels: NDArray[np.int64] | None = None
    comparisons: tuple[Comparison, ...] = ()
    counters: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    cycles_per_sample: float | None = None
    timing: Mapping[str, object] = field(default_factory=dict)
    runner: str = "reference"

    @property
    def steps(self) -> int:
        """Time steps of a sample."""
        return next(iter(self.spikes.values())).shape[0]

    @property
    def samples(self) -> int:
        """Samples that ran."""
        return next(iter(self.spikes.values())).shape[1]

    @property
    def wrong(self) -> NDArray[np.int64]:
        """The numbers of the samples whose answer is not their label."""
        return np.zeros(0, np.int64) if self.labels is None else np.flatnonzero(self.answers != self.labels)

    @property
    def accuracy(self) -> float | None:
        """The share of samples with the right answer; None without labels."""
        return None if self.labels is None else 1.0 - len(self.wrong) / self.samples

    @property
    def shown(self) -> list[int]:
        """The samples whose spikes are on the page: the first ones, and the first of those that are answered wrong."""
        return sorted({*range(min(_FIRST, self.samples)), *map(int, self.wrong[:_WRONG])})

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """How many samples of each label (rows) got each answer (columns); None without labels."""
        if self.labels is None:
            return None
        size = max(self.classes, int(self.labels.max()) + 1)
        matrix = np.zeros((size, size), np.int64)
        np.add.at(matrix, (self.labels, self.answers), 1)
        return matrix

    @property
    def clock_mhz(self) -> float | None:
        """The clock that ``timing`` names, in MHz: a board's own, else the fastest that was reached."""
        clock = self.timing.get("clock_mhz", self.timing.get("fmax_mhz"))
        return float(clock) if isinstance(clock, int | float) and not isinstance(clock, bool) else None

    @property
    def estimated_cycles_per_sample(self) -> float:
        """Clock cycles of a sample: those that were counted, else those that are expected."""
        return self.explanation.cycles * self.steps if self.cycles_per_sample is None else self.cycles_per_sample


def gather(
    network: QuantisedNetwork,
    program: Program,
    spikes: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    measured: Mapping[str, NDArray[Any]] | None = None,
    record: tuple[str, ...] | None = None,
    counters: Mapping[int, Mapping[str, int]] | None = None,
    links: Mapping[Link, LinkCount] | None = None,
    cycles_per_sample: float | None = None,
    timing: Mapping[str, object] | None = None,
    runner: str = "reference",
) -> Report:
    """The report of ``program``, which is ``network`` placed, in the samples ``spikes`` ``(T, B, inputs)``.

    ``measured`` holds what hardware gave: spikes of populations that spike and membranes of others, ``(T, B, n)``.
    ``record`` names the populations whose membranes are shown besides those that do not spike; the output if None.
    """
    width = network.input_value_width
    array = as_values(spikes, network.inputs, width) if width else as_spikes(spikes, network.inputs)
    result = simulate(network, array, record=(network.output,) if record is None else record)
    explanation = explain(program, measured_rates(network, array))
    mesh = program.fabric.mesh or MeshParameters(columns=2, rows=1)
    membranes = {name: np.asarray(states.v, np.int64) for name, states in result.states.items()}
    spiking = {name: result.spikes[name] for name in _spiking_in_order(network)}
    output = spiking.get(network.output, membranes.get(network.output))
    assert output is not None  # a population spikes, or its states are recorded
    return Report(
        program=program,
        explanation=explanation,
        mesh=mesh,
        traffic=Traffic.of(mesh, explanation, links, array.shape[0] * array.shape[1]),
        spikes={INPUT: array != 0} | spiking,
        membranes=membranes,
        answers=classify(output),
        classes=output.shape[2],
        answered_by_spikes=network.output in spiking,
        labels=None if labels is None else np.asarray(labels, np.int64),
        comparisons=tuple(
            Comparison(population=name, differs=found != spiking.get(name, membranes.get(name)))
            for name, found in (measured or {}).items()
            if name in spiking or name in membranes
        ),
        counters=counters or {},
        cycles_per_sample=cycles_per_sample,
        timing=timing or {},
        runner=runner,
    )


def _spiking_in_order(network: QuantisedNetwork) -> list[str]:
    """What spikes, in the order of a step."""
    return [item.name for item in network.schedule if network.spikes(item.name)]
