"""Cycle-accurate model of an SDRAM chip that refuses every violation of its timing and of its states.

`SdramDevice.step` is one rising edge of the chip's clock: it takes the levels of the pins and returns the word that the
chip drives until the next edge. The model does not depend on a simulator, so that Amaranth's and Verilator's use the
same one.

Rules are named by the abbreviations of data sheets. A command at edge ``e`` is refused if an earlier event was at an
edge ``f`` and ``e - f`` is less than the rule::

    tRCD  ACTIVATE   to READ, WRITE     same bank     tRFC  REFRESH    to any command
    tRP   precharge  to ACTIVATE        same bank     tMRD  LOAD MODE  to any command
    tRAS  ACTIVATE   to precharge       same bank     tWR   last word  to precharge     same bank
    tRC   ACTIVATE   to ACTIVATE        same bank     tRRD  ACTIVATE   to ACTIVATE      different banks

tRP also precedes REFRESH and LOAD MODE. A precharge is a PRECHARGE or the start of an auto precharge, which is
``burst`` edges after READ, and tWR after the last word of a WRITE. Beyond that: tRAS max, tREFI (the longest time
between two REFRESHes), power-up, states (``bank``: an open bank is activated, a closed one read; ``burst``: a burst
with auto precharge is cut off), ``mode`` and ``contention`` (both sides drive the data pins, or there is no edge
between the last word read and the first written).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from spikeloom.sim.sdram.chips import SdramChip, SdramTiming
from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, SdramCommand

__all__ = ["RULES", "SdramDevice", "SdramPins", "SdramViolation"]

RULES = (
    *("tRCD", "tRP", "tRAS", "tRC", "tRRD", "tRFC", "tWR", "tMRD"),
    *("tRAS max", "tREFI", "power-up", "bank", "burst", "mode", "contention"),
)
"""The rules that a `SdramViolation` can name."""

_LONG_AGO = -sys.maxsize
_INITIAL_REFRESHES = 2


class SdramViolation(Exception):
    """A rule of the chip was broken. ``rule`` is one of `RULES`, ``edge`` the number of the clock edge."""

    def __init__(self, rule: str, edge: int, text: str) -> None:
        super().__init__(f"{rule} at edge {edge}: {text}")
        self.rule = rule
        self.edge = edge


@dataclass(frozen=True)
class SdramPins:
    """The pins at a clock edge.

    Parameters
    ----------
    command
        `SdramCommand`, or any number from 8 to 15 for a chip that is not selected.
    bank, address
        Bank and address pins.
    data
        Word that the controller drives, or None.
    mask
        One bit per byte: a set bit keeps the byte of a WRITE from being stored, and two edges later the byte of a READ
        from being driven: it is read as 0.
    """

    command: int = SdramCommand.NOP
    bank: int = 0
    address: int = 0
    data: int | None = None
    mask: int = 0


class _Bank:
    def __init__(self) -> None:
        self.row: int | None = None
        self.activated = _LONG_AGO
        self.written = _LONG_AGO  # edge of the last word
        self.precharged = _LONG_AGO  # edge at which the last precharge began, which may lie ahead


class _Burst:
    """A burst in progress: the columns that are still to come, the first of them at edge ``next``."""

    def __init__(
        self, *, bank: int, row: int, columns: list[int], next: int, write: bool, auto_precharge: bool
    ) -> None:
        self.bank = bank
        self.row = row
        self.columns = columns
        self.next = next
        self.write = write
        self.auto_precharge = auto_precharge


class SdramDevice:
    """A chip of ``chip``'s geometry that is clocked with ``timing``.

    Parameters
    ----------
    chip, timing
        Geometry, and rules in cycles.
    words
        Contents, by (bank, row, column). Words that were never written are read as 0.

    Attributes
    ----------
    edges
        Number of edges so far.
    counts
        Number of commands so far, by `SdramCommand`.
    """

    def __init__(
        self, chip: SdramChip, timing: SdramTiming, words: dict[tuple[int, int, int], int] | None = None
    ) -> None:
        self.chip = chip
        self.timing = timing
        self.words = {} if words is None else words
        self.edges = 0
        self.counts = dict.fromkeys(SdramCommand, 0)
        self._banks = [_Bank() for _ in range(1 << self.chip.bank_bits)]
        self._burst: _Burst | None = None
        self._driven: dict[int, int] = {}  # words that the chip drives, by the edge at which they are sampled
        self._mask = 0  # that of the edge before
        self._refreshed = _LONG_AGO
        self._refreshes = 0
        self._is_precharged = False
        self._mode_set = _LONG_AGO
        # Set by LOAD MODE, before which no burst begins.
        self._latency: int
        self._length: int
        self._initialised = False

    @property
    def initialised(self) -> bool:
        """Whether the power-up sequence is complete."""
        return self._initialised

    def step(self, pins: SdramPins) -> int | None:
        """Execute one clock edge with ``pins``. Return the word that the chip drives for the next edge, or None.

        Raises
        ------
        SdramViolation
            The command breaks a rule. The model must not be used any more.
        """
        edge = self.edges
        command = SdramCommand(pins.command) if pins.command < 8 else SdramCommand.NOP
        self.counts[command] += 1
        self._check_limits(edge)
        if command is not SdramCommand.NOP:
            self._execute(command, pins, edge)
        self._transfer(pins, edge)
        self.edges += 1
        word, mask, self._mask = self._driven.get(edge + 1), self._mask, pins.mask
        return None if word is None else word & ~self._kept(mask)

    def _kept(self, mask: int) -> int:
        """A word whose bits are set in the bytes that ``mask`` names."""
        return sum(0xFF << 8 * byte for byte in range(self.chip.width // 8) if mask >> byte & 1)

    # Rules.

    def _refuse(self, rule: str, text: str) -> None:
        raise SdramViolation(rule, self.edges, text)

    def _least(self, rule: str, since: int, cycles: int, text: str) -> None:
        if self.edges - since < cycles:
            self._refuse(rule, f"{text} needs {cycles} cycles, found {self.edges - since}")

    def _check_limits(self, edge: int) -> None:
        timing = self.timing
        for number, bank in enumerate(self._banks):
            if bank.row is not None and edge - bank.activated > timing.ras_limit and bank.precharged <= bank.activated:
                self._refuse("tRAS max", f"bank {number} is open for over {timing.ras_limit} cycles")
        if self._initialised and edge - self._refreshed > timing.refresh_interval:
            self._refuse("tREFI", f"no REFRESH for over {timing.refresh_interval} cycles")

    def _execute(self, command: SdramCommand, pins: SdramPins, edge: int) -> None:
        timing = self.timing
        if edge < timing.power_up:
            self._refuse("power-up", f"a command needs {timing.power_up} cycles, found {edge}")
        self._least("tRFC", self._refreshed, timing.rfc, "a command after REFRESH")
        self._least("tMRD", self._mode_set, timing.mrd, "a command after LOAD MODE")
        if not self._initialised and command in (
            SdramCommand.ACTIVATE,
            SdramCommand.READ,
            SdramCommand.WRITE,
            SdramCommand.STOP,
        ):
            self._refuse("power-up", f"{command.name} before the mode is set")
        match command:
            case SdramCommand.LOAD_MODE:
                self._load_mode(pins, edge)
            case SdramCommand.REFRESH:
                self._check_idle("REFRESH")
                self._refreshed = edge
                self._refreshes += 1
            case SdramCommand.PRECHARGE:
                every = bool(pins.address & AUTO_PRECHARGE)
                self._is_precharged |= every
                for number in range(len(self._banks)) if every else (pins.bank,):
                    self._precharge(number, edge)
            case SdramCommand.ACTIVATE:
                self._activate(pins, edge)
            case SdramCommand.READ | SdramCommand.WRITE:
                self._start_burst(command, pins, edge)
            case SdramCommand.STOP:
                self._cut("STOP", edge)

    def _check_idle(self, text: str) -> None:
        """Check that all banks have been closed for tRP, as REFRESH and LOAD MODE require."""
        if not self._is_precharged:
            self._refuse("power-up", f"{text} before all banks are precharged")
        for number, bank in enumerate(self._banks):
            if self._is_open(bank):
                self._refuse("bank", f"{text} while bank {number} is open")
            self._least("tRP", bank.precharged, self.timing.rp, f"{text} after the precharge of bank {number}")

    def _is_open(self, bank: _Bank) -> bool:
        if bank.row is None:
            return False
        # An auto precharge may lie ahead: until then the row is open, although no command may use it.
        return bank.precharged <= bank.activated or self.edges < bank.precharged

    def _load_mode(self, pins: SdramPins, edge: int) -> None:
        self._check_idle("LOAD MODE")
        if self._refreshes < _INITIAL_REFRESHES:
            self._refuse("power-up", f"the mode needs {_INITIAL_REFRESHES} earlier REFRESHes, found {self._refreshes}")
        latency, kind, code = pins.address >> 4 & 7, pins.address >> 3 & 1, pins.address & 7
        if pins.bank or pins.address >> 7 or kind or code > 3 or latency not in (2, 3):
            self._refuse("mode", f"the value {pins.address:#x} is not a supported mode")
        if latency < self.timing.cas_latency:
            self._refuse("mode", f"the CAS latency must be {self.timing.cas_latency} at this clock, found {latency}")
        self._latency, self._length = latency, 1 << code
        self._mode_set, self._initialised = edge, True

    def _activate(self, pins: SdramPins, edge: int) -> None:
        bank = self._banks[pins.bank]
        if self._is_open(bank):
            self._refuse("bank", f"ACTIVATE of bank {pins.bank}, which is open")
        self._least("tRP", bank.precharged, self.timing.rp, f"ACTIVATE after the precharge of bank {pins.bank}")
        self._least("tRC", bank.activated, self.timing.rc, f"ACTIVATE after ACTIVATE of bank {pins.bank}")
        for other in self._banks:
            if other is not bank:
                self._least("tRRD", other.activated, self.timing.rrd, "ACTIVATE after ACTIVATE of another bank")
        bank.row, bank.activated = pins.address & (1 << self.chip.row_bits) - 1, edge

    def _precharge(self, number: int, edge: int) -> None:
        bank = self._banks[number]
        # The PRECHARGE of a closed bank, or of one whose auto precharge has begun, has no effect.
        if not self._is_open(bank):
            return
        if bank.precharged > edge:
            self._refuse("burst", f"PRECHARGE of bank {number} during a burst with auto precharge")
        self._check_precharge(number, edge)
        if self._burst is not None and self._burst.bank == number:
            self._cut("PRECHARGE", edge)
        bank.precharged = edge

    def _check_precharge(self, number: int, edge: int) -> None:
        bank = self._banks[number]
        for rule, since, cycles in (("tRAS", bank.activated, self.timing.ras), ("tWR", bank.written, self.timing.wr)):
            if edge - since < cycles:
                self._refuse(rule, f"the precharge of bank {number} needs {cycles} cycles, found {edge - since}")

    # Bursts.

    def _cut(self, text: str, edge: int) -> None:
        """End the burst in progress: a write at once, a read after its CAS latency."""
        burst = self._burst
        if burst is None:
            return
        if burst.auto_precharge:
            self._refuse("burst", f"{text} cuts off a burst with auto precharge")
        self._burst = None

    def _start_burst(self, command: SdramCommand, pins: SdramPins, edge: int) -> None:
        write = command is SdramCommand.WRITE
        bank = self._banks[pins.bank]
        if not self._is_open(bank):
            self._refuse("bank", f"{command.name} of bank {pins.bank}, which is closed")
        if bank.precharged > bank.activated:
            self._refuse("bank", f"{command.name} of bank {pins.bank} during its auto precharge")
        self._least("tRCD", bank.activated, self.timing.rcd, f"{command.name} after ACTIVATE of bank {pins.bank}")
        self._cut(command.name, edge)
        assert bank.row is not None
        # Bit 10 selects auto precharge; column bits beyond it continue at address bit 11.
        column = pins.address & AUTO_PRECHARGE - 1 | (pins.address >> 11) << 10
        column &= (1 << self.chip.column_bits) - 1
        within = self._length - 1
        columns = [column & ~within | column + n & within for n in range(self._length)]
        auto = bool(pins.address & AUTO_PRECHARGE)
        self._burst = _Burst(bank=pins.bank, row=bank.row, columns=columns, next=edge, write=write, auto_precharge=auto)
        if write and (last := max(self._driven, default=_LONG_AGO)) >= edge - 1:
            self._refuse("contention", f"WRITE needs an edge without data after the word of edge {last}")
        if auto:
            start = edge + self._length - 1 + self.timing.wr if write else edge + self._length
            if start - bank.activated < self.timing.ras:
                self._refuse("tRAS", f"auto precharge needs {self.timing.ras} cycles, found {start - bank.activated}")
            bank.precharged = start

    def _transfer(self, pins: SdramPins, edge: int) -> None:
        """Transfer the word of this edge, and drop words that have been sampled."""
        for sampled in [number for number in self._driven if number < edge]:
            del self._driven[sampled]
        burst = self._burst
        is_writing = burst is not None and burst.write
        if pins.data is not None and edge in self._driven:
            self._refuse("contention", "the controller drives a word that the chip drives too")
        if is_writing and pins.data is None:
            self._refuse("contention", "a word of a WRITE is not driven")
        if burst is None:
            return
        address = (burst.bank, burst.row, burst.columns.pop(0))
        if burst.write:
            data, keep = pins.data or 0, self._kept(pins.mask)
            self.words[address] = self.words.get(address, 0) & keep | data & ~keep & (1 << self.chip.width) - 1
            self._banks[burst.bank].written = edge
        else:
            self._driven[edge + self._latency] = self.words.get(address, 0)
        if not burst.columns:
            self._burst = None
