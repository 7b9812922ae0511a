"""Comparison of a network with its simulated hardware, from the file to the spikes: the work of ``spikeloom
simulate``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from spikeloom.datasets.inputs import Inputs
from spikeloom.datasets.readout import Decision, accuracy, classify
from spikeloom.model.network import Network
from spikeloom.runners.runner import PinsRunner, Progress, Runner, RunResult
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import ReferenceResult, simulate

__all__ = ["Agreement", "Simulation", "Summary", "agreement", "observed_names", "simulate_network"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Comparison of the float model with the integers.

    A cell is one neuron in one step of one sample; ``cells`` and ``differing`` count those of each population that
    spikes, by name. ``answers`` is the share, 0 to 1, of samples with the same answer; the accuracies are None without
    labels. ``capped`` counts, for populations whose neurons fire several times per step, the cells in which the float
    model would have fired more often than the population allows.
    """

    cells: dict[str, int]
    differing: dict[str, int]
    answers: float
    accuracy_float: float | None
    accuracy_integers: float | None
    capped: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share, 0 to 1, of cells of all populations that are equal."""
        total = sum(self.cells.values())
        return 1.0 - sum(self.differing.values()) / total if total else 1.0


def agreement(
    network: Network, quantised: QuantisedNetwork, inputs: Inputs, decision: Decision | None = None
) -> Agreement:
    """Run ``inputs`` through ``network`` as floats and ``quantised`` as integers, and compare all spikes, and the
    answers by ``decision``."""
    return _agreement(network, quantised, inputs, simulate(quantised, inputs.spikes), decision)


def _agreement(
    network: Network,
    quantised: QuantisedNetwork,
    inputs: Inputs,
    reference: ReferenceResult,
    decision: Decision | None,
) -> Agreement:
    floats = network.run(inputs.spikes)
    names = observed_names(quantised)
    spiking = quantised.population(network.output).parameters.spiking
    outputs = (
        floats.fired(network.output) if spiking else floats.membranes[network.output],
        reference.fired(network.output) if spiking else reference.states[network.output].v,
    )
    first, second = (classify(output, decision) for output in outputs)
    scores = [None if inputs.labels is None else accuracy(output, inputs.labels, decision) for output in outputs]
    return Agreement(
        cells={name: reference.spikes[name].size for name in names},
        differing={name: int(np.count_nonzero(reference.fired(name) != floats.fired(name))) for name in names},
        capped={name: count for name, count in floats.capped.items() if count},
        answers=float(np.mean(first == second)),
        accuracy_float=scores[0],
        accuracy_integers=scores[1],
    )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Content of ``summary.json``.

    Accuracies are 0 to 1, and None without labels; hardware figures are None without hardware. ``spikes_compared``
    counts the spikes (and membrane values) of all populations compared between reference and RTL, ``mismatches`` the
    differences. ``cycles_per_image`` is the number of clock cycles without loading, for the board with its link or for
    the core alone, depending on what was simulated; ``core_cycles_per_image`` counts the cycles in which the core was
    busy. ``seconds`` is the total wall time.
    """

    accuracy_float: float | None
    accuracy_reference: float | None
    accuracy_rtl: float | None
    images: int
    spikes_compared: int
    mismatches: int
    cycles_per_image: float | None
    core_cycles_per_image: float | None
    synaptic_operations_per_image: float
    seconds: float

    def to_json(self) -> str:
        """Return the text of ``summary.json``."""
        return SUMMARY_FILE.text(asdict(self))


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Summary of a completed run, with the results of reference and RTL."""

    summary: Summary
    reference: ReferenceResult
    rtl: RunResult | None
    agreement: Agreement
    inputs: Inputs
    waves: Path | None


def simulate_network(
    network: Network,
    quantised: QuantisedNetwork,
    inputs: Inputs,
    runner: Runner | None,
    *,
    decision: Decision | None = None,
    announce: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Simulation:
    """Run ``network`` as floats, ``quantised`` as integers and the hardware of ``runner``, and compare every spike.

    Accuracies are those of the answers by ``decision``. The program of ``runner`` must observe all populations that
    spike (`observed_names`). Raises ``SimulationError`` if the simulator fails.
    """
    start = time.monotonic()
    images = inputs.spikes.shape[1]
    announce(f"Running {images:,} images as floats and as integers")
    reference = simulate(quantised, inputs.spikes)
    agreed = _agreement(network, quantised, inputs, reference, decision)
    rtl = None if runner is None else runner.run(inputs.spikes, progress=progress)

    spiking = quantised.population(network.output).parameters.spiking
    integers = reference.fired(network.output) if spiking else reference.states[network.output].v
    outputs = (integers, None if rtl is None else rtl.output)
    scores = [
        agreed.accuracy_float,
        *(
            None if inputs.labels is None or output is None else accuracy(output, inputs.labels, decision)
            for output in outputs
        ),
    ]
    compared, mismatches = (0, 0) if rtl is None else compare(reference, rtl)
    cycles = busy = None
    if rtl is not None:
        assert rtl.cycles is not None
        cycles = round(rtl.cycles / images, 1)
        busy = round(max(tile.get("busy_cycles", 0) for tile in rtl.counters.values()) / images, 1)
    summary = Summary(
        accuracy_float=scores[0],
        accuracy_reference=scores[1],
        accuracy_rtl=scores[2],
        images=images,
        spikes_compared=compared,
        mismatches=mismatches,
        cycles_per_image=cycles,
        core_cycles_per_image=busy,
        synaptic_operations_per_image=round(float(reference.synaptic_operations.mean()), 1),
        seconds=round(time.monotonic() - start, 1),
    )
    waves = runner.waves if isinstance(runner, PinsRunner) else None
    return Simulation(summary=summary, reference=reference, rtl=rtl, agreement=agreed, inputs=inputs, waves=waves)


def observed_names(network: QuantisedNetwork) -> list[str]:
    """Return the names of the populations that spike."""
    return [population.name for population in network.populations if population.parameters.spiking]


def compare(reference: ReferenceResult, rtl: RunResult) -> tuple[int, int]:
    """Compare spikes, graded values and membranes; return the number compared and the number of differences."""
    compared = mismatches = 0
    for name, spikes in rtl.spikes.items():
        compared += int(np.count_nonzero(reference.spikes[name]))
        mismatches += int(np.count_nonzero(reference.spikes[name] != spikes))
    for name, values in rtl.values.items():
        compared += int(np.count_nonzero(reference.spikes[name]))
        mismatches += int(np.count_nonzero(reference.values[name] != values))
    for name, membranes in rtl.membranes.items():
        compared += membranes.size
        mismatches += int(np.count_nonzero(reference.states[name].v != membranes))
    return compared, mismatches
