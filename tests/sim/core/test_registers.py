"""The registers and memories of a core."""

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE


def test_memories_are_those_of_the_core():
    declared = {memory.name: memory.number for memory in CORE.memories}
    core = CoreParameters(coordinate_width=1, sparse=True, streamed_words=16)
    assert declared == {name: memory.number for name, memory in core.memories.items()}
