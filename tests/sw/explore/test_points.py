"""Grids: all combinations once, in a useful order, and refused values."""

import json

import pytest
from harness.studies import ENCODER, point

from spikeloom.explore.points import Grid, weight_bits_text


def test_all_combinations_once():
    grid = Grid(weight_bits=(8, 4), encoders=(ENCODER,), steps=(None, 3), lanes=(None, 1, 2), boards=("a", "b"))
    points = list(grid.points())
    assert len(set(points)) == len(points) == len(grid) == 2 * 2 * 3 * 2
    assert {(p.weight_bits, p.lanes) for p in points[: len(points) // 2]} == {
        (bits, lanes) for bits in (8, 4) for lanes in (None, 1, 2)
    }
    assert {p.steps for p in points[: len(points) // 2]} == {None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight_bits": ()}, r"^weight_bits must have at least one value, not none$"),
        ({"weight_bits": (8, 8)}, r"^weight_bits must have each value once, not 8, 8$"),
        ({"weight_bits": (17,)}, r"^weight_bits must be from 1 to 16, not 17$"),
        ({"weight_bits": ((("hidden", 8), ("class", 0)),)}, r"^weight_bits must be from 1 to 16, not 0$"),
        ({"steps": (0,)}, r"^steps must be from 1 to 65536, not 0$"),
        ({"lanes": (3,)}, r"^lanes must be a power of two from 1 to 256, not 3$"),
        ({"lanes": (512,)}, r"^lanes must be a power of two from 1 to 256, not 512$"),
    ],
)
def test_values_that_no_design_has(values, message):
    with pytest.raises(ValueError, match=message):
        Grid(**values)


def test_content_is_plain():
    bits = (("hidden", 8), ("class", 4))
    content = point(bits, steps=5).content()
    assert json.loads(json.dumps(content)) == content
    assert content["weight_bits"] == {"hidden": 8, "class": 4}
    assert content["encoder"]["kind"] == "rate"
    assert point(encoder=None).content()["encoder"] is None
    assert weight_bits_text(bits) == "hidden=8,class=4"
    assert weight_bits_text(3) == "3"
