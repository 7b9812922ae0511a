"""Memories of a LIF core, and the number of RAM blocks that each takes on an FPGA.

On ECP5, `spikeloom.hdl.tech.block_ram` maps them to block RAMs itself, so that the count is exact. It does so on iCE40
for memories that are read and written at the same time: each row holds one word or 16 bits of it. For the others,
Yosys chooses the block shape with the fewest blocks, and builds small memories from flip-flops or LUT RAM: on iCE40
those with at most 64 bits per block, on Gowin those whose LUT RAM costs less than 128 per block. A memory with byte
enables is cut at its bytes, except that an iCE40 block of width 16 has bit enables.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["Array", "arrays", "block_rams", "lut_ram_cells", "single_port_rams"]

_SHAPES = {
    "ecp5": ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
    "gowin": ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
    "ice40": ((16, 256), (8, 512), (4, 1024), (2, 2048)),
}
"""Shapes of a block RAM, the widest first: bits per word, and words."""

_LEAST_BITS_ICE40 = 64
_GOWIN_BLOCK_COST = 128


@dataclass(frozen=True, kw_only=True)
class Array:
    """Memory of the core; ``kind`` is ``block``, ``distributed`` or ``single-port``; ``bytes_written`` one by one."""

    name: str
    width: int
    depth: int
    bytes_written: bool = False
    kind: str = "block"


def arrays(core: CoreParameters) -> Iterator[Array]:
    """Yield all memories of the core, those of a bank of lanes once per bank, without weights in SDRAM.

    If the core adds several words per cycle, weights and accumulators are divided among as many memories.
    """
    columns = core.words_per_cycle
    for memory in core.memories.values():
        if memory is core.sdram_memory:
            continue
        kind = core.weight_memory if memory.name == "weights" else "block"
        banks = core.lane_banks if memory.name in ("weights", "neurons") else 1
        parts, depth = (columns, memory.depth // columns) if memory.name == "weights" else (1, memory.depth)
        array = Array(name=memory.name, width=memory.width // banks, depth=depth, bytes_written=True, kind=kind)
        yield from itertools.repeat(array, banks * parts)
    touched = core.words if columns == 1 else (1 << bits_for(core.words)) // columns
    for bank in range(2):
        array = Array(name=f"touched {bank}", width=1, depth=touched, kind="block" if columns == 1 else "distributed")
        yield from itertools.repeat(array, columns)
    width, depth = core.bank_lanes * core.accumulator_width, (2 << bits_for(core.words)) // columns
    states = core.bank_lanes * core.state_layout.width
    for _ in range(core.lane_banks):
        for use in ("adding", "sweeping"):
            array = Array(name=f"accumulators, {use}", width=width, depth=depth, kind=core.accumulator_memory)
            yield from itertools.repeat(array, columns)
        yield Array(name="states", width=states, depth=core.words, kind=core.state_memory)
    group = min(8, core.lanes)
    groups = core.lanes // group
    value = group * core.sent_width * (core.readout or core.value_width > 0)
    width = bits_for(core.words) + groups * (2 + group + value)
    yield Array(name="spikes", width=width, depth=core.words, kind=core.state_memory)


def block_rams(array: Array, family: str) -> int:
    """Return the number of block RAMs of ``family`` for the memory."""
    if array.kind == "distributed" or (array.kind == "single-port" and family == "ice40"):
        return 0
    if family == "ice40" and not array.bytes_written:
        rows = -(-array.width // 16) * -(-array.depth // 256)
        return rows if array.width * array.depth > _LEAST_BITS_ICE40 * rows else 0
    counts = [
        (_columns(array, bits, family) * -(-array.depth // words), bits, words) for bits, words in _SHAPES[family]
    ]
    if family == "ecp5":
        deep = [count for count, _, words in counts if array.depth <= words]
        return deep[0] if deep else counts[-1][0]
    fewest = min(count for count, _, _ in counts)
    if family == "ice40" and array.width * array.depth <= _LEAST_BITS_ICE40 * fewest:
        return 0
    if family == "gowin" and _gowin_lut_ram_cost(array) < _GOWIN_BLOCK_COST * fewest:
        return 0
    return fewest


def _columns(array: Array, bits: int, family: str) -> int:
    """Return the number of blocks side by side, with ``bits`` bits of a word each."""
    if not array.bytes_written or (family == "ice40" and bits == 16):
        return -(-array.width // bits)
    planes, last = -(-array.width // 8), (array.width - 1) % 8 + 1
    # A block of 9, 18 or 36 bits holds one, two or four bytes, each with a parity bit.
    if bits >= 8:
        return -(-planes // (bits // 8))
    return (planes - 1) * (8 // bits) + -(-last // bits)


def lut_ram_cells(width: int, depth: int) -> int:
    """Return the number of LUT RAM memories of 16 words of 4 bits."""
    return -(-width // 4) * -(-depth // 16)


def _gowin_lut_ram_cost(array: Array) -> float:
    rows = -(-array.depth // 16)
    return 4 * lut_ram_cells(array.width, array.depth) + 2 / 3 * array.width * (rows - 1)


def single_port_rams(array: Array) -> int:
    """Return the number of single-port RAMs of 16,384 words of 16 bits on an iCE40 UP5K."""
    return -(-array.width // 16) * -(-array.depth // 16384) if array.kind == "single-port" else 0
