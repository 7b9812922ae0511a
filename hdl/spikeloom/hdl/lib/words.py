"""Memory words as Amaranth layouts."""

from amaranth.hdl import Shape
from amaranth.lib import data

from spikeloom.sim.lib.words import WordLayout

__all__ = ["struct_layout"]


def struct_layout(layout: WordLayout) -> data.StructLayout:
    """The Amaranth layout of a word; fields of width 0 are left out."""
    return data.StructLayout({f.name: Shape(f.width, f.signed) for f in layout.fields if f.width})
