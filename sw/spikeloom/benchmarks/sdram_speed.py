"""Bandwidth of weights in SDRAM: part of ``make bench``, written to ``build/bench/sdram.json``.

A core of each of two boards, one with an SDRAM of 16 bits and one of 32, adds rows of weights that lie in random banks,
with the clocks of the board. The compiled simulation counts the cycles in which a word is on the data pins of the chip,
and every spike is compared. The figures are ratios and counts of clock cycles: they do not depend on the machine that
simulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeloom.compiler.place import place
from spikeloom.host.results import StepCollector
from spikeloom.runners.compare import compare
from spikeloom.runners.runner import RunResult, by_population
from spikeloom.sim.core.neuron import NeuronParameters, Reset
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.build import compile_tiles
from spikeloom.simulators.compiled import CompiledSimulator

__all__ = ["BOUNDS", "ROWS", "Bandwidth", "fabric_of", "measure"]

BOUNDS = {
    "ulx3s-85f": {16: 0.65, 64: 0.85, 256: 0.93},
    "colorlight-5a75b": {16: 0.55, 64: 0.85, 256: 0.93},
}
"""Of each board: bytes of a row, and the part of the raw bandwidth that rows of this length must use at least. With two
banks half of all rows of 16 bytes meet their own bank, which cannot use more than 58 %."""
ROWS = (16, 64, 256)

_DIRECTORY = Path("build/bench")
_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """Rows of ``row_bytes`` bytes in random banks.

    ``bandwidth_used`` is the measured part of the memory's cycles with a word on the data pins, ``by_arithmetic`` that
    of `SdramParameters.bandwidth_used`. ``operations_per_s`` is the number of weights added per second.
    """

    board: str
    weight_bits: int
    row_bytes: int
    clock_mhz: float
    memory_mhz: float
    rows: int
    bandwidth_used: float
    by_arithmetic: float
    operations_per_s: int
    spikes: int
    mismatches: int


def fabric_of(board_name: str, weight_bits: int) -> tuple[FabricConfig, int]:
    """Return a fabric of a board whose weight words of ``weight_bits`` bits fill a burst, and its clock in hertz."""
    from spikeloom.boards.targets.registry import find_board

    board = find_board(board_name)
    sdram = board.sdram_parameters
    assert sdram is not None
    core = CoreParameters(
        lanes=sdram.burst_bits // weight_bits,
        neurons=512,
        axons=1024,
        weight_words=1 << 18,
        weight_width=weight_bits,
        accumulator_width=20,
        weight_memory="sdram",
    )
    fabric = FabricConfig(name=f"sdram-{board_name}-{weight_bits}", core=core, sdram=sdram)
    return fabric, round(board.with_fabric(fabric).clock_hz)


def measure(
    board: str, fabric: FabricConfig, clock_hz: int, directory: Path, *, rows: Sequence[int] = ROWS
) -> list[Bandwidth]:
    """Measure rows of each number of bytes on ``fabric`` of ``board`` at ``clock_hz``, with files in ``directory``.

    Each of the core's rows is the row of an input, half of which fire in a step.
    """
    core, sdram = fabric.core, fabric.sdram
    inputs = core.axons
    assert sdram is not None
    library = compile_tiles(fabric, directory, announce=print).library
    found = []
    for row_bytes in rows:
        rng = np.random.default_rng(row_bytes)
        size = 8 * row_bytes // core.weight_width
        most = 1 << core.weight_width - 1
        parameters = NeuronParameters(size=size, v_width=core.v_width, threshold=8 * most, reset=Reset.SUBTRACT)
        weight = rng.integers(-most, most, (size, inputs))
        network = QuantisedNetwork(
            name=f"rows of {row_bytes} bytes",
            inputs=inputs,
            populations=(QuantisedPopulation(name="neurons", parameters=parameters),),
            connections=(QuantisedConnection(source=INPUT, target="neurons", weight=weight),),
            output="neurons",
            weight_width=core.weight_width,
        )
        program = place(network, fabric)
        spikes = rng.random((_STEPS, 1, inputs)) < 0.5
        # Events are sent in the order of the inputs, whose rows are consecutive: in another order, banks are random.
        order = rng.permutation(inputs)
        collector = StepCollector(program, _STEPS, 1)
        with CompiledSimulator(library, clock_hz=clock_hz) as simulator:
            simulator.load(program)
            simulator.feed(spikes[:, :, order], program.input_axons[order])
            cycles, traffic = simulator.cycles, simulator.sdram_traffic
            simulator.advance(_STEPS)
            cycles, traffic = simulator.cycles - cycles, simulator.sdram_traffic - traffic
            simulator.finish()
            collector.take(simulator.take())
        rtl = RunResult(**by_population(program, [collector.result()]))
        spikes_compared, mismatches = compare(simulate(network, spikes), rtl)
        added = int(np.count_nonzero(spikes)) * size
        found.append(
            Bandwidth(
                board=board,
                weight_bits=core.weight_width,
                row_bytes=row_bytes,
                clock_mhz=clock_hz / 1e6,
                memory_mhz=sdram.clock_hz / 1e6,
                rows=int(np.count_nonzero(spikes)),
                bandwidth_used=round(traffic.used, 4),
                by_arithmetic=round(sdram.bandwidth_used(row_bytes, rng), 4),
                operations_per_s=round(added * clock_hz / cycles),
                spikes=spikes_compared,
                mismatches=mismatches,
            )
        )
    return found


def main() -> None:
    """Measure 8-bit and 4-bit weights; exit with status 1 if a spike differs or a bound is missed."""
    found = [
        each for board in BOUNDS for bits in (8, 4) for each in measure(board, *fabric_of(board, bits), _DIRECTORY)
    ]
    for each in found:
        print(
            f"{each.board}, {each.weight_bits}-bit weights, rows of {each.row_bytes:3} bytes: "
            f"{100 * each.bandwidth_used:.1f} % of the bandwidth (by arithmetic {100 * each.by_arithmetic:.1f} %),",
            f"{each.operations_per_s / 1e6:.0f} M operations/s, {each.mismatches:,} mismatches",
        )
    path = _DIRECTORY / "sdram.json"
    write_whole(path, BENCHMARK_FILE.text([asdict(each) for each in found]))
    print(f"written to {path}")
    missed = (each.bandwidth_used < BOUNDS[each.board][each.row_bytes] for each in found)
    raise SystemExit(int(any(missed) or any(each.mismatches for each in found)))


if __name__ == "__main__":
    main()
