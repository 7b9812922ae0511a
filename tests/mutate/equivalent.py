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
    (_DECODER, "width = max(self.axon_width, DISTANCE_BITS + SKIP_BITS) + 2", "'2' becomes '3'", 0): (
        "one more copy of the sign of a sum that has room for every overflow"
    ),
    ("hdl/spikeloom/hdl/aer/tile.py", "left, period = Signal(32), Signal()", "'32' becomes '33'", 0): (
        "`left` is loaded from a register of 32 bits and counts down to 0; a further bit is always 0"
    ),
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
    **{
        ("hdl/spikeloom/hdl/sdram/controller.py", line, "'-' becomes '+'", 0): (
            "further bits hold zeros: what the chip takes of a burst is shifted out at the other end"
        )
        for line in ("rest = Signal(p.burst_bits - width)", "kept = Signal(len(word.keep) - len(pins.mask))")
    },
    **{
        ("hdl/spikeloom/hdl/host/encoder.py", line, f"'{dropped}' becomes '*()'", 0): (
            "it is 0: an image ends with the tick of a step, which sets both to 0"
        )
        for line in ("m.d.sync += [issuing.eq(1), pixel.eq(0), at_tick.eq(0)]",)
        for dropped in ("pixel.eq(0)", "at_tick.eq(0)")
    },
    (
        "hdl/spikeloom/hdl/host/ethernet_receiver.py",
        "position = Signal(range(beyond + 1))",
        "'+' becomes '-'",
        0,
    ): "six bits, with 44 values or with 42",
    **{
        (
            "hdl/spikeloom/hdl/noc/tokens.py",
            f'self._{name} = [Signal(width, name=f"{name}_{{number}}") for number in range(2)]',
            "'2' becomes '3'",
            0,
        ): "there are two parities: a third counter is never read"
        for name in ("ticks", "acks")
    },
    ("hdl/spikeloom/hdl/host/ethernet_sender.py", '"payload": payload_sum[:16],', "'16' becomes '17'", 0): (
        "the words are copied to `operand`, which has 16 bits"
    ),
    ("hdl/spikeloom/hdl/tech/ecp5_carry.py", "i_CIN=Const(0) if chain is None else chain,", "'0' becomes '1'", 0): (
        "the first half cell makes its carry from `product` alone"
    ),
    ("hdl/spikeloom/hdl/top/axi.py", "port.write_data.eq(data[:8]),", "'8' becomes '9'", 0): (
        "`write_data` has eight bits: a ninth is cut off"
    ),
    (_SENDER, "with m.If(~place[1] if self.low_bytes == 2 else ~ends):", "'1' becomes '2'", 0): (
        "`place` is 1 less a number from 0 to 3: bits 1 and 2 of 1, 0, -1 and -2 are equal"
    ),
    (_PROJECTION, "sums = sums.astype(np.int64, copy=False)", "'False' becomes 'True'", 0): (
        "the copy has the same numbers"
    ),
    (
        _BLOCK,
        "i_MASK=Cat(~enables, Const(0, unused)) if self.part < self.width else Const(0, _ICE40_WIDTH),",
        "'<' becomes '<='",
        0,
    ): "with one part, `enables` are copies of the write enable, without which the mask is ignored",
    (_LANE, "total = self._sum(leaked, stage, step, fired.at(stage), p.v_width + 1)", "'1' becomes '2'", 0): (
        "the sum of two numbers of `v_width` bits has `v_width + 1` bits: one more is a copy of its sign"
    ),
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
            ("_CHUNK = 1 << 21", "'<<' becomes '>>'"),
            ("chunk = max(1, _CHUNK // unrolled)", "'1' becomes '2'"),
        )
    },
    **{
        (f"sim/spikeloom/sim/{module}.py", line, now, 0): reason
        for module, line, reason, changes in (
            (
                "network/sparse",
                "_CHUNK = 1 << 22",
                "a limit of the memory for products, which are added up the same in chunks of any size",
                ("'1' becomes '2'", "'22' becomes '23'", "'<<' becomes '>>'"),
            ),
            (
                "network/sparse",
                "chunk = max(1, _CHUNK // self.count)",
                "a limit of the memory for products, which are added up the same in chunks of any size",
                ("'1' becomes '2'",),
            ),
            (
                "network/sparse",
                "np.full(size, -1, np.int64) for size in self.shape",
                "any negative number marks what is not in the part",
                ("'1' becomes '2'",),
            ),
            (
                "network/reference",
                "_ROWS = 256",
                "samples are independent, so that blocks of any size give the same results",
                ("'256' becomes '257'",),
            ),
            *(
                (module, line, "the input precedes all populations with any negative number", ("'1' becomes '2'",))
                for module, line in (
                    (
                        "network/network",
                        "order = {INPUT: -1} | {name: position for position, name in enumerate(names)}",
                    ),
                    (
                        "network/reference",
                        "place = {INPUT: -1} | {item.name: number for number, item in enumerate(schedule)}",
                    ),
                    ("network/reference", "last = -1"),
                )
            ),
            (
                "host/messages",
                "_FEW_BYTES = 1024",
                "a choice between ways to decode the same messages, for speed",
                ("'1024' becomes '1025'",),
            ),
            (
                "host/messages",
                "few = len(data) <= _FEW_BYTES or data[0] == _READ",
                "a choice between ways to decode the same messages, for speed",
                ("'<=' becomes '<'", "'or' becomes 'and'", "'0' becomes '1'", "'==' becomes '!='"),
            ),
            (
                "host/messages",
                "jump = np.append(rank[np.minimum(several + np.maximum(length[several], 1), total)], len(several))",
                "an unknown message may have any length from 1 on: where it begins, the call ends with an error",
                ("'1' becomes '2'",),
            ),
            (
                "host/messages",
                "inside = np.zeros(total + 1, np.int8)",
                "the running sum is read up to the end of the messages only",
                ("'1' becomes '2'",),
            ),
            (
                "host/messages",
                "_LENGTHS = np.full(256, _UNKNOWN, np.int64)",
                "the table is indexed by bytes",
                ("'256' becomes '257'",),
            ),
            (
                "host/link",
                "_MANY_RUNS = 32",
                "a choice between ways to the same encoding, for speed",
                ("'32' becomes '33'",),
            ),
            (
                "host/link",
                "if data.count(0) > _MANY_RUNS:",
                "a choice between ways to the same encoding, for speed",
                ("'0' becomes '1'", "'>' becomes '>='"),
            ),
            (
                "host/link",
                "and min(offsets) >= 0",
                "a frame that does not pass this quick check at once is checked in full, which accepts it",
                ("'0' becomes '1'",),
            ),
            *(
                (
                    "host/link",
                    line,
                    "a limit of the memory, one byte more of a frame that is refused",
                    ("'1' becomes '2'",),
                )
                for line in (
                    "self._longest = body + body // BLOCK_BYTES + 1",
                    "self._partial = partial[: self._longest + 1]",
                )
            ),
            (
                "host/samples",
                "_FEW_BITS = 3",
                "a choice between ways to the same bytes, for speed",
                ("'3' becomes '4'",),
            ),
            (
                "host/samples",
                "places = _places_in_few_levels if bits <= _FEW_BITS else _places_in_many_levels",
                "a choice between ways to the same bytes, for speed",
                ("'<=' becomes '<'",),
            ),
            (
                "host/samples",
                "_MOST_COMPILED_BITS = 16",
                "a choice between ways to the same bytes, by the memory that they take",
                ("'16' becomes '17'",),
            ),
            (
                "host/samples",
                "if bits <= _MOST_COMPILED_BITS and (compiled := compiled_samples()) is not None:",
                "a choice between ways to the same bytes, by the memory that they take",
                ("'<=' becomes '<'",),
            ),
            (
                "host/samples",
                "self._order = order if (np.diff(order) != 1).any() else None",
                "inputs in order are permuted too, which takes time and changes nothing: no permutation steps by 2",
                ("'1' becomes '2'",),
            ),
            (
                "host/samples",
                "if distance.max(initial=0) >= SKIP_UNIT:",
                "0 and 1 are both smaller than the distance of a SKIP",
                ("'0' becomes '1'",),
            ),
            (
                "host/samples",
                "if levels.min() < most:",
                "a selection of all rows, which changes nothing",
                ("'<' becomes '<='",),
            ),
            (
                "host/samples",
                'order = np.argsort(level.astype(np.uint16) if total <= 1 << 16 else level, kind="stable")',
                "a choice of the type that is sorted, for speed; 65,536 levels are numbered up to 65,535",
                ("'<=' becomes '<'", "'<<' becomes '>>'"),
            ),
            (
                "host/compiled_samples",
                "out = np.empty(steps * samples * (2 * inputs + 9), np.uint8)",
                "a larger buffer, of which the end is not used",
                ("'2' becomes '3'", "'9' becomes '10'"),
            ),
            (
                "host/compiled_samples",
                "scratch = np.empty(3 * pixels + most + 2, np.uint32)",
                "a larger buffer, of which the end is not used",
                ("'3' becomes '4'", "'2' becomes '3'"),
            ),
            (
                "host/compiled_samples",
                "out = np.empty(count * (2 * pixels + most * (2 + pixels // 8192)), np.uint8)",
                "a buffer that is large enough for any images too: a level takes one byte besides its spikes and SKIPs",
                ("'2' becomes '3'", "'8192' becomes '8193'"),
            ),
            (
                "lib/arrays",
                "stream = io.BytesIO(content[: _LONGEST_HEADER + 16])",
                "at most 12 bytes precede the header; those after it are not read",
                ("'16' becomes '17'",),
            ),
            *(
                (module, line, "the width of a value or of a count is 0 or at least 2", ("'0' becomes '1'",))
                for module, line in (
                    (
                        "core/features",
                        'name="graded", width=lambda core: int(core.value_width > 0), '
                        "value=lambda core, p: int(p.graded)",
                    ),
                    ("core/features", "width=lambda core: bits_for(core.v_width) * (core.value_width > 0),"),
                    ("core/features", 'cost=lambda core: {"graded": _membranes(core) * (core.value_width > 0)},'),
                    ("core/features", "value=lambda core, p: p.max_spikes * (core.count_width > 0),"),
                    ("core/parameters", "return self.value_width > 0"),
                    ("fabric/fabric", "Feature.HOST_VALUES: self.input_value_width > 0,"),
                )
            ),
            (
                "sdram/device",
                "self._mask = 0  # that of the edge before",
                "the mask of the edge before the first one, at which no word is driven",
                ("'0' becomes '1'",),
            ),
            (
                "lib/files",
                "content = file.read(limit + 1)",
                "any number of bytes beyond the limit tells that there are too many",
                ("'1' becomes '2'",),
            ),
            (
                "lib/arrays",
                "_PIECE = 1 << 16",
                "a file is unpacked in pieces of any size",
                ("'1' becomes '2'", "'16' becomes '17'"),
            ),
            (
                "lib/tile",
                "return bits_for(max([1, *(memory.planes for memory in self.memories.values())]))",
                "one bit numbers one byte lane as well as two",
                ("'1' becomes '2'",),
            ),
        )
        for now in changes
    },
    (
        "sim/spikeloom/sim/host/compiled_samples.py",
        "out = np.empty(count * (2 * pixels + most * (2 + pixels // 8192)), np.uint8)",
        "'2' becomes '3'",
        1,
    ): "a larger buffer, of which the end is not used",
}
"""The reasons, by `Mutant.key` as in ``results.jsonl`` and ``summary.json``."""
