"""Boards as users build them: the whole fabric, from a reproducible netlist, in a bitstream that meets its clock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.cores import LEAN

from spikeloom.boards.bitstream.builder import build
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.sim.fabric.fabric import FabricConfig

QOR = Path(__file__).parents[3] / "qor"
DEVICE = DEVICES["iCE40UP5K"]
RESOURCES = ("lut", "ff", "ram", "dsp")
IDENTITY = """
from spikeloom.boards.bitstream.builder import board_identity
from spikeloom.boards.targets.registry import find_board
for name in {names!r}:
    name, _, link = name.partition("/")
    print(board_identity(find_board(name).with_link(link or None)).hex())
"""


@pytest.mark.parametrize(
    "names",
    [
        ("icebreaker", "ulx3s-25f", "tang-nano-9k"),
        pytest.param(("ulx3s-85f", "ulx3s-85f/usb", "ecpix5-85/udp"), marks=pytest.mark.slow),
    ],
    ids=lambda names: "-".join(names).replace("/", "-"),
)
def test_netlist_does_not_depend_on_the_process(names, tmp_path):
    identities = []
    for hash_seed in ("1", "3"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        options = {"cwd": folder, "env": os.environ | {"PYTHONHASHSEED": hash_seed}, "stdout": subprocess.PIPE}
        done = subprocess.run([sys.executable, "-c", IDENTITY.format(names=names)], check=True, **options)
        identities.append(done.stdout)
    assert identities[0] == identities[1]
    assert [len(identity) for identity in identities[0].split()] == [32] * len(names)


@pytest.mark.parametrize(
    "fabric", [FabricConfig(core=LEAN), pytest.param(None, marks=pytest.mark.slow)], ids=["lean", "general"]
)
def test_icebreaker_holds_its_fabric_and_meets_its_clock(tmp_path, fabric):
    """Host link, bridge and core through synthesis, place and route; the general fabric fills the device."""
    # A missed clock or a design that does not fit would have raised an error.
    result = build("icebreaker", tmp_path, fabric=fabric, clock_mhz=27, seeds=1, announce=lambda sentence: None)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["fmax_mhz"] >= content["clock_mhz"] >= 24.0
    assert all(content[name] <= getattr(DEVICE, name) for name in RESOURCES)
    built = fabric or BOARDS["icebreaker"].buildable_fabric()
    assert content["neurons"] == built.core.neurons
    assert content["synapses"] == built.synapses
    assert result.bitstream.stat().st_size > 50_000


def test_the_kept_figures_of_icebreaker_are_those_of_its_general_fabric():
    """`make qor-check` compares the measured netlist; here the fabric is compared with the description of the board."""
    kept = json.loads((QOR / "board-icebreaker.json").read_text())
    general = BOARDS["icebreaker"].buildable_fabric()
    assert (kept["neurons"], kept["synapses"]) == (general.core.neurons, general.synapses)
    assert kept["fmax_mhz"] >= kept["clock_mhz"] >= 24.0
    assert all(kept[name] <= getattr(DEVICE, name) for name in RESOURCES)
