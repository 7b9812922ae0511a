"""The small fabric with an encoder and a readout for the digits: one design for all tests that need them."""

from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.readout import ReadoutParameters

__all__ = ["UNITS"]

UNITS = FabricConfig(
    name="units",
    core=FABRICS["small"].core,
    encoder=EncoderParameters(pixels=64, bits=4, steps=8, lfsr_width=4),
    readout=ReadoutParameters(outputs=16),
)
