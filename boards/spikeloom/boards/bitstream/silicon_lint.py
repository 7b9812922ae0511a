"""Check of a synthesised netlist for known defects of block RAM in silicon.

Synthesis and place and route accept these designs, and every simulation is correct; only the FPGA misbehaves.

* **ECP5**: a block RAM without output register whose read reset is driven by logic is reported to read zeros at every
  address. A read reset must not be driven.
* **iCE40**: block RAM reads zeros for about 3 us after configuration (known since the first boards of IceStorm, but
  undocumented). In a design with block RAM, the reset shared by most flip-flops must last longer.
* **Gowin**: a block RAM whose read reset is driven by logic is reported to return the word of another address, and
  read-before-write (``WRITE_MODE`` 2) does not exist on 55 nm devices, as stated by user guide UG285 since 2026.

Defects that depend on the timing of an access (a read of a word that is being written) are not visible in a netlist;
the simulation models of block RAM return garbage in these cycles.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

__all__ = ["ICE40_START_SECONDS", "lint"]

ICE40_START_SECONDS = 3e-6
"""Time after configuration during which the block RAM of an iCE40 reads zeros."""

_READ_RESETS = {
    "DP16KD": ("RSTA", "RSTB"),
    "PDPW16KD": ("RST",),
    **dict.fromkeys(("SP", "SPX9", "SDP", "SDPB", "SDPX9", "SDPX9B"), ("RESET", "RESETA", "RESETB")),
    **dict.fromkeys(("DP", "DPB", "DPX9", "DPX9B", "pROM", "pROMX9"), ("RESET", "RESETA", "RESETB")),
}
"""Pins that reset the read data of a block RAM, by kind of cell."""

_GOWIN_WRITE_MODES = ("WRITE_MODE", "WRITE_MODE0", "WRITE_MODE1")
_FLIP_FLOP = re.compile(r"SB_DFFN?(E?)(SR|SS|R|S)?")

_Net = int | str
"""Net as a number, or a constant: "0", "1", "x"."""


def lint(netlist: str, *, clock_hz: float) -> list[str]:
    """Return the findings in ``netlist``, the JSON written by Yosys for an FPGA, one sentence each.

    ``clock_hz`` is the clock of the fabric.
    """
    findings: list[str] = []
    for module in json.loads(netlist)["modules"].values():
        cells = module["cells"]
        findings += _read_resets(cells)
        findings += _write_modes(cells)
        if any(cell["type"].startswith("SB_RAM40_4K") for cell in cells.values()):
            findings += _start_up(cells, clock_hz)
    return findings


def _read_resets(cells: Mapping[str, Any]) -> Iterator[str]:
    low = {"0", "x", *(cell["connections"]["G"][0] for cell in cells.values() if cell["type"] == "GND")}
    for name, cell in cells.items():
        for pin in _READ_RESETS.get(cell["type"], ()):
            if any(bit not in low for bit in cell["connections"].get(pin, ())):
                yield f"read reset {pin} of block RAM {name} must be constant 0, but is driven"


def _write_modes(cells: Mapping[str, Any]) -> Iterator[str]:
    for name, cell in cells.items():
        for parameter in _GOWIN_WRITE_MODES if cell["type"] in _READ_RESETS else ():
            value = cell["parameters"].get(parameter)
            if value is not None and int(str(value), 2) == 2:
                yield f"{parameter} of block RAM {name} must be 0 or 1, not 2 (read before write)"


def _start_up(cells: Mapping[str, Any], clock_hz: float) -> Iterator[str]:
    """Compare the duration of the reset shared by most flip-flops of an iCE40 with `ICE40_START_SECONDS`."""
    needed = ceil(ICE40_START_SECONDS * clock_hz)
    logic = _Logic.of(cells)
    net = logic.power_on_reset()
    cycles = 0 if net is None else logic.cycles_in_reset(net, needed)
    if cycles < needed:
        yield (
            f"reset of an iCE40 with block RAM must last at least {ICE40_START_SECONDS * 1e6:g} us after "
            f"configuration, {needed:,} clock cycles, not {cycles:,}"
        )


@dataclass(frozen=True, kw_only=True)
class _FlipFlop:
    q: _Net
    d: _Net
    enable: _Net
    reset: _Net
    is_set: bool  # the reset sets the flip-flop to 1

    def next(self, value: Mapping[_Net, int]) -> int:
        if value[self.reset]:
            return int(self.is_set)
        return value[self.d] if value[self.enable] else value[self.q]


@dataclass(frozen=True, kw_only=True)
class _Gate:
    """Lookup table, or a carry as a table of three inputs."""

    output: _Net
    inputs: tuple[_Net, ...]
    table: int

    def result(self, value: Mapping[_Net, int]) -> int:
        return self.table >> sum(value[net] << place for place, net in enumerate(self.inputs)) & 1


@dataclass(frozen=True, kw_only=True)
class _Logic:
    """Part of an iCE40 netlist that depends only on its own flip-flops and the lock of the PLL."""

    flip_flops: dict[_Net, _FlipFlop] = field(default_factory=dict)
    gates: dict[_Net, _Gate] = field(default_factory=dict)
    locks: set[_Net] = field(default_factory=set)

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> "_Logic":
        logic = cls()
        for cell in cells.values():
            pins: dict[str, _Net] = {name: bits[0] for name, bits in cell["connections"].items() if bits}
            kind, flip_flop = cell["type"], _FLIP_FLOP.fullmatch(cell["type"])
            if flip_flop:
                reset = pins.get("R", pins.get("S", "0"))
                made = _FlipFlop(q=pins["Q"], d=pins["D"], enable=pins.get("E", "1"), reset=reset, is_set="S" in pins)
                logic.flip_flops[made.q] = made
            elif kind == "SB_LUT4":
                inputs = tuple(pins.get(f"I{place}", "0") for place in range(4))
                table = int(cell["parameters"]["LUT_INIT"], 2)
                logic.gates[pins["O"]] = _Gate(output=pins["O"], inputs=inputs, table=table)
            elif kind == "SB_CARRY":
                inputs = tuple(pins.get(name, "0") for name in ("I0", "I1", "CI"))
                logic.gates[pins["CO"]] = _Gate(output=pins["CO"], inputs=inputs, table=0b11101000)
            elif kind.startswith("SB_PLL40") and "LOCK" in pins:
                logic.locks.add(pins["LOCK"])
        return logic

    def power_on_reset(self) -> _Net | None:
        """Return the net independent of inputs that sets or resets most flip-flops that depend on inputs, or None."""
        own = self._of_their_own()
        # Count only the logic with inputs: the counter that generates the reset has a reset of its own.
        loads = Counter(ff.reset for ff in self.flip_flops.values() if ff.q not in own and ff.reset in own)
        del loads["0"]
        return max(loads, key=lambda net: loads[net], default=None)

    def _of_their_own(self) -> set[_Net]:
        """Return the nets that depend only on flip-flops and the lock, by removing everything that an input reaches."""
        own: set[_Net] = {*self.flip_flops, *self.gates, *self.locks, "0", "1", "x"}
        users: dict[_Net, list[_Net]] = {}
        for output, needs in self._needs():
            for net in needs:
                users.setdefault(net, []).append(output)
        waiting = [net for net in users if net not in own]
        while waiting:
            for output in users.get(waiting.pop(), ()):
                if output in own:
                    own.discard(output)
                    waiting.append(output)
        return own

    def _needs(self) -> Iterator[tuple[_Net, tuple[_Net, ...]]]:
        yield from ((net, gate.inputs) for net, gate in self.gates.items())
        yield from ((net, (ff.d, ff.enable, ff.reset)) for net, ff in self.flip_flops.items())

    def cycles_in_reset(self, reset: _Net, limit: int) -> int:
        """Count the cycles for which ``reset`` stays high after configuration, up to ``limit``."""
        # Flip-flops of an iCE40 start at 0, and the PLL is taken as locked from the start: the shortest reset.
        flip_flops, gates = self._cone(reset)
        value: dict[_Net, int] = dict.fromkeys(flip_flops, 0) | dict.fromkeys(self.locks, 1) | {"0": 0, "1": 1, "x": 0}
        for cycle in range(limit):
            for gate in gates:
                value[gate.output] = gate.result(value)
            if not value[reset]:
                return cycle
            value |= {net: self.flip_flops[net].next(value) for net in flip_flops}
        return limit

    def _cone(self, reset: _Net) -> tuple[list[_Net], list[_Gate]]:
        """Return the fan-in cone of ``reset``: flip-flops, and gates in order of evaluation."""
        flip_flops: dict[_Net, None] = {}
        gates: dict[_Net, _Gate] = {}
        stack: list[tuple[_Net, bool]] = [(reset, False)]
        seen: set[_Net] = set()
        while stack:
            net, is_done = stack.pop()
            if is_done:
                gates[net] = self.gates[net]
            elif net not in seen:
                seen.add(net)
                if net in self.flip_flops:
                    flip_flops[net] = None
                    made = self.flip_flops[net]
                    stack = [(need, False) for need in (made.d, made.enable, made.reset)] + stack
                elif net in self.gates:
                    stack.append((net, True))
                    stack += [(need, False) for need in self.gates[net].inputs]
        return list(flip_flops), list(gates.values())
