"""The kinds of tiles that come with spikeloom; importing this module declares them."""

from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.tile import TileParameters

__all__ = ["KINDS"]

KINDS: tuple[type[TileParameters], ...] = (CoreParameters, AttentionTileParameters, AerTileParameters)
