"""Cost of a step in a tile."""

import pytest

from spikeloom.compiler.work import TileWork


@pytest.mark.parametrize(("parts", "cycles"), [((), 100), (("a",), 116), (("a", "b", "c"), 148)])
def test_cycles_are_words_and_a_constant_per_population(parts, cycles):
    work = TileWork(tile=1, parts=parts, events=5.0, words_added=60.5, words_updated=39.5)
    assert work.cycles == cycles


def test_more_events_alone_take_no_longer():
    """Only the words that events add are counted, whatever their source."""
    few, many = (TileWork(tile=1, parts=(), events=events, words_added=8, words_updated=1) for events in (1, 100))
    assert few.cycles == many.cycles == 9
