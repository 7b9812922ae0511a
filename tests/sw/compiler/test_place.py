"""Placement: the content of memories and registers, and the error for each missing resource."""

import dataclasses

import numpy as np
import pytest
from harness.cores import FEW_ROWS
from harness.networks import random_network, rng_of

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation

CORE = FEW_ROWS


def mlp(sizes=(3, 5, 4), fill=1, **parameters):
    populations = tuple(
        QuantisedPopulation(
            name=f"layer{number}", parameters=NeuronParameters(**({"size": size, "v_width": 12} | parameters))
        )
        for number, size in enumerate(sizes[1:])
    )
    names = [INPUT, *(p.name for p in populations)]
    connections = tuple(
        QuantisedConnection(source=names[i], target=names[i + 1], weight=np.full((sizes[i + 1], sizes[i]), fill))
        for i in range(len(sizes) - 1)
    )
    return QuantisedNetwork(
        name="net", inputs=sizes[0], populations=populations, connections=connections, output=names[-1]
    )


def image(program, name):
    return next(i for i in program.memories if i.name == name).words


def test_layout_by_hand():
    network = mlp()
    weight = np.arange(15).reshape(5, 3)
    first = dataclasses.replace(network.connections[0], weight=weight)
    network = dataclasses.replace(network, connections=(first, network.connections[1]))
    program = place(network, FabricConfig(core=CORE))
    # Neurons: layer0 in words 0 to 2 (one slot unused), layer1 in words 3 and 4.
    assert program.input_axons.tolist() == [0, 1, 2]
    assert program.output_axons.tolist() == [0, 1, 2, 3]  # no other tile sends to the host
    # Weights: a row of three words for each input line, then a row of two words for each neuron of layer0.
    assert image(program, "weights").shape == (3 * 3 + 5 * 2, 2)
    assert image(program, "weights")[:3].ravel().tolist() == [0, 3, 6, 9, 12, 0]
    assert image(program, "rows").shape[0] == 3 + 5
    assert image(program, "populations").shape[0] == 2
    assert program.registers == ((1, "sources", 1), (1, "sinks", 1), (1, "populations", 2))
    assert [(use.resource, use.used) for use in program.uses] == [
        ("neurons", 10),
        ("rows", 8),
        ("weight words of 2 weights", 19),
        ("populations", 2),
    ]


def test_an_axon_with_several_targets_has_its_rows_in_sequence():
    rng = rng_of("test_an_axon_with_several_targets_has_its_rows_in_sequence")
    network = mlp((3, 5, 4))
    skip = QuantisedConnection(source=INPUT, target="layer1", weight=rng.integers(-9, 9, (4, 3)))
    network = dataclasses.replace(network, connections=(*network.connections, skip))
    program = place(network, FabricConfig(core=CORE))
    assert program.input_axons.tolist() == [0, 2, 4]
    more = image(program, "rows")
    bit = CORE.row_layout.width - 1
    flags = [int.from_bytes(row.tobytes(), "little") >> bit & 1 for row in more]
    assert flags == [1, 0] * 3 + [0] * 5


def test_random_networks_fit_exactly_where_the_uses_say_so():
    rng = rng_of("test_random_networks_fit_exactly_where_the_uses_say_so")
    for _ in range(20):
        core = dataclasses.replace(CORE, neurons=64, axons=256, weight_words=2048, accumulator_width=20)
        network = random_network(rng, core, sizes=tuple(int(s) for s in rng.integers(1, 9, 3)))
        program = place(network, FabricConfig(core=core))
        uses = {use.resource.split()[0]: use.used for use in program.uses}
        tight = dataclasses.replace(
            core, neurons=uses["neurons"], axons=uses["rows"], weight_words=uses["weight"], populations=3
        )
        place(network, FabricConfig(core=tight))
        with pytest.raises(PlaceError):
            place(network, FabricConfig(core=dataclasses.replace(tight, weight_words=uses["weight"] - 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weight_words": 18},
            r"^network net does not fit the fabric custom: it needs 19 weight words of 2 weights \(18 available\)$",
        ),
        (
            {"neurons": 8, "axons": 7},
            r"^network net does not fit the fabric custom: it needs 10 neurons \(8 available\); 8 rows "
            r"\(7 available\)$",
        ),
        ({"populations": 1}, r"^network net does not fit the fabric custom: it needs 2 populations \(1 available\)$"),
        ({"weight_width": 4}, r"^weights must have at most 4 bits on this fabric, but network net has 8 bits$"),
        ({"v_width": 16}, r"^population layer0: v_width must be 16 on this fabric, not 12$"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    core = dataclasses.replace(CORE, **change)
    with pytest.raises(PlaceError, match=message):
        place(mlp(), FabricConfig(core=core))


def test_the_digits_network_fits_the_small_fabric():
    place(mlp((64, 32, 10), v_width=16), FABRICS["small"])


def test_a_program_names_the_populations_whose_spikes_bring_values():
    core = dataclasses.replace(CORE, value_width=4, accumulator_width=16)
    program = place(mlp(graded=True, value_width=4), FabricConfig(core=core), observe=["layer0"])
    assert program.graded == ("layer1", "layer0")
    assert place(mlp(), FabricConfig(core=core)).graded == ()
