"""The shift registers and the attention unit in Verilog, in several shapes."""

import json

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.attention.unit import AttentionUnit
from spikeloom.hdl.lib.lfsr import ShiftRegister
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.lib.lfsr import Lfsr

REGISTERS = [(3, 1, 1), (8, 200, 8), (10, 5, 3), (31, 12345, 12), (32, 0xDEADBEEF, 16)]
"""Width, seed and steps of each register."""


class Registers(wiring.Component):
    """All shift registers in one design, so that one binary is enough."""

    def __init__(self):
        super().__init__(
            {
                f"{name}_{number}": direction(bits or width)
                for number, (width, _, _) in enumerate(REGISTERS)
                for name, direction, bits in (
                    ("enable", In, 1),
                    ("restart", In, 1),
                    ("seed", In, 0),
                    ("state", Out, 0),
                )
            }
        )

    def elaborate(self, platform):
        m = Module()
        for number, (width, seed, steps) in enumerate(REGISTERS):
            register = ShiftRegister(Lfsr(width=width, seed=seed), steps=steps)
            m.submodules[f"register_{number}"] = register
            for name in ("enable", "restart", "seed"):
                m.d.comb += getattr(register, name).eq(getattr(self, f"{name}_{number}"))
            m.d.comb += getattr(self, f"state_{number}").eq(register.state)
        return m


def test_lfsr(verilog, run_bench):
    variables = {"REGISTERS": json.dumps(REGISTERS)}
    run_bench(verilog(Registers(), "registers"), "registers", "lfsr_bench", tests=len(REGISTERS), environment=variables)


SHAPES = [
    # All rows at once; the tiles of `test_attention_fabric.py` and of the transformer have them too.
    pytest.param({"tokens": 8, "features": 8, "heads": 2, "rows": 8}, marks=pytest.mark.slow),
    {"tokens": 16, "features": 4, "heads": 1, "rows": 4},
    {"tokens": 4, "features": 16, "heads": 3, "rows": 1},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_unit(verilog, run_bench, shape):
    design = AttentionUnit(AttentionParameters(**shape))
    variables = {"SHAPE": json.dumps(shape)}
    run_bench(verilog(design, "attention"), "attention", "attention_bench", tests=6, environment=variables)
