"""A design behind plain ports of fixed width, which ``harness.cc`` drives when the design is compiled to a library.

One C++ file serves all designs: this component adapts packets of any fields and widths to the fixed ports. A field that
a packet lacks reads as 0, and a field without a port is driven with 0.
"""

from amaranth.hdl import Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.sdram.crossing import SdramCrossing

__all__ = ["Harness"]

_AXON_BITS = 32
_VALUE_BITS = 32
_MOST_TILES = 64  # a destination set is one 64-bit word in C++
_FIELDS = {"kind": 2, "parity": 1, "last": 1, "axon": _AXON_BITS, "value": signed(_VALUE_BITS)}
_CONFIGURATION = {"tile": 8, "write_enable": 1, "memory": 8, "plane": 16, "index": 32, "write_data": 8}
_SDRAM = {"command": 4, "bank": 2, "address": 16, "mask": 4, "data_o": 32, "data_enable": 1}


class Harness(wiring.Component):
    """Adapter with plain ports around ``design``.

    Parameters
    ----------
    design : Component
        Any component with the packet streams ``i`` and ``o``, a ``configuration`` port and ``reset``. ``ValueError`` if
        the axons or values of its packets have more than 32 bits. If it has a port ``sdram``, it has a ``fabric`` with
        the parameters of the memory, and the controller is built in the clock domain ``sdram``.

    Members
    -------
    i_valid, o_ready : Signal, in
    i_ready, o_valid : Signal, out
    i_FIELD : Signal, in
    o_FIELD : Signal, out
        Streams, with one port per field of a packet; ``axon`` and ``value`` have 32 bits.
    i_destinations : Signal(64), in
        Destination set of a packet, one bit per tile.
    configuration_NAME : Signal, in
    configuration_read_data : Signal(8), out
        Configuration port.
    steps_done : Signal(64), out
        ``steps_done`` of the design, one bit per tile: high when a step ends in the tile. 0 if the design has none.
    reset : Signal, in
        Reset of the design.
    sdram_NAME : Signal, out
    sdram_data_i : Signal(32), in
        Pins of the chip, as `spikeloom.hdl.sdram.controller.SdramPinSignature`, if the design has a port ``sdram``.
    """

    def __init__(self, design: wiring.Component) -> None:
        self.design = design
        self.has_sdram = "sdram" in design.signature.members
        for stream in (design.i, design.o):
            for name, width in (("axon", _AXON_BITS), ("value", _VALUE_BITS)):
                found = _fields(stream).get(name, 0)
                if found > width:
                    raise ValueError(f"{name} of a packet must have at most {width} bits, not {found}")
        super().__init__(
            {
                "reset": In(1),
                "i_valid": In(1),
                "i_ready": Out(1),
                "o_valid": Out(1),
                "o_ready": In(1),
                "i_destinations": In(_MOST_TILES),
                "steps_done": Out(_MOST_TILES),
                **{f"i_{name}": In(shape) for name, shape in _FIELDS.items()},
                **{f"o_{name}": Out(shape) for name, shape in _FIELDS.items()},
                **{f"configuration_{name}": In(width) for name, width in _CONFIGURATION.items()},
                "configuration_read_data": Out(8),
                **({f"sdram_{name}": Out(width) for name, width in _SDRAM.items()} if self.has_sdram else {}),
                **({"sdram_data_i": In(32)} if self.has_sdram else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.design = design = self.design
        m.d.comb += [
            design.reset.eq(self.reset),
            design.i.valid.eq(self.i_valid),
            self.i_ready.eq(design.i.ready),
            self.o_valid.eq(design.o.valid),
            design.o.ready.eq(self.o_ready),
            self.configuration_read_data.eq(design.configuration.read_data),
        ]
        for name in _FIELDS:
            if name in _fields(design.i):
                m.d.comb += getattr(design.i.payload, name).eq(getattr(self, f"i_{name}"))
            if name in _fields(design.o):
                m.d.comb += getattr(self, f"o_{name}").eq(getattr(design.o.payload, name))
        if "destinations" in _fields(design.i):
            m.d.comb += design.i.payload.destinations.eq(self.i_destinations)
        if "steps_done" in design.signature.members:
            m.d.comb += self.steps_done.eq(design.steps_done)
        for name in _CONFIGURATION:
            # The port of a single tile does not select a tile.
            if name == "tile" and "tile" not in design.configuration.signature.members:
                continue
            m.d.comb += getattr(design.configuration, name).eq(getattr(self, f"configuration_{name}"))
        if self.has_sdram:
            self._connect_sdram(m)
        return m

    def _connect_sdram(self, m: Module) -> None:
        m.submodules.sdram = crossing = SdramCrossing(self.design.fabric.sdram)
        wiring.connect(m, self.design.sdram, crossing.port)
        m.d.comb += crossing.pins.data_i.eq(self.sdram_data_i)
        for name in _SDRAM:
            m.d.comb += getattr(self, f"sdram_{name}").eq(Value.cast(getattr(crossing.pins, name)))


def _fields(stream) -> dict[str, int]:
    """Return the widths of the fields of a packet by name."""
    layout = stream.payload.shape()
    assert isinstance(layout, data.Layout)
    return {str(name): field.width for name, field in layout}
