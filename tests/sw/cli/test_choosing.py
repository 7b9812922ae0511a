"""Choice of the fabric from the hardware options."""

import re

from harness.cli import refused

from spikeloom.cli.app import main
from spikeloom.cli.choosing import built
from spikeloom.cli.options import Hardware
from spikeloom.datasets.shipped import shipped
from spikeloom.sim.fabric.fabric_file import fabric_to_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import LinkKind


def test_fields_of_the_core_that_are_given(capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, **settings):
        asked.append(fabric.core)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    fields = ["--core", "lanes=1", "--core", "state_memory=block", "--core", "readout=yes", "--core", "bias=yes"]
    digits = [shipped("digits-mlp.nir"), "--board", "ulx3s-85f"]
    assert refused(capsys, "bitstream", *digits, *fields) == "enough"
    (core,) = asked
    assert (core.lanes, core.state_memory, core.readout, core.neurons) == (1, "block", True, 42)
    message = refused(capsys, "check", *digits, "--core", "wheels=4")
    assert message.startswith("core must be FIELD=VALUE with one of ")
    assert " lanes, lane_banks, words_per_cycle, neurons, " in message
    assert message.endswith(", not 'wheels=4'")
    main(["check", *map(str, digits), *fields])
    assert re.search(r"lanes\W+1\W+given", capsys.readouterr().out)


def test_a_link_that_the_board_lacks(capsys):
    """One sentence with the existing links, from every command that takes a board."""
    digits = str(shipped("digits-mlp.nir"))
    message = "Link of icebreaker must be uart, not 'udp'"
    board = ["--board", "icebreaker", "--link", "udp"]
    assert refused(capsys, "bitstream", *board) == message
    assert refused(capsys, "bitstream", digits, *board) == message
    for command in ("check", "generate"):
        assert refused(capsys, command, digits, *board) == message
        assert refused(capsys, command, digits, *board, "--fabric", "small") == message
    assert refused(capsys, "serve", "icebreaker", "--link", "udp", "--fabric", "small") == message


def test_a_build_with_another_link(capsys, tmp_path):
    (tmp_path / "fabric.json").write_text(fabric_to_json(FABRICS["small"], link_kind=LinkKind.UDP))
    built_for = ["--board", "icebreaker", "--fabric", str(tmp_path)]
    message = refused(capsys, "run", *built_for, "--link", "uart", "--port", "nowhere")
    assert message == (
        "the build has the link udp, expected uart; build it with: spikeloom bitstream --board icebreaker --link uart"
    )
    assert built(Hardware(board="icebreaker", fabric=str(tmp_path))).link_kind is LinkKind.UDP
    assert built(Hardware(board="icebreaker", link="uart", fabric="small")).link_kind is LinkKind.UART
