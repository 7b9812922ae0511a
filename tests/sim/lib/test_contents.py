"""Hashes that distinguish programs, and content for memories that a tile does not have."""

from types import SimpleNamespace

import numpy as np
import pytest

from spikeloom.sim.lib.contents import NOTHING, Contents, program_digest


def image(tile=1, memory=2, words=((1, 2), (3, 4))):
    return SimpleNamespace(tile=tile, memory=memory, words=np.array(words, np.uint8))


def test_everything_in_a_program_changes_its_digest():
    programs = [
        ([image()], [(1, "sources", 3)]),
        ([image(tile=2)], [(1, "sources", 3)]),
        ([image(memory=3)], [(1, "sources", 3)]),
        ([image(words=((1, 2), (3, 5)))], [(1, "sources", 3)]),
        ([image(words=((1, 2, 3, 4),))], [(1, "sources", 3)]),  # the same bytes in another shape
        ([image(), image()], [(1, "sources", 3)]),
        ([image()], [(2, "sources", 3)]),
        ([image()], [(1, "sinks", 3)]),
        ([image()], [(1, "sources", 4)]),
        ([image()], []),
        ([], []),
    ]
    digests = [program_digest(*program) for program in programs]
    assert len(set(digests)) == len(programs)
    assert all(0 < digest < 1 << 32 for digest in digests)
    assert program_digest([image()], [(1, "sources", 3)]) == digests[0]


def test_a_digest_is_never_zero(monkeypatch):
    """0 means that there is no program."""
    monkeypatch.setattr("hashlib.sha256", lambda: SimpleNamespace(update=len, digest=lambda: bytes(32)))
    assert program_digest([image()], []) == 1


def test_contents_must_be_of_memories_that_are_there():
    NOTHING.check(())
    Contents(memories={1: (5,), 3: ()}).check({1, 2, 3})
    with pytest.raises(ValueError, match=r"^contents must be of the memories 1, 3, not of 2$"):
        Contents(memories={1: (5,), 2: (1,)}).check({3, 1})
