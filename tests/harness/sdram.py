"""The SDRAM controller with a chip model at its pins, under random requests, pauses and stalls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Value
from amaranth.sim import Simulator

from harness.assign import assign
from spikeloom.hdl.sdram.controller import SdramController
from spikeloom.sim.sdram.chips import BOARDS, SdramChip
from spikeloom.sim.sdram.commands import BURST, SdramCommand
from spikeloom.sim.sdram.device import SdramDevice, SdramPins
from spikeloom.sim.sdram.parameters import SdramParameters

MICROSECOND = 10**6
"""In picoseconds."""


def quick(chip: SdramChip, **changes: int) -> SdramChip:
    """``chip`` with a power-up time of one microsecond instead of 200."""
    return replace(chip, power_up=MICROSECOND, **changes)


ULX3S = SdramParameters(chip=quick(BOARDS["ulx3s"]), clock_hz=120_000_000, more_column_bits=1)
COLORLIGHT = SdramParameters(chip=quick(BOARDS["colorlight-5a75b"]), clock_hz=100_000_000, masks=False)


@dataclass
class Request:
    """``data`` and ``keep``, one integer per burst, are empty for a read."""

    address: int
    bursts: int
    data: list[int] = field(default_factory=list)
    keep: list[int] = field(default_factory=list)


@dataclass
class SdramRun:
    """The result of a run: the words of each read in order, and the cycle and pins of every command except NOP."""

    words: list[int]
    cycles_of_words: list[int]
    commands: list[tuple[int, SdramPins]]
    device: SdramDevice
    cycles: int

    def of(self, *kinds: SdramCommand) -> list[int]:
        """The cycles of commands of some kinds."""
        return [cycle for cycle, pins in self.commands if pins.command in kinds]


class ChipAtPins:
    """Connects ``device`` to the pins of a controller, one edge per `step`."""

    def __init__(self, pins: Any, device: SdramDevice) -> None:
        names = ["command", "bank", "address", "data_o", "data_enable"]
        if len(Value.cast(pins.mask)):
            names.append("mask")
        signals = [Value.cast(getattr(pins, name)) for name in names]
        self.levels = Cat(signals)  #: the values that must be sampled at each edge
        self._fields = [(name, len(signal)) for name, signal in zip(names, signals, strict=True)]
        self._device = device
        self._noise = 0x5A5A5A5A

    def step(self, levels: int) -> tuple[SdramPins, int]:
        """The pins at an edge, and what the data pins hold until the next one: changing values if they are not
        driven."""
        found = {}
        for name, width in self._fields:
            found[name] = levels & (1 << width) - 1
            levels >>= width
        data = found["data_o"] if found["data_enable"] else None
        pins = SdramPins(found["command"], found["bank"], found["address"], data, found.get("mask", 0))
        word = self._device.step(pins)
        self._noise = self._noise * 1103515245 + 12345 & 0xFFFFFFFF
        return pins, self._noise & (1 << self._device.chip.width) - 1 if word is None else word


class Offered:
    """A stream that is offered ``payloads`` one by one, each after a random pause."""

    def __init__(self, port: Any, payloads: list[int], rng: np.random.Generator, idle: float) -> None:
        self.port, self._rng, self._idle = port, rng, idle
        self._payloads = deque(payloads)
        self._valid = False

    def levels(self) -> list[tuple[Any, int]]:
        """The values to assign before an edge."""
        if not self._valid and self._payloads and self._rng.random() >= self._idle:
            self._valid = True
        return [(self.port.valid, self._valid), (self.port.payload, self._payloads[0] if self._valid else 0)]

    def edge(self, ready: int) -> None:
        """An edge at which the port was ``ready``."""
        if self._valid and ready:
            self._payloads.popleft()
            self._valid = False


def packed(layout: Any, **values: int) -> int:
    """The bits of a structure."""
    return sum(value << layout[name].offset for name, value in values.items())


def run_controller(
    parameters: SdramParameters,
    requests: list[Request],
    rng: np.random.Generator,
    *,
    idle: float = 0.0,
    stall: float = 0.0,
    long_stall: int = 0,
    controller: Any = None,
    chip: SdramChip | None = None,
    device: SdramDevice | None = None,
    timeout: int = 100_000,
    restarts: tuple[int, ...] = (),
) -> SdramRun:
    """Send ``requests``, and end when every word has been read or written.

    ``idle`` is the probability of a pause in each cycle before a request or a burst to write, ``stall`` that a word is
    not taken; once, after half of the words, no word is taken for ``long_stall`` cycles. The chip is initialised again
    from the cycles ``restarts`` on.
    """
    dut = controller or SdramController(parameters)
    chip = chip or parameters.chip
    device = device or SdramDevice(chip, chip.timing(parameters.clock_hz))
    reads = sum(request.bursts for request in requests if not request.data)
    written = sum(len(request.data) for request in requests)
    layout = dut.requests.payload.shape()
    asked = [
        packed(layout, address=request.address, count=request.bursts - 1, write=int(bool(request.data)))
        for request in requests
    ]
    layout = dut.writes.payload.shape()
    bursts = [
        packed(layout, data=data, keep=request.keep[number] if request.keep else 0)
        for request in requests
        for number, data in enumerate(request.data)
    ]
    run = SdramRun([], [], [], device, 0)
    offered = [Offered(dut.requests, asked, rng, idle), Offered(dut.writes, bursts, rng, idle)]
    at_pins = ChipAtPins(dut.pins, device)
    word_bits = len(Value.cast(dut.words.payload))
    sampled = Cat(dut.requests.ready, dut.writes.ready, dut.words.valid, dut.words.payload, at_pins.levels)

    async def clock(ctx) -> None:
        # Words take `read_delay` more cycles on their way over the board.
        on_board, waiting = deque([0] * (parameters.read_delay + 1)), 0
        # The last word of a WRITE leaves a cycle after its command.
        more = 4
        while more:
            assert run.cycles < timeout, "the controller must execute every request"
            if long_stall and not waiting and len(run.words) == reads // 2:
                waiting = run.cycles + long_stall
            ready = run.cycles >= waiting and rng.random() >= stall
            assign(
                ctx,
                [
                    *offered[0].levels(),
                    *offered[1].levels(),
                    (dut.words.ready, ready),
                    (dut.pins.data_i, on_board.popleft()),
                ],
            )
            if run.cycles in restarts:
                ctx.set(dut.restart, 1)
            _, _, bits = await ctx.tick().sample(sampled)
            if not ctx.get(dut.ready):
                ctx.set(dut.restart, 0)
            offered[0].edge(bits & 1)
            offered[1].edge(bits >> 1 & 1)
            if bits >> 2 & 1 and ready:
                run.words.append(bits >> 3 & (1 << word_bits) - 1)
                run.cycles_of_words.append(run.cycles)
            pins, data = at_pins.step(bits >> 3 + word_bits)
            on_board.append(data)
            if pins.command != SdramCommand.NOP:
                run.commands.append((run.cycles, pins))
            run.cycles += 1
            if len(run.words) == reads and device.counts[SdramCommand.WRITE] == written:
                more -= 1

    simulator = Simulator(dut)
    simulator.add_clock(1 / parameters.clock_hz)
    simulator.add_testbench(clock)
    simulator.run()
    return run


def _execute(parameters: SdramParameters, requests: list[Request]) -> tuple[list[int], dict[int, int]]:
    """The words of the reads, and the memory after all requests, by a memory of bursts that initially holds 0."""
    memory: dict[int, int] = {}
    words = []
    for request in requests:
        for number in range(request.bursts):
            address = (request.address + number) % (1 << parameters.address_bits)
            if not request.data:
                words.append(memory.get(address, 0))
                continue
            bits = request.keep[number] if request.keep else 0
            keep = sum(0xFF << 8 * byte for byte in range(parameters.burst_bytes) if bits >> byte & 1)
            memory[address] = memory.get(address, 0) & keep | request.data[number] & ~keep
    return words, memory


def expected_words(parameters: SdramParameters, requests: list[Request]) -> list[int]:
    """The words of the reads; those never written are 0."""
    return _execute(parameters, requests)[0]


def keys_of(parameters: SdramParameters, address: int) -> list[tuple[int, int, int]]:
    """Bank, row and column, in the largest chip, of the words of a burst."""
    (segment,) = parameters.segments(address, 1)
    row_bits, column_bits = parameters.chip.row_bits, parameters.chip.column_bits
    more = segment.row >> row_bits
    row = segment.row & (1 << row_bits) - 1 | more >> parameters.more_column_bits << row_bits
    column = (more & (1 << parameters.more_column_bits) - 1) << column_bits | segment.column * BURST
    return [(segment.bank, row, column + word) for word in range(BURST)]


def stored(
    parameters: SdramParameters, device: SdramDevice | None = None, *, requests: list[Request] | None = None
) -> dict[tuple[int, int, int], int]:
    """The nonzero words in a chip of the largest size, or in the memory after ``requests``."""
    if device is not None:
        return {key: word for key, word in device.words.items() if word}
    width = parameters.chip.width
    found = {}
    for address, burst in _execute(parameters, requests or [])[1].items():
        for number, key in enumerate(keys_of(parameters, address)):
            if word := burst >> width * number & (1 << width) - 1:
                found[key] = word
    return found


def random_requests(
    rng: np.random.Generator, parameters: SdramParameters, count: int, *, most: int = 20, masks: bool | None = None
) -> list[Request]:
    """Reads and writes that meet repeatedly in a few places, including ends of rows and the last address."""
    columns = 1 << parameters.column_bits
    last = 1 << parameters.address_bits
    places = [0, columns - 3, columns * 5 + 7, last - 5, last // 2 + columns - 2, *rng.integers(last, size=3).tolist()]
    requests = []
    for _ in range(count):
        address = (int(rng.choice(places)) + int(rng.integers(-4, 5))) % last
        bursts = int(rng.integers(1, most + 1)) if rng.random() < 0.7 else int(rng.integers(1, 4))
        if rng.random() < 0.5:
            requests.append(Request(address, bursts))
            continue
        data = [int.from_bytes(rng.bytes(parameters.burst_bytes), "little") for _ in range(bursts)]
        keep = []
        if parameters.masks if masks is None else masks:
            keep = [int(rng.integers(1 << parameters.burst_bytes)) if rng.random() < 0.5 else 0 for _ in range(bursts)]
        requests.append(Request(address, bursts, data, keep))
    return requests
