"""Host driver: identify the board, load a program, run spikes.

::

    with Endpoint(SerialTransport("/dev/ttyUSB1", 1_000_000)) as endpoint:
        board = Board(endpoint)
        board.check(identity_of_the_build)
        board.load(program)
        result = board.run(spikes)

Spikes are sent as fast as the board accepts them, and results are received at the same time, so that no buffer stays
full on either side. The driver does not wait between samples: TICKs separate the samples, on the board and in the
driver. Encoder and readout of the board stay as the last run has set them, and the next one writes only what differs:
a single image then costs one round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders import Encoder
from spikeloom.host.channel import PIECE, MessageChannel
from spikeloom.host.peripherals import AnswerCollector, Answers, encoder_settings, hold_settings, readout_registers
from spikeloom.host.protocols import ByteLink, DriverError, LoadableProgram, Progress
from spikeloom.host.results import BoardResult, StepCollector
from spikeloom.host.stream import StepStream
from spikeloom.host.transport import LinkError
from spikeloom.sim.core.parameters import MOST_PLANES
from spikeloom.sim.core.registers import CORE, COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.register_maps import register_map
from spikeloom.sim.host.encoder import EncoderMode
from spikeloom.sim.host.identity import Feature, Identity
from spikeloom.sim.host.messages import (
    LARGEST_COUNT,
    ConfigurationAddress,
    Messages,
    encode_read,
    encode_values,
    encode_write,
)
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.host.samples import SampleEncoder, encode_images
from spikeloom.sim.lib.contents import MemoryWords, program_digest
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, REGISTER_MEMORY, Register
from spikeloom.sim.network.reference import as_values
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY, counter_names
from spikeloom.sim.sdram.phase import PhaseEye
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY
from spikeloom.sim.sdram.weights import WeightMemoryParameters, checksum

__all__ = ["Board"]

_BATCH = 1 << 18
"""Input values encoded at a time: enough to make the overhead of NumPy's calls small, few enough to fit the cache."""

_ERRORS = (
    "an unknown message",
    "a spike for an axon that does not exist",
    "an address beyond those of its fabric",
    "a value with too many bits",
)
"""Meaning of the bits of the bridge register ``error``."""

_SELF_TEST_READS = 100
"""Number of times that the end of the self-test is awaited."""

_WIDEST_BURST = 8
"""Bytes of a burst of the widest memory."""

_PASS_THROUGH: dict[str, int] = {"encoder_mode": EncoderMode.OFF, "readout_mode": ReadoutMode.OFF}
"""Bridge registers with which spikes of the host and of the outputs pass unchanged; so every session begins."""


