"""Links of the boards: each that is offered has a design, whose identity names it."""

import pytest
from amaranth.hdl import Fragment

from spikeloom.boards.bitstream.lines import LINES
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.sim.host.identity import LinkKind

FIRST = {kind: name for name, board in reversed(BOARDS.items()) for kind in board.links}
"""A board of each link."""


def test_only_links_with_gateware_are_offered():
    assert {kind for board in BOARDS.values() for kind in board.links} == set(LINES)


@pytest.mark.parametrize("kind", FIRST, ids=lambda kind: kind.option)
def test_the_identity_of_a_design_names_its_link(kind):
    board = BOARDS[FIRST[kind]].with_link(kind.option)
    assert board.link_kind is kind
    design = LINES[kind].design(board, bytes(range(16)))
    Fragment.get(design, None)  # a design that nobody uses is a warning
    assert design.identity.link_kind is kind
    assert design.identity.build_hash == bytes(range(16))
    assert design.identity.clock_hz == round(board.clock_hz)
    assert LinkKind[kind.option.upper()] is kind
