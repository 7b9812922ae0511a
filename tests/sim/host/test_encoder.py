"""The model of the board's encoder equals the driver's, event for event; levels of an image; invalid parameters."""

import numpy as np
import pytest
from harness.bounds import assert_bounds
from harness.images import HOLDING, MODES, PARAMETERS, events_of, images_of, reference_of, settings_of
from harness.networks import rng_of

from spikeloom.sim.host.encoder import EncoderMode, EncoderModel, EncoderParameters, EncoderSettings, level_events


@pytest.mark.parametrize("mode", MODES)
def test_events_are_those_of_the_encoder_of_the_driver(request, mode):
    rng = rng_of(request.node.name)
    fired = 0
    for _ in range(40):
        settings = settings_of(rng, mode)
        images = images_of(rng, settings, 3)
        model = EncoderModel(PARAMETERS, settings)
        found = [out for image in images for event in events_of(image, settings) for out in model.feed(event)]
        assert found == reference_of(images, settings)
        fired += sum(event >= 0 for event in found)
    assert fired > 500


def test_off_passes_everything_on():
    model = EncoderModel(PARAMETERS, EncoderSettings(mode=EncoderMode.OFF, pixels=1, steps=1))
    assert [model.feed(event) for event in (7, 999, -1, -2)] == [[7], [999], [-1], [-2]]


def test_latency_by_hand():
    """With 8 levels and 16 steps, a level is two steps: full scale fires in step 0, level k in step 2 k."""
    settings = EncoderSettings(mode=EncoderMode.LATENCY, pixels=3, steps=16)
    model = EncoderModel(PARAMETERS, settings)
    said = [model.feed(event) for event in (1, -1, -1, 0, -1, -2)]
    assert said == [[1], [-1, -1], [-1, -1], [0], [-1, -1], [*[-1] * 9, -2]]
    assert model.feed(-2) == [*[-1] * 15, -2], "the next image knows nothing of the last"


def test_a_latency_after_the_last_step_is_dropped():
    model = EncoderModel(PARAMETERS, EncoderSettings(mode=EncoderMode.LATENCY, pixels=3, steps=2))
    said = [model.feed(event) for event in (*[-1] * 4, 0, *[-1] * 4, 1, -1, 2, -2)]
    assert said == [[], [], [], [-1], [0], [], [], [], [], [], [], [], [-2]]
    assert model.feed(1) == [1], "the next image begins in step 0"


def test_a_held_step_is_repeated_with_its_values(request):
    rng = rng_of(request.node.name)
    settings = EncoderSettings(mode=EncoderMode.HOLD, pixels=20, steps=5)
    model = EncoderModel(HOLDING, settings)
    for _ in range(20):
        values = np.where(rng.random(20) < 0.5, rng.integers(-8, 8, 20), 0)
        axons = np.flatnonzero(values)
        assert [model.feed(axon, values[axon]) for axon in rng.permutation(axons).tolist()] == [[]] * len(axons)
        assert model.feed(25, 3) == []  # beyond the pixels
        assert model.feed(-2) == [*[*axons.tolist(), -1] * 4, *axons.tolist(), -2]
        assert model.values == values[axons].tolist() * 5
    assert model.feed(-2) == [-1, -1, -1, -1, -2]
    assert model.values == []


def test_values_of_other_modes():
    model = EncoderModel(HOLDING, EncoderSettings(mode=EncoderMode.OFF, pixels=1, steps=1))
    assert (model.feed(7, -3), model.values) == ([7], [-3])
    assert (model.feed(-1), model.values) == ([-1], [])
    model = EncoderModel(HOLDING, EncoderSettings(mode=EncoderMode.LATENCY, pixels=3, steps=2))
    assert (model.feed(1), model.values) == ([1], [1])
    assert (model.feed(-2), model.values) == ([-1, -2], [])


def test_holding_needs_an_encoder_that_can():
    settings = EncoderSettings(mode=EncoderMode.HOLD, pixels=3, steps=65536)
    settings.check(HOLDING)
    with pytest.raises(ValueError, match=r"^mode must not be HOLD for an encoder without hold$"):
        EncoderModel(PARAMETERS, settings)
    with pytest.raises(TypeError, match=r"^hold must be a bool, not 1$"):
        EncoderParameters(hold=1)


