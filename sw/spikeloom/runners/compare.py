"""Comparison of a network with its simulated hardware, from the file to the spikes: the work of ``spikeloom
simulate``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeloom.datasets.inputs import Inputs
from spikeloom.datasets.readout import accuracy
from spikeloom.model.network import Network
from spikeloom.runners.runner import PinsRunner, Progress, Runner, RunResult
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import ReferenceResult, simulate

__all__ = ["Simulation", "Summary", "observed_names", "simulate_network"]


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
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Summary of a completed run, with the results of reference and RTL."""

    summary: Summary
    reference: ReferenceResult
    rtl: RunResult | None
    inputs: Inputs
    waves: Path | None


def simulate_network(
    network: Network,
    quantised: QuantisedNetwork,
    inputs: Inputs,
    runner: Runner | None,
    *,
    announce: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Simulation:
    """Run ``network`` as floats, ``quantised`` as integers and the hardware of ``runner``, and compare every spike.

    The program of ``runner`` must observe all populations that spike (`observed_names`). Raises ``SimulationError`` if
    the simulator fails.
    """
    start = time.monotonic()
    images = inputs.spikes.shape[1]
    announce(f"Running {images} images as floats and as integers")
    float_output = network.simulate(inputs.spikes)
    reference = simulate(quantised, inputs.spikes)
    rtl = None if runner is None else runner.run(inputs.spikes, progress=progress)

    spiking = quantised.population(network.output).parameters.spiking
    integers = reference.spikes[network.output] if spiking else reference.states[network.output].v
    outputs = (float_output, integers, None if rtl is None else rtl.output)
    scores = [
        None if inputs.labels is None or output is None else accuracy(output, inputs.labels) for output in outputs
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
    return Simulation(summary=summary, reference=reference, rtl=rtl, inputs=inputs, waves=waves)


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
