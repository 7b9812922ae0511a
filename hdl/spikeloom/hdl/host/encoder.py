"""The encoder of the host bridge: levels of an image in, spikes of many steps out; equal to
`spikeloom.sim.host.encoder`.

::

    i ──▶ code, when ──▶ two images ──▶ s1 ──▶ s2 ──▶ compare ──▶ o
                          (one comes, one is sent)      ▲
                                             ShiftRegister

One pixel a cycle is looked at, whether it spikes or not, and a TICK takes a cycle: a sample of ``T`` steps of ``n``
pixels takes ``T (n + 1)`` cycles and a few. Meanwhile the next image comes in. A pixel is wiped as it is looked at for
the last time. With mode 0 what comes goes, in the same cycle.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.lfsr import ShiftRegister
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.host.encoder import EncoderMode, EncoderParameters
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.lib.words import bits_for

__all__ = ["SpikeEncoder", "event_layout"]


def event_layout(axon_width: int) -> data.StructLayout:
    """What the host says: a spike of ``axon``, or a TICK."""
    return data.StructLayout({"tick": 1, "last": 1, "axon": axon_width})


class SpikeEncoder(wiring.Component):
    """Stands between what the host says and the fabric. A reset empties it, which takes ``2 * pixels`` cycles in which
    no image is taken.

    Parameters
    ----------
    parameters
        What is built.
    axon_width
        Of an event.

    Members
    -------
    i : Stream(event), in
    o : Stream(event), out
        Events. What is offered at ``o`` stays.
    mode : Signal(EncoderMode), in
    stride : Signal(8), in
    pixels, steps : Signal(16), in
    advance : Signal(24), in
    seed : Signal(32), in
        The registers, which change only while nothing is under way; ``pixels`` and ``steps`` are less one.
    """

    def __init__(self, parameters: EncoderParameters, axon_width: int) -> None:
        if axon_width < bits_for(parameters.pixels):
            raise ValueError(
                f"pixels must be at most {1 << axon_width}, one an axon of {axon_width} bits, not {parameters.pixels}"
            )
        self.parameters = parameters
        self.axon_width = axon_width
        event = event_layout(axon_width)
        super().__init__(
            {
                "i": In(stream.Signature(event)),
                "o": Out(stream.Signature(event)),
                "mode": In(EncoderMode),
                "stride": In(8),
                "pixels": In(16),
                "steps": In(16),
                "advance": In(24),
                "seed": In(32, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        bits, width = parameters.bits, parameters.number_width
        address_bits = bits_for(parameters.pixels)
        m.submodules.images = images = BlockMemory(1 + width, 2 * parameters.pixels)
        m.submodules.register = register = ShiftRegister(Lfsr(width=parameters.lfsr_width), steps=bits)
        is_rate = Signal()
        m.d.comb += is_rate.eq(self.mode == EncoderMode.RATE)

        # After a reset whatever the memory holds is no image.
        wiping = Signal(init=1)
        wiped = Signal(range(2 * parameters.pixels))
        with m.If(wiping):
            m.d.sync += [wiped.eq(wiped + 1), wiping.eq(~wiped.all())]

        # The image that comes: `full` when all of it is there.
        bank = Signal()  # of the image that is sent
        full = Signal()
        code = Signal(bits, init=(1 << bits) - 1)
        when = Signal(bits + width)
        take, start, clean = Signal(), Signal(), Signal()
        with m.If(take & self.i.payload.tick):
            m.d.sync += [code.eq(code - self.stride), when.eq(when + self.advance), full.eq(self.i.payload.last)]
        with m.If(start):
            m.d.sync += [full.eq(0), code.eq(code.init), when.eq(0), bank.eq(~bank)]

        # The image that is sent: first the pixels of a step, then its TICK. `move` goes on by one.
        slot = data.StructLayout({"valid": 1, "tick": 1, "last": 1, "pixel": address_bits})
        issued = Signal(slot)
        first, second = Signal(slot), Signal(slot)
        issuing = Signal()
        pixel, step = Signal(address_bits), Signal(16)
        move, at_tick = Signal(), Signal()
        m.d.comb += [
            issued.valid.eq(issuing),
            issued.tick.eq(at_tick),
            issued.last.eq(step == self.steps),
            issued.pixel.eq(pixel),
            start.eq(full & ~issuing & ~first.valid & ~second.valid),
        ]
        with m.If(start):
            m.d.sync += [issuing.eq(1), pixel.eq(0), step.eq(0), at_tick.eq(0)]
        with m.Elif(issuing & move):
            m.d.sync += [pixel.eq(pixel + 1), at_tick.eq(pixel == self.pixels[:address_bits])]
            with m.If(at_tick):
                m.d.sync += [pixel.eq(0), at_tick.eq(0), step.eq(step + 1), issuing.eq(~issued.last)]
        with m.If(move):
            m.d.sync += [first.eq(issued), second.eq(first)]

        # What a pixel keeps comes with `second`.
        idle = Signal()
        present = Signal(16)  # the step of `second`
        kept, named = images.data[:width], images.data[width]
        fires = Signal()
        m.d.comb += [
            images.address.eq(Cat(pixel, bank)),
            images.enable.eq(move),
            images.output_enable.eq(move),
            idle.eq(~issuing & ~first.valid & ~second.valid),
            register.seed.eq(self.seed),
            register.restart.eq(idle),
            register.enable.eq(move & second.valid & ~second.tick),
            fires.eq(named & Mux(is_rate, kept >= register.state[:bits], kept == present)),
            clean.eq(move & second.valid & second.last & ~second.tick),
        ]
        with m.If(idle):
            m.d.sync += present.eq(0)
        with m.Elif(move & second.valid & second.tick):
            m.d.sync += present.eq(present + 1)

        # One write a cycle: wiping goes before what comes.
        arriving = self.i.payload
        m.d.comb += [
            images.write_enable.eq(wiping | clean | (take & ~arriving.tick & (arriving.axon >> address_bits == 0))),
            images.write_address.eq(Cat(arriving.axon[:address_bits], ~bank)),
            images.write_data.eq(Cat(Mux(is_rate, code, when[bits:]), 1)),
        ]
        with m.If(clean):
            m.d.comb += [images.write_address.eq(Cat(second.pixel, bank)), images.write_data.eq(0)]
        with m.If(wiping):
            m.d.comb += [images.write_address.eq(wiped), images.write_data.eq(0)]

        event = Signal(event_layout(self.axon_width), reset_less=True)
        offered = Signal()
        m.d.comb += move.eq(~offered | self.o.ready)
        with m.If(move):
            m.d.sync += [
                offered.eq(second.valid & (second.tick | fires)),
                event.tick.eq(second.tick),
                event.last.eq(second.tick & second.last),
                event.axon.eq(second.pixel),
            ]
        with m.If(self.mode == EncoderMode.OFF):
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(offered),
                self.o.payload.eq(event),
                self.i.ready.eq(~wiping & ~full & ~clean),
                take.eq(self.i.valid & self.i.ready),
            ]
        return m
