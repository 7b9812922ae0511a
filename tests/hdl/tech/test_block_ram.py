"""Block RAM of an ECP5: what it holds from power-up is where Yosys would put it."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from harness.networks import rng_of

from spikeloom.boards.qor.measure import ECP5_85F, run_tool
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ram import block_memory, registered_read


class Inferred(wiring.Component):
    """A memory as Yosys makes it, with its own idea of where each bit of what it holds belongs."""

    def __init__(self, width, depth, words):
        self.memory = block_memory(width, depth, words)
        address = (depth - 1).bit_length()
        super().__init__(
            {
                "write_address": In(address),
                "write_data": In(width),
                "write_enable": In(1),
                "address": In(address),
                "data": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write = self.memory.write_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            self.data.eq(registered_read(m, self.memory, self.address)),
        ]
        return m


def initial_values(folder, design):
    """The parameters of the only block RAM of a synthesised design that say what it holds."""
    (folder / "top.il").write_text(rtlil.convert(design, name="top", platform=ECP5_85F, emit_src=False))
    run_tool(
        ECP5_85F.flow, "yosys", ["-q", "-p", "read_rtlil top.il; synth_ecp5 -top top; write_json top.json"], folder
    )
    cells = json.loads((folder / "top.json").read_text())["modules"]["top"]["cells"].values()
    (block,) = (cell["parameters"] for cell in cells if cell["type"] == "DP16KD")
    return [int(block.get(f"INITVAL_{row:02X}", "0"), 2) for row in range(64)]


@pytest.mark.parametrize(("width", "address_bits"), [(36, 9), (18, 10), (9, 11), (4, 12), (2, 13), (1, 14)])
def test_block_rams_of_an_ecp5_hold_what_yosys_would_make_them_hold(request, tmp_path, width, address_bits):
    rng = rng_of(request.node.name)
    words = rng.integers(0, 1 << width, 1 << address_bits).tolist()
    ours = initial_values(tmp_path, BlockMemory(width, 1 << address_bits, words=words))
    assert ours == initial_values(tmp_path, Inferred(width, 1 << address_bits, words))
    assert len(set(ours)) > 50
