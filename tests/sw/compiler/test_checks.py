"""Requirements of networks and fabrics on each other, and the sentence of each refusal."""

import re
from dataclasses import replace

import numpy as np
import pytest
from harness.aer_ports import FABRIC, TAKE, network_of, placed
from harness.chains import chain, connection, network, relay
from harness.cores import FEW_ROWS

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.checks import (
    PlaceError,
    check_accumulators,
    check_axons,
    check_network,
    check_ports,
    check_uses,
    check_weights,
)
from spikeloom.compiler.program import Use
from spikeloom.sim.core.neuron import Leak, Reset
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.noc.mesh import MeshParameters

CORE = FEW_ROWS
ONE = FabricConfig(core=CORE)
TWO = FabricConfig(tiles=(None, CORE, CORE), mesh=MeshParameters(columns=3, rows=1))


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        (
            {"reset_value": False},
            {"reset": Reset.VALUE},
            r"^population a: a reset to a value is missing from this fabric$",
        ),
        (
            {},
            {"lower_bound": 0},
            r"^population a: a lower bound of the membrane is missing from this fabric$",
        ),
        (
            {"reset_delay": False},
            {"reset_delay": 1},
            r"^population a: a reset delay is missing from this fabric$",
        ),
        (
            {"refractory_width": 1},
            {"refractory": 2},
            r"^population a: refractory must be at most 1 steps on this fabric, not 2$",
        ),
        (
            {"readout": False},
            {"spiking": False},
            r"^population a: the readout of membranes is missing from this fabric$",
        ),
        (
            {"multiplier": False, "shifts": (2,)},
            {"leak": Leak.SHIFT, "leak_factor": 3},
            r"^population a: a leak must be none or a shift by one of \(2,\) on this fabric, which has no "
            r"multiplier$",
        ),
        (
            {"beta_fraction": 8},
            {"leak": Leak.MULTIPLY, "leak_factor": 3},
            r"^population a: beta_fraction must be 8 on this fabric, not 14$",
        ),
    ],
)
def test_what_is_not_built_in_is_named(change, parameters, message):
    with pytest.raises(PlaceError, match=message):
        check_network(chain(3, 5, 4, **({"v_width": 12} | parameters)), [replace(CORE, **change)])


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        (
            [{"weight_width": 3}, {"weight_width": 4}],
            "weights must have at most 4 bits on this fabric, but network net has 8 bits",
        ),
        (
            [{"weight_width": 1}],
            "weights must be of 1 bit, -1 or 1, on this fabric, but network net has 8 bits",
        ),
        ([{"v_width": 16}], "population a: v_width must be 16 on this fabric, not 12"),
    ],
)
def test_every_core_must_do_every_population(cores, message):
    net = chain(3, 5, 4, v_width=12)
    check_network(net, [CORE, CORE])
    with pytest.raises(PlaceError, match=f"^{message}$"):
        check_network(net, [replace(CORE, **change) for change in cores])


def test_tiles_may_have_weights_of_different_widths():
    narrow = replace(CORE, weight_width=4)
    net = chain(3, 5, 4, v_width=12)
    check_network(net, [CORE, narrow])
    first = net.populations[0]
    net = replace(net, weight_width=12, populations=(replace(first, weight_width=4), *net.populations[1:]))
    with pytest.raises(
        PlaceError, match=r"^weights must have at most 8 bits on this fabric, but network net has 12 bits$"
    ):
        check_network(net, [CORE, narrow])
    net = replace(net, weight_width=8)
    last = net.populations[1].name
    core_of = {first.name: narrow, last: CORE}
    check_weights(net, core_of)
    message = rf"^population {last}: its weights must have at most 4 bits in its tile, not 8$"
    with pytest.raises(PlaceError, match=message):
        check_weights(net, dict.fromkeys(core_of, narrow))
    with pytest.raises(
        PlaceError, match=rf"^population {first.name}: its weights must have 1 bit, -1 or 1 in its tile, not 4$"
    ):
        check_weights(net, core_of | {first.name: replace(CORE, weight_width=1)})


def test_narrower_weights_fit_a_wider_core_but_not_one_of_a_bit():
    net = replace(chain(2, 2, v_width=12), weight_width=2)
    check_network(net, [CORE])
    check_network(replace(net, weight_width=1), [replace(CORE, weight_width=1)])
    with pytest.raises(
        PlaceError, match=r"^weights must be of 1 bit, -1 or 1, on this fabric, but network net has 2 bits$"
    ):
        check_network(net, [replace(CORE, weight_width=1)])


def test_a_network_without_input_is_refused():
    net = network([relay("a"), relay("b")], [connection("a", "b")])
    with pytest.raises(PlaceError, match=r"^network test must have a connection from its input$"):
        check_network(net, [])


@pytest.mark.parametrize(
    ("width", "takes"), [(0, "only spikes"), (3, "values of at most 3 bits"), (4, None), (12, None)]
)
def test_inputs_with_values_need_cores_that_multiply(width, takes):
    net = replace(chain(3, 5, v_width=12), input_value_width=4)
    core = replace(CORE, value_width=width, accumulator_width=24)
    if takes is None:
        check_network(net, [core])
        return
    message = (
        f"network net has an input of 4-bit values, but this fabric takes {takes}: build its cores with value_width=4"
    )
    with pytest.raises(PlaceError, match=f"^{re.escape(message)}$"):
        check_network(net, [replace(core, value_width=9), core])


