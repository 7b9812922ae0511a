"""The small fabric with an encoder and a readout, as the digits need them: one design for all tests that want them."""

from spikeloom.sim.encoder import EncoderParameters
from spikeloom.sim.fabric import FABRICS, FabricConfig
from spikeloom.sim.readout import ReadoutParameters

__all__ = ["UNITS"]

UNITS = FabricConfig(
    name="units",
    core=FABRICS["small"].core,
    encoder=EncoderParameters(pixels=64, bits=4, steps=8, lfsr_width=4),
    readout=ReadoutParameters(outputs=16),
)
