"""The encoder of the bridge equals its model in every event, under random pauses and stalls; and planted bugs."""

import dataclasses
import gc

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from harness.block_ram import garbage_block_ram, random_block_ram, shallow_block_ram
from harness.images import HOLDING, MODES, PARAMETERS, events_of, images_of, reference_of, settings_of
from harness.mutations import mutated
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.hdl.host import encoder as encoder_module
from spikeloom.hdl.host.encoder import SpikeEncoder
from spikeloom.sim.host.encoder import EncoderMode, EncoderModel, EncoderSettings

AXON_WIDTH = 6


def word(event):
    return (event << 2) if event >= 0 else 1 | (2 if event == -2 else 0)


def event_of(word):
    return (-2 if word & 2 else -1) if word & 1 else word >> 2


def run(rng, settings, events, module=encoder_module, **how):
    encoder = module.SpikeEncoder(PARAMETERS, AXON_WIDTH)
    ports = {name.removeprefix("encoder_"): value for name, value in settings.registers().items()}
    done = run_streams(
        Configured(encoder, ports), [encoder.i], [encoder.o], [[word(event) for event in events]], rng, **how
    )
    return [event_of(given) for given in done.words(0)], done


class Configured(Elaboratable):
    """A design whose inputs are constant."""

    def __init__(self, design, values):
        self.design, self.values = design, values

    def elaborate(self, platform):
        m = Module()
        m.submodules.design = self.design
        for name, value in self.values.items():
            m.d.comb += getattr(self.design, name).eq(int(value))
        return m


def with_strays(rng, events):
    """The same, with axons that are no pixels in between."""
    found = []
    for event in events:
        while rng.random() < 0.2:
            found.append(int(rng.integers(PARAMETERS.pixels, 1 << AXON_WIDTH)))
        found.append(event)
    return found


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_images(request, mode, stall):
    rng = rng_of(request.node.name)
    for _ in range(4):
        settings = settings_of(rng, mode)
        images = images_of(rng, settings, 5)
        events = [event for image in images for event in events_of(image, settings)]
        found, _ = run(rng, settings, events, stall=stall, idle=float(rng.choice([0, 0.4])), quiet=700)
        assert found == reference_of(images, settings)


