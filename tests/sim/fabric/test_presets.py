"""The named fabrics: properties that users rely on stay the same."""

import pytest

from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.features import FEATURES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.presets import FABRICS

SIZES = {
    # lanes, neurons, axons, weight words, populations, bits of a membrane and of an accumulator
    "small": (1, 64, 128, 2560, 4, 16, 16),
    "medium": (8, 256, 1024, 16384, 16, 20, 20),
    "wide": (64, 512, 2048, 4096, 4, 16, 16),
    "spatial": (16, 8192, 64, 2048, 4, 16, 16),
    "transformer": (16, 2048, 1024, 1024, 4, 16, 16),
}
GENERAL = {"bias", "readout"}


def sizes_of(core: CoreParameters) -> tuple[int, ...]:
    names = ("lanes", "neurons", "axons", "weight_words", "populations", "v_width", "accumulator_width")
    return tuple(getattr(core, name) for name in names)


@pytest.mark.parametrize("name", FABRICS)
def test_cores_have_the_sizes_of_their_name(name):
    cores = [tile for tile in FABRICS[name].tiles if isinstance(tile, CoreParameters)]
    assert {sizes_of(core) for core in cores} == {SIZES[name]}


def test_what_the_lanes_can_do():
    """The general cores have all features except those for single networks; the other cores integrate, fire and
    reset."""
    for name, features in (("small", GENERAL), ("medium", GENERAL), ("wide", set()), ("spatial", set())):
        core = FABRICS[name].core
        assert {feature.name for feature in FEATURES if getattr(core, feature.name, None)} == features
        assert core.multiplier == bool(features)
        assert bool(core.per_neuron) == bool(features)
    assert [FABRICS[name].core.refractory_width for name in ("small", "medium", "wide")] == [3, 4, 0]
    assert [FABRICS[name].core.coordinate_width for name in ("wide", "spatial")] == [0, 5]
    assert FABRICS["spatial"].core.geometries == 4
    wide = FABRICS["wide"].core
    assert wide.accumulator_memory == wide.state_memory == "distributed"


def test_the_transformer_is_four_cores_around_one_attention_tile():
    fabric = FABRICS["transformer"]
    kinds = [type(tile) for tile in fabric.tiles]
    assert kinds == [type(None), *[CoreParameters] * 2, AttentionTileParameters, *[CoreParameters] * 2]
    assert fabric.mesh is not None
    assert (fabric.mesh.columns, fabric.mesh.rows) == (3, 2)
    core, attention = fabric.cores[1], fabric.tiles[3].attention
    assert (attention.tokens, attention.features, attention.heads, attention.rows) == (8, 16, 4, 8)
    assert (core.coordinate_width, core.geometries, core.shifts) == (3, 4, (3,))
    assert (core.multiplier, core.bias, core.readout, core.per_neuron) == (False, True, True, {"bias"})
