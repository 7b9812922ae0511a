"""Sequences of commands at and beyond the limits of each rule of an SDRAM chip, and a `Player` that sends them."""

import dataclasses

from spikeloom.sim.sdram.chips import CHIPS
from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, SdramCommand, mode_register
from spikeloom.sim.sdram.device import SdramDevice, SdramPins

CHIP = CHIPS["AS4C16M16SA-7"]
# The lengths of all rules differ, so that no rule hides another.
TIMING = dataclasses.replace(
    CHIP.timing(120_000_000),
    rcd=4,
    rp=5,
    ras=12,
    rc=19,
    rrd=3,
    rfc=21,
    wr=6,
    mrd=2,
    ras_limit=150,
    refresh_interval=400,
    power_up=29,
    cas_latency=3,
)
LOAD, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, STOP = list(SdramCommand)[:7]
ALL = AUTO_PRECHARGE


class Player:
    """Sends commands to a chip at given distances, with NOPs in between, and stores the words that it drives by their
    edge."""

    def __init__(self, *, burst=2, latency=3, initialise=True, timing=TIMING, device=SdramDevice):
        self.device = device(CHIP, timing)
        self.words = {}
        self._data = {}
        if initialise:
            self.send(30, PRECHARGE, address=ALL)
            self.send(5, REFRESH)
            self.send(21, REFRESH)
            self.send(21, LOAD, address=mode_register(latency, burst))
            self.send(10)

    def send(self, after, command=SdramCommand.NOP, *, bank=0, address=0, data=(), masks=()):
        """Send ``command`` ``after`` edges after the last one, with the words of a WRITE from its edge on."""
        for left in range(after, 0, -1):
            edge = self.device.edges
            # The first edge is number 0, so the first command is at edge ``after - 1``.
            is_now = left == 1
            if is_now:
                for number, word in enumerate(data):
                    self._data[edge + number] = (word, masks[number] if masks else 0)
            word, mask = self._data.get(edge, (None, 0))
            pins = SdramPins(command if is_now else SdramCommand.NOP, bank, address, word, mask)
            driven = self.device.step(pins)
            if driven is not None:
                self.words[edge + 1] = driven
        return self.device.edges - 1


# For each rule: the preceding commands and the last one, at the smallest distance that the rule allows.
OPEN = [(1, ACTIVATE, {})]
SPARED = {
    "tRCD": [*OPEN, (4, READ, {})],
    "tRP": [*OPEN, (16, PRECHARGE, {}), (5, ACTIVATE, {})],
    "tRP of an auto precharge": [*OPEN, (14, READ, {"address": ALL}), (7, ACTIVATE, {})],
    "tRP before REFRESH": [*OPEN, (16, PRECHARGE, {"address": ALL}), (5, REFRESH, {})],
    "tRP before LOAD MODE": [*OPEN, (16, PRECHARGE, {"address": ALL}), (5, LOAD, {"address": 0x31})],
    "tRAS": [*OPEN, (12, PRECHARGE, {})],
    "tRAS of an auto precharge": [*OPEN, (10, READ, {"address": ALL})],
    "tRC": [*OPEN, (12, PRECHARGE, {}), (7, ACTIVATE, {})],
    "tRRD": [*OPEN, (3, ACTIVATE, {"bank": 1})],
    "tRFC": [(1, REFRESH, {}), (21, ACTIVATE, {})],
    "tMRD": [(1, LOAD, {"address": 0x31}), (2, ACTIVATE, {})],
    "tWR": [*OPEN, (10, WRITE, {"data": (1, 2)}), (7, PRECHARGE, {})],
    "tRP after tWR of an auto precharge": [*OPEN, (10, WRITE, {"address": ALL, "data": (1, 2)}), (12, ACTIVATE, {})],
    "contention": [*OPEN, (4, READ, {}), (6, WRITE, {"data": (1, 2)})],
}


LIMITS = {
    # The row of bank 0 may be open for 150 cycles, and refreshes may be 400 cycles apart.
    "tRAS max": ([*OPEN, (150, PRECHARGE, {})], [*OPEN, (151, PRECHARGE, {})]),
    "tREFI": ([(1, REFRESH, {}), (400, REFRESH, {})], [(1, REFRESH, {}), (401, REFRESH, {})]),
}


REFUSED = {
    "bank: activated twice": [*OPEN, (30, ACTIVATE, {})],
    "bank: read while closed": [(1, READ, {})],
    "bank: read after a precharge": [*OPEN, (12, PRECHARGE, {}), (1, READ, {})],
    "bank: read after an auto precharge": [*OPEN, (10, READ, {"address": ALL}), (1, READ, {})],
    "bank: written while closed": [(1, WRITE, {"bank": 2, "data": (1, 2)})],
    "bank: refreshed while open": [*OPEN, (30, REFRESH, {})],
    "bank: mode set while open": [*OPEN, (30, LOAD, {"address": 0x31})],
    "burst: cut off by READ": [*OPEN, (1, ACTIVATE, {"bank": 1})],
    "burst: cut off by PRECHARGE": [*OPEN, (10, READ, {"address": ALL}), (1, PRECHARGE, {})],
    "burst: cut off by STOP": [*OPEN, (10, READ, {"address": ALL}), (1, STOP, {})],
    "mode: interleaved": [(1, LOAD, {"address": 0x39})],
    "mode: full page": [(1, LOAD, {"address": 0x37})],
    "mode: bursts of 16": [(1, LOAD, {"address": 0x34})],
    "mode: reserved bit": [(1, LOAD, {"address": 0xB1})],
    "mode: CAS latency of the clock": [(1, LOAD, {"address": 0x21})],
    "mode: CAS latency of 1": [(1, LOAD, {"address": 0x11})],
    "mode: single writes": [(1, LOAD, {"address": 0x231})],
    "mode: extended": [(1, LOAD, {"address": 0x31, "bank": 2})],
    "contention: a word is missing": [*OPEN, (4, WRITE, {"data": (1,)}), (2, SdramCommand.NOP, {})],
    "contention: both drive": [*OPEN, (4, READ, {}), (4, SdramCommand.NOP, {"data": (1,)})],
}
REFUSED["burst: cut off by READ"] = [
    *OPEN,
    (3, ACTIVATE, {"bank": 1}),
    (10, READ, {"address": ALL}),
    (1, READ, {"bank": 1}),
]


POWER_UP = {
    "too early": [(29, PRECHARGE, {"address": ALL})],
    "refreshed before a precharge": [(30, REFRESH, {})],
    "one bank precharged": [(30, PRECHARGE, {}), (5, REFRESH, {})],
    "one refresh": [(30, PRECHARGE, {"address": ALL}), (5, REFRESH, {}), (21, LOAD, {"address": 0x31})],
    "mode not set": [(30, PRECHARGE, {"address": ALL}), (5, ACTIVATE, {})],
}
