"""Equivalent mutants, with reasons: they behave as the original, so no test can find them."""

__all__ = ["EQUIVALENT"]

_ATTENTION = "hdl/spikeloom/hdl/attention/tile.py"
_NEURON = "sim/spikeloom/sim/core/neuron.py"
_GEOMETRY = "hdl/spikeloom/hdl/core/geometry.py"
_LANE = "hdl/spikeloom/hdl/core/lane.py"
_BLOCK = "hdl/spikeloom/hdl/tech/block_ram.py"
_FRAME = "sim/spikeloom/sim/host/link.py"
_PROJECTION = "sim/spikeloom/sim/network/projection.py"
_ATTENTION_PARAMETERS = "sim/spikeloom/sim/attention/parameters.py"
_EMIT = "hdl/spikeloom/hdl/core/emit.py"
_DECODER = "hdl/spikeloom/hdl/host/request_decoder.py"
_SPIKE_BACK = "spike_back = Cat(~byte[:DISTANCE_BITS], Const(-1, width - DISTANCE_BITS)).as_signed()"
_SKIP_BACK = "skip_back = Cat(Const(0, DISTANCE_BITS), ~byte[:SKIP_BITS], Const(-1, width - DISTANCE_BITS - SKIP_BITS))"
_SDRAM = "sim/spikeloom/sim/sdram/device.py"
_SENDER = "hdl/spikeloom/hdl/host/frames.py"