@pytest.mark.parametrize(("fill", "bits"), [(120, 12), (-120, 12), (121, 13), (-121, 13)])
def test_weights_that_could_overflow_the_accumulator(fill, bits):
    """17 weights of 120 add up to 2040, which fits 12 bits; 17 of 121 to 2057."""
    net = chain(17, 5, 4, weight=fill)
    check_accumulators(net, dict.fromkeys("ab", replace(CORE, accumulator_width=bits)))
    with pytest.raises(
        PlaceError,
        match=rf"^population a: its weights could overflow the accumulator, their sum needs {bits} bits, but it has "
        rf"{bits - 1}$",
    ):
        check_accumulators(net, dict.fromkeys("ab", replace(CORE, accumulator_width=bits - 1)))


def test_the_ends_of_the_accumulator():
    cores = dict.fromkeys("ab", CORE)
    check_accumulators(chain(16, 5, 4, weight=-128), cores)  # -2048 is the least that fits
    with pytest.raises(PlaceError, match=r"^population a: .* their sum needs 13 bits, but it has 12$"):
        check_accumulators(chain(17, 5, 4, weight=-128), cores)


def test_each_population_has_the_accumulator_of_its_own_core():
    cores = {"a": CORE, "b": replace(CORE, accumulator_width=9)}
    check_accumulators(chain(2, 2, 2, weight=100), cores)
    with pytest.raises(PlaceError, match=r"^population b: .* their sum needs 10 bits, but it has 9$"):
        check_accumulators(chain(2, 3, 2, weight=100), cores)


@pytest.mark.parametrize(
    ("fabric", "uses", "message"),
    [
        (ONE, [(1, "rows", 9, 8)], "9 rows (8 available)"),
        (ONE, [(1, "rows", 8, 8), (1, "x", 7, 6), (1, "y", 2, 1)], "7 x (6 available); 2 y (1 available)"),
        (TWO, [(2, "rows", 9, 8), (1, "rows", 5, 4)], "9 rows (8 available) in tile 2"),
        (TWO, [(2, "x", 9, 8), (1, "x", 5, 4), (2, "y", 1, 0)], "9 x (8 available); 1 y (0 available) in tile 2"),
    ],
)
def test_what_is_short_in_the_first_tile_is_named(fabric, uses, message):
    found = [Use(tile=tile, resource=resource, used=used, available=of) for tile, resource, used, of in uses]
    with pytest.raises(
        PlaceError, match=f"^network net does not fit the fabric custom: it needs {re.escape(message)}$"
    ):
        check_uses(chain(3, 5), fabric, found)


def test_what_is_exactly_enough_fits():
    check_uses(chain(3, 5), ONE, [Use(tile=1, resource="rows", used=8, available=8)])


def test_axons_must_fit_messages_and_packets():
    wide = FabricConfig(core=replace(CORE, axons=16384, coordinate_width=2))
    assert wide.axon_width > 16
    fits, beyond = np.array([3, 65535]), np.array([65536, 3])
    check_axons(chain(2, 2), wide, fits, fits)
    for whose, axons in (("input", (beyond, fits)), ("output", (fits, beyond))):
        message = (
            f"network net: the axons of the {whose} must be at most 65535, not 65536; its coordinates take too many "
        )
        with pytest.raises(PlaceError, match=f"^{message}bits$"):
            check_axons(chain(2, 2), wide, *axons)
    most = (1 << ONE.axon_width) - 1
    check_axons(chain(2, 2), ONE, np.array([most]), np.array([most]))
    message = f"network net: the axons of the output must be at most {most}, not {most + 1};"
    with pytest.raises(PlaceError, match=f"^{message}"):
        check_axons(chain(2, 2), ONE, np.array([0]), np.array([most + 1]))


@pytest.mark.parametrize(
    ("ports", "observe", "message"),
    [
        ((None, None), [INPUT], "the input can be observed only if it comes from a tile, such as an AER tile"),
        ((AerInput(tile=1), None), [], "tile 1 must be an AER input of the fabric ports"),
        ((AerInput(tile=9), None), [], "tile 9 must be an AER input of the fabric ports"),
        ((AerInput(tile=0), None), [], "tile 0 must be an AER input of the fabric ports"),
        ((AerInput(tile=2), AerOutput(tile=2)), [], "tile 2 must be an AER output of the fabric ports"),
        ((AerOutput(tile=4), None), [], "tile 4 must be an AER output of the fabric ports"),
    ],
)
def test_ports_must_be_tiles_of_their_direction(ports, observe, message):
    check_ports(chain(3, 5), FABRIC, AerInput(tile=2), AerOutput(tile=4), [INPUT])
    with pytest.raises(PlaceError, match=f"^{message}$"):
        check_ports(chain(3, 5), FABRIC, *ports, observe)


def test_the_tile_of_a_port_checks_the_network():
    check_ports(chain(3, TAKE.depth), FABRIC, None, AerOutput(tile=4), [])
    message = "population a must have at most 8 neurons, as many events as wait in tile 4, not 9"
    with pytest.raises(PlaceError, match=f"^{message}$"):
        check_ports(chain(3, TAKE.depth + 1), FABRIC, None, AerOutput(tile=4), [])


def test_placement_checks_ports(request):
    network = network_of(request.node.name)
    for make, message in (
        (
            lambda: placed(network, input_from=None),
            "the input can be observed only if it comes from a tile, such as an AER tile",
        ),
        (lambda: placed(network, input_from=AerInput(tile=4)), "tile 4 must be an AER input of the fabric ports"),
        (lambda: placed(network, output_to=AerOutput(tile=1)), "tile 1 must be an AER output of the fabric ports"),
    ):
        with pytest.raises(PlaceError, match=f"^{re.escape(message)}$"):
            make()
