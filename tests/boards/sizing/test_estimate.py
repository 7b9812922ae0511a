"""The estimate of what a core takes: RAM exact, the rest near what was measured."""

import dataclasses
import re
from pathlib import Path

import pytest
from amaranth.back import rtlil
from harness.networks import rng_of

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor.measure import Quality
from spikeloom.boards.qor.refit_estimate import FAMILIES, measure
from spikeloom.boards.sizing.estimate import estimate, lut_rams, measured_cores
from spikeloom.boards.sizing.memories import arrays, block_rams, single_port_rams
from spikeloom.hdl.core.tile import LifCore
from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.parameters import CoreParameters

CORES = {f"{core.family}-{core.name}{'-top' * core.top}": core for core in measured_cores()}
ALONE = {name: core for name, core in CORES.items() if not core.top}
TOLERANCE = {"ecp5": 0.08, "ice40": 0.08, "gowin": 0.25}


def random_core(rng):
    """Any features, sizes and kinds of memories."""

    def flag():
        return bool(rng.integers(2))

    lanes = 1 << int(rng.integers(5))
    multiplier = flag()
    readout = flag()
    return CoreParameters(
        lanes=lanes,
        lane_banks=1 << int(rng.integers((lanes // 8).bit_length() or 1)),
        neurons=lanes * int(rng.integers(1, 200)),
        axons=int(rng.integers(1, 3000)),
        weight_words=int(rng.integers(1, 40000)),
        populations=int(rng.integers(1, 30)),
        weight_width=int(rng.integers(1, 17)),
        coordinate_width=int(rng.integers(0, 6)),
        geometries=int(rng.integers(1, 30)),
        sparse=flag(),
        v_width=int(rng.integers(8, 25)),
        accumulator_width=int(rng.integers(16, 25)),
        multiplier=multiplier,
        shifts=() if multiplier else (1, 3),
        reset_value=flag(),
        reset_delay=flag(),
        refractory_width=int(rng.integers(0, 5)),
        readout=readout,
        per_neuron=frozenset(name for name in PER_NEURON if flag()),
        bias=flag(),
        synaptic_current=flag(),
        adaptation=flag(),
        delay_line=flag(),
        noise_bits=int(rng.integers(0, 9)),
        value_width=int(rng.choice([0, 0, 2, 8])),
        state_memory=("block", "distributed")[int(flag())],
        accumulator_memory=("block", "distributed")[int(flag())],
    )


def test_ecp5_block_rams_are_those_that_are_instantiated(request):
    """The netlist says how many there are; the estimate must know without it."""
    rng = rng_of(request.node.name)
    counts, graded, banks = [], 0, 0
    for _ in range(6):
        core = random_core(rng)
        graded += core.value_width > 0
        banks += core.lane_banks > 1
        text = rtlil.convert(LifCore(core), name="top", platform=FAMILIES["ecp5"], emit_src=False)
        counts.append(len(re.findall(r"cell \\?DP16KD ", text)))
        assert sum(block_rams(array, "ecp5") for array in arrays(core)) == counts[-1], core
        multipliers = len(re.findall(r"cell \\?MULT18X18D ", text))
        if core.v_width <= 18:  # wider ones are cut in two by synthesis
            assert estimate(core, DEVICES["LFE5U-85F"], link=False).dsp == multipliers
    assert len(set(counts)) > 4
    assert graded > 0
    assert banks > 0


@pytest.mark.parametrize("name", ALONE)
def test_measured_cores_are_near_the_estimate(name):
    """RAM and multipliers exact (one block too many of an iCE40's at most), the rest within the family's tolerance."""
    measured = ALONE[name]
    device = DEVICES[FAMILIES[measured.family].device]
    found = estimate(measured.core, device, link=False)
    assert found.dsp == measured.dsp
    assert 0 <= found.ram - measured.ram <= (measured.name == "i2_sparse")
    cells = lut_rams(measured.core, measured.family)
    routed = {
        "ecp5": 1.11 * measured.lut,
        "ice40": measured.lut + 0.6 * measured.ff,
        "gowin": 1.2 * (measured.lut - 4 * cells) + 8 * cells,
    }
    assert found.lut == pytest.approx(routed[measured.family], rel=TOLERANCE[measured.family])
    ff = measured.ff + (6 * cells if measured.family == "gowin" else 0)
    assert found.ff == pytest.approx(ff, rel=0.25)


def test_the_link_is_a_constant():
    """With the link an estimate is larger by as much whatever the core is."""
    for device in (DEVICES["LFE5U-85F"], DEVICES["iCE40UP5K"], DEVICES["GW2A-18C"]):
        more = []
        for lanes in (1, 8):
            core = CoreParameters(lanes=lanes)
            whole, alone = estimate(core, device), estimate(core, device, link=False)
            more.append((whole.lut - alone.lut, whole.ff - alone.ff, whole.ram - alone.ram))
        assert more[0] == more[1]
        assert all(count > 0 for count in more[0])


def test_place_and_route_is_near_the_estimate():
    """What `make qor` found: lookup tables after place and route, with 1, 8 and 64 lanes.

    Engine alone; the registers of the core are 350 lookup tables more.
    """
    for lanes, variant in ((1, "1-lane"), (8, "8-lanes"), (64, "64-lanes")):
        routed = Quality.from_json(Path(f"qor/lif-core-{variant}-ecp5-85f.json").read_text()).lut
        measured = next(m for m in CORES.values() if m.name == {1: "base1", 8: "base8", 64: "lanes64"}[lanes])
        found = estimate(measured.core, DEVICES["LFE5U-85F"], link=False)
        assert found.lut == pytest.approx(routed + 350, rel=0.15)


@pytest.mark.parametrize(("width", "depth", "count"), [(8, 16384, 1), (16, 16385, 2), (17, 100, 2), (32, 65536, 8)])
def test_single_port_rams(width, depth, count):
    core = CoreParameters(weight_width=8, lanes=1, weight_memory="single-port")
    weights = dataclasses.replace(next(iter(arrays(core))), width=width, depth=depth)
    assert single_port_rams(weights) == count
    assert block_rams(weights, "ice40") == 0
    assert single_port_rams(dataclasses.replace(weights, kind="block")) == 0


def test_synthesis_still_finds_what_was_measured():
    """One core, so that the file is not forgotten when the design changes."""
    before = CORES["ecp5-base1"]
    after = measure(before)
    assert (after.ram, after.dsp) == (before.ram, before.dsp)
    assert after.lut == pytest.approx(before.lut, rel=0.1), "python -m spikeloom.boards.qor.refit_estimate"