class Changing(wiring.Component):
    """An encoder with ``later`` settings after the first ``samples``; the next images wait until these have been
    sent."""

    def __init__(self, settings, samples, later, module=encoder_module):
        self.encoder = module.SpikeEncoder(PARAMETERS, AXON_WIDTH)
        self.settings, self.samples, self.later = settings, samples, later
        event = self.encoder.i.payload.shape()
        super().__init__({"i": In(stream.Signature(event)), "o": Out(stream.Signature(event))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.design = Configured(self.encoder, {})
        taken, given = Signal(8), Signal(8)
        for side, count in ((self.i, taken), (self.o, given)):
            with m.If(side.valid & side.ready & side.payload.tick & side.payload.last):
                m.d.sync += count.eq(count + 1)
        changed = given >= self.samples
        may = (taken < self.samples) | changed
        later = self.later.registers()
        m.d.comb += [
            *(
                getattr(self.encoder, name.removeprefix("encoder_")).eq(Mux(changed, int(later[name]), int(value)))
                for name, value in self.settings.registers().items()
            ),
            self.encoder.i.payload.eq(self.i.payload),
            self.encoder.i.valid.eq(self.i.valid & may),
            self.i.ready.eq(self.encoder.i.ready & may),
        ]
        wiring.connect(m, self.encoder.o, wiring.flipped(self.o))
        return m


def changed(rng, settings, later, stray, module=encoder_module):
    """The output of an encoder whose settings change after three images, and the expected one. In the first images, two
    axons from ``stray`` on are named before each event."""
    first, second = images_of(rng, settings, 3), images_of(rng, later, 4)
    events = [event for image in first for event in events_of(image, settings)]
    if stray < PARAMETERS.pixels:
        events = [each for event in events for each in (*rng.integers(stray, PARAMETERS.pixels, 2).tolist(), event)]
    events += [event for image in second for event in events_of(image, later)]
    design = Changing(settings, len(first), later, module)
    done = run_streams(design, [design.i], [design.o], [[word(event) for event in events]], rng, quiet=700)
    expected = [*reference_of(first, settings), *reference_of(second, later)]
    return [event_of(given) for given in done.words(0)], expected


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_pixel_now_is_none_when_there_are_more(request, mode):
    """Axons between the configured pixels and those of the encoder leave nothing for a later setting."""
    rng = rng_of(request.node.name)
    settings = dataclasses.replace(settings_of(rng, mode), pixels=10)
    found, expected = changed(rng, settings, dataclasses.replace(settings, pixels=PARAMETERS.pixels), 10)
    assert found == expected
    assert any(event >= 10 for event in expected)


def after_another_mode(rng, module=encoder_module):
    """As `changed`, from each mode to the other."""
    found, expected = [], []
    for mode, next_mode in (MODES, MODES[::-1]):
        settings = dataclasses.replace(settings_of(rng, mode), pixels=PARAMETERS.pixels)
        later = dataclasses.replace(settings_of(rng, next_mode), pixels=PARAMETERS.pixels)
        for into, part in zip((found, expected), changed(rng, settings, later, PARAMETERS.pixels, module), strict=True):
            into += part
    return found, expected


def test_a_mode_leaves_nothing_for_the_next(request):
    found, expected = after_another_mode(rng_of(request.node.name))
    assert found == expected
    assert sum(event >= 0 for event in expected) > 20


@pytest.mark.parametrize(
    ("old", "new"), [("is_pixel & ~is_late)", "is_pixel)"), ("Mux(issued.last, 0, step + 1)", "step + 1")]
)
def test_what_a_mode_leaves_is_found(request, old, new):
    """Latencies that are stored appear in the next image of rates; a step that is left delays latencies."""
    broken = mutated(encoder_module, old, new)
    rng = rng_of(request.node.name)
    for _ in range(6):
        try:
            found, expected = after_another_mode(rng, broken)
        except AssertionError:  # the sample does not end
            return
        if found != expected:
            return
    pytest.fail(f"{old!r} as {new!r} must be found")


@pytest.mark.parametrize("mode", MODES)
def test_axons_beyond_the_pixels_are_ignored(request, mode):
    rng = rng_of(request.node.name)
    settings = dataclasses.replace(settings_of(rng, mode), pixels=PARAMETERS.pixels)
    images = images_of(rng, settings, 4)
    events = with_strays(rng, [event for image in images for event in events_of(image, settings)])
    assert sum(event >= PARAMETERS.pixels for event in events) > 10
    found, _ = run(rng, settings, events, quiet=700)
    assert found == reference_of(images, settings)


VALUE_WIDTH = 5


def word_with_value(event, value):
    return word(event) | ((value & (1 << VALUE_WIDTH) - 1) << 2 + AXON_WIDTH if event >= 0 else 0)


def held(rng, count, *, module=encoder_module, parameters=HOLDING, **how):
    """The output of an encoder for ``count`` steps with values, and that of its model."""
    settings = EncoderSettings(mode=EncoderMode.HOLD, pixels=int(rng.integers(1, 33)), steps=int(rng.integers(1, 9)))
    model, words, expected = EncoderModel(parameters, settings), [], []
    events = [
        (int(axon), int(value) or 1)
        for _ in range(count)
        for axon, value in [
            *zip(rng.permutation(40)[: rng.integers(0, 30)], rng.integers(-16, 16, 30), strict=False),
            (-2, 1),
        ]
    ]
    for event, value in events:
        words.append(word_with_value(event, value))
        out = model.feed(event, value)
        values = iter(model.values)
        expected += [word_with_value(each, next(values) if each >= 0 else 0) for each in out]
    encoder = module.SpikeEncoder(parameters, AXON_WIDTH, VALUE_WIDTH)
    ports = {name.removeprefix("encoder_"): value for name, value in settings.registers().items()}
    done = run_streams(Configured(encoder, ports), [encoder.i], [encoder.o], [words], rng, quiet=700, **how)
    # Axon and value of a TICK are undefined.
    found = [given & 3 if given & 1 else given for given in done.words(0)]
    return found, expected


@pytest.mark.parametrize("parameters", [HOLDING, dataclasses.replace(HOLDING, steps=256)], ids=["wide", "narrow"])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_a_held_step_is_repeated(request, stall, parameters):
    """With values that are wider and narrower than a pixel is otherwise."""
    rng = rng_of(request.node.name)
    spikes = 0
    for _ in range(4):
        found, expected = held(rng, 5, parameters=parameters, stall=stall, idle=float(rng.choice([0, 0.4])))
        assert found == expected
        spikes += sum(not given & 1 for given in found)
    assert spikes > 100


def test_an_encoder_that_can_hold_still_encodes(request, monkeypatch):
    """Spikes of pixels have the value 1."""
    rng = rng_of(request.node.name)
    for mode in MODES:
        settings = settings_of(rng, mode)
        images = images_of(rng, settings, 4)
        events = [event for image in images for event in events_of(image, settings)]
        encoder = SpikeEncoder(HOLDING, AXON_WIDTH, VALUE_WIDTH)
        ports = {name.removeprefix("encoder_"): value for name, value in settings.registers().items()}
        words = [word_with_value(event, int(rng.integers(-16, 16))) for event in events]
        done = run_streams(Configured(encoder, ports), [encoder.i], [encoder.o], [words], rng, stall=0.3, quiet=700)
        found = [given & 3 if given & 1 else given for given in done.words(0)]
        assert found == [word_with_value(event, 1) for event in reference_of(images, settings)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m.d.comb += fires.eq(named)", "m.d.comb += fires.eq(named & (kept != 1))"),
        ("m.d.comb += number.eq(arriving.value)", "m.d.comb += number.eq(arriving.value[:4])"),
        ("kept[: self.value_width].as_signed()", "kept[: self.value_width - 1].as_signed()"),
        ("width = max(width, self.value_width)", "width = max(width, self.value_width - 1)"),
    ],
)
def test_a_planted_bug_in_holding_is_found(request, old, new):
    broken = mutated(encoder_module, old, new)
    rng = rng_of(request.node.name)
    for _ in range(4):
        # Three bits are kept per pixel, so that the values need more.
        found, expected = held(rng, 4, module=broken, parameters=dataclasses.replace(HOLDING, steps=2))
        if found != expected:
            return
    pytest.fail(f"{old!r} as {new!r} must be found")


def test_what_a_reset_leaves_in_the_memory_is_erased(request, monkeypatch):
    random_block_ram(monkeypatch, rng_of(request.node.name))
    for mode in MODES:
        test_images(request, mode, 0.3)


def test_block_ram_that_collides_changes_nothing(request, monkeypatch):
    garbage_block_ram(monkeypatch)
    for mode in MODES:
        test_images(request, mode, 0.3)


def test_block_rams_that_are_not_deep_enough_change_nothing(request, monkeypatch):
    shallow_block_ram(monkeypatch)
    for mode in MODES:
        test_images(request, mode, 0.3)


def test_without_a_mode_nothing_changes(request):
    rng = rng_of(request.node.name)
    events = rng.integers(-2, 64, 100).tolist()
    settings = EncoderSettings(mode=EncoderMode.OFF, pixels=5, steps=3)
    found, done = run(rng, settings, events)
    assert found == events
    assert [cycle for _, cycle in done.taken[0]] == [cycle for _, cycle in done.given[0]]


def any_latencies(rng, settings, samples):
    """Pixels and TICKs as no host sends them, with more levels than there are, and the output of the model."""
    events = []
    for _ in range(samples):
        kinds = rng.choice([0, 1, 3], int(rng.integers(0, 40)), p=[0.5, 0.4, 0.1])
        events += [each for kind in kinds for each in ([int(rng.integers(0, 32))] if kind == 0 else [-1] * int(kind))]
        events.append(-2)
    model = EncoderModel(PARAMETERS, settings)
    return events, [out for event in events for out in model.feed(event)]


def test_latencies_of_any_events(request):
    rng = rng_of(request.node.name)
    dropped = 0
    for case in range(8):
        settings = settings_of(rng, EncoderMode.LATENCY)
        events, expected = any_latencies(rng, settings, 6)
        found, _ = run(rng, settings, events, stall=0.5 * (case % 2), idle=0.3 * (case % 3), quiet=700)
        assert found == expected
        dropped += sum(event >= 0 for event in events) - sum(event >= 0 for event in expected)
    assert dropped > 50


def test_a_latency_takes_two_cycles(request):
    """Whatever the size of the image is: only lit pixels and steps take time."""
    settings = EncoderSettings(mode=EncoderMode.LATENCY, pixels=32, steps=8)
    images = np.zeros((6, 32), int)
    images[:, 5:17] = 8
    images[:, 20] = 7
    events = [event for image in images for event in events_of(image, settings)]
    _, done = run(rng_of(request.node.name), settings, events, idle=0, stall=0)
    ends = [cycle for given, cycle in done.given[0] if event_of(given) == -2]
    # Each of two TICKs of the host takes a cycle to arrive, and one more to see that the step is reached.
    assert np.diff(ends).tolist() == [2 * 13 + 8 + 4] * 5


def test_a_pixel_takes_a_cycle_while_the_next_image_comes(request):
    settings = EncoderSettings(mode=EncoderMode.RATE, pixels=30, steps=8)
    images = np.full((6, 30), 8)
    images[:, ::2] = 3
    events = [event for image in images for event in events_of(image, settings)]
    _, done = run(rng_of(request.node.name), settings, events, idle=0, stall=0)
    ends = [cycle for given, cycle in done.given[0] if event_of(given) == -2]
    assert np.diff(ends).tolist() == [8 * 31 + 3] * 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kept >= register", "kept > register"),
        ("clean.eq(move &", "clean.eq(0 & move &"),
        ("register.restart.eq(idle)", "register.restart.eq(0)"),
        ("~wiping & ~full & ~clean", "~wiping & ~full"),
        ("~wiping & ~full & ~clean", "~wiping & ~clean"),
        ("enable.eq(move & second.valid & ~second.tick)", "enable.eq(move & second.valid)"),
        ("enable.eq(move & second.valid & ~second.tick)", "enable.eq(second.valid & ~second.tick)"),
        (
            "~issuing & ~first.valid & ~second.valid),\n        ]\n        with m.If(start)",
            "~issuing)]\n        with m.If(start)",
        ),
        ("code.eq(code.init), ", ""),
        ("step.eq(0), when.eq(0)", "step.eq(0)"),
        ("step.eq(0), when.eq(0)", "when.eq(0)"),
        ("is_pixel & (when[bits:] == step)", "is_pixel"),
        ("is_pixel & (when[bits:] == step)", "(when[bits:] == step)"),
        ("(when[bits:] > step) & ~issued.last", "(when[bits:] > step)"),
        ("(when[bits:] > step) & ~issued.last", "(when[bits:] >= step) & ~issued.last"),
        ("settled & ~offered", "settled"),
        ("settled & ~offered", "~offered"),
        ("is_late & ~settled & move", "is_late & ~settled"),
        ("self.i.payload.tick & ~is_late)", "self.i.payload.tick)"),
        ("images.output_enable.eq(move)", "images.output_enable.eq(1)"),
        ("(arriving.axon >> address_bits == 0) & ", ""),
        ("wiped = Signal(range(2 * parameters.pixels))", "wiped = Signal(range(parameters.pixels))"),
        ("wiping = Signal(init=1)", "wiping = Signal(init=0)"),
    ],
)
def test_a_planted_bug_is_found(monkeypatch, old, new):
    random_block_ram(monkeypatch, rng_of("remains"))
    broken = mutated(encoder_module, old, new)
    for case in range(12):
        rng = rng_of(f"planted {case}")
        settings = settings_of(rng, MODES[case % 2])
        if case % 3 == 0:  # processed pixels are cleared while the next image arrives
            settings = dataclasses.replace(settings, steps=1)
        images = images_of(rng, settings, 4)
        events = with_strays(rng, [event for image in images for event in events_of(image, settings)])
        expected = reference_of(images, settings)
        if case % 4 == 3:
            events, expected = any_latencies(rng, settings, 4)
        try:
            found, _ = run(rng, settings, events, broken, stall=0.5 * (case % 3 > 0), idle=0, quiet=700)
        except AssertionError:
            return
        if found != expected:
            return
    pytest.fail(f"{old!r} as {new!r} must be found")


@pytest.mark.parametrize("value_width", [0, VALUE_WIDTH])
def test_netlists_without_hold_are_as_before_it(value_width):
    """The names of the modes are in the netlists."""
    plain, holding = (
        rtlil.convert(SpikeEncoder(parameters, AXON_WIDTH, value_width), emit_src=False)
        for parameters in (PARAMETERS, HOLDING)
    )
    assert '"EncoderMode"' in plain
    assert "HOLD" not in plain
    assert "held" not in plain
    assert '"HOLD"' in holding


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_more_pixels_than_axons():
    with pytest.raises(ValueError, match=r"^pixels must be at most 16, one per axon of 4 bits, not 32$"):
        SpikeEncoder(PARAMETERS, 4)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
