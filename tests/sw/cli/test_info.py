"""``spikeloom info``."""

import json

from spikeloom.cli.app import main
from spikeloom.sim.fabric.presets import FABRICS


def test_info_lists_versions_and_fabrics(capsys):
    main(["info"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*FABRICS, "amaranth", "boards: 41"))


def test_info_as_json(capsys):
    main(["info", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["format"] == 1
    assert content["boards"] == 41
    assert content["fabrics"]["small"]["lanes"] == 1
    assert content["packages"]["numpy"]
