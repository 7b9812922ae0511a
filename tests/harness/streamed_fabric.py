"""A small fabric whose weights lie in SDRAM, for compiled simulations: tests that share it compile it once."""

import dataclasses
import functools
from pathlib import Path

from harness.compiled import BUILD
from harness.cores import NARROW_64
from harness.weight_memory import BUSY
from spikeloom.hdl.top.fabric import Tiles
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.simulators.build import compile_design

STREAMED = dataclasses.replace(
    NARROW_64,
    lanes=4,
    neurons=64,
    axons=256,
    weight_words=1 << 20,
    v_width=16,
    accumulator_width=20,
    beta_fraction=14,
    weight_memory="sdram",
    read_back=True,
)
FABRIC = FabricConfig(name="streamed", core=STREAMED, sdram=BUSY)


@functools.cache
def streamed_library() -> Path:
    return compile_design(Tiles(FABRIC), BUILD).library
