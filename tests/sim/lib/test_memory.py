"""A memory that the host loads: bytes of a word, and its initial content."""

import pytest

from spikeloom.sim.lib.memory import Memory


@pytest.mark.parametrize(("width", "planes"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (1024, 128)])
def test_a_word_is_whole_bytes(width, planes):
    assert Memory("m", 1, 4, width).planes == planes


@pytest.mark.parametrize("words", [(), (0, 7), (7, 7, 7, 7)])
def test_words_that_fit(words):
    assert Memory("m", 1, 4, 3, words).words == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((0,) * 5, "words of m must be at most 4, not 5"),
        ((0, 8), "words of m must have 3 bits each"),
        ((-1,), "words of m must have 3 bits each"),
    ],
)
def test_words_that_do_not_fit(words, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Memory("m", 1, 4, 3, words)
