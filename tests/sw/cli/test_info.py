"""``spikeloom info``."""

from spikeloom.cli.app import main
from spikeloom.sim.fabric.presets import FABRICS


def test_info_lists_versions_and_fabrics(capsys):
    main(["info"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*FABRICS, "amaranth", "boards: 41"))
