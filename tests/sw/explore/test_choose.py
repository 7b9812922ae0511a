"""Chosen cores: they fit and run the networks, have no other features, and keep the given fields."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from harness.networks import random_network, rng_of

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor.measure import Block, BlockSubject
from spikeloom.boards.sizing.choose import shortages
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, Scales, quantise, scale_exponents
from spikeloom.datasets.shipped import shipped
from spikeloom.explore.choose import ChoiceError, boards_for, choose, choose_core
from spikeloom.frontends.nir import load
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution

HOLDERS = (*(f"ulx3s-{size}f" for size in (12, 25, 45, 85)), "colorlight-5a75b", "icesugar-pro", "icepi-zero")
"""The boards with SDRAM."""
UP5K, SMALL, LARGE = DEVICES["iCE40UP5K"], DEVICES["LFE5U-12F"], DEVICES["LFE5U-85F"]


def network_of(name, bits=8):
    return quantise(load(shipped(name)), Quantisation(weight_width=bits))


def dense(*sizes):
    """A network of dense layers of integrate-and-fire neurons."""
    names = [INPUT, *(f"layer{number}" for number in range(len(sizes) - 1))]
    return QuantisedNetwork(
        name="-".join(map(str, sizes)),
        inputs=sizes[0],
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=size, v_width=16))
            for name, size in zip(names[1:], sizes[1:], strict=True)
        ),
        connections=tuple(
            QuantisedConnection(source=a, target=b, weight=np.ones((m, n), int))
            for a, b, n, m in zip(names, names[1:], sizes, sizes[1:], strict=False)
        ),
        output=names[-1],
    )


@pytest.mark.parametrize(
    ("name", "device"),
    [("digits-mlp.nir", UP5K), ("digits-mlp.nir", SMALL), ("mnist-mlp-128.nir", UP5K), ("mnist-conv.nir", LARGE)],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_choice_fits_and_runs_the_network(name, device):
    network = network_of(name)
    choice = choose(network, device)
    assert not shortages(choice.core, device)
    place(network, FabricConfig(core=choice.core))
    for depth in ("neurons", "weight_words", "axons"):  # without slack
        less = getattr(choice.core, depth) - (choice.core.lanes if depth == "neurons" else 1)
        with pytest.raises(PlaceError):
            place(network, FabricConfig(core=dataclasses.replace(choice.core, **{depth: less})))
    assert {"lanes", "weight_memory", "features"} <= {reason.name for reason in choice.reasons}
    assert all(reason.value and reason.why for reason in choice.reasons)


def test_features_are_those_that_the_network_needs():
    digits, conv = choose_core(network_of("digits-mlp.nir"), LARGE), choose_core(network_of("mnist-conv.nir"), LARGE)
    assert (digits.shifts, digits.multiplier, digits.bias, digits.coordinate_width) == ((3,), False, True, 0)
    assert digits.per_neuron == {"bias"}
    assert not any((digits.readout, digits.reset_delay, digits.reset_value, digits.refractory_width))
    assert (conv.shifts, conv.multiplier, conv.bias, conv.coordinate_width) == ((), False, False, 5)


@pytest.mark.parametrize("bound", [None, -5, (-5, -2)])
def test_a_lower_bound_is_built_where_a_neuron_has_one(bound):
    """As a field of the population, or of each neuron where they differ; placement accepts the chosen core."""
    network = dense(3, 2)
    (only,) = network.populations
    bounded = dataclasses.replace(only, parameters=dataclasses.replace(only.parameters, lower_bound=bound))
    core = choose_core(network := dataclasses.replace(network, populations=(bounded,)), LARGE)
    assert core.lower_bound == (bound is not None)
    assert ("lower_bound" in core.per_neuron) == isinstance(bound, tuple)
    place(network, FabricConfig(core=core))


def test_values_of_the_input_need_a_width():
    """A network whose input has values, but whose neurons fire without values, is placed on the chosen core."""
    core = choose_core(network := dataclasses.replace(dense(3, 2), input_value_width=9), LARGE)
    assert (core.value_width, choose_core(dense(3, 2), LARGE).value_width) == (9, 0)
    place(network, FabricConfig(core=core))


def test_random_networks_run_on_what_is_chosen_for_them(request):
    rng = rng_of(request.node.name)
    able = CoreParameters(neurons=64, axons=256, weight_words=2048, accumulator_width=20, v_width=12)
    lanes = set()
    for _ in range(12):
        sizes = tuple(int(size) for size in rng.integers(1, 30, 3))
        network = random_network(rng, able, sizes=sizes)
        core = choose_core(network, SMALL)
        lanes.add(core.lanes)
        place(network, FabricConfig(core=core))
    assert len(lanes) > 1


def test_more_room_gives_no_fewer_lanes():
    network = network_of("mnist-mlp-128.nir")
    half = choose_core(network, dataclasses.replace(LARGE, lut=8000))
    assert half.lanes <= choose_core(network, LARGE).lanes == 64
    assert half.lanes < 64


def test_more_lanes_than_are_chosen_lie_in_banks():
    """Banks of eight lanes are used, and the reasons say so."""
    network = network_of("mnist-mlp-128.nir")
    choice = choose(network, LARGE, lanes=128)
    assert (choice.core.lane_banks, choice.core.bank_lanes) == (16, 8)
    assert next(reason for reason in choice.reasons if reason.name == "lane_banks").why == "8 lanes in each"
    assert choose_core(network, LARGE, lanes=128, lane_banks=4).bank_lanes == 32
    assert choose_core(network, LARGE).lane_banks == 1


def test_several_words_per_cycle_must_be_given():
    """Whole columns of memory, accumulators in LUT RAM; the lanes are chosen as usual."""
    network = dense(20, 70, 3)
    assert choose_core(network, LARGE).words_per_cycle == 1
    choice = choose(network, LARGE, lanes=2, words_per_cycle=4)
    core = choice.core
    assert (core.words_per_cycle, core.accumulator_memory) == (4, "distributed")
    assert core.weight_words % 4 == 0
    assert core.weight_words - choose_core(network, LARGE, lanes=2).weight_words in range(4)
    assert next(reason for reason in choice.reasons if reason.name == "words_per_cycle").value == "4"
    small = choose_core(dense(2, 3, 2), LARGE, lanes=2, words_per_cycle=8)
    assert (small.neurons, small.weight_words) == (32, 16)
    assert choose_core(network, LARGE, words_per_cycle=16).lanes <= 16
    with pytest.raises(ValueError, match=r"^accumulator_memory must be 'distributed' in a core that adds several"):
        choose_core(network, LARGE, lanes=2, words_per_cycle=4, accumulator_memory="block")


def test_one_core_for_several_networks():
    networks = [network_of("digits-mlp.nir"), dense(20, 70, 3)]
    core = choose_core(networks, LARGE)
    for network in networks:
        place(network, FabricConfig(core=core))
    assert (core.shifts, core.populations) == ((3,), 2)


def test_what_is_given_stays():
    given = {"lanes": 2, "accumulator_memory": "block", "neurons": 128, "multiplier": True, "shifts": ()}
    choice = choose(network_of("digits-mlp.nir"), LARGE, **given)
    assert {name: getattr(choice.core, name) for name in given} == given
    assert next(reason for reason in choice.reasons if reason.name == "lanes").why == "given"
    with pytest.raises(PlaceError, match=r"it needs 42 neurons \(32 available\)$"):
        choose(network_of("digits-mlp.nir"), LARGE, lanes=1, neurons=32)
    with pytest.raises(TypeError, match=r"^given must be fields of CoreParameters, not wheels$"):
        choose(network_of("digits-mlp.nir"), LARGE, wheels=4)
    with pytest.raises(ValueError, match=r"^there must be at least one network, not none$"):
        choose([], LARGE)


@pytest.mark.parametrize(
    ("given", "lanes"),
    [
        ({"lane_banks": 2}, {16, 32, 64}),
        ({"neurons": 100}, {1, 2, 4}),
        ({"weight_words": 400}, {8, 16, 32, 64}),
        ({"axons": 100}, {1, 2, 4, 8, 16, 32, 64}),
        ({"state_memory": "block"}, {1, 2, 4, 8, 16, 32, 64}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_field_given_alone(given, lanes):
    """A feature that only some numbers of lanes allow restricts the choice to these."""
    network = network_of("digits-mlp.nir")
    core = choose_core(network, LARGE, **given)
    assert core.lanes in lanes
    assert {name: getattr(core, name) for name in given} == given
    place(network, FabricConfig(core=core))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lanes": "8"}, r"^lanes must be a power of two from 1 to 256, not '8'$"),
        ({"lanes": None}, r"^lanes must be a power of two from 1 to 256, not None$"),
        ({"neurons": 0}, r"^neurons must be an integer from 64 to 16384, not 0$"),
        ({"weight_memory": "flash"}, r"^weight_memory must be 'block', 'single-port' or 'sdram', not 'flash'$"),
    ],
)
def test_what_is_given_must_be_possible(given, message):
    with pytest.raises(ValueError, match=message):
        choose_core(network_of("digits-mlp.nir"), LARGE, **given)


def test_what_is_short_is_named_with_the_boards_that_would_do():
    network = network_of("mnist-mlp.nir")
    message = r"^mnist-mlp does not fit iCE40UP5K: the nearest core, of \d+ lanes?, needs .*\d single-port RAMs \("
    with pytest.raises(ChoiceError, match=message):
        choose(network, UP5K)
    boards = boards_for(network)
    assert "ulx3s-85f" in boards
    assert "icebreaker" not in boards


def test_784_512_10_needs_weights_of_4_bits_on_an_85f():
    """The worked example of docs/choosing.md."""
    with pytest.raises(ChoiceError, match=r"block RAMs \(208 available\)$"):
        choose(dense(784, 512, 10), LARGE)
    assert choose_core(dataclasses.replace(dense(784, 512, 10), weight_width=4), LARGE).lanes == 64


def test_networks_that_no_core_can_serve_together():
    wide = dataclasses.replace(
        dense(3, 4),
        populations=(QuantisedPopulation(name="layer0", parameters=NeuronParameters(size=4, v_width=12)),),
    )
    with pytest.raises(ChoiceError, match=r"^v_width must be the same for all neurons of a core, not 12 and 16$"):
        choose([wide, dense(3, 4)], LARGE)


def test_a_network_is_placed_once_for_each_number_of_lanes(monkeypatch):
    """For all devices, and for the boards named when the requested one is refused."""
    network = dense(784, 1000, 10)
    placed = []

    def counted(network, fabric, **options):
        placed.append(fabric.core.lanes)
        return place(network, fabric, **options)

    monkeypatch.setattr("spikeloom.explore.choose.place", counted)
    with pytest.raises(ChoiceError):
        choose(network, UP5K)
    in_block_ram, in_sdram = [1, 2, 4, 8, 16, 32, 64], [1, 2, 4]
    assert placed == in_block_ram
    assert boards_for(network) == HOLDERS
    # The chosen core once more for each device; a burst of the Colorlight feeds twice as many lanes.
    of_colorlight = [*in_sdram, 8, 8]
    assert placed == in_block_ram + in_sdram + 4 * [4] + of_colorlight + 2 * [*in_sdram, 4]
    placed.clear()
    with pytest.raises(ChoiceError):
        choose(network, UP5K, neurons=4096)
    assert placed == in_block_ram


def test_scales_of_neurons_need_no_other_netlist():
    """A core for a network with one scale per population can also have thresholds and biases per neuron."""
    subjects = []
    for scales in Scales:
        network = quantise(load(shipped("digits-mlp.nir")), Quantisation(scales=scales))
        # Sums differ with the scales, as with any weights; the digits network has biases per neuron in any case.
        given = {"lanes": 2, "accumulator_width": 20, "per_neuron": frozenset({"threshold", "bias"})}
        core = choose_core(network, SMALL, **given)
        place(network, FabricConfig(core=core))
        subjects.append(BlockSubject(Block(name="core", variant=scales.value, make=partial(LifEngine, core))))
    exponents, _ = scale_exponents(load(shipped("digits-mlp.nir")), Quantisation(scales=Scales.NEURON))
    assert len(np.unique(exponents["hidden"])) > 1
    of_populations, of_neurons = (subject.netlist() for subject in subjects)
    assert of_populations == of_neurons


ULX3S = BOARDS["ulx3s-12f"]


def test_weights_that_block_ram_does_not_hold_are_streamed():
    """One core serves both boards: its lanes are those that a burst of the memory feeds."""
    network = dense(784, 1000, 10)
    for device in (SMALL, LARGE):
        choice = choose(network, device, sdram=ULX3S.sdram_parameters)
        core = choice.core
        assert (core.weight_memory, core.sparse, core.lanes) == ("sdram", False, 4)
        assert core.weight_words == 1 << 18 >= 794_000 / 4
        assert not shortages(core, device)
        assert choice.sdram == ULX3S.sdram_parameters
        place(network, FabricConfig(core=core, sdram=choice.sdram))
        assert ("weight_memory", "sdram") in {(reason.name, reason.value) for reason in choice.reasons}
    assert boards_for(network) == HOLDERS


def test_small_networks_stay_in_block_ram_unless_asked():
    network = dense(20, 10)
    assert choose(network, SMALL, sdram=ULX3S.sdram_parameters).core.weight_memory == "block"
    assert choose(network, SMALL, sdram=ULX3S.sdram_parameters).sdram is None
    asked = choose(network, SMALL, sdram=ULX3S.sdram_parameters, weight_memory="sdram")
    assert asked.core.streamed
    assert asked.resources.lut > choose(network, SMALL).resources.lut
    narrow = dataclasses.replace(network, weight_width=4)
    assert choose(narrow, SMALL, sdram=ULX3S.sdram_parameters, weight_memory="sdram").core.lanes == 8
    assert choose(network, SMALL, sdram=ULX3S.sdram_parameters, weight_memory="sdram", lanes=1).core.lanes == 1
    with pytest.raises(
        ChoiceError, match=r"^weight_memory must be 'block', because the board has no SDRAM that is supported$"
    ):
        choose(network, SMALL, weight_memory="sdram")


def test_what_the_sdram_does_not_hold_is_refused():
    of_2_mb = dataclasses.replace(
        ULX3S.sdram_parameters,
        chip=dataclasses.replace(ULX3S.sdram_parameters.chip, bank_bits=1, row_bits=11, column_bits=8),
        more_column_bits=0,
    )
    with pytest.raises(
        ChoiceError,
        match=r"^network 784-3000-10 does not fit .*: it needs 597,000 weight words of 4 weights \(524,288 "
        r"available\), even with its weights in the SDRAM of the board$",
    ):
        choose(dense(784, 3000, 10), SMALL, sdram=of_2_mb)


def convolution_and_dense():
    """8 maps of 14 x 14 by a convolution, then 512 neurons behind a dense matrix of 802,816 weights."""
    convolution = Convolution(input_shape=(1, 28, 28), output_channels=8, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    rng = np.random.default_rng(5)
    weights = {
        "maps": (INPUT, rng.integers(-90, 91, convolution.weight_shape)),
        "hidden": ("maps", rng.integers(1, 90, (512, 8 * 14 * 14))),
        "digit": ("hidden", rng.integers(1, 90, (10, 512))),
    }
    return QuantisedNetwork(
        name="conv",
        inputs=28 * 28,
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=size))
            for name, size in (("maps", 8 * 14 * 14), ("hidden", 512), ("digit", 10))
        ),
        connections=tuple(
            QuantisedConnection(
                source=source, target=name, weight=weight, convolution=convolution if name == "maps" else None
            )
            for name, (source, weight) in weights.items()
        ),
        output="digit",
        weight_width=8,
    )


def test_kernels_stay_in_block_ram_beside_streamed_weights():
    """A network that block RAM does not hold and whose rows are not all dense: both kinds of weights in one core."""
    network = convolution_and_dense()
    with pytest.raises(ChoiceError, match="needs"):
        choose(network, LARGE)
    choice = choose(network, LARGE, sdram=ULX3S.sdram_parameters)
    core = choice.core
    assert core.mixed
    assert (core.weight_memory, core.lanes, core.coordinate_width) == ("block", 4, 5)
    assert core.streamed_words >= 802_816 / 4
    assert not shortages(core, LARGE)
    # The block RAM that is left holds rows that could be streamed: as many words as fit.
    assert shortages(dataclasses.replace(core, weight_words=2 * core.weight_words), LARGE)
    program = place(network, FabricConfig(core=core, sdram=choice.sdram))
    used = {use.resource: use.used for use in program.uses}
    assert core.weight_words - 128 <= used["weight words of 4 weights"] <= core.weight_words
    assert 0 < used["streamed weight words"] < 802_816 / 4
    assert "streamed_words" in {reason.name for reason in choice.reasons}
    with pytest.raises(ChoiceError, match=r"^streamed_words must be 0, because the board has no SDRAM"):
        choose(network, LARGE, streamed_words=64)
    # Asked for, with less block RAM.
    asked = choose(network, LARGE, sdram=ULX3S.sdram_parameters, streamed_words=1 << 18, weight_words=256).core
    assert (asked.weight_words, asked.streamed_words) == (256, 1 << 18)