class Board:
    """Board at the end of a link.

    Parameters
    ----------
    link
        Link to the board. The session is opened here, which resets the bridge and the tiles but not the loaded program.
        If the board's SDRAM fails its self-test, the phase of its clock is swept (`sweep_memory`); raises `DriverError`
        if it fails at all phases.
    fabric
        Fabric of the board, which defines the registers of each tile. Without it, all tiles but the bridge are cores.

    ``identity`` is the identity record sent by the board. ``memory_eye`` is what the last sweep of the SDRAM's clock
    has found; None without a sweep.
    """

    def __init__(self, link: ByteLink, fabric: FabricConfig | None = None) -> None:
        self._channel = MessageChannel(link)
        self._fabric = fabric
        self._program: LoadableProgram | None = None
        self._encoder: tuple[LoadableProgram, SampleEncoder] | None = None
        self.memory_eye: PhaseEye | None = None
        self._forget()
        self.identity = self._channel.open()
        self._check_sdram()

    def reopen(self) -> None:
        """Begin a new session after a failed run. The memories keep the program; its registers must be loaded again."""
        self._program = None
        self._forget()
        self.identity = self._channel.open()
        self._check_sdram()

    def _forget(self) -> None:
        """Forget what the last session has read and written: a new one resets the registers."""
        self._units: int | None = None
        self._bridge: dict[str, int] = dict(_PASS_THROUGH)  # values of bridge registers, as far as they are known

    # Identity of the board.

    def check(self, expected: Identity, *, build: bool = True) -> None:
        """Raise `DriverError` unless the board has the fabric of ``expected`` and, with ``build``, the same build
        hash."""
        for name, words in (
            ("protocol_version", "has protocol version {}"),
            ("tiles", "has {} tiles"),
            ("lanes", "has {} lanes"),
            ("neurons", "has {} neurons"),
            ("axons", "has {} axons"),
            ("weight_words", "has {} weight words"),
            ("weight_width", "has weights of {} bits"),
            ("v_width", "has membranes of {} bits"),
            ("features", "has features {}"),
        ):
            wanted, found = getattr(expected, name), getattr(self.identity, name)
            if wanted != found:
                shown = [value.words if isinstance(value, Feature) else f"{value:,}" for value in (found, wanted)]
                raise DriverError(
                    f"the board {words.format(shown[0])}, expected {shown[1]}: load the bitstream of the fabric that "
                    f"the program was compiled for"
                )
        if build and expected.build_hash != self.identity.build_hash:
            raise DriverError(
                f"the board runs build {self.identity.build_hash.hex()}, expected {expected.build_hash.hex()}: "
                f"load the bitstream of the expected build"
            )

    # Weights in SDRAM.

    def _sdram(self, *names: str) -> list[int]:
        """Read registers of the weight memory."""
        registers = [SDRAM.register(name) for name in names]
        return self._read([(_address(CORE_TILE, register, SDRAM_MEMORY), register) for register in registers])

    def _write_sdram(self, **values: int) -> None:
        self._channel.send_all(
            encode_write(_address(CORE_TILE, register, SDRAM_MEMORY), register.encode(value))
            for register, value in ((SDRAM.register(name), value) for name, value in values.items())
        )

    def _sdram_flag(self, name: str) -> bool:
        bit = SDRAM.flag("status", name)
        assert bit is not None
        return bool(self._sdram("status")[0] >> bit & 1)

    def _check_sdram(self) -> None:
        """Raise `DriverError` unless the SDRAM, if there is one, passes its self-test, at another phase of its clock if
        need be."""
        if Feature.SDRAM not in self.identity.features or self._passes_test():
            return
        wrong, phases = self._sdram("wrong", "phases")
        # What a memory that fails has held is of no use, so a sweep loses nothing.
        if phases and self.sweep_memory().middle is not None:
            return
        everywhere = f" at all {phases} phases of its clock" if phases else ""
        raise DriverError(
            f"the self-test of the board's SDRAM has failed{everywhere}, wrong bits {wrong:#x}: load a bitstream that "
            "is built for this board, and suspect its memory or supply if that does not help"
        )

    def _passes_test(self) -> bool:
        """Wait for the end of the self-test; return whether it has passed."""
        # The test takes less than a millisecond after power-up; each read of a register takes about as long.
        if not any(self._sdram_flag("tested") for _ in range(_SELF_TEST_READS)):
            raise DriverError(
                "the self-test of the board's SDRAM has not ended: load a bitstream that is built for this board"
            )
        return not self._sdram_flag("failed")

    def sweep_memory(self, *, progress: Progress | None = None) -> PhaseEye:
        """Test the SDRAM at every phase of its clock, and leave the clock in the middle of the widest window that
        passes.

        If no phase passes, the clock returns to its position after power-up. The contents of the memory are lost.
        ``progress`` counts phases. Raises `DriverError` if the board has no SDRAM or cannot change the phase of its
        clock, if a program is loaded, or if the memory fails at the chosen phase in the end.
        """
        if Feature.SDRAM not in self.identity.features:
            raise DriverError(
                "the board does not use an SDRAM: load a bitstream of a fabric whose weights lie in SDRAM to sweep "
                "its clock"
            )
        if self._program is not None:
            raise DriverError(
                "a sweep of the SDRAM's clock overwrites the weights of the loaded program: sweep before a program "
                "is loaded"
            )
        phases, step_ps, first = self._sdram("phases", "step_ps", "phase")
        if not phases:
            raise DriverError(
                "the phase of the SDRAM's clock is fixed: build the bitstream of the board again with this release"
            )
        passed = [False] * phases
        for number in range(phases):
            passed[(first + number) % phases] = self._test_memory(steps=min(number, 1))
            if progress is not None:
                progress(number + 1, phases)
        eye = PhaseEye(passed=tuple(passed), step_ps=step_ps)
        chosen = eye.middle or 0
        passes = self._test_memory(steps=(chosen - first + 1) % phases)
        (found,) = self._sdram("phase")
        if found != chosen or passes != passed[chosen]:
            raise DriverError(
                f"the SDRAM does not repeat its self-test at phase {chosen} of {phases} ({eye.line}, now at phase "
                f"{found}): sweep again, and suspect the board's memory or supply if it happens again"
            )
        self.memory_eye = eye
        return eye

    def _test_memory(self, *, steps: int) -> bool:
        """Delay the clock of the SDRAM by ``steps`` and test it again; return whether it passes."""
        self._write_sdram(phase_steps=steps, control=4)
        return self._passes_test()

    def _check_weights(self, weights: WeightMemoryParameters, words: NDArray[np.uint8], start: int) -> None:
        """Raise `DriverError` unless the SDRAM holds ``words`` from byte ``start`` on, by the checksum of the board."""
        data, size = _whole_bursts(words).tobytes(), weights.sdram.burst_bytes
        self._write_sdram(checksum_first=start // size, checksum_bursts=len(data) // size, control=1)
        while self._sdram_flag("busy"):
            pass
        (found,), expected = self._sdram("checksum"), checksum(data)
        if found != expected:
            lost = "some bytes came faster than they could be stored; " if self._sdram_flag("lost") else ""
            raise DriverError(
                f"the SDRAM does not hold the weights that were written ({lost}checksum 0x{found:08x}, expected "
                f"0x{expected:08x}): load again, and suspect the board's memory or supply if it happens again"
            )

    def _check_room(self, weights: WeightMemoryParameters, end: int) -> None:
        """Raise `DriverError` unless the chip of the board, whose size is probed, has ``end`` bytes."""
        (larger,) = self._sdram("larger")
        room = weights.sdram.burst_bytes << weights.sdram.least_address_bits + larger.bit_count()
        if end > room:
            raise DriverError(
                f"the board's SDRAM has {room >> 20:,} MB, but the weights need {-(-end >> 20):,} MB: "
                "use a board with a larger memory"
            )

    # Memories and registers.

    def write_memory(self, tile: int, memory: int, words: ArrayLike, *, first: int = 0) -> None:
        """Write ``words`` ``(n, planes)`` uint8, with the lowest byte of each word first, to the indices from ``first``
        on. Raises ``TypeError`` for another type, and ``ValueError`` for another shape."""
        array = np.asarray(words)
        if array.dtype != np.uint8:
            raise TypeError(f"words must be uint8, not {array.dtype}")
        if array.ndim != 2 or not 1 <= array.shape[1] <= MOST_PLANES:
            raise ValueError(f"words must have shape (n, planes) with 1 to {MOST_PLANES} planes, not {array.shape}")
        if tile == BRIDGE_TILE:
            self._bridge.clear()  # the memory may be that of the registers
        self._channel.send_all(_memory_messages(tile, memory, array, first))

    def _write_image(self, image: MemoryWords) -> None:
        """Write the words of a program into their memory; those in SDRAM are checked."""
        in_memory = {CORE.memory(name).number for name in ("weights", "streamed_weights")}
        has_sdram = Feature.SDRAM in self.identity.features
        if has_sdram and self._fabric is None and image.memory in in_memory:
            raise DriverError("the fabric must be given to load weights into SDRAM, not None")
        weights = None if self._fabric is None else self._fabric.weights
        lies_there = None if self._fabric is None else self._fabric.streamed.get(image.tile)
        if weights is None or lies_there is None or not has_sdram or image.memory != lies_there.number:
            self.write_memory(image.tile, image.memory, image.words)
            return
        assert self._fabric is not None
        start = self._fabric.weight_slices[image.tile] * weights.word_bytes
        self._check_room(weights, start + image.words.size)
        self._write_sdram(control=2)  # an earlier loss does not matter any more
        self.write_memory(image.tile, image.memory, _whole_bursts(image.words))
        self._check_weights(weights, image.words, start)

    def read_memory(self, tile: int, memory: int, *, first: int = 0, count: int | None = None) -> NDArray[np.uint8]:
        """Return ``count`` words ``(count, planes)`` of a memory from ``first`` on, all of them by default.

        The lowest byte of each word comes first, as in `write_memory`. Nothing must run meanwhile. Raises
        `DriverError` if the board cannot read memories back.
        """
        if Feature.MEMORY_READ not in self.identity.features:
            raise DriverError(
                "the board cannot read its memories back: load a bitstream of a fabric that is built with read_back"
            )
        if self._fabric is None:
            raise DriverError("the fabric must be given to read memories back, not None")
        found = {item.number: item for item in self._fabric.tile(tile).memories.values()}
        if memory not in found:
            raise ValueError(f"memory of tile {tile} must be one of {', '.join(map(str, found))}, not {memory!r}")
        depth, planes = found[memory].depth, found[memory].planes
        count = depth - first if count is None else count
        if not 0 <= first <= depth or not 0 <= count <= depth - first:
            raise ValueError(f"words must be from 0 to {depth - 1}, not {count} from {first} on")
        words_each = LARGEST_COUNT // planes
        data = []
        for start in range(first, first + count, words_each):
            size = planes * min(words_each, first + count - start)
            address = ConfigurationAddress(tile=tile, memory=memory, index=start, word_bytes=planes)
            data += self._reads([(address, size, f"memory {found[memory].name} was read")])
        return np.frombuffer(b"".join(data), np.uint8).reshape(-1, planes)

    def _verify(self, program: LoadableProgram) -> None:
        """Raise `DriverError` unless the memories hold the words of ``program``."""
        for image in program.memories:
            found = self.read_memory(image.tile, image.memory, count=len(image.words))
            wrong = np.flatnonzero((found != image.words).any(axis=1))
            if wrong.size:
                word = int(wrong[0])
                read, expected = (bytes(words[word][::-1]).hex() for words in (found, image.words))
                raise DriverError(
                    f"memory {image.memory} of tile {image.tile} does not hold what was written: word {word} is "
                    f"0x{read}, expected 0x{expected} ({len(wrong):,} words differ): load again, and suspect the "
                    "board's clock or supply if it happens again"
                )

    def write_register(self, tile: int, name: str, value: int) -> None:
        """Write the register ``name`` of ``tile``."""
        self._write_registers(tile, {name: value})

    def _write_registers(self, tile: int, values: Mapping[str, int]) -> None:
        messages = []
        for name, value in values.items():
            register = self._register(tile, name)
            messages.append(encode_write(_address(tile, register), register.encode(value)))
        if tile == BRIDGE_TILE:
            # Whether a write that fails has arrived is unknown, so its value is remembered only afterwards.
            for name in values:
                self._bridge.pop(name, None)
        self._channel.send_all(messages)
        if tile == BRIDGE_TILE:
            self._bridge.update(values)

    def _set_bridge(self, values: Mapping[str, int]) -> None:
        """Write the bridge registers ``values`` that do not have their value yet: each takes time on the link."""
        self._write_registers(
            BRIDGE_TILE, {name: value for name, value in values.items() if self._bridge.get(name) != value}
        )

    def read_register(self, tile: int, name: str) -> int:
        """Read the register ``name`` of ``tile``; the board has processed all earlier messages by then."""
        return self.read_registers([(tile, name)])[0]

    def read_registers(self, names: Iterable[tuple[int, str]]) -> list[int]:
        """Read several registers, each ``(tile, name)``, in one exchange."""
        registers = [(tile, self._register(tile, name)) for tile, name in names]
        return self._read([(_address(tile, register), register) for tile, register in registers])

    def _read(self, registers: Sequence[tuple[ConfigurationAddress, Register]]) -> list[int]:
        for _, register in registers:
            if not register.readable:
                raise ValueError(f"register {register.name} must be readable, not {register.access}")
        reads = self._reads(
            [(address, register.size, f"a register was read ({register.name})") for address, register in registers]
        )
        return [int.from_bytes(read, "little") for read in reads]

    def _reads(self, wanted: Sequence[tuple[ConfigurationAddress, int, str]]) -> list[bytes]:
        """Read from each address the given number of bytes; the text describes the read if no answer comes."""
        self._channel.send_all(encode_read(address, size) for address, size, _ in wanted)
        reads: list[bytes] = []
        while len(reads) < len(wanted):
            messages = self._receive(wanted[len(reads)][2])
            if messages.ticks.size or messages.spike_step.size or messages.value_step.size:
                raise DriverError("unexpected spikes or steps from the board: no run is in progress")
            reads += messages.reads
        if len(reads) > len(wanted):
            raise DriverError(f"the board answered {len(reads):,} reads, expected {len(wanted):,}")
        for (_, size, _), read in zip(wanted, reads, strict=True):
            if len(read) != size:
                raise DriverError(f"the board answered a read with {len(read):,} bytes, expected {size:,}")
        return reads

    def counters(self) -> dict[int, dict[str, int]]:
        """Return the counters of each tile since the last clear, by tile number; tiles without counters are omitted."""
        if self._fabric is None:
            names = dict.fromkeys(range(1, self.identity.tiles + 1), COUNTERS)
        else:
            names = {number: tile.counters for number, tile in self._fabric.numbered.items() if tile.counters}
        places = [(tile, name) for tile, of_tile in names.items() for name in of_tile]
        values = dict(zip(places, self.read_registers(places), strict=True))
        return {tile: {name: values[tile, name] for name in of_tile} for tile, of_tile in names.items()}

    def stalled_chips(self) -> list[int]:
        """Return the tiles whose external chip has stalled the handshake for longer than the program's ``patience``.

        Call it after a run that has stopped, and after `reopen`.
        """
        tiles = {} if self._fabric is None else self._fabric.numbered
        places = {number: tile.register_map.flag("status", "stalled") for number, tile in tiles.items()}
        bits = {tile: bit for tile, bit in places.items() if bit is not None}
        states = self.read_registers((tile, "status") for tile in bits)
        return [tile for (tile, bit), status in zip(bits.items(), states, strict=True) if status >> bit & 1]

    def link_counts(self) -> dict[Link, LinkCount]:
        """Return the router counters since the last clear; empty if the routers of the loaded program have none."""
        mesh = None if self._fabric is None else self._fabric.mesh
        links = () if mesh is None or not mesh.counters else mesh.links
        registers = [(link[0], ROUTER.register(name)) for link in links for name in counter_names(link)]
        values = self._read([(_address(tile, register, ROUTER_MEMORY), register) for tile, register in registers])
        return {link: LinkCount(*values[2 * number : 2 * number + 2]) for number, link in enumerate(links)}

    def clear(self) -> None:
        """Clear the fabric: states, accumulators, tokens, counters. Not allowed during a run."""
        self.write_register(BRIDGE_TILE, "control", 1)
        self._channel.restart()

    def check_errors(self) -> None:
        """Raise `DriverError` if the board has detected an error in its input."""
        error = self.read_register(BRIDGE_TILE, "error")
        for bit, words in enumerate(_ERRORS):
            if error >> bit & 1:
                raise DriverError(f"the board has received {words}: driver and bitstream must be of the same release")

    def load(self, program: LoadableProgram, *, progress: Progress | None = None, verify: bool = False) -> None:
        """Clear the board and write the memories and registers of ``program``; ``progress`` counts bytes.

        If the bitstream already contains the program, its memories are not written and there are no bytes to count.
        ``verify`` reads all memories back and raises `DriverError` at the first word that differs.
        """
        self._program = None
        if program.input_value_width and Feature.HOST_VALUES not in self.identity.features:
            raise DriverError(
                "the program's input has values, which the board does not accept: load a bitstream of a fabric whose "
                f"cores have value_width={program.input_value_width}"
            )
        self.clear()
        held = self.read_register(BRIDGE_TILE, "program")
        memories = () if held == program_digest(program.memories, program.registers) else program.memories
        total = sum(image.words.size for image in memories)
        done = 0
        for image in memories:
            self._write_image(image)
            done += image.words.size
            if progress is not None:
                progress(done, total)
        if verify:
            self._verify(program)
        for tile, name, value in program.registers:
            self.write_register(tile, name, value)
        self.check_errors()
        self._program = program

    # Runs.

    def run(
        self, spikes: ArrayLike, *, progress: Progress | None = None, timeout_s: float | None = None
    ) -> BoardResult:
        """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1; every sample starts from the cleared state.

        A program whose input has values takes integers instead; 0 is no event. If they are the same in every step, a
        board with the feature *held input* gets them once per sample.

        ``progress`` counts completed samples. ``timeout_s`` is the longest silence of the board; the default is the
        timeout of the link. Raises ``ValueError`` for spikes of the wrong shape or value, and `DriverError` if the
        board stops or sends an invalid answer; after that, `reopen` and load again.
        """
        program = self._loaded()
        array = self._checked_inputs(program, spikes)
        self._set_bridge({"readout_mode": ReadoutMode.OFF})
        batches = _input_batches(self._set_hold(program, array), program)
        return self._run_steps(program, batches, array.shape[0], array.shape[1], progress, timeout_s)

    def run_images(
        self,
        images: ArrayLike,
        encoder: Encoder,
        *,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> BoardResult:
        """Run images ``(B, ...)`` as `run` does with ``encoder.encode(images)``, but encode them on the board, so that
        each image is sent once.

        Raises the same exceptions as `run`, `DriverError` if the board has no encoder, and ``ValueError`` if its
        encoder does not match.
        """
        program = self._loaded()
        pixels = self._set_encoder(program, images, encoder)
        self._set_bridge({"readout_mode": ReadoutMode.OFF})
        batches = _image_batches(pixels, encoder)
        return self._run_steps(program, batches, encoder.steps, len(pixels), progress, timeout_s)

    def classify(
        self,
        inputs: ArrayLike,
        *,
        encoder: Encoder | None = None,
        mode: ReadoutMode = ReadoutMode.COUNT,
        scores: bool = False,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> Answers:
        """Run spikes ``(T, B, inputs)`` or, with ``encoder``, images ``(B, ...)`` that the board encodes.

        The board answers with the class of each sample by ``mode`` and, on request, with the scores of all outputs.

        Raises the same exceptions as `run`, and `DriverError` if the board has no readout or no encoder.
        """
        program = self._loaded()
        size = program.observed[0][1]
        first = int(program.output_axons[0])
        if self._fabric is None:
            raise DriverError("the fabric must be given to classify on the board, not None")
        registers = readout_registers(
            mode,
            self._fabric.readout,
            program.output_axons[:size],
            membranes=program.membranes,
            counted=program.observed[0][0] in program.counted,
            vector=scores,
        )
        self._check_unit(1, "a readout")
        if encoder is None:
            array = self._checked_inputs(program, inputs)
            samples = array.shape[1]
            batches = _input_batches(self._set_hold(program, array), program)
        else:
            pixels = self._set_encoder(program, inputs, encoder)
            samples = len(pixels)
            batches = _image_batches(pixels, encoder)
        self._set_bridge(registers)
        collector = AnswerCollector(size, first, samples, vector=scores, first=self._channel.steps)
        try:
            self._exchange(batches, collector, samples, progress, timeout_s)
            result = collector.result()
        except ValueError as error:
            raise DriverError(str(error)) from error
        self._program = program
        return result

    def _loaded(self) -> LoadableProgram:
        if self._program is None:
            raise DriverError("a program must be loaded before a run")
        return self._program

    def _set_hold(self, program: LoadableProgram, array: NDArray[Any]) -> NDArray[Any]:
        """Set the encoder to repeat the input ``(T, B, n)`` if it is the same in every step and the board supports
        this; return the steps to send."""
        settings = None
        if program.input_value_width and self._fabric is not None and Feature.HELD_INPUT in self.identity.features:
            settings = hold_settings(array, self._fabric.encoder, program.input_axons)
        if settings is None:
            self._set_bridge({"encoder_mode": EncoderMode.OFF})
            return array
        self._set_bridge(settings.registers())
        return array[:1]

    def _check_unit(self, bit: int, what: str) -> None:
        if self._units is None:
            self._units = self.read_register(BRIDGE_TILE, "units")
        if not self._units >> bit & 1:
            raise DriverError(f"the board does not have {what}: load a bitstream of a fabric with {what[2:]}")

    def _set_encoder(self, program: LoadableProgram, images: ArrayLike, encoder: Encoder) -> NDArray[Any]:
        """Program the encoder and return the images ``(B, inputs)``."""
        if self._fabric is None:
            raise DriverError("the fabric must be given to encode on the board, not None")
        settings = encoder_settings(encoder, self._fabric.encoder, program.input_axons)
        array = np.asarray(images)
        if array.ndim < 2 or 0 in array.shape or array[0].size != settings.pixels or array.dtype.kind not in "iu":
            raise ValueError(f"images must be integers (B, ...) of {settings.pixels} pixels, not {array.shape}")
        # As unsigned integers, negative numbers are large: one pass over all pixels instead of two.
        if array.view(array.dtype.str.replace("i", "u")).max() > 1 << encoder.bits:
            raise ValueError(f"images must be from 0 to {1 << encoder.bits}, not from {array.min()} to {array.max()}")
        self._check_unit(0, "an encoder")
        self._set_bridge(settings.registers())
        return array.reshape(len(array), -1)

    @staticmethod
    def _checked_inputs(program: LoadableProgram, spikes: ArrayLike) -> NDArray[Any]:
        array = np.asarray(spikes)
        inputs = len(program.input_axons)
        if program.input_value_width and array.ndim == 3:
            return as_values(array, inputs, program.input_value_width)
        if array.ndim != 3 or array.shape[2] != inputs or 0 in array.shape:
            raise ValueError(f"spikes must have shape (T, B, {inputs}), not {array.shape}")
        if array.dtype != np.bool_:
            if not np.issubdtype(array.dtype, np.number) or not np.isin(array, (0, 1)).all():
                raise ValueError("spikes must be 0 or 1, not other values")
            array = array.astype(np.bool_)
        return array

    def _run_steps(
        self,
        program: LoadableProgram,
        batches: Iterable[bytes],
        steps: int,
        samples: int,
        progress: Progress | None,
        timeout_s: float | None,
    ) -> BoardResult:
        collector = StepCollector(program, steps, samples, first=self._channel.steps, progress=progress)
        self._exchange(batches, collector, samples, None, timeout_s)
        result = collector.result()
        self._program = program
        return result

    def stream(self) -> StepStream:
        """Begin a sample that is sent step by step, with a number of steps that need not be known in advance.

        The board must not be used otherwise until the stream has ended.
        """
        program = self._loaded()

        def on_end() -> None:
            self._program = program

        self._set_bridge(_PASS_THROUGH)
        self._program = None  # set again when the stream has ended without error
        # A closed loop may begin thousands of samples per second, all with the same axons.
        if self._encoder is None or self._encoder[0] is not program:
            self._encoder = program, SampleEncoder(program.input_axons)
        return StepStream(self._channel, program, self._encoder[1], on_end)

    def _exchange(
        self,
        batches: Iterable[bytes],
        collector: StepCollector | AnswerCollector,
        samples: int,
        progress: Progress | None,
        timeout_s: float | None,
    ) -> None:
        """Send the messages of all samples and pass the answers to ``collector`` until it is complete."""

        def take(found: Messages) -> None:
            before = collector.done
            collector.take(found)
            if progress is not None and collector.done > before:
                progress(collector.done, samples)

        self._program = None  # set again when the run has ended without error
        try:
            for batch in batches:
                for start in range(0, len(batch), PIECE):
                    self._channel.send(batch[start : start + PIECE])
                    take(self._channel.poll())
            while not collector.complete:
                take(self._channel.receive(timeout_s=timeout_s))
            take(self._channel.poll())
        except LinkError as error:
            raise DriverError(f"the run has stopped after {collector.done} of {collector.total}: {error}") from error

    def _register(self, tile: int, name: str) -> Register:
        of_tile = register_map(tile) if self._fabric is None else self._fabric.register_map(tile)
        return of_tile.register(name)

    def _receive(self, what: str) -> Messages:
        try:
            return self._channel.receive()
        except LinkError as error:
            raise DriverError(f"no answer from the board when {what}: {error}") from error


def _input_batches(array: NDArray[Any], program: LoadableProgram) -> Iterable[bytes]:
    """Yield the messages of the samples ``(T, B, n)``: spikes of several at a time, or values of one."""
    steps, samples, inputs = array.shape
    if program.input_value_width:
        yield from (encode_values(array[:, sample], program.input_axons) for sample in range(samples))
        return
    encoder = SampleEncoder(program.input_axons)
    size = max(1, 4 * _BATCH // (steps * inputs))
    for first in range(0, samples, size):
        yield encoder.encode(array[:, first : first + size])


def _image_batches(pixels: NDArray[Any], encoder: Encoder) -> Iterable[bytes]:
    """Yield the messages of the images ``(B, n)``, several at a time."""
    size = max(1, _BATCH // pixels.shape[1])
    for first in range(0, len(pixels), size):
        yield encode_images(pixels[first : first + size], encoder.bits)


def _whole_bursts(words: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``words`` ``(n, planes)`` with words of zeros behind them, up to a whole number of bursts of any width."""
    return np.pad(words, ((0, -len(words) % max(1, _WIDEST_BURST // words.shape[1])), (0, 0)))


def _address(tile: int, register: Register, memory: int = REGISTER_MEMORY) -> ConfigurationAddress:
    return ConfigurationAddress(tile=tile, memory=memory, index=register.offset)


def _memory_messages(tile: int, memory: int, words: NDArray[np.uint8], first: int) -> Iterable[bytes]:
    """Yield WRITE messages for all words, in the order that needs fewer of them.

    All bytes of a message count, so whole-word order needs fewer as soon as a word has several bytes. Byte lanes win
    only if a word is so wide that a message of whole words stays far from full.
    """
    count, planes = words.shape
    words_each = LARGEST_COUNT // planes
    if -(-count // words_each) <= planes * -(-count // LARGEST_COUNT):
        for start in range(0, count, words_each):
            address = ConfigurationAddress(tile=tile, memory=memory, index=first + start, word_bytes=planes)
            yield encode_write(address, words[start : start + words_each].tobytes())
        return
    for plane in range(planes):
        for start in range(0, count, LARGEST_COUNT):
            address = ConfigurationAddress(tile=tile, memory=memory, plane=plane, index=first + start)
            yield encode_write(address, words[start : start + LARGEST_COUNT, plane].tobytes())
