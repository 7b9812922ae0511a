"""Packets exchanged between tiles."""

from amaranth.hdl import signed
from amaranth.lib import data, enum

__all__ = ["PacketKind", "packet_layout"]


class PacketKind(enum.Enum, shape=2):
    """Meaning of a packet."""

    SPIKE = 0
    """An event for ``axon``."""
    TICK = 1
    """The source has sent all of its spikes of this step; ``last`` ends the sample."""
    ACK = 2
    """The sink has finished this step."""
    MEMBRANE = 3
    """The membrane ``value`` of neuron ``axon``, which is read out instead of spiking."""


def packet_layout(axon_width: int, value_width: int, tiles: int = 0) -> data.StructLayout:
    """Layout of a packet. ``parity`` is that of its step, ``last`` marks the last step of a sample.

    At the input of a mesh of ``tiles`` the top bits hold the destination set, which the mesh removes.
    """
    return data.StructLayout(
        {
            "kind": PacketKind,
            "parity": 1,
            "last": 1,
            "axon": axon_width,
            "value": signed(value_width),
            # Last, so that the mesh can remove it without moving any other field.
            **({"destinations": tiles} if tiles else {}),
        }
    )
