"""The model of the SDRAM chip: stored and driven data in each cycle, and refusal of every violation."""

import dataclasses

import pytest
from harness.sdram_rules import (
    ACTIVATE,
    ALL,
    CHIP,
    LIMITS,
    POWER_UP,
    PRECHARGE,
    READ,
    REFRESH,
    REFUSED,
    SPARED,
    STOP,
    TIMING,
    WRITE,
    Player,
)

from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, SdramCommand
from spikeloom.sim.sdram.device import RULES, SdramPins, SdramViolation


def test_words_appear_after_the_cas_latency():
    for latency in (2, 3):
        player = Player(latency=latency, timing=dataclasses.replace(TIMING, cas_latency=2))
        player.send(1, ACTIVATE, bank=1, address=77)
        written = player.send(4, WRITE, bank=1, address=10, data=(0x1234, 0x5678))
        assert player.device.words == {(1, 77, 10): 0x1234}
        read = player.send(2, READ, bank=1, address=10)
        assert written == read - 2
        player.send(8)
        assert player.words == {read + latency: 0x1234, read + latency + 1: 0x5678}
    assert player.device.initialised
    assert player.device.counts[READ] == player.device.counts[WRITE] == 1


@pytest.mark.parametrize("burst", [1, 2, 4, 8])
def test_bursts_wrap_within_their_length(burst):
    player = Player(burst=burst)
    player.device.words.update({(0, 3, column): column for column in range(64)})
    player.send(1, ACTIVATE, address=3)
    read = player.send(4, READ, address=21)
    player.send(15)
    base = 21 - 21 % burst
    assert player.words == {read + 3 + n: base + (21 + n) % burst for n in range(burst)}


def test_a_burst_is_ended_by_stop_read_and_precharge():
    for command, own in ((STOP, {}), (READ, {3: 40, 4: 41, 5: 42, 6: 43}), (PRECHARGE, {})):
        player = Player(burst=4, timing=dataclasses.replace(TIMING, ras=6))
        player.device.words.update({(0, 3, column): column for column in range(64)})
        player.send(1, ACTIVATE, address=3)
        read = player.send(4, READ, address=20)
        player.send(2, command, address=40 if command is READ else 0)
        player.send(10)
        assert player.words == {read + 3: 20, read + 4: 21} | {read + 2 + n: word for n, word in own.items()}


def test_words_that_were_never_written_are_zero():
    player = Player()
    player.send(1, ACTIVATE, address=1 << 13 | 5)
    read = player.send(4, READ, address=8)
    # The chip has neither this bit of a row, nor this one of a column, nor this one of a word.
    player.send(6, WRITE, address=1 << 9 | 6, data=(1 << 16 | 0xABCD, 0), masks=(0b01, 0b00))
    player.send(2)
    assert player.words == {read + 3: 0, read + 4: 0}
    assert player.device.words == {(0, 5, 6): 0xAB00, (0, 5, 7): 0}


def test_a_chip_that_needs_no_time_after_power_up():
    """No rule counts from an event before the first edge."""
    player = Player(initialise=False, timing=dataclasses.replace(TIMING, power_up=0))
    player.send(1, PRECHARGE, address=ALL)
    player.send(1, REFRESH)
    assert player.device.counts[REFRESH] == 1


def test_stop_ends_a_write():
    player = Player(burst=4)
    player.send(1, ACTIVATE)
    player.send(4, WRITE, data=(1, 2, 3))
    player.send(2, STOP)
    player.send(5)
    assert player.device.words == {(0, 0, 0): 1, (0, 0, 1): 2}


def test_masks():
    player = Player()
    player.send(1, ACTIVATE)
    player.send(4, WRITE, data=(0x1111, 0x2222))
    player.send(2, WRITE, data=(0xAAAA, 0xBBBB), masks=(0b01, 0b10))
    player.send(1)
    assert player.device.words == {(0, 0, 0): 0xAA11, (0, 0, 1): 0x22BB}
    # A mask applies to the word that is read two edges later.
    read = player.send(3, READ)
    edge = player.device.edges
    player.device.step(SdramPins(mask=0b10))
    player.words[edge + 2] = player.device.step(SdramPins())
    player.words[edge + 3] = player.device.step(SdramPins())
    assert player.words == {read + 3: 0x11, read + 4: 0x22BB}