def test_pixels_beyond_the_image_are_dropped():
    model = EncoderModel(PARAMETERS, EncoderSettings(mode=EncoderMode.LATENCY, pixels=32, steps=1))
    assert model.feed(PARAMETERS.pixels - 1) == [PARAMETERS.pixels - 1]
    assert model.feed(PARAMETERS.pixels) == []
    assert model.feed(-2) == [-2]
    model = EncoderModel(PARAMETERS, EncoderSettings(mode=EncoderMode.RATE, pixels=31, steps=1))
    assert model.feed(PARAMETERS.pixels - 1) == model.feed(PARAMETERS.pixels) == []
    assert model.feed(-2) == [-2]


def test_levels_of_an_image_by_hand():
    levels = level_events([0, 4, 2, 4], 2)
    assert levels.astype(int).tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert level_events([0, 0], 2).astype(int).tolist() == [[0, 0]], "a dark image is one empty level"


def test_levels_hold_every_pixel_once(request):
    rng = rng_of(request.node.name)
    for bits in (1, 3, 8):
        image = rng.integers(0, (1 << bits) + 1, 50)
        levels = level_events(image, bits)
        assert np.array_equal(levels.sum(axis=0), image > 0)
        assert np.array_equal(np.where(image > 0, (1 << bits) - levels.argmax(axis=0), 0), image)
        assert levels[-1].any()


@pytest.mark.parametrize("image", [[-1], [5], [[1]], [0.5], [True]])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r"^image must be \(n,\) integers from 0 to 4$"):
        level_events(image, 2)


@pytest.mark.parametrize(("bits", "steps", "width"), [(8, 2, 9), (1, 256, 9), (4, 65536, 20)])
def test_a_latency_has_a_step_and_a_fraction(bits, steps, width):
    assert EncoderParameters(bits=bits, steps=steps).when_width == width


def test_registers_count_from_zero():
    settings = EncoderSettings(mode=EncoderMode.RATE, pixels=20, steps=7, stride=2, seed=9)
    assert settings.registers() == {
        "encoder_mode": 1,
        "encoder_stride": 2,
        "encoder_pixels": 19,
        "encoder_steps": 6,
        "encoder_advance": 14,
        "encoder_seed": 9,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": 33}, "pixels must be an integer from 1 to 32, not 33"),
        ({"pixels": 0}, "pixels must be an integer from 1 to 32, not 0"),
        ({"steps": 17}, "steps must be an integer from 1 to 16, not 17"),
        ({"mode": EncoderMode.RATE, "steps": 65537}, "steps must be an integer from 1 to 65536, not 65537"),
        ({"stride": 8}, "stride must be an integer from 1 to 4, not 8"),
        ({"seed": 0}, "seed must be an integer from 1 to 127, not 0"),
        ({"seed": 128}, "seed must be an integer from 1 to 127, not 128"),
        ({"seed": True}, "seed must be an integer from 1 to 127, not True"),
    ],
)
def test_settings_must_be_what_is_built(change, message):
    settings = EncoderSettings(**{"mode": EncoderMode.LATENCY, "pixels": 32, "steps": 16} | change)
    with pytest.raises(ValueError, match=f"^{message}$"):
        EncoderModel(PARAMETERS, settings)
    EncoderSettings(mode=EncoderMode.RATE, pixels=32, steps=65536, stride=4, seed=127).check(PARAMETERS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pixels": 100}, "pixels must be a power of two, not 100"),
        ({"bits": 9}, "bits must be an integer from 1 to 8, not 9"),
        ({"steps": 1}, "steps must be an integer from 2 to 65536, not 1"),
        ({"bits": 5, "lfsr_width": 4}, "lfsr_width must be an integer from 5 to 32, not 4"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        EncoderParameters(**values)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("pixels", 2, 32768), ("steps", 2, 65536), ("bits", 1, 8), ("lfsr_width", 4, 32)]
)
def test_bounds(name, low, high):
    assert_bounds(EncoderParameters, name, low, high)
    parameters = EncoderParameters()
    assert (parameters.pixels, parameters.bits, parameters.steps, parameters.lfsr_width) == (1024, 4, 256, 20)


@pytest.mark.parametrize("mode", MODES)
def test_bounds_of_the_settings(mode):
    def check(**settings):
        EncoderSettings(**settings).check(PARAMETERS)

    steps = 65536 if mode is EncoderMode.RATE else 16
    for name, high in (("pixels", 32), ("steps", steps), ("stride", 4), ("seed", 127)):
        assert_bounds(check, name, 1, high, mode=mode, pixels=5, steps=3)
    settings = EncoderSettings(mode=mode, pixels=5, steps=3)
    assert (settings.stride, settings.seed) == (1, 1)
