"""The view of a word: every field is where the layout of the words has it."""

import numpy as np
from harness.networks import rng_of

from spikeloom.hdl.lib.words import struct_layout
from spikeloom.sim.lib.words import Field, WordLayout


def test_fields_stand_where_the_words_have_them(request):
    layout = WordLayout((Field("a", 3), Field("absent", 0), Field("b", 5, signed=True), Field("c", 1)))
    view = struct_layout(layout)
    assert view.size == layout.width == 9
    assert [name for name, _ in view] == ["a", "b", "c"]
    rng = rng_of(request.node.name)
    values = {"a": rng.integers(0, 8, 40), "b": rng.integers(-16, 16, 40), "c": rng.integers(0, 2, 40)}
    for index, bits in enumerate(layout.bits(values, 40)):
        word = view.from_bits(int("".join(map(str, bits[::-1])), 2))
        assert {name: int(np.asarray(getattr(word, name))) for name in values} == {
            name: int(value[index]) for name, value in values.items()
        }