def test_auto_precharge_closes_the_bank():
    player = Player()
    player.send(1, ACTIVATE, address=9)
    player.send(12, READ, address=AUTO_PRECHARGE)
    # It begins two edges after READ and takes tRP.
    player.send(2 + 5, ACTIVATE, address=10)
    player.send(15, WRITE, address=AUTO_PRECHARGE, data=(7, 8))
    assert player.send(1 + 6 + 5, ACTIVATE, address=11)
    player.send(1)
    assert player.device.words == {(0, 10, 0): 7, (0, 10, 1): 8}


def test_columns_beyond_bit_10_are_at_address_bit_11():
    player = Player()
    chip = dataclasses.replace(CHIP, column_bits=11)
    player.device.chip = chip
    player.send(1, ACTIVATE)
    player.send(4, WRITE, address=1 << 11 | 6, data=(5, 6))
    player.send(2)
    assert player.device.words == {(0, 0, 1 << 10 | 6): 5, (0, 0, 1 << 10 | 7): 6}


def test_a_chip_that_is_not_selected_does_nothing():
    player = Player(initialise=False)
    for number in range(8, 16):
        player.device.step(SdramPins(number))
    assert not any(count for command, count in player.device.counts.items() if command is not SdramCommand.NOP)


@pytest.mark.parametrize("name", SPARED)
def test_a_command_at_the_limit_is_accepted_and_a_cycle_earlier_refused(name):
    (*before, (least, command, values)) = SPARED[name]
    for after in (least, least - 1):
        player = Player()
        for some in before:
            player.send(some[0], some[1], **some[2])
        if after == least:
            player.send(after, command, **values)
            continue
        with pytest.raises(SdramViolation) as found:
            player.send(after, command, **values)
        assert found.value.rule == name.split()[0]
        assert found.value.edge == player.device.edges
        assert str(found.value).startswith(f"{name.split()[0]} at edge {player.device.edges}: ")


def test_a_bank_is_closed_when_its_auto_precharge_begins():
    player = Player()
    player.send(1, ACTIVATE)
    player.send(14, READ, address=AUTO_PRECHARGE)
    with pytest.raises(SdramViolation, match=r"^tRP at edge "):
        player.send(2, ACTIVATE)
    player = Player()
    player.send(1, ACTIVATE)
    player.send(14, READ, address=AUTO_PRECHARGE)
    with pytest.raises(SdramViolation, match=r"^bank at edge "):
        player.send(1, ACTIVATE)


@pytest.mark.parametrize("rule", LIMITS)
def test_what_must_happen_in_time(rule):
    accepted, refused = LIMITS[rule]
    player = Player()
    for after, command, values in accepted:
        player.send(after, command, **values)
    player = Player()
    *before, (after, command, values) = refused
    for some in before:
        player.send(some[0], some[1], **some[2])
    with pytest.raises(SdramViolation) as found:
        player.send(after, command, **values)
    assert found.value.rule == rule


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_state_does_not_allow_is_refused(name):
    player = Player()
    *before, (after, command, values) = REFUSED[name]
    for some in before:
        player.send(some[0], some[1], **some[2])
    with pytest.raises(SdramViolation) as found:
        player.send(after, command, **values)
    assert found.value.rule == name.split(":")[0]


@pytest.mark.parametrize("name", POWER_UP)
def test_the_power_up_sequence(name):
    player = Player(initialise=False)
    *before, (after, command, values) = POWER_UP[name]
    for some in before:
        player.send(some[0], some[1], **some[2])
    with pytest.raises(SdramViolation) as found:
        player.send(after, command, **values)
    assert found.value.rule == "power-up"
    assert not player.device.initialised


def test_every_rule_has_a_violation():
    shown = {name.split()[0] for name in SPARED} | set(LIMITS) | {name.split(":")[0] for name in REFUSED}
    assert shown | {"power-up"} == set(RULES)