EQUIVALENT: dict[tuple[str, str, str, int], str] = {
    (
        "hdl/spikeloom/hdl/host/encoder.py",
        "pixel, step = Signal(address_bits), Signal(16)",
        "'16' becomes '17'",
        0,
    ): "`step` goes from 0 to `steps`, which has 16 bits, and then starts again",
    ("hdl/spikeloom/hdl/host/usb.py", "utmi.vbus_valid.eq(1),", "'1' becomes '2'", 0): (
        "the device of LUNA does not use this signal; the line is for one that would"
    ),
    (
        "hdl/spikeloom/hdl/lib/registers.py",
        "parts = Cat(Cat(word.get(byte, Const(0)), Const(0, 8))[:8] for byte in range(4))",
        "'4' becomes '5'",
        0,
    ): "two bits select one of the first four bytes; a fifth one is never selected",
    ("hdl/spikeloom/hdl/top/axi.py", "byte = Signal(range(6))", "'6' becomes '7'", 0): "three bits in either case",
    (
        "hdl/spikeloom/hdl/lib/registers.py",
        "words.setdefault(place // 4, {})[place % 4] = value[first : first + 8]",
        "'8' becomes '9'",
        0,
    ): "the ninth bit is cut off where the bytes of a word are put together",
    ("hdl/spikeloom/hdl/host/usb.py", "utmi.session_end.eq(0),", "'utmi.session_end.eq(0)' becomes '*()'", 0): (
        "a signal without an assignment is 0; the line says what is meant"
    ),
    ("hdl/spikeloom/hdl/host/frames.py", "length = Signal(range(self.largest + 1))", "'1' becomes '2'", 0): (
        "the range of a length that never occurs; a bit that it may take more is always 0"
    ),
    (
        "hdl/spikeloom/hdl/host/bridge.py",
        "value_width = max(self.value_width, self.readout.width if self.readout else 0)",
        "'0' becomes '1'",
        0,
    ): "without values and without a readout the only bit of a value is 0, as the bits of no value are when extended",
    ("hdl/spikeloom/hdl/noc/tokens.py", "self.last.eq(self._is_last.bit_select(parity, 1)),", "'1' becomes '2'", 0): (
        "`last` has one bit: the second of two selected bits is cut off"
    ),
    (
        "hdl/spikeloom/hdl/noc/tokens.py",
        "wanted.eq(self._related.bit_select(self._sending, 1)),",
        "'1' becomes '2'",
        0,
    ): "`wanted` has one bit: the second of two selected bits is cut off",
    (
        "hdl/spikeloom/hdl/noc/tokens.py",
        "m.d.comb += self.due.eq(enough.bit_select(parity, 1))",
        "'1' becomes '2'",
        0,
    ): ("`due` has one bit: the second of two selected bits is cut off"),
    ("hdl/spikeloom/hdl/noc/tokens.py", "completes = Signal(2)", "'2' becomes '3'", 0): (
        "one of the first two bits is selected by the parity of a step; a third bit is never read"
    ),
    (
        "hdl/spikeloom/hdl/host/link.py",
        "nonce = Signal(8 * NONCE_BYTES)  # nonce of this session",
        "'8' becomes '9'",
        0,
    ): "the nonce of a frame has 32 bits: further bits are 0, in the comparison too, and are cut off where it is sent",
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
    (_FRAME, "and len(self.payload) <= LARGEST_PAYLOAD", "'<=' becomes '<'", 0): (
        "a frame that does not pass this quick check at once is checked in full, which accepts it"
    ),
    (_FRAME, "and min(offsets) >= 0", "'>=' becomes '>'", 0): (
        "a frame that does not pass this quick check at once is checked in full, which accepts it"
    ),
    (
        _ATTENTION_PARAMETERS,
        "return (shape.heads * shape.tokens * shape.features - 1).bit_length()",
        "'1' becomes '2'",
        0,
    ): (
        "tokens and features are powers of two from 2 on: the number is a multiple of 4, and one less or two less than "
        "it has as many bits"
    ),
    (
        "hdl/spikeloom/hdl/host/readout.py",
        "index = Signal(range(-(1 << 16), 1 << max(17, self.axon_width + 1)))",
        "'16' becomes '17'",
        0,
    ): "the upper bound takes 17 bits and a sign in any case",
    (_ATTENTION, "out.kind.eq(PacketKind.SPIKE),", "'out.kind.eq(PacketKind.SPIKE)' becomes '*()'", 0): (
        "SPIKE is 0, which a signal is without an assignment; the line says what is meant"
    ),
    ("sim/spikeloom/sim/host/identity.py", "ENCODER = 1 << 0", "'<<' becomes '>>'", 0): "a shift by 0 either way",
    (_EMIT, "lane_bits = (p.lanes - 1).bit_length()", "'-' becomes '+'", 0): (
        "the place in a group and the number of the group have as many bits together, so that nothing is cut off"
    ),
    (_SENDER, "place = Signal(8)", "'8' becomes '9'", 0): (
        "a block closes at 254 bytes, so that `place` is at most 255; a further bit is always 0"
    ),
    ("hdl/spikeloom/hdl/host/link.py", "m.d.comb += moved.eq(1)", "'1' becomes '2'", 0): (
        "a frame of the old session that begins in the cycle of an OPEN is one that might have begun in the cycle "
        "before; hosts ignore all of them until the IDENTITY"
    ),
    (
        "hdl/spikeloom/hdl/host/usb.py",
        "phy.term_select.eq(self.term_select),",
        "'phy.term_select.eq(self.term_select)' becomes '*()'",
        0,
    ): ("the PHY of LUNA uses it only for a pin of its own for the pull-up, which the top drives instead"),
    **{
        (_DECODER, line, "'-' becomes '+'", number): "more copies of the sign, which are cut off in the sum"
        for line, number in ((_SPIKE_BACK, 0), (_SKIP_BACK, 0), (_SKIP_BACK, 1))
    },
    **{
        (
            _DECODER,
            "is_read, is_words, is_run, is_valued = code[1], code[2], code[3], code[4] & (self.value_width > 0)",
            now,
            0,
        ): "without values only WRITEs and READs have a header, and bit 4 of their opcodes is 0; values have two bits"
        for now in ("'>' becomes '>='", "'0' becomes '1'")
    },
    **{
        (_SDRAM, line, now, 0): "a bank is not activated and precharged at the same edge"
        for line, now in (
            (
                "if bank.row is not None and edge - bank.activated > timing.ras_limit and "
                "bank.precharged <= bank.activated:",
                "'<=' becomes '<'",
            ),
            ("return bank.precharged <= bank.activated or self.edges < bank.precharged", "'<=' becomes '<'"),
            ("if bank.precharged > bank.activated:", "'>' becomes '>='"),
        )
    },
    (_SDRAM, "if bank.precharged > edge:", "'>' becomes '>='", 0): (
        "a bank whose auto precharge begins at this edge is not open, and has been left out before"
    ),
    **{
        (_PROJECTION, line, now, 0): "a choice between ways to the same sums, for speed"
        for line, now in (
            ("_READ, _GATHER, _CALL = 10, 20, 300_000", "'10' becomes '11'"),
            ("_READ, _GATHER, _CALL = 10, 20, 300_000", "'20' becomes '21'"),
            ("_READ, _GATHER, _CALL = 10, 20, 300_000", "'300_000' becomes '300001'"),
            ("everything = sources * targets * (rows + _READ)", "'+' becomes '-'"),
            ("if np.count_nonzero(values) * targets * _GATHER + rows * _CALL < everything:", "'+' becomes '-'"),
            ("if np.count_nonzero(values) * targets * _GATHER + rows * _CALL < everything:", "'<' becomes '<='"),
            ("if len(active) * targets * (rows + _GATHER) < everything:", "'+' becomes '-'"),
            ("if len(active) * targets * (rows + _GATHER) < everything:", "'<' becomes '<='"),
            ("_CHUNK = 1 << 21", "'1' becomes '2'"),
            ("_CHUNK = 1 << 21", "'21' becomes '22'"),
        )
    },
}
"""The reasons, by `Mutant.key` as in ``results.jsonl`` and ``summary.json``."""
