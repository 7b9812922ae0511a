"""Token registers: the number of sources and sinks of each kind, and their set."""

import pytest

from spikeloom.compiler.dependencies import Dependencies
from spikeloom.compiler.tiles.tokens import set_of, token_registers

DEPENDENCIES = Dependencies(
    direct=frozenset({(0, 1), (1, 2), (1, 3), (2, 0), (3, 0)}), delayed=frozenset({(3, 1)}), inputs=frozenset({1})
)


@pytest.mark.parametrize(
    ("tile", "delayed", "expected"),
    [
        (1, False, {"sources": 1, "sinks": 2, "tick_destinations": 0b1100, "ack_destinations": 0b1}),
        (
            1,
            True,
            {
                "delayed_sources": 1,
                "delayed_sinks": 0,
                "delayed_tick_destinations": 0,
                "delayed_ack_destinations": 0b1000,
            },
        ),
        (0, False, {"sources": 2, "sinks": 1, "tick_destinations": 0b10, "ack_destinations": 0b1100}),
    ],
)
def test_registers(tile, delayed, expected):
    assert dict(token_registers(DEPENDENCIES, tile, delayed=delayed, mesh=True)) == expected


def test_without_a_mesh_there_are_no_destinations():
    assert dict(token_registers(DEPENDENCIES, 1, delayed=False, mesh=False)) == {"sources": 1, "sinks": 2}


def test_a_set_has_a_bit_per_tile():
    assert set_of([]) == 0
    assert set_of({0, 5, 63}) == 1 | 1 << 5 | 1 << 63
