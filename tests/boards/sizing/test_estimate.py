"""Resource estimates: RAM is exact, the rest is close to the measured cores."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor.blocks import plain_lif_core, small_mesh
from spikeloom.boards.qor.measure import Quality
from spikeloom.boards.qor.refit_estimate import FAMILIES
from spikeloom.boards.sizing.estimate import (
    estimate,
    estimate_fabric,
    estimate_parts,
    estimate_tile,
    lut_rams,
    measured_cores,
)
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.features import FEATURES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.tile import tile_kinds
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters

CORES = {f"{core.family}-{core.name}{'' if core.link is None else '-top'}": core for core in measured_cores()}
ALONE = {name: core for name, core in CORES.items() if core.link is None}
TOLERANCE = {"ecp5": 0.08, "ice40": 0.08, "gowin": 0.25}


@pytest.mark.parametrize("name", ALONE)
def test_measured_cores_are_near_the_estimate(name):
    """RAM and multipliers are exact (at most one iCE40 block too many), the rest is within the tolerance of the
    family."""
    measured = ALONE[name]
    device = DEVICES[FAMILIES[measured.family].device]
    found = estimate(measured.core, device, link=None)
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


@pytest.mark.parametrize("feature", [feature for feature in FEATURES if feature.flag], ids=lambda feature: feature.name)
def test_every_feature_has_a_cost(feature):
    """More lookup tables and flip-flops than without it, in every family."""
    needs = {"value_width": 8} if feature.flag == "count_width" else {}
    plain = replace(plain_lif_core(8), **needs)
    core = replace(plain, **{feature.flag: feature.value(feature.most)})
    for name in ("LFE5U-85F", "iCE40UP5K", "GW2A-18C"):
        without, found = (estimate(each, DEVICES[name], link=None) for each in (plain, core))
        assert found.lut > without.lut, name
        assert found.ff > without.ff, name


def test_the_link_is_a_constant():
    """The link adds the same amount to the estimate of any core."""
    for device in (DEVICES["LFE5U-85F"], DEVICES["iCE40UP5K"], DEVICES["GW2A-18C"]):
        more = []
        for lanes in (1, 8):
            core = CoreParameters(lanes=lanes)
            whole, alone = estimate(core, device), estimate(core, device, link=None)
            more.append((whole.lut - alone.lut, whole.ff - alone.ff, whole.ram - alone.ram))
        assert more[0] == more[1]
        assert all(count > 0 for count in more[0])


def test_the_cost_of_a_link_must_be_known():
    with pytest.raises(ValueError, match=r"^link must be one of UART, UDP, USB, whose cost is known, not SIMULATION$"):
        estimate(CoreParameters(), DEVICES["LFE5U-85F"], link=LinkKind.SIMULATION)
    with pytest.raises(ValueError, match=r"^link must be one of UART, USB, whose cost is known, not UDP$"):
        estimate(CoreParameters(), DEVICES["iCE40UP5K"], link=LinkKind.UDP)


def test_place_and_route_is_near_the_estimate():
    """The results of `make qor`: lookup tables after place and route, with 1, 8 and 64 lanes.

    These are engines alone; the registers of the core take 350 more lookup tables.
    """
    for lanes, variant in ((1, "1-lane"), (8, "8-lanes"), (64, "64-lanes")):
        routed = Quality.from_json(Path(f"qor/lif-core-{variant}-ecp5-85f.json").read_text()).lut
        measured = next(m for m in CORES.values() if m.name == {1: "base1", 8: "base8", 64: "lanes64"}[lanes])
        found = estimate(measured.core, DEVICES["LFE5U-85F"], link=None)
        assert found.lut == pytest.approx(routed + 350, rel=0.15)


ECP5 = DEVICES["LFE5U-85F"]
AER = {"input": AerDirection.INPUT, "output": AerDirection.OUTPUT}
TILES = {
    **{
        f"AER {way}, {address} bits, {depth} events": (
            AerTileParameters(direction=AER[way], address_width=address, axon_width=axon, depth=depth),
            found,
        )
        for way, address, axon, depth, found in (
            ("input", 16, 16, 512, (965, 597, 78)),
            ("input", 10, 12, 512, (838, 537, 5)),
            ("input", 10, 12, 64, (789, 507, 5)),
            ("output", 16, 16, 512, (639, 460, 70)),
            ("output", 10, 12, 512, (575, 414, 5)),
            ("output", 10, 12, 64, (527, 384, 5)),
        )
    },
    **{
        f"attention, {tokens} tokens, {rows} rows": (
            AttentionTileParameters(
                attention=AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows), destinations=4
            ),
            found,
        )
        for tokens, features, heads, rows, found in (
            (16, 16, 1, 1, (1171, 910, 8)),
            (16, 16, 1, 16, (2070, 2260, 8)),
            (32, 32, 1, 8, (2537, 2557, 8)),
            (8, 16, 4, 8, (1413, 1309, 8)),
        )
    },
}
"""Tiles other than cores, with lookup tables, flip-flops and block RAMs as counted by Yosys 0.70 for an ECP5."""


@pytest.mark.parametrize("name", TILES)
def test_other_tiles_are_near_the_estimate(name):
    tile, (lut, ff, ram) = TILES[name]
    found = estimate_tile(tile, ECP5)
    assert found.ram == ram
    assert found.lut == pytest.approx(1.11 * lut, rel=0.06)
    assert found.ff == pytest.approx(ff, rel=0.06)


def test_every_kind_of_the_project_has_a_cost():
    core = CoreParameters()
    examples = {"core": core, **{tile.kind: tile for tile, _ in TILES.values()}}
    assert examples.keys() == {
        kind for kind, found in tile_kinds().items() if found.__module__.startswith("spikeloom.")
    }
    assert estimate_tile(core, ECP5) == estimate(core, ECP5, link=None)
    for name in ("iCE40UP5K", "GW2A-18C"):
        assert all(estimate_tile(tile, DEVICES[name]).lut > 100 for tile in examples.values())


def test_a_fabric_is_the_sum_of_its_tiles_and_routers():
    small = FABRICS["small"].core
    mesh = MeshParameters(columns=2, rows=2)
    attention = TILES["attention, 16 tokens, 1 rows"][0]
    one = FabricConfig(name="one", core=small)
    assert estimate_fabric(one, ECP5) == estimate(small, ECP5)
    fabric = FabricConfig(name="four", tiles=(None, small, small, attention), mesh=mesh)
    tiles = [estimate_tile(tile, ECP5) for tile in fabric.tiles[1:]]
    found = estimate_fabric(fabric, ECP5, link=None)
    # Four routers of three ports each.
    assert found.lut == pytest.approx(sum(tile.lut for tile in tiles) + 1.11 * 12 * 120, abs=2)
    assert found.ram == sum(tile.ram for tile in tiles)
    whole = estimate_fabric(fabric, ECP5)
    assert whole.lut > found.lut


def test_cores_share_one_weight_memory():
    """Each further core adds itself and its part of the arbiter."""
    sdram = SdramParameters(chip=BOARDS["ulx3s"], clock_hz=110_000_000)
    core = replace(FABRICS["small"].core, weight_memory="sdram")
    one = FabricConfig(core=core, sdram=sdram)
    assert estimate_fabric(one, ECP5) == estimate(core, ECP5)
    mesh = MeshParameters(columns=5, rows=2)
    meshes = {n: FabricConfig(tiles=(None, *[core] * n), mesh=mesh, sdram=sdram) for n in (1, 2, 8)}
    parts = {n: estimate_parts(fabric, ECP5) for n, fabric in meshes.items()}
    shared = {n: found["weights in SDRAM"] for n, found in parts.items()}
    assert shared[1] == estimate_parts(one, ECP5)["weights in SDRAM"]
    # As synthesised, times the ratio of place and route.
    for n, lut, ff in ((2, 190, 104), (8, 523, 171)):
        assert shared[n].lut - shared[1].lut == pytest.approx(1.11 * lut, rel=0.06)
        assert shared[n].ff - shared[1].ff == pytest.approx(ff, rel=0.06)
    assert sum(name.endswith(", core") for name in parts[8]) == 8
    assert estimate_fabric(meshes[8], ECP5).lut < 8 * estimate(core, ECP5, link=None).lut


def test_a_mesh_and_a_whole_fabric_are_near_what_was_routed():
    """`make qor` routed 16 routers, and 15 cores on them, without the host link."""
    kept = {
        name: Quality.from_json(Path(f"qor/{name}-ecp5-85f.json").read_text()) for name in ("mesh-4x4", "fabric-4x4")
    }
    fabric = small_mesh()
    found = estimate_fabric(fabric, ECP5, link=None)
    cores = [estimate_tile(tile, ECP5) for tile in fabric.tiles if tile is not None]
    assert found.lut - sum(core.lut for core in cores) == pytest.approx(kept["mesh-4x4"].lut, rel=0.02)
    assert found.ff - sum(core.ff for core in cores) == pytest.approx(kept["mesh-4x4"].ff, rel=0.02)
    assert found.ram == kept["fabric-4x4"].ram
    assert found.lut == pytest.approx(kept["fabric-4x4"].lut, rel=0.2)
    assert found.ff == pytest.approx(kept["fabric-4x4"].ff, rel=0.2)


def test_a_term_that_was_not_measured_is_refused():
    class Strange(AerTileParameters):
        @property
        def cost(self):
            return {"lut": 100, "ff": 50, "magic": 2}

    message = r"^terms of the cost of a tile must be measured, or lut and ff, not magic$"
    with pytest.raises(ValueError, match=message):
        estimate_tile(Strange(direction=AerDirection.INPUT), ECP5)

    class Plain(AerTileParameters):
        @property
        def cost(self):
            return {"lut": 100, "ff": 50}

    found = estimate_tile(Plain(direction=AerDirection.INPUT), ECP5)
    assert (found.lut, found.ff) == (111, 50)
