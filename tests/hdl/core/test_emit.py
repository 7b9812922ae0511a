"""What leaves a core and what goes back into it: each planted bug makes the engine differ."""

import pytest
from harness.engine_bugs import assert_found

from spikeloom.hdl.core import emit, engine

MUTATIONS = {
    "the spare place of the emitter": ("free.eq(~spare_valid)", "free.eq(1)"),
    "a route waits for the one before": ("~valid[0] | ~valid[1] | free", "1"),
    "a word waits for the one before": ("~reading | output_enable", "1"),
    "a word waits for the one before, LUT RAM": ("~reading | output_enable", "1"),
    "groups of lanes: a word waits for the one before": ("~reading if groups > 1", "1 if groups > 1"),
    "groups of lanes: a word waits for the one before, block RAM": (
        "~reading if groups > 1",
        "1 if groups > 1",
    ),
    "groups of lanes: the next one": ("others.eq(left & ~lowest_left)", "others.eq(left)"),
    "groups of lanes: the last one": (
        "is_last.eq(Mux(chosen_valid, _is_single(others), _is_single(front.groups)))",
        "is_last.eq(1)",
    ),
    "groups of lanes: the number": ("number.eq(_number(chosen))", "number.eq(0)"),
    "a packet is sent once": (
        "packet_waits.eq(packet_waits & ~self.packets.ready)",
        "packet_waits.eq(packet_waits)",
    ),
    "a local event is sent once": (
        "local_waits.eq(local_waits & ~self.local.ready)",
        "local_waits.eq(local_waits)",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, engine, emit, *MUTATIONS[mutation])
