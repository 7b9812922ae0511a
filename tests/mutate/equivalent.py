"""Mutants that do the same as what they were made of, and why: no test can find them."""

__all__ = ["EQUIVALENT"]

_ATTENTION = "hdl/spikeloom/hdl/attention/tile.py"
_NEURON = "sim/spikeloom/sim/core/neuron.py"
_GEOMETRY = "hdl/spikeloom/hdl/core/geometry.py"
_LANE = "hdl/spikeloom/hdl/core/lane.py"
_BLOCK = "hdl/spikeloom/hdl/tech/block_ram.py"
_EMIT = "hdl/spikeloom/hdl/core/emit.py"

EQUIVALENT: dict[tuple[str, str, str, int], str] = {
    (
        _ATTENTION,
        "feature, group, head = Signal(range(p.features)), Signal(range(p.groups)), Signal(range(p.heads + 1))",
        "'1' becomes '2'",
        0,
    ): "`head` stops at the number of heads: a further bit of it is always 0, and is cut off in `word_place`",
    (
        _NEURON,
        'self._set(f"{name}_factor", *bounds.get(getattr(self, name), (0, 0)), used=getattr(self, name) in bounds)',
        "'0' becomes '1'",
        1,
    ): "a factor that is not used is 0, whatever the largest one is",
    (
        _BLOCK,
        'write_data, read_data = [Const(0)] * 36, [Signal(name=f"bit_{place}") for place in range(36)]',
        "'36' becomes '37'",
        0,
    ): "the write data have 36 pins, and no pin is connected to a further constant",
    (_LANE, "Cat(bits, Const(0, width - p.noise_bits)),", "'0' becomes '1'", 0): (
        "`Operand.CHOOSE` takes these bits where the operand before has ones, and there it has zeros"
    ),
    (_EMIT, 'stages = [Signal(item, name=f"item_{place}") for place in range(2)]', "'2' becomes '3'", 0): (
        "a third signal of this list is used nowhere"
    ),
    (_GEOMETRY, '"other": int(parameters.destinations > 0),', "'>' becomes '>='", 0): (
        "without a mesh the rows that come in have no such bit, so that a bit here is always 0"
    ),
}
"""`Mutant.key`, as ``results.jsonl`` and ``summary.json`` have it, to the reason."""
