"""The front: no point on it is surpassed, every point off it is; and its picture."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
from harness.networks import rng_of
from harness.studies import point

from spikeloom.explore.pareto import Rate, front, objectives_for, picture
from spikeloom.explore.study import Estimate, Outcome, Score

SVG = "{http://www.w3.org/2000/svg}"


def outcome(accuracy, lut, rate, energy, *, ram=4, line=None, board="icebreaker", steps=4):
    score = Score(
        samples=100, accuracy=accuracy, agreement=None, steps=steps, events=1.0, synaptic_operations=9.0, line_bytes=8.0
    )
    resources = {"lut": lut, "ff": 1, "ram": ram, "dsp": 0, "single_port": 0, "lut_ram": 0}
    estimate = Estimate(
        lanes=1,
        utilisation=0.5,
        fullest="lookup tables",
        clock_mhz=27.0,
        cycles=100.0,
        core_images_per_second=rate,
        line_images_per_second=line,
        computing_nj=energy,
        memory_nj=0.0,
        **resources,
    )
    return Outcome(point=point(steps=steps, board=board), score=score, estimate=estimate)


def surpasses(a, b, rate=Rate.BOARD):
    costs = [[-o.quality, *(objective.cost(o) for objective in objectives_for(rate))] for o in (a, b)]
    return costs[0] != costs[1] and all(x <= y for x, y in zip(*costs, strict=True))


def test_random_fronts(request):
    rng = rng_of(request.node.name)
    sizes = set()
    for _ in range(20):
        boards = ("a", "b")
        every = [
            outcome(*rng.integers(1, 5, 4) / 8, board=boards[rng.integers(2)], ram=int(rng.integers(1, 3)))
            for _ in range(30)
        ]
        best = front(every)
        sizes.add(len(best))
        for one in every:
            rivals = [other for other in every if other.point.board == one.point.board]
            surpassed = any(surpasses(other, one) for other in rivals)
            alike = [other for other in best if other.point.board == one.point.board and not surpasses(one, other)]
            assert (one in best and not surpassed) or surpassed or alike
            assert not (surpassed and any(one is other for other in best))
        for a, b in itertools.combinations(best, 2):
            assert a.point.board != b.point.board or not (surpasses(a, b) or surpasses(b, a))
    assert len(sizes) > 3
    assert max(sizes) < 30


def test_of_equal_points_the_first():
    first, second, other = (outcome(0.9, 100, 10.0, 1.0, steps=steps) for steps in (1, 2, 3))
    refused = Outcome(point=point(lanes=8), refused="too large")
    assert front([refused, first, second]) == [first]
    assert front([second, first, other]) == [second]
    assert front([refused]) == []


def test_the_rate_that_counts():
    """Two cores of different sizes behind the same line: the larger one is useful only without the line."""
    small, large = outcome(0.9, 100, 500.0, 1.0, line=90.0), outcome(0.9, 200, 900.0, 1.0, line=90.0, steps=5)
    assert front([small, large]) == [small]
    assert front([small, large], objectives_for(Rate.CORE)) == [small, large]


def test_the_picture_shows_every_point_and_fills_the_front():
    every = [outcome(0.9, 100, 10.0, 1.0), outcome(0.8, 200, 5.0, 2.0), outcome(0.95, 900, 99.0, 30.0, board="b<&\x1b")]
    text = picture(every, "net <x>\u202e", "accuracy")
    root = ElementTree.fromstring(text)
    circles = root.findall(f"{SVG}circle")
    points = [circle for circle in circles if circle.find(f"{SVG}title") is not None]
    assert len(points) == 3 * len(every)
    assert len(circles) - len(points) == 2  # one legend entry per board
    assert len([circle for circle in points if circle.get("fill")]) == 3 * len(front(every))
    assert len(root.findall(f"{SVG}polyline")) == 3 * 2
    titles = " ".join(circle.findtext(f"{SVG}title") for circle in points)
    assert "icebreaker: 8 bits, rate, 4 steps, 1 lanes; 90.00 %" in titles
    assert "b<&\\x1b: " in titles
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    for circle in points:
        x, y = float(circle.get("cx")), float(circle.get("cy"))
        frames = [[float(r.get(name)) for name in ("x", "y", "width", "height")] for r in root.findall(f"{SVG}rect")]
        assert any(left <= x <= left + w and top <= y <= top + h for left, top, w, h in frames)


def test_fronts_are_steps():
    """Between two points of a panel, the line stays at the quality of the cheaper one."""
    root = ElementTree.fromstring(picture([outcome(0.8, 100, 5.0, 1.0), outcome(0.9, 100, 5.0, 10.0)], "x", "accuracy"))
    values = [float(value) for value in root.find(f"{SVG}polyline").get("points").split()]
    (x0, x1, x2), (y0, y1, y2) = values[::2], values[1::2]
    assert y0 == y1 > y2
    rates = root.findall(f"{SVG}polyline")[1].get("points").split()
    assert rates == rates[:2]  # both have the same rate: only the better one remains
    root = ElementTree.fromstring(picture([outcome(0.8, 100, 50.0, 1.0), outcome(0.9, 100, 5.0, 1.0)], "x", "accuracy"))
    values = [float(value) for value in root.findall(f"{SVG}polyline")[1].get("points").split()]
    (a0, a1, a2), (b0, b1, b2) = values[::2], values[1::2]
    assert a0 == a1 < a2  # above the rate of the better one, only the other one remains
    assert b0 < b1 == b2
    assert x0 < x1 == x2


def test_one_point_alone_and_none():
    root = ElementTree.fromstring(picture([outcome(0.9, 100, 10.0, 1.0)], "x", "accuracy", Rate.CORE))
    assert "images per second of the core (estimate)" in [text.text for text in root.findall(f"{SVG}text")]
    with pytest.raises(ValueError, match=r"^at least one outcome must fit its board, but none does$"):
        picture([Outcome(point=point(), refused="no")], "x", "accuracy")
