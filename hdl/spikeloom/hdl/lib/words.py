"""Words of memories as Amaranth sees them."""

from amaranth.hdl import Shape
from amaranth.lib import data

from spikeloom.sim.lib.words import WordLayout

__all__ = ["struct_layout"]


def struct_layout(layout: WordLayout) -> data.StructLayout:
    """The Amaranth view of a word; fields without width are left out."""
    return data.StructLayout({f.name: Shape(f.width, f.signed) for f in layout.fields if f.width})
