"""Speed of the simulations: part of ``make bench``, written to ``build/bench/simulation.json``.

The digits network runs in the compiled core of each fabric, and in the reference. A second run shows how much time the
cache of compiled designs saves.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.inputs import held_out_digits
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.compiled import CompiledSimulator

__all__ = ["Measurement", "measure"]

_DIRECTORY = Path("build/bench")
_LANES = 16  # lanes of the widest core that is measured
_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Speed of one simulated core, on one processor core.

    ``compile_seconds`` is 0 if the library was in the cache. ``cycles_per_second`` and ``images_per_second`` refer to
    processor time, and are the best of three runs.
    """

    fabric: str
    lanes: int
    compile_seconds: float
    cycles_per_second: int
    cycles_per_image: float
    images_per_second: float
    images: int
    mismatches: int


def measure(fabric: FabricConfig, directory: Path) -> Measurement:
    """Compile the core of ``fabric``, with files in ``directory``, and run the digits on it."""
    network = load(shipped("digits-mlp.nir"))
    assert network.encoder is not None
    spikes = held_out_digits(encoder_from(network.encoder)).spikes
    core = fabric.core
    widths = Quantisation(weight_width=core.weight_width, v_width=core.v_width, beta_fraction=core.beta_fraction)
    quantised = quantise(network, widths)
    program = place(quantised, fabric, observe=[p.name for p in quantised.populations if p.parameters.spiking])
    runner = CompiledRunner(program, directory)
    compiled = runner.compile(spikes)
    steps, images, _ = spikes.shape
    seconds, cycles = [], 0
    for _ in range(_RUNS):
        with CompiledSimulator(compiled.library) as simulator:
            simulator.load(program)
            simulator.feed(spikes, program.input_axons)
            before, start = simulator.cycles, time.thread_time()
            simulator.advance(steps * images)
            seconds.append(time.thread_time() - start)
            cycles = simulator.cycles - before
    _, mismatches = compare(simulate(quantised, spikes), runner.run(spikes))
    return Measurement(
        fabric=fabric.name,
        lanes=core.lanes,
        compile_seconds=round(compiled.seconds, 1) if compiled.compiled else 0.0,
        cycles_per_second=round(cycles / min(seconds)),
        cycles_per_image=round(cycles / images, 1),
        images_per_second=round(images / min(seconds), 1),
        images=images,
        mismatches=mismatches,
    )


def main() -> None:
    """Measure the fabrics that support the leak of the digits network, and one with more lanes."""
    wide = dataclasses.replace(FABRICS["medium"].core, lanes=_LANES)
    fabrics = [FABRICS["small"], FABRICS["medium"], FabricConfig(name=f"{_LANES}-lanes", core=wide)]
    measurements = [measure(fabric, _DIRECTORY) for fabric in fabrics]
    for each in measurements:
        print(
            f"{each.fabric:10} {each.cycles_per_second / 1e6:5.2f} M cycles/s,",
            f"{each.images_per_second:6,.0f} images/s, {each.cycles_per_image:7,.0f} cycles per image,",
            f"compiled in {each.compile_seconds:.0f} s, {each.mismatches:,} mismatches",
        )
    path = _DIRECTORY / "simulation.json"
    write_whole(path, BENCHMARK_FILE.text([asdict(each) for each in measurements]))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
