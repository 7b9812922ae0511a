"""Data of the report: the behaviour of a network on a fabric, collected for one page (see `spikeloom.report.page`).

The reference runs all samples, and the page shows its spikes and membranes. If hardware also ran, its output is
compared with the reference, and its counters are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.datasets.readout import Decision, classify
from spikeloom.explore.cost import Explanation, explain, measured_rates
from spikeloom.report.traffic import Traffic
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import as_inputs, simulate
from spikeloom.sim.noc.mesh import Link, LinkCount, MeshParameters

__all__ = ["Comparison", "Report", "gather"]

_FIRST, _WRONG = 6, 4  # samples shown: the first ones, and the first with a wrong answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Output of a population on hardware against the reference: ``differs`` ``(T, B, n)`` marks the differences."""

    population: str
    differs: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Content of the page.

    ``spikes`` and ``membranes`` are ``(T, B, n)`` by population, the input first. ``answers`` ``(B,)`` are the output
    neurons by ``decision``. ``labels`` ``(B,)`` is None if unknown. ``comparisons`` with the hardware and ``counters``
    of the run by tile are empty without hardware or counters; ``cycles_per_sample`` is then None. ``timing`` holds the
    figures of a build or a synthesis under their own names. Without a mesh, ``mesh`` is a row of host and core, for the
    drawing.
    """

    program: Program
    explanation: Explanation
    mesh: MeshParameters
    traffic: Traffic
    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, NDArray[np.int64]]
    answers: NDArray[np.int64]
    classes: int
    decision: Decision
    labels: NDArray[np.int64] | None = None
    comparisons: tuple[Comparison, ...] = ()
    counters: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    cycles_per_sample: float | None = None
    timing: Mapping[str, object] = field(default_factory=dict)
    runner: str = "reference"

    @property
    def steps(self) -> int:
        """Time steps per sample."""
        return next(iter(self.spikes.values())).shape[0]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return next(iter(self.spikes.values())).shape[1]

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Numbers ``(k,)`` of the ``k`` samples with an answer other than their label."""
        return np.zeros(0, np.int64) if self.labels is None else np.flatnonzero(self.answers != self.labels)

    @property
    def accuracy(self) -> float | None:
        """Share of samples with the right answer; None without labels."""
        return None if self.labels is None else 1.0 - len(self.wrong) / self.samples

    @property
    def shown(self) -> list[int]:
        """Samples with spikes on the page: the first ones, and the first with a wrong answer."""
        return sorted({*range(min(_FIRST, self.samples)), *map(int, self.wrong[:_WRONG])})

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Number of samples ``(classes, classes)`` by label (rows) and answer (columns); None without labels."""
        if self.labels is None:
            return None
        # A label may be larger than any answer that the network can give.
        size = max(self.classes, int(self.labels.max()) + 1)
        matrix = np.zeros((size, size), np.int64)
        np.add.at(matrix, (self.labels, self.answers), 1)
        return matrix

    @property
    def clock_mhz(self) -> float | None:
        """Clock of ``timing`` in MHz: that of the board, else the maximum frequency."""
        clock = self.timing.get("clock_mhz", self.timing.get("fmax_mhz"))
        return float(clock) if isinstance(clock, int | float) and not isinstance(clock, bool) else None

    @property
    def estimated_cycles_per_sample(self) -> float:
        """Clock cycles per sample: as counted, else as estimated."""
        return self.explanation.cycles * self.steps if self.cycles_per_sample is None else self.cycles_per_sample


def gather(
    network: QuantisedNetwork,
    program: Program,
    spikes: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    decision: Decision | None = None,
    measured: Mapping[str, NDArray[Any]] | None = None,
    record: tuple[str, ...] | None = None,
    counters: Mapping[int, Mapping[str, int]] | None = None,
    links: Mapping[Link, LinkCount] | None = None,
    cycles_per_sample: float | None = None,
    timing: Mapping[str, object] | None = None,
    runner: str = "reference",
) -> Report:
    """Return the report of ``program``, the placement of ``network``, for the samples ``spikes`` ``(T, B, inputs)``.

    ``decision`` is the rule of the answers; None stands for the usual one.

    ``measured`` holds the output of the hardware: spikes of spiking populations and membranes of others, ``(T, B, n)``.
    ``record`` names additional populations with membranes on the page; None selects the output.
    """
    array = as_inputs(spikes, network.inputs, network.input_value_width)
    result = simulate(network, array, record=(network.output,) if record is None else record)
    explanation = explain(program, measured_rates(network, array))
    mesh = program.fabric.mesh or MeshParameters(columns=2, rows=1)
    membranes = {name: np.asarray(states.v, np.int64) for name, states in result.states.items()}
    spiking = {name: result.spikes[name] for name in _spiking_in_order(network)}
    output = result.fired(network.output) if network.output in spiking else membranes[network.output]
    return Report(
        program=program,
        explanation=explanation,
        mesh=mesh,
        traffic=Traffic.of(mesh, explanation, links, array.shape[0] * array.shape[1]),
        spikes={INPUT: array != 0} | spiking,
        membranes=membranes,
        answers=classify(output, decision),
        classes=output.shape[2],
        decision=decision or Decision.usual(spiking=network.output in spiking),
        labels=None if labels is None else np.asarray(labels, np.int64),
        comparisons=tuple(
            Comparison(population=name, differs=found != (result.fired(name) if name in spiking else membranes[name]))
            for name, found in (measured or {}).items()
            if name in spiking or name in membranes
        ),
        counters=counters or {},
        cycles_per_sample=cycles_per_sample,
        timing=timing or {},
        runner=runner,
    )


def _spiking_in_order(network: QuantisedNetwork) -> list[str]:
    """Return the sources of spikes in step order."""
    return [item.name for item in network.schedule if network.spikes(item.name)]
