"""A network from its file to simulated hardware and back: the work behind ``spikeloom simulate``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import Inputs
from spikeloom.datasets.readout import accuracy
from spikeloom.model.network import Network
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.runners.runner import PinsRunner, Progress, RunResult
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import ReferenceResult, simulate

__all__ = ["Simulation", "Summary", "simulate_network"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What ``summary.json`` holds.

    Accuracies are from 0 to 1, and None without labels. ``spikes_compared`` counts the spikes (and membrane values) of
    all populations that the reference and the RTL were compared in, ``mismatches`` the places in which they differ.
    ``cycles_per_image`` are clock cycles without loading, of the board with its link, or of the core alone if that was
    what was simulated; ``core_cycles_per_image`` those in which the core was busy. ``seconds`` is the wall time of
    everything.
    """

    accuracy_float: float | None
    accuracy_reference: float | None
    accuracy_rtl: float | None
    images: int
    spikes_compared: int
    mismatches: int
    cycles_per_image: float
    core_cycles_per_image: float
    synaptic_operations_per_image: float
    seconds: float

    def to_json(self) -> str:
        """The text of ``summary.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """A finished run: its summary, and what the reference and the RTL did."""

    summary: Summary
    reference: ReferenceResult
    rtl: RunResult
    inputs: Inputs
    waves: Path | None


def simulate_network(
    network: Network,
    inputs: Inputs,
    fabric: FabricConfig,
    directory: Path,
    *,
    weight_width: int = 8,
    pins: bool = True,
    waves: bool = False,
    announce: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Simulation:
    """Quantise ``network``, place it on ``fabric``, run it as float, reference and RTL, and compare every spike.

    The RTL is the whole design with the driver at its ``pins``, by cocotb, or the core with its packets, compiled,
    which is faster. Files go to ``directory``. Raises ``ValueError`` where the network does not fit,
    ``SimulationError`` if the simulator fails.
    """
    start = time.monotonic()
    core = fabric.core
    widths = Quantisation.for_core(core, weight_width=weight_width)
    quantised = quantise(network, widths)
    names = [p.name for p in quantised.populations if p.parameters.spiking]
    program = place(quantised, fabric, observe=names)
    images = inputs.spikes.shape[1]

    announce(f"Running {images} images as floats and as integers")
    float_output = network.simulate(inputs.spikes)
    reference = simulate(quantised, inputs.spikes)
    runner: PinsRunner | CompiledRunner
    if pins:
        runner = PinsRunner(program, directory, waves=waves, announce=announce)
    else:
        runner = CompiledRunner(program, directory, workers=os.cpu_count() or 1, announce=announce)
    rtl = runner.run(inputs.spikes, progress=progress)

    compared, mismatches = compare(reference, rtl)
    spiking = quantised.population(network.output).parameters.spiking
    integers = reference.spikes[network.output] if spiking else reference.states[network.output].v
    scores = [
        None if inputs.labels is None else accuracy(output, inputs.labels)
        for output in (float_output, integers, rtl.output)
    ]
    assert rtl.cycles is not None
    summary = Summary(
        accuracy_float=scores[0],
        accuracy_reference=scores[1],
        accuracy_rtl=scores[2],
        images=images,
        spikes_compared=compared,
        mismatches=mismatches,
        cycles_per_image=round(rtl.cycles / images, 1),
        core_cycles_per_image=round(max(core["busy_cycles"] for core in rtl.counters.values()) / images, 1),
        synaptic_operations_per_image=round(float(reference.synaptic_operations.mean()), 1),
        seconds=round(time.monotonic() - start, 1),
    )
    return Simulation(
        summary=summary,
        reference=reference,
        rtl=rtl,
        inputs=inputs,
        waves=runner.waves if isinstance(runner, PinsRunner) else None,
    )


def compare(reference: ReferenceResult, rtl: RunResult) -> tuple[int, int]:
    """How many spikes, values of graded spikes and membranes were compared, and in how many places they differ."""
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
