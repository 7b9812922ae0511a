"""The declaration of registers and memories, and the page made from it."""

import re
from pathlib import Path

import pytest

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.registers import (
    BRIDGE,
    CORE,
    REGISTER_MAPS,
    MemoryRegion,
    Register,
    RegisterMap,
    register_map,
    to_markdown,
)

PAGE = Path(__file__).parents[3] / "docs" / "registers.md"


def register(**changes):
    return Register(**{"name": "a", "offset": 0, "width_bits": 8, "access": "read-write", "description": ""} | changes)


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == to_markdown(), (
        "python -m spikeloom.sim.lib.registers > docs/registers.md"
    )


def test_page_names_everything():
    for of_kind in REGISTER_MAPS:
        for item in (*of_kind.registers, *of_kind.memories):
            assert f"| `{item.name}` |" in of_kind.to_markdown()


def test_the_maps_of_tiles():
    assert [register_map(tile) for tile in (0, 1, 2, 63)] == [BRIDGE, CORE, CORE, CORE]


def test_memories_are_those_of_the_core():
    declared = {memory.name: memory.number for memory in CORE.memories}
    assert declared == {
        name: memory.number for name, memory in CoreParameters(coordinate_width=1, sparse=True).memories.items()
    }


def test_look_up():
    assert BRIDGE.register("scratch").offset == 4
    assert CORE.memory("rows").number == 2
    with pytest.raises(
        ValueError, match=r"^register of bridge must be one of control, .*, readout_first, not 'steps'$"
    ):
        BRIDGE.register("steps")
    with pytest.raises(ValueError, match=r"^memory of core must be one of weights, .*, targets, not 'row'$"):
        CORE.memory("row")
    with pytest.raises(ValueError, match=r"^memory of bridge must be one of none, not 'row'$"):
        BRIDGE.memory("row")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "A b"}, "name must be an identifier in lower case, not 'A b'"),
        ({"offset": 64}, "offset must be from 0 to 63, not 64"),
        ({"offset": 61, "width_bits": 32}, "offset must be from 0 to 60, not 61"),
        ({"width_bits": 0}, "width_bits must be from 1 to 64, not 0"),
        ({"width_bits": 65}, "width_bits must be from 1 to 64, not 65"),
        ({"access": "any"}, "access must be one of read, write, read-write, pulse, not 'any'"),
        ({"reset": 256}, "reset must be from 0 to 255, not 256"),
    ],
)
def test_register_must_be_sound(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        register(**changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"registers": (register(), register(offset=1))}, "register names must be unique, not ['a', 'a']"),
        (
            {"registers": (register(width_bits=17), register(name="b", offset=2))},
            "register b must not overlap register a",
        ),
        (
            {"memories": tuple(MemoryRegion(name=name, number=1, description="") for name in "xy")},
            "memory numbers must be unique, not [1, 1]",
        ),
    ],
)
def test_map_must_be_sound(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RegisterMap(**{"name": "m", "where": "Tile 0", "registers": ()} | fields)


def test_memory_number_zero_is_that_of_the_registers():
    with pytest.raises(ValueError, match=r"^number must be from 1 to 15, not 0$"):
        MemoryRegion(name="m", number=0, description="")


def test_values_are_checked():
    assert register(width_bits=17).encode(0x1F234) == b"\x34\xf2\x01"
    with pytest.raises(ValueError, match=r"^a must be from 0 to 255, not 256$"):
        register().encode(256)
    with pytest.raises(ValueError, match=r"^a must be from 0 to 255, not -1$"):
        register().encode(-1)
    with pytest.raises(ValueError, match=r"^register a must be writable, not read$"):
        register(access="read").encode(0)
