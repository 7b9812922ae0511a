"""The boards as users build them: the whole fabric, with a netlist that is always the same, in a bitstream in time."""

import json
import os
import subprocess
import sys

import pytest

from spikeloom.boards.bitstream.builder import build
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.targets.registry import BOARDS

IDENTITY = """
from spikeloom.boards.bitstream.builder import board_identity
from spikeloom.boards.targets.registry import find_board
print(board_identity(find_board({name!r})).hex())
"""


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-85f", "tang-nano-9k"])
def test_netlist_does_not_depend_on_the_process(name, tmp_path):
    identities = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        options = {"cwd": folder, "env": os.environ | {"PYTHONHASHSEED": hash_seed}, "stdout": subprocess.PIPE}
        done = subprocess.run([sys.executable, "-c", IDENTITY.format(name=name)], check=True, **options)
        identities.append(done.stdout)
    assert identities[0] == identities[1]
    assert len(identities[0].strip()) == 32


def test_icebreaker_holds_its_fabric_and_meets_its_clock(tmp_path):
    # About a minute. A missed clock or a design that does not fit would have raised an error.
    result = build("icebreaker", tmp_path, clock_mhz=27, seeds=1, announce=lambda sentence: None)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["fmax_mhz"] >= content["clock_mhz"] >= 24.0
    device = DEVICES["iCE40UP5K"]
    assert all(content[name] <= getattr(device, name) for name in ("lut", "ff", "ram", "dsp"))
    assert content["neurons"] == BOARDS["icebreaker"].buildable_fabric().core.neurons
    assert content["synapses"] == BOARDS["icebreaker"].buildable_fabric().synapses
    assert result.bitstream.stat().st_size > 50_000
