"""The named fabrics."""

from typing import Any

from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.features import WITHOUT_FEATURES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.noc.mesh import MeshParameters

__all__ = ["FABRICS"]

_INTEGRATE_AND_FIRE: dict[str, Any] = {"multiplier": False, "per_neuron": frozenset(), **WITHOUT_FEATURES}

_TRANSFORMER_CORE = CoreParameters(
    lanes=16,
    neurons=2048,
    axons=1024,
    weight_words=1024,
    coordinate_width=3,
    geometries=4,
    shifts=(3,),
    **{**_INTEGRATE_AND_FIRE, "bias": True, "readout": True, "per_neuron": frozenset({"bias"})},
)
# Four heads of 16 features are the 64 features of a token; all 8 rows at once take the fewest cycles.
_TRANSFORMER_ATTENTION = AttentionTileParameters(attention=AttentionParameters(tokens=8, features=16, heads=4, rows=8))

FABRICS = {
    fabric.name: fabric
    for fabric in (
        # Fits an iCE40 UP5K together with the link. Wide words are expensive: a block RAM has 256 words of 16 bits.
        FabricConfig(
            name="small",
            core=CoreParameters(
                lanes=1,
                neurons=64,
                axons=128,
                weight_words=2560,
                populations=4,
                refractory_width=3,
            ),
        ),
        # Takes a quarter of an ECP5-85F's block RAM: 256 x 256 neurons with room to spare.
        FabricConfig(
            name="medium",
            core=CoreParameters(
                lanes=8,
                neurons=256,
                axons=1024,
                weight_words=16384,
                populations=16,
                v_width=20,
                accumulator_width=20,
                refractory_width=4,
            ),
        ),
        # Takes half of an ECP5-85F's block RAM: 784-256-10, where the row of a spike takes four cycles. Leak, bias,
        # reset to a value and readout of membranes are left out, since each costs logic in all of the 64 lanes.
        FabricConfig(
            name="wide",
            core=CoreParameters(
                lanes=64,
                neurons=512,
                axons=2048,
                weight_words=4096,
                accumulator_memory="distributed",
                state_memory="distributed",
                **_INTEGRATE_AND_FIRE,
            ),
        ),
        # For convolutions and poolings of up to 32 x 32 positions, 16 channels per word: many neurons, few weights.
        FabricConfig(
            name="spatial",
            core=CoreParameters(
                lanes=16,
                neurons=8192,
                axons=64,
                weight_words=2048,
                coordinate_width=5,
                geometries=4,
                **_INTEGRATE_AND_FIRE,
            ),
        ),
        # The digits transformer: 8 tokens of 64 features in four heads, four cores around one attention tile.
        FabricConfig(
            name="transformer",
            tiles=(None, *[_TRANSFORMER_CORE] * 2, _TRANSFORMER_ATTENTION, *[_TRANSFORMER_CORE] * 2),
            mesh=MeshParameters(columns=3, rows=2),
        ),
    )
}
"""Fabrics by name."""
