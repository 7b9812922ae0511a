"""Number of block RAMs per memory: equal to the number that is instantiated."""

import collections
import dataclasses

import pytest
from amaranth.hdl import Fragment, Instance
from harness.networks import rng_of

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor.refit_estimate import FAMILIES
from spikeloom.boards.sizing.estimate import estimate
from spikeloom.boards.sizing.memories import arrays, block_rams, single_port_rams
from spikeloom.hdl.core.tile import LifCore
from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.parameters import CoreParameters


def random_core(rng):
    """A core with random features, sizes and kinds of memories."""

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
        lower_bound=flag(),
        noise_bits=int(rng.integers(0, 9)),
        value_width=int(rng.choice([0, 0, 2, 8])),
        state_memory=("block", "distributed")[int(flag())],
        accumulator_memory=("block", "distributed")[int(flag())],
    )


def cells_of(fragment):
    """The types of all instances of a design, found without converting it to RTLIL, which would take most of the
    time."""
    for inner, *_ in fragment.subfragments:
        if isinstance(inner, Instance):
            yield inner.type
        else:
            yield from cells_of(inner)


def test_ecp5_block_rams_are_those_that_are_instantiated(request):
    """The number is in the netlist; the estimate must find it without a netlist."""
    rng = rng_of(request.node.name)
    counts, graded, banks = [], 0, 0
    for _ in range(6):
        core = random_core(rng)
        graded += core.value_width > 0
        banks += core.lane_banks > 1
        cells = collections.Counter(cells_of(Fragment.get(LifCore(core), FAMILIES["ecp5"])))
        counts.append(cells["DP16KD"])
        assert sum(block_rams(array, "ecp5") for array in arrays(core)) == counts[-1], core
        if core.v_width <= 18:  # wider ones are divided in two by synthesis
            assert estimate(core, DEVICES["LFE5U-85F"], link=None).dsp == cells["MULT18X18D"]
    assert len(set(counts)) > 4
    assert graded > 0
    assert banks > 0


@pytest.mark.parametrize(("lanes", "count", "words"), [(4, 8, 100), (1, 2, 1000)])
def test_ecp5_block_rams_with_several_words_per_cycle(lanes, count, words):
    core = CoreParameters(
        lanes=lanes, words_per_cycle=count, neurons=lanes * words, weight_words=3000, accumulator_memory="distributed"
    )
    cells = collections.Counter(cells_of(Fragment.get(LifCore(core), FAMILIES["ecp5"])))
    assert sum(block_rams(array, "ecp5") for array in arrays(core)) == cells["DP16KD"]
    narrow = dataclasses.replace(core, words_per_cycle=1)
    assert sum(a.width * a.depth for a in arrays(core)) >= sum(a.width * a.depth for a in arrays(narrow))


@pytest.mark.parametrize(("width", "depth", "count"), [(8, 16384, 1), (16, 16385, 2), (17, 100, 2), (32, 65536, 8)])
def test_single_port_rams(width, depth, count):
    core = CoreParameters(weight_width=8, lanes=1, weight_memory="single-port")
    weights = dataclasses.replace(next(iter(arrays(core))), width=width, depth=depth)
    assert single_port_rams(weights) == count
    assert block_rams(weights, "ice40") == 0
    assert single_port_rams(dataclasses.replace(weights, kind="block")) == 0
