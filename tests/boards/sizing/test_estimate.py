"""The estimate of what a core takes: RAM exact, the rest near what was measured."""

from pathlib import Path

import pytest

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor.measure import Quality
from spikeloom.boards.qor.refit_estimate import FAMILIES
from spikeloom.boards.sizing.estimate import estimate, lut_rams, measured_cores
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.host.identity import LinkKind

CORES = {f"{core.family}-{core.name}{'' if core.link is None else '-top'}": core for core in measured_cores()}
ALONE = {name: core for name, core in CORES.items() if core.link is None}
TOLERANCE = {"ecp5": 0.08, "ice40": 0.08, "gowin": 0.25}


@pytest.mark.parametrize("name", ALONE)
def test_measured_cores_are_near_the_estimate(name):
    """RAM and multipliers exact (one block too many of an iCE40's at most), the rest within the family's tolerance."""
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


def test_the_link_is_a_constant():
    """With the link an estimate is larger by as much whatever the core is."""
    for device in (DEVICES["LFE5U-85F"], DEVICES["iCE40UP5K"], DEVICES["GW2A-18C"]):
        more = []
        for lanes in (1, 8):
            core = CoreParameters(lanes=lanes)
            whole, alone = estimate(core, device), estimate(core, device, link=None)
            more.append((whole.lut - alone.lut, whole.ff - alone.ff, whole.ram - alone.ram))
        assert more[0] == more[1]
        assert all(count > 0 for count in more[0])


def test_the_cost_of_a_link_must_be_known():
    with pytest.raises(ValueError, match=r"^link must be one of UART, whose cost is known, not UDP$"):
        estimate(CoreParameters(), DEVICES["LFE5U-85F"], link=LinkKind.UDP)


def test_place_and_route_is_near_the_estimate():
    """What `make qor` found: lookup tables after place and route, with 1, 8 and 64 lanes.

    Engine alone; the registers of the core are 350 lookup tables more.
    """
    for lanes, variant in ((1, "1-lane"), (8, "8-lanes"), (64, "64-lanes")):
        routed = Quality.from_json(Path(f"qor/lif-core-{variant}-ecp5-85f.json").read_text()).lut
        measured = next(m for m in CORES.values() if m.name == {1: "base1", 8: "base8", 64: "lanes64"}[lanes])
        found = estimate(measured.core, DEVICES["LFE5U-85F"], link=None)
        assert found.lut == pytest.approx(routed + 350, rel=0.15)
