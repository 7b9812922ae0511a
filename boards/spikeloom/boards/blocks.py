"""The blocks whose size and speed are kept in ``qor/``, with the bounds that they have to hold."""

from spikeloom.boards.qor import Block
from spikeloom.hdl.engine import LifEngine
from spikeloom.sim.core import CoreParameters

__all__ = ["BLOCKS"]


def _lif_core(lanes: int) -> LifEngine:
    """256 plain LIF neurons with 256 axons each, 8-bit weights, two accumulator banks."""
    return LifEngine(
        CoreParameters(
            lanes=lanes,
            neurons=256,
            axons=256,
            weight_words=256 * 256 // lanes,
            populations=4,
            weight_width=8,
            v_width=16,
            accumulator_width=16,
        )
    )


BLOCKS = (
    Block(
        name="lif-core",
        variant="1-lane",
        make=lambda: _lif_core(1),
        maximum_lut=650,
        minimum_fmax_mhz=140,
    ),
    Block(
        name="lif-core",
        variant="8-lanes",
        make=lambda: _lif_core(8),
        maximum_lut=2400,
        minimum_fmax_mhz=140,
    ),
    Block(
        name="lif-core",
        variant="64-lanes",
        make=lambda: _lif_core(64),
        maximum_lut=64 * 200,
        minimum_fmax_mhz=110,
    ),
)
