"""Packets: what tiles say to each other."""

from amaranth.hdl import signed
from amaranth.lib import data, enum

__all__ = ["PacketKind", "packet_layout"]


class PacketKind(enum.Enum, shape=2):
    """What a packet means."""

    SPIKE = 0
    """An event for ``axon``."""
    TICK = 1
    """The source has sent all of its spikes of this step; ``last`` ends the sample."""
    ACK = 2
    """The sink has finished this step."""
    MEMBRANE = 3
    """The membrane ``value`` of the neuron ``axon`` that is read out instead of spiking."""


def packet_layout(axon_width: int, value_width: int, tiles: int = 0) -> data.StructLayout:
    """A packet; ``parity`` is that of its step, and ``last`` says of a SPIKE too that this step ends its sample.

    What goes into a mesh of ``tiles`` has its destination set in its highest bits, which the mesh takes off.
    """
    return data.StructLayout(
        {
            "kind": PacketKind,
            "parity": 1,
            "last": 1,
            "axon": axon_width,
            "value": signed(value_width),
            **({"destinations": tiles} if tiles else {}),
        }
    )
