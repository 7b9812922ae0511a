"""A fabric: the hardware that programs are placed on, as parameters. The boards are built with the named ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.link import Identity, LinkParameters

__all__ = ["FABRICS", "FabricConfig"]


@dataclass(frozen=True, kw_only=True)
class FabricConfig:
    """A host link and one LIF core."""

    name: str = "custom"
    core: CoreParameters = field(default_factory=CoreParameters)
    link: LinkParameters = field(default_factory=LinkParameters)

    def identity(self, build_hash: bytes = bytes(16)) -> Identity:
        """What a board with this fabric answers when it is asked who it is."""
        core = self.core
        return Identity(
            lanes=core.lanes,
            neurons=core.neurons,
            axons=core.axons,
            weight_words=core.weight_words,
            weight_width=core.weight_width,
            v_width=core.v_width,
            build_hash=build_hash,
        )

    @property
    def synapses(self) -> int:
        """Weights that the fabric holds."""
        return self.core.weight_words * self.core.lanes

    @property
    def synaptic_operations_per_cycle(self) -> int:
        """Weights that the fabric adds a cycle at most."""
        return self.core.lanes


_INTEGRATE_AND_FIRE: dict[str, Any] = {
    "multiplier": False,
    "bias": False,
    "reset_value": False,
    "reset_delay": False,
    "refractory_width": 0,
    "readout": False,
    "per_neuron": frozenset(),
}

FABRICS = {
    fabric.name: fabric
    for fabric in (
        # Fits an iCE40 UP5K beside the link. Shallow words are what costs there: a block RAM has 16 bits and 256 words.
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
        # A quarter of an ECP5-85F's block RAM: 256 x 256 neurons with room to spare.
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
        # Half of an ECP5-85F's block RAM: 784-256-10 with a spike's whole row in four cycles. No leak, reset to 0 or by
        # the threshold, no bias, no membranes sent: what is not there costs nothing in any of the 64 lanes.
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
        # Convolutions and poolings of up to 32 x 32 positions and 16 channels at once: many neurons, few weights.
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
    )
}
"""Fabrics by name."""
