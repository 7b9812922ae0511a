"""Spike encoder of the host bridge: converts the levels of an image into the spikes of many steps.

`spikeloom.sim.host.encoder` specifies it.

::

                ┌──────────────── when, step ─────────────────┐
    i ──▶ code ─┴▶ two images ──▶ s1 ──▶ s2 ──▶ compare ──────┴▶ o
                   (one comes, one is sent)      ▲
                                           ShiftRegister

Rate: each pixel takes one cycle per step, whether it spikes or not, and each TICK one cycle. A sample of ``T`` steps
with ``n`` pixels takes ``T (n + 1)`` cycles plus a constant, during which the next image is received. A pixel is erased
when it is read for the last time.

Latency: the pixels arrive in the order of their spikes, so none is stored. A named pixel takes two cycles, as many as
the link takes for its byte, and each TICK one cycle, whatever the size of the image is.

In mode 0 the input is passed through combinationally.

With ``hold``, a pixel can keep the value of a spike instead, which is then sent in each step.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.lfsr import ShiftRegister
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.host.encoder import EncoderMode, EncoderParameters
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.lib.words import bits_for

__all__ = ["SpikeEncoder", "event_layout"]


def event_layout(axon_width: int, value_width: int = 0) -> data.StructLayout:
    """An event from the host: a spike on ``axon``, or a TICK; a spike has a ``value`` if ``value_width`` is not 0."""
    value = {"value": signed(value_width)} if value_width else {}
    return data.StructLayout({"tick": 1, "last": 1, "axon": axon_width, **value})


class _Images(IntEnum):
    """The modes of an encoder without ``hold``."""

    OFF = EncoderMode.OFF
    RATE = EncoderMode.RATE
    LATENCY = EncoderMode.LATENCY


# Netlists contain the name of the enumeration, so that of an encoder without `hold` must not change.
_Images.__name__ = _Images.__qualname__ = EncoderMode.__name__


class SpikeEncoder(wiring.Component):
    """Encodes the events of the host for the fabric. A reset erases both images, which takes ``2 * pixels`` cycles; no
    image is accepted meanwhile.

    Parameters
    ----------
    parameters
        Parameters of the encoder.
    axon_width, value_width
        Widths of the axon and of the value of an event. The spike of a pixel has the value 1.

    Members
    -------
    i : Stream(event_layout(axon_width, value_width)), in
    o : Stream(event_layout(axon_width, value_width)), out
        Events. An event offered at ``o`` is stable until it is taken.
    mode : Signal(EncoderMode), in
    stride : Signal(8), in
    pixels, steps : Signal(16), in
    advance : Signal(24), in
    seed : Signal(32), in
        The bridge's registers ``encoder_mode`` to ``encoder_seed``, which may change only while the encoder is idle.
        ``pixels`` and ``steps`` are the numbers of pixels and steps minus one.
    """

    def __init__(self, parameters: EncoderParameters, axon_width: int, value_width: int = 0) -> None:
        if axon_width < bits_for(parameters.pixels):
            raise ValueError(
                f"pixels must be at most {1 << axon_width}, one per axon of {axon_width} bits, not {parameters.pixels}"
            )
        self.parameters = parameters
        self.axon_width, self.value_width = axon_width, value_width
        event = event_layout(axon_width, value_width)
        super().__init__(
            {
                "i": In(stream.Signature(event)),
                "o": Out(stream.Signature(event)),
                "mode": In(EncoderMode if parameters.hold else _Images),
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
        bits = width = parameters.bits
        address_bits = bits_for(parameters.pixels)
        if parameters.hold:
            width = max(width, self.value_width)
        m.submodules.images = images = BlockMemory(1 + width, 2 * parameters.pixels)
        m.submodules.register = register = ShiftRegister(Lfsr(width=parameters.lfsr_width), steps=bits)
        is_late, is_held = Signal(), Signal()
        m.d.comb += is_late.eq(self.mode == EncoderMode.LATENCY)
        if parameters.hold:
            m.d.comb += is_held.eq(self.mode == EncoderMode.HOLD)

        # A reset does not clear block RAM, so the remains of an unfinished image are erased word by word.
        wiping = Signal(init=1)
        wiped = Signal(range(2 * parameters.pixels))
        with m.If(wiping):
            m.d.sync += [wiped.eq(wiped + 1), wiping.eq(~wiped.all())]

        # The image being received; `full` when it is complete. The host gives the level of a pixel by the step in
        # which it names it: each TICK lowers `code` for the pixels that follow.
        bank = Signal()  # bank of the image being sent
        full = Signal()
        code = Signal(bits, init=(1 << bits) - 1)
        take, start, clean = Signal(), Signal(), Signal()
        with m.If(take & self.i.payload.tick & ~is_late):
            m.d.sync += [code.eq(code - self.stride), full.eq(self.i.payload.last)]
        with m.If(start):
            # The two images exchange their roles, so the next one is received while this one is sent.
            m.d.sync += [full.eq(0), code.eq(code.init), bank.eq(~bank)]

        # The image being sent: the pixels of a step, then its TICK. `move` advances the whole pipeline, whose stages
        # `first` and `second` follow the two read stages of the memory.
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
            # The pipeline must be empty first: its stages still refer to the bank that `bank` selects.
            start.eq(full & ~issuing & ~first.valid & ~second.valid),
        ]
        with m.If(start):
            m.d.sync += [issuing.eq(1), pixel.eq(0), at_tick.eq(0)]
        with m.Elif(issuing & move):
            m.d.sync += [pixel.eq(pixel + 1), at_tick.eq(pixel == self.pixels[:address_bits])]
            with m.If(at_tick):
                m.d.sync += [pixel.eq(0), at_tick.eq(0), issuing.eq(~issued.last)]
                m.d.sync += step.eq(Mux(issued.last, 0, step + 1))
        with m.If(move):
            m.d.sync += [first.eq(issued), second.eq(first)]

        # The memory word of a pixel is aligned with `second`.
        idle = Signal()
        kept, named = images.data[:width], images.data[width]
        fires = Signal()
        m.d.comb += [
            images.address.eq(Cat(pixel, bank)),
            images.enable.eq(move),
            images.output_enable.eq(move),
            idle.eq(~issuing & ~first.valid & ~second.valid),
            register.seed.eq(self.seed),
            # Every image begins with the same random words, whatever was sent before.
            register.restart.eq(idle),
            register.enable.eq(move & second.valid & ~second.tick),
            fires.eq(named & (kept >= register.state[:bits])),
            clean.eq(move & second.valid & second.last & ~second.tick),
        ]
        if parameters.hold:
            # A held pixel fires in every step.
            with m.If(is_held):
                m.d.comb += fires.eq(named)

        # The memory has one write port. Erasing has priority, and `i.ready` is low during it. The image being received
        # is in the bank that is not being sent.
        arriving = self.i.payload
        # Pixels beyond the image are not stored: they would not be erased, and would appear in a later, larger image.
        is_pixel = (arriving.axon >> address_bits == 0) & (arriving.axon[:address_bits] <= self.pixels[:address_bits])
        m.d.comb += [
            images.write_enable.eq(wiping | clean | (take & ~arriving.tick & is_pixel & ~is_late)),
            images.write_address.eq(Cat(arriving.axon[:address_bits], ~bank)),
        ]
        if parameters.hold:
            number = Signal(width)
            m.d.comb += [number.eq(code), images.write_data.eq(Cat(number, 1))]
            if self.value_width:
                with m.If(is_held):
                    m.d.comb += number.eq(arriving.value)
        else:
            m.d.comb += images.write_data.eq(Cat(code, 1))
        with m.If(clean):
            m.d.comb += [images.write_address.eq(Cat(second.pixel, bank)), images.write_data.eq(0)]
        with m.If(wiping):
            m.d.comb += [images.write_address.eq(wiped), images.write_data.eq(0)]

        event = Signal(event_layout(self.axon_width, self.value_width), reset_less=True)
        offered = Signal()
        m.d.comb += move.eq(~offered | self.o.ready)
        with m.If(move):
            m.d.sync += [
                offered.eq(second.valid & (second.tick | fires)),
                event.tick.eq(second.tick),
                event.last.eq(second.tick & second.last),
                event.axon.eq(second.pixel),
            ]
            if self.value_width:
                m.d.sync += event.value.eq(1)
                if parameters.hold:
                    with m.If(is_held):
                        m.d.sync += event.value.eq(kept[: self.value_width].as_signed())

        # Latency. TICKs are sent until `step` is that of the next pixels; `settled` is registered, so that the
        # comparison is on no path from an input to an output. `closing` after the TICK of the host that ends a sample.
        when = Signal(parameters.when_width)
        settled, closing = Signal(init=1), Signal()
        with m.If(is_late & take):
            with m.If(arriving.tick):
                m.d.sync += [when.eq(when + self.advance), settled.eq(0), closing.eq(arriving.last)]
            with m.Else():
                m.d.sync += [
                    # Pixels of levels whose steps would follow the last one are dropped.
                    offered.eq(is_pixel & (when[bits:] == step)),
                    event.tick.eq(0),
                    event.axon.eq(arriving.axon),
                ]
        with m.Elif(is_late & ~settled & move):
            with m.If(closing | ((when[bits:] > step) & ~issued.last)):
                m.d.sync += [offered.eq(1), event.tick.eq(1), event.last.eq(issued.last), step.eq(step + 1)]
                with m.If(issued.last):
                    m.d.sync += [settled.eq(1), step.eq(0), when.eq(0)]
            with m.Else():
                m.d.sync += settled.eq(1)

        with m.If(self.mode == EncoderMode.OFF):
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(offered),
                self.o.payload.eq(event),
                # A pixel is taken after the one before it has left, so `o.ready` is not on a path to `i.ready`.
                self.i.ready.eq(Mux(is_late, settled & ~offered, ~wiping & ~full & ~clean)),
                take.eq(self.i.valid & self.i.ready),
            ]
        return m
