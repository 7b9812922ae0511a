"""The declaration of registers and memories."""

import re

import pytest

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import MemoryRegion, Register, RegisterMap


def register(**changes):
    return Register(**{"name": "a", "offset": 0, "width_bits": 8, "access": "read-write", "description": ""} | changes)


def test_look_up():
    assert BRIDGE.register("scratch").offset == 4
    assert CORE.memory("rows").number == 2
    with pytest.raises(
        ValueError, match=r"^register of bridge must be one of control, .*, readout_first, not 'steps'$"
    ):
        BRIDGE.register("steps")
    with pytest.raises(ValueError, match=r"^memory of core must be one of weights, .*, streamed_weights, not 'row'$"):
        CORE.memory("row")
    with pytest.raises(ValueError, match=r"^memory of bridge must be one of none, not 'row'$"):
        BRIDGE.memory("row")


def test_section_of_the_page():
    memories = (MemoryRegion(name="rows", number=2, description="rows of weights"),)
    late, early = register(offset=9, name="late", description="second"), register(description="first", reset=5)
    section = RegisterMap(name="core", where="tile 1", registers=(late, early), memories=memories).to_markdown()
    assert (
        section
        == """\
## tile 1: core

| register | offset | bits | access | reset | meaning |
|---|---|---|---|---|---|
| `a` | 0 | 8 | read-write | 5 | first |
| `late` | 9 | 8 | read-write | 0 | second |

| memory | number | meaning |
|---|---|---|
| `rows` | 2 | rows of weights |
"""
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"name": name}, f"name must be an identifier in lower case, not {name!r}")
            for name in ("A b", "a b", "Ab", "", 5)
        ),
        ({"offset": 64}, "offset must be from 0 to 63, not 64"),
        ({"offset": 61, "width_bits": 32}, "offset must be from 0 to 60, not 61"),
        ({"width_bits": 0}, "width_bits must be from 1 to 64, not 0"),
        ({"width_bits": 65}, "width_bits must be from 1 to 64, not 65"),
        ({"access": "any"}, "access must be one of read, write, read-write, pulse, not 'any'"),
        ({"offset": -1}, "offset must be from 0 to 63, not -1"),
        ({"reset": -1}, "reset must be from 0 to 255, not -1"),
        ({"reset": 256}, "reset must be from 0 to 255, not 256"),
    ],
)
def test_register_must_be_sound(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        register(**changes)


def test_the_last_byte_bit_and_value():
    assert register(offset=63).offset == 63
    widest = register(offset=56, width_bits=64, reset=(1 << 64) - 1)
    assert (widest.size, widest.encode((1 << 64) - 1)) == (8, b"\xff" * 8)
    assert register(width_bits=1, reset=1).encode(0) == b"\0"
    assert [MemoryRegion(name="m", number=number, description="").number for number in (1, 15)] == [1, 15]
    with pytest.raises(ValueError, match=r"^number must be from 1 to 15, not 16$"):
        MemoryRegion(name="m", number=16, description="")


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


def test_who_reads_and_who_writes():
    found = {access: register(access=access) for access in ("read", "write", "read-write", "pulse")}
    assert [name for name, each in found.items() if each.readable] == ["read", "read-write"]
    assert [name for name, each in found.items() if each.writable] == ["write", "read-write", "pulse"]


def test_flags_and_counters_by_name():
    status = register(name="status", access="read", flags=("idle", "lost"))
    counter = register(name="packets", offset=1, access="read")
    found = RegisterMap(name="m", where="", registers=(status, counter, register(name="seed", offset=2)))
    assert [found.flag("status", name) for name in ("idle", "lost", "other")] == [0, 1, None]
    assert found.flag("packets", "idle") is found.flag("other", "idle") is None
    assert found.counters == ("packets",)


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
