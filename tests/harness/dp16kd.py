"""Simulation model of the ECP5 block RAM DP16KD, as `spikeloom.hdl.tech.block_ram` uses it.

Write through port A, read through port B and its output register; 36 bits wide, both ports carry half of each word.
"""

from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal, Value
from amaranth.lib.memory import Memory

from spikeloom.hdl.tech import block_ram

__all__ = ["simulated_block_ram"]

_UNUSED = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}
"""For each width of a word, the number of lowest address pins, which are not part of its address."""


def simulated_block_ram(monkeypatch) -> None:
    """Let designs elaborated for an ECP5 from now on be simulated."""
    monkeypatch.setattr(block_ram, "Instance", _BlockRam)


class _BlockRam(Elaboratable):
    """An instance of DP16KD, with its parameters and ports as Amaranth's ``Instance`` takes them."""

    def __init__(self, kind: str, **given: Any) -> None:
        assert kind == "DP16KD"
        self._given = given

    def _pins(self, name: str, count: int) -> Value:
        return Cat(self._given[f"{name}{pin}"] for pin in range(count))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given = self._given
        width = given["p_DATA_WIDTH_A"]
        assert width == given["p_DATA_WIDTH_B"]
        assert given["p_REGMODE_B"] == "OUTREG"
        unused = _UNUSED[width]
        m.submodules.memory = memory = Memory(shape=width, depth=1 << 14 - unused, init=_held(given, width))
        write = memory.write_port(granularity=9 if width >= 18 else None)
        read = memory.read_port(domain="comb")
        enable = Value.cast(given["i_WEA"]) & given["i_CEA"]
        read_word, output = Signal(width), Signal(width)
        m.d.comb += [
            write.addr.eq(self._pins("i_ADA", 14)[unused:]),
            write.data.eq(Cat(self._pins("i_DIA", 18), self._pins("i_DIB", 18))),
            write.en.eq(
                self._pins("i_ADA", len(write.en)) & enable.replicate(len(write.en)) if width >= 18 else enable
            ),
            read.addr.eq(self._pins("i_ADB", 14)[unused:]),
        ]
        with m.If(given["i_CEB"]):
            m.d.sync += read_word.eq(read.data)
        with m.If(Value.cast(given["i_CEB"]) & given["i_OCEB"]):
            m.d.sync += output.eq(read_word)
        halves = ("o_DOA", "o_DOB") if width == 36 else ("o_DOB",)
        m.d.comb += Cat(self._pins(half, 18) for half in halves).eq(output)
        return m


def _held(given: dict[str, Any], width: int) -> list[int]:
    """The words given by ``INITVAL_00`` to ``INITVAL_3F``: each holds 16 times 18 bits, two bytes of nine, 20 bits
    apart."""
    octets = []
    for row in range(64):
        value = given[f"p_INITVAL_{row:02X}"].value if f"p_INITVAL_{row:02X}" in given else 0
        octets += [value >> 20 * place + 9 * half & 0x1FF for place in range(16) for half in range(2)]
    if width >= 9:
        count = width // 9
        return [
            sum(octet << 9 * place for place, octet in enumerate(octets[first : first + count]))
            for first in range(0, len(octets), count)
        ]
    return [octet >> shift & (1 << width) - 1 for octet in octets for shift in range(0, 8, width)]
