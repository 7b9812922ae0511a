"""A board for its user: who it is, loading a program into it, running spikes through it.

::

    with Endpoint(SerialTransport("/dev/ttyUSB1", 1_000_000)) as endpoint:
        board = Board(endpoint)
        board.check(identity_of_the_build)
        board.load(program)
        result = board.run(spikes)

Spikes go out as fast as the board takes them; what comes back is taken in all the while, so neither side's buffers can
fill up for ever. Samples are not waited for: the board keeps them apart by their TICKs, and so does the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders import Encoder
from spikeloom.host.peripherals import AnswerCollector, Answers, encoder_settings, image_message, readout_registers
from spikeloom.host.transport import LinkError
from spikeloom.sim.core.registers import COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.register_maps import register_map
from spikeloom.sim.host.link import Identity
from spikeloom.sim.host.messages import (
    LARGEST_COUNT,
    ConfigurationAddress,
    MessageDecoder,
    MessageError,
    Messages,
    encode_read,
    encode_spikes,
    encode_write,
)
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.lib.contents import MemoryWords, program_digest
from spikeloom.sim.lib.registers import BRIDGE_TILE, REGISTER_MEMORY, Register
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY, counter_names

__all__ = [
    "Board",
    "BoardResult",
    "ByteLink",
    "DriverError",
    "LoadableProgram",
    "Progress",
    "StepCollector",
    "StepResult",
    "StepStream",
]

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

_PIECE = 2048
"""Bytes given to the link at once; between pieces what has come back is looked at."""

_ERRORS = ("an unknown message", "a spike of an axon that it does not have")
"""What the bits of the bridge's register ``error`` mean the board has found."""


class DriverError(RuntimeError):
    """The board is not the one that is needed, or does not do what it must. The message is one sentence."""


class ByteLink(Protocol):
    """Two reliable byte streams, as :class:`spikeloom.host.endpoint.Endpoint` provides them."""

    def open(self) -> Identity:
        """Begin a session: the board forgets all but its program, and says who it is."""
        ...

    def send(self, data: bytes) -> None:
        """Send ``data``, taking in meanwhile what comes; `LinkError` when the board takes none of it for too long."""
        ...

    def receive(self, minimum: int = 1, *, timeout_s: float | None = None) -> bytes:
        """All that has come, when it is at least ``minimum`` bytes; `LinkError` if that takes too long."""
        ...

    def poll(self) -> bytes:
        """All that has come, without waiting."""
        ...


class LoadableProgram(Protocol):
    """What the driver needs of a :class:`spikeloom.compiler.program.Program`."""

    @property
    def memories(self) -> Sequence[MemoryWords]: ...
    @property
    def registers(self) -> Sequence[tuple[int, str, int]]: ...
    @property
    def input_axons(self) -> NDArray[np.int64]: ...
    @property
    def observed(self) -> Sequence[tuple[str, int]]: ...
    @property
    def output_axons(self) -> NDArray[np.int64]: ...
    @property
    def membranes(self) -> bool: ...
    @property
    def graded(self) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardResult:
    """What came back of a run, in the order of the program's ``output_axons``.

    ``spikes`` is ``(T, B, n)``. ``membranes`` ``(T, B, m)`` int64 are those of the first ``m`` of them where the output
    population sends membranes (its spikes are all False then), otherwise None. ``values`` ``(T, B, n)`` int64, None
    without graded spikes, is what each spike brings, and 0 without a spike.
    """

    spikes: NDArray[np.bool_]
    membranes: NDArray[np.int64] | None
    values: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResult:
    """What came back of one step, in the order of the program's ``output_axons``.

    ``spikes`` ``(n,)`` bool, and ``values`` ``(n,)`` int64: membranes where they are sent, what graded spikes bring, 1
    for plain spikes, else 0.
    """

    spikes: NDArray[np.bool_]
    values: NDArray[np.int64]


class Board:
    """A board at the end of a link.

    Parameters
    ----------
    link
        Its session is opened here, which resets the board's bridge and tiles but not the program in its memories.
    fabric
        What the board holds, which says what registers each tile has. Without it all tiles but the bridge are cores.

    ``identity`` is what the board says about itself.
    """

    def __init__(self, link: ByteLink, fabric: FabricConfig | None = None) -> None:
        self._link = link
        self._fabric = fabric
        self._program: LoadableProgram | None = None
        self._decoder = MessageDecoder()
        self.identity = link.open()

    def reopen(self) -> None:
        """Begin a new session, after a run that went wrong. The program stays, its registers must be loaded again."""
        self._decoder = MessageDecoder()
        self._program = None
        self.identity = self._link.open()

    # What board it is.

    def check(self, expected: Identity, *, build: bool = True) -> None:
        """Raise `DriverError` unless the board has the fabric of ``expected``; with ``build`` it must be that build."""
        for name, words in (
            ("protocol_version", "speak protocol version {}"),
            ("tiles", "have {} tiles"),
            ("lanes", "have {} lanes"),
            ("neurons", "have {} neurons"),
            ("axons", "have {} axons"),
            ("weight_words", "have {} words of weights"),
            ("weight_width", "have weights of {} bits"),
            ("v_width", "have membranes of {} bits"),
        ):
            wanted, found = getattr(expected, name), getattr(self.identity, name)
            if wanted != found:
                raise DriverError(
                    f"the board must {words.format(wanted)}, not {found}: load the bitstream of the fabric that the "
                    f"program is made for"
                )
        if build and expected.build_hash != self.identity.build_hash:
            raise DriverError(
                f"the board must run build {expected.build_hash.hex()}, not {self.identity.build_hash.hex()}: "
                f"load the bitstream of this build"
            )

    # Memories and registers.

    def write_memory(self, tile: int, memory: int, words: ArrayLike, *, first: int = 0) -> None:
        """Write ``words`` ``(n, planes)`` uint8, the bytes of each word from the lowest on, from index ``first`` on."""
        array = np.asarray(words)
        if array.dtype != np.uint8:
            raise TypeError(f"words must be uint8, not {array.dtype}")
        if array.ndim != 2:
            raise ValueError(f"words must have shape (n, planes), not {array.shape}")
        self._send(_memory_messages(tile, memory, array, first))

    def write_register(self, tile: int, name: str, value: int) -> None:
        """Write the register ``name`` of ``tile``."""
        register = self._register(tile, name)
        self._send([encode_write(_address(tile, register), register.encode(value))])

    def read_register(self, tile: int, name: str) -> int:
        """Read the register ``name`` of ``tile``; all that was sent before has been taken in by then."""
        return self.read_registers([(tile, name)])[0]

    def read_registers(self, names: Iterable[tuple[int, str]]) -> list[int]:
        """Read several registers ``(tile, name)`` at once."""
        registers = [(tile, self._register(tile, name)) for tile, name in names]
        return self._read([(_address(tile, register), register) for tile, register in registers])

    def _read(self, registers: Sequence[tuple[ConfigurationAddress, Register]]) -> list[int]:
        for _, register in registers:
            if not register.readable:
                raise ValueError(f"register {register.name} must be readable, not {register.access}")
        self._send(encode_read(address, register.size) for address, register in registers)
        reads: list[bytes] = []
        while len(reads) < len(registers):
            messages = self._take(self._receive(f"a register was read ({registers[len(reads)][1].name})"))
            if messages.ticks.size or messages.spike_step.size or messages.value_step.size:
                raise DriverError("the board has sent spikes or steps while nothing was running")
            reads += messages.reads
        if len(reads) > len(registers):
            raise DriverError(f"the board must answer {len(registers)} reads, not {len(reads)}")
        for (_, register), read in zip(registers, reads, strict=True):
            if len(read) != register.size:
                raise DriverError(f"the board must answer with {register.size} bytes, not {len(read)}")
        return [int.from_bytes(read, "little") for read in reads]

    def counters(self) -> dict[int, dict[str, int]]:
        """What each core has counted since it was cleared, by tile: the registers `COUNTERS`."""
        cores = range(1, self.identity.tiles + 1) if self._fabric is None else self._fabric.cores
        places = [(tile, name) for tile in cores for name in COUNTERS]
        values = dict(zip(places, self.read_registers(places), strict=True))
        return {tile: {name: values[tile, name] for name in COUNTERS} for tile in cores}

    def stalled_chips(self) -> list[int]:
        """The AER tiles whose chip has kept the handshake waiting for as long as the program's ``patience`` says.

        To be asked after a run that has stopped, and a `reopen`.
        """
        tiles = [] if self._fabric is None else list(self._fabric.aers)
        states = self.read_registers((tile, "status") for tile in tiles)
        return [tile for tile, status in zip(tiles, states, strict=True) if status & 2]

    def link_counts(self) -> dict[Link, LinkCount]:
        """What the routers have counted since the fabric was cleared; empty if the loaded program's do not count."""
        mesh = None if self._fabric is None else self._fabric.mesh
        links = () if mesh is None or not mesh.counters else mesh.links
        registers = [(link[0], ROUTER.register(name)) for link in links for name in counter_names(link)]
        values = self._read([(_address(tile, register, ROUTER_MEMORY), register) for tile, register in registers])
        return {link: LinkCount(*values[2 * number : 2 * number + 2]) for number, link in enumerate(links)}

    def clear(self) -> None:
        """Clear the fabric: states, accumulators, tokens, counters. Not while a run is under way."""
        self.write_register(BRIDGE_TILE, "control", 1)
        self._decoder = MessageDecoder()

    def check_errors(self) -> None:
        """Raise `DriverError` if the board has found something wrong with what it was sent."""
        error = self.read_register(BRIDGE_TILE, "error")
        for bit, words in enumerate(_ERRORS):
            if error >> bit & 1:
                raise DriverError(f"the board has received {words}: driver and bitstream must be of one release")

    def load(self, program: LoadableProgram, *, progress: Progress | None = None) -> None:
        """Clear the board, write the memories and registers of ``program``; ``progress`` counts bytes.

        Memories that hold the program already, because the bitstream has brought it, are not written; then there are no
        bytes to count.
        """
        self._program = None
        self.clear()
        held = self.read_register(BRIDGE_TILE, "program")
        memories = () if held == program_digest(program.memories, program.registers) else program.memories
        total = sum(image.words.size for image in memories)
        done = 0
        for image in memories:
            self.write_memory(image.tile, image.memory, image.words)
            done += image.words.size
            if progress is not None:
                progress(done, total)
        for tile, name, value in program.registers:
            self.write_register(tile, name, value)
        self.check_errors()
        self._program = program

    # Runs.

    def run(
        self, spikes: ArrayLike, *, progress: Progress | None = None, timeout_s: float | None = None
    ) -> BoardResult:
        """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1; every sample starts from the cleared state.

        ``progress`` counts samples that are back. ``timeout_s`` is how long the board may be silent, by default as the
        link has it. Raises ``ValueError`` for spikes of the wrong shape or values, and `DriverError` if the board stops
        or answers with what it cannot have; then `reopen` and load again.
        """
        program = self._program
        if program is None:
            raise DriverError("a program must be loaded before a run")
        array = self._checked_spikes(program, spikes)
        messages = (encode_spikes(array[:, sample], program.input_axons) for sample in range(array.shape[1]))
        return self._run_steps(program, messages, array.shape[0], array.shape[1], progress, timeout_s)

    def run_images(
        self,
        images: ArrayLike,
        encoder: Encoder,
        *,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> BoardResult:
        """Like `run` of ``encoder.encode(images)``, but the board encodes: each image ``(B, ...)`` goes once.

        Raises `DriverError` if the board has no encoder and ``ValueError`` if it has none that can do so.
        """
        program = self._loaded()
        pixels = self._set_encoder(program, images, encoder)
        messages = (image_message(image, encoder.bits) for image in pixels)
        result = self._run_steps(program, messages, encoder.steps, len(pixels), progress, timeout_s)
        self.write_register(BRIDGE_TILE, "encoder_mode", 0)
        return result

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

        It answers with the class of each sample, by ``mode``, and if wanted with the scores of all outputs.

        Raises as `run`, and `DriverError` if the board has no readout or no encoder.
        """
        program = self._loaded()
        size = program.observed[0][1]
        first = int(program.output_axons[0])
        if self._fabric is None:
            raise DriverError("the fabric must be known for the board to answer, not None")
        registers = readout_registers(
            mode,
            self._fabric.readout,
            program.output_axons[:size],
            membranes=program.membranes,
            vector=scores,
        )
        self._check_unit(1, "a readout")
        if encoder is None:
            spikes = self._checked_spikes(program, inputs)
            samples = spikes.shape[1]
            messages = (encode_spikes(spikes[:, sample], program.input_axons) for sample in range(samples))
        else:
            pixels = self._set_encoder(program, inputs, encoder)
            samples = len(pixels)
            messages = (image_message(image, encoder.bits) for image in pixels)
        for name, value in registers.items():
            self.write_register(BRIDGE_TILE, name, value)
        collector = AnswerCollector(size, first, samples, vector=scores, first=self._decoder.steps)
        try:
            self._exchange(messages, collector, samples, progress, timeout_s)
            result = collector.result()
        except ValueError as error:
            raise DriverError(str(error)) from error
        self._program = program
        self.write_register(BRIDGE_TILE, "encoder_mode", 0)
        self.write_register(BRIDGE_TILE, "readout_mode", 0)
        return result

    def _loaded(self) -> LoadableProgram:
        if self._program is None:
            raise DriverError("a program must be loaded before a run")
        return self._program

    def _check_unit(self, bit: int, what: str) -> None:
        if not self.read_register(BRIDGE_TILE, "units") >> bit & 1:
            raise DriverError(f"the board must have {what}, and has none: load a bitstream of a fabric with {what[2:]}")

    def _set_encoder(self, program: LoadableProgram, images: ArrayLike, encoder: Encoder) -> NDArray[np.int64]:
        """Program the encoder and return the images ``(B, inputs)``."""
        if self._fabric is None:
            raise DriverError("the fabric must be known for the board to encode, not None")
        settings = encoder_settings(encoder, self._fabric.encoder, program.input_axons)
        array = np.asarray(images)
        if array.ndim < 2 or 0 in array.shape or array[0].size != settings.pixels or array.dtype.kind not in "iu":
            raise ValueError(f"images must be integers (B, ...) of {settings.pixels} pixels, not {array.shape}")
        if array.min() < 0 or array.max() > 1 << encoder.bits:
            raise ValueError(f"images must be from 0 to {1 << encoder.bits}, not from {array.min()} to {array.max()}")
        self._check_unit(0, "an encoder")
        for name, value in settings.registers().items():
            self.write_register(BRIDGE_TILE, name, value)
        return array.reshape(len(array), -1).astype(np.int64)

    @staticmethod
    def _checked_spikes(program: LoadableProgram, spikes: ArrayLike) -> NDArray[np.bool_]:
        array = np.asarray(spikes)
        inputs = len(program.input_axons)
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
        messages: Iterable[bytes],
        steps: int,
        samples: int,
        progress: Progress | None,
        timeout_s: float | None,
    ) -> BoardResult:
        collector = StepCollector(program, steps, samples, first=self._decoder.steps, progress=progress)
        self._exchange(messages, collector, samples, None, timeout_s)
        result = collector.result()
        self._program = program
        return result

    def stream(self) -> StepStream:
        """Begin a sample that is given step by step, without knowing how many there will be.

        Nothing else may be asked of the board until the stream has ended.
        """
        if self._program is None:
            raise DriverError("a program must be loaded before a run")
        return StepStream(self, self._program)

    def _exchange(
        self,
        messages: Iterable[bytes],
        collector: StepCollector | AnswerCollector,
        samples: int,
        progress: Progress | None,
        timeout_s: float | None,
    ) -> None:
        """Send the messages of each sample and give ``collector`` all that comes back, until it has all."""

        def take(data: bytes) -> None:
            before = collector.done
            collector.take(self._take(data))
            if progress is not None and collector.done > before:
                progress(collector.done, samples)

        self._program = None  # until the run has ended well
        try:
            piece = bytearray()
            for sample, message in enumerate(messages):
                piece += message
                if len(piece) >= _PIECE or sample == samples - 1:
                    self._link.send(bytes(piece))
                    piece.clear()
                    take(self._link.poll())
            while not collector.complete:
                take(self._link.receive(1, timeout_s=timeout_s))
            take(self._link.poll())
        except LinkError as error:
            raise DriverError(f"the run has stopped after {collector.done} of {collector.total}: {error}") from error

    # Bytes.

    def _register(self, tile: int, name: str) -> Register:
        of_tile = register_map(tile) if self._fabric is None else self._fabric.register_map(tile)
        return of_tile.register(name)

    def _send(self, messages: Iterable[bytes]) -> None:
        piece = bytearray()
        for message in messages:
            piece += message
            if len(piece) >= _PIECE:
                self._link.send(bytes(piece))
                piece.clear()
        if piece:
            self._link.send(bytes(piece))

    def _receive(self, what: str) -> bytes:
        try:
            return self._link.receive(1)
        except LinkError as error:
            raise DriverError(f"the board has not answered when {what}: {error}") from error

    def _take(self, data: bytes) -> Messages:
        try:
            return self._decoder.feed(data)
        except MessageError as error:
            raise DriverError(f"the board has sent what is no message: {error}") from error


def _address(tile: int, register: Register, memory: int = REGISTER_MEMORY) -> ConfigurationAddress:
    return ConfigurationAddress(tile=tile, memory=memory, index=register.offset)


def _memory_messages(tile: int, memory: int, words: NDArray[np.uint8], first: int) -> Iterable[bytes]:
    """WRITEs of all words, plane by plane."""
    for plane in range(words.shape[1]):
        for start in range(0, len(words), LARGEST_COUNT):
            address = ConfigurationAddress(tile=tile, memory=memory, plane=plane, index=first + start)
            yield encode_write(address, words[start : start + LARGEST_COUNT, plane].tobytes())


class StepStream:
    """A sample step by step: what goes in, and what has come back so far. From `Board.stream`.

    The board is at most two steps behind what it was given and may be waited for at any time; nothing is lost if nobody
    asks for long.
    """

    def __init__(self, board: Board, program: LoadableProgram) -> None:
        self._board, self._program = board, program
        board._program = None  # until the stream has ended well
        axons = np.asarray(program.output_axons, np.int64)
        self._place = {int(axon): place for place, axon in enumerate(axons)}
        self._silent = program.observed[0][1] if program.membranes else 0
        self._first = board._decoder.steps
        self._found: dict[int, StepResult] = {}
        self._ended = False
        self.sent = self.received = 0
        """Steps that were given to the board, and that came back."""

    def send(self, spikes: ArrayLike, *, last: bool = False) -> None:
        """Give the board the spikes ``(inputs,)`` of a step; ``last`` ends the sample, and after it comes no other."""
        array = np.asarray(spikes)
        inputs = len(self._program.input_axons)
        if self._ended:
            raise DriverError("a step must not come after the last one")
        if array.shape != (inputs,):
            raise ValueError(f"spikes must have shape {(inputs,)}, not {array.shape}")
        data = encode_spikes(array[None], self._program.input_axons, last=last)
        try:
            self._board._link.send(data)
        except LinkError as error:
            raise DriverError(f"the run has stopped in step {self.sent}: {error}") from error
        self.sent += 1
        self._ended = last

    def poll(self) -> list[StepResult]:
        """The steps that have come back since they were last asked for, without waiting."""
        return self._take(self._board._link.poll())

    def receive(self, *, timeout_s: float | None = None) -> list[StepResult]:
        """As `poll`, but waits for a step if one was sent and is not back."""
        found = self.poll()
        while not found and self.received < self.sent:
            try:
                found = self._take(self._board._link.receive(1, timeout_s=timeout_s))
            except LinkError as error:
                raise DriverError(f"the run has stopped after {self.received} steps: {error}") from error
        return found

    def finish(self, *, timeout_s: float | None = None) -> list[StepResult]:
        """End the sample, by a step without spikes if none was the last, and return all steps that are not back yet."""
        if not self._ended:
            self.send(np.zeros(len(self._program.input_axons), np.bool_), last=True)
        found = []
        while self.received < self.sent:
            found += self.receive(timeout_s=timeout_s)
        self._board._program = self._program
        return found

    def _take(self, data: bytes) -> list[StepResult]:
        messages = self._board._take(data)
        if messages.reads:
            raise DriverError("the board has sent the answer to a read that was not made")
        ones = np.ones(len(messages.spike_step), np.int64)
        for steps, axons, values, valued in (
            (messages.spike_step, messages.spike_axon, ones, False),
            (messages.value_step, messages.value_axon, messages.value, True),
        ):
            for step, axon, value in zip(steps.tolist(), axons.tolist(), values.tolist(), strict=True):
                self._put(step - self._first, axon, value, valued)
        found = []
        for last in messages.ticks.tolist():
            if self.received == self.sent:
                raise DriverError(f"the board must end {self.sent} steps, not more")
            if last != (self._ended and self.received == self.sent - 1):
                raise DriverError(f"the board must end the sample where it was told to, not in step {self.received}")
            found.append(self._of(self.received))
            del self._found[self.received]
            self.received += 1
        return found

    def _of(self, step: int) -> StepResult:
        """What is known of a step."""
        size = len(self._place)
        return self._found.setdefault(
            step, StepResult(spikes=np.zeros(size, np.bool_), values=np.zeros(size, np.int64))
        )

    def _put(self, step: int, axon: int, value: int, valued: bool) -> None:
        place = self._place.get(axon)
        if place is None:
            raise DriverError(f"the board has sent axon {axon}, which the program does not observe")
        result = self._of(step)
        result.values[place] = value
        if not (valued and place < self._silent):
            if result.spikes[place]:
                raise DriverError("the board must send a spike of an axon at most once a step, not twice")
            result.spikes[place] = True


class StepCollector:
    """Puts what comes back where it belongs: TICK number ``first + sample * T + t`` ends step t of its sample.

    Raises `DriverError` for what the program cannot have sent.
    """

    def __init__(
        self,
        program: LoadableProgram,
        steps: int,
        samples: int,
        *,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        axons = np.asarray(program.output_axons, np.int64)
        self._place = np.full(int(axons.max(initial=0)) + 1, -1, np.int64)
        self._place[axons] = np.arange(len(axons))
        self._steps, self._samples = steps, samples
        self._first = first
        self._progress = progress
        self._readouts = program.observed[0][1] if program.membranes else 0
        total = steps * samples
        self._spikes = np.zeros((total, len(axons)), np.bool_)
        self._membranes = np.zeros((total, self._readouts), np.int64)
        self._seen = np.zeros((total, self._readouts), np.bool_)
        self._graded = np.concatenate([np.full(size, name in program.graded) for name, size in program.observed])
        self._values = np.zeros((total if program.graded else 0, len(axons)), np.int64)
        self.done = 0
        """Steps that have ended."""
        self.total = f"{total} steps"

    @property
    def complete(self) -> bool:
        return self.done >= len(self._spikes)

    def take(self, messages: Messages) -> None:
        self._take_ticks(messages.ticks)
        if messages.reads:
            raise DriverError("the board has sent the answer to a read that was not made")
        everywhere = np.ones_like(self._graded)
        step, place = self._positions(messages.spike_step, messages.spike_axon, everywhere, "spike")
        self._take_spikes(step, place, np.ones(len(step), np.int64))
        if messages.value_step.size:
            is_readout = np.arange(len(self._graded)) < self._readouts
            valued = self._graded | is_readout
            step, place = self._positions(messages.value_step, messages.value_axon, valued, "value")
            read_out = is_readout[place]
            self._take_spikes(step[~read_out], place[~read_out], messages.value[~read_out])
            step, place = step[read_out], place[read_out]
            self._check_new(self._seen, step, place, "membrane")
            self._seen[step, place] = True
            self._membranes[step, place] = messages.value[read_out]

    def _take_spikes(self, step: NDArray[np.int64], place: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        self._check_new(self._spikes, step, place, "spike")
        self._spikes[step, place] = True
        if len(self._values):
            self._values[step, place] = values

    def _take_ticks(self, ticks: NDArray[np.bool_]) -> None:
        if not ticks.size:
            return
        before = self.done // self._steps
        number = self.done + np.arange(len(ticks))
        self.done += len(ticks)
        if self.done > len(self._spikes):
            raise DriverError(f"the board must end {len(self._spikes)} steps, not more")
        wrong = ticks != (number % self._steps == self._steps - 1)
        if wrong.any():
            step = int(number[np.argmax(wrong)])
            raise DriverError(
                f"the board must end a sample after {self._steps} steps, not "
                f"{'earlier' if step % self._steps < self._steps - 1 else 'later'} (step {step})"
            )
        if self._progress is not None:
            for sample in range(before + 1, self.done // self._steps + 1):
                self._progress(sample, self._samples)

    def _positions(
        self, steps: NDArray[np.int64], axons: NDArray[np.int64], allowed: NDArray[np.bool_], what: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of what came with ``axons`` in ``steps``; ``allowed`` ``(n,)`` are its columns."""
        row = steps - self._first
        if row.size and row.max() >= len(self._spikes):
            raise DriverError(f"the board has sent a {what} after the last step")
        place = np.where(axons < len(self._place), self._place[np.minimum(axons, len(self._place) - 1)], -1)
        unknown = (place < 0) | ~allowed[place]
        if unknown.any():
            raise DriverError(
                f"the board has sent a {what} of axon {int(axons[np.argmax(unknown)])}, which the program does not "
                f"observe"
            )
        return row, place

    @staticmethod
    def _check_new(seen: NDArray[np.bool_], step: NDArray[np.int64], place: NDArray[np.int64], what: str) -> None:
        if len(np.unique(step * seen.shape[1] + place)) < len(step) or seen[step, place].any():
            raise DriverError(f"the board must send a {what} of an axon at most once a step, not twice")

    def result(self) -> BoardResult:
        """All of the run, time first."""
        if not self._seen.all():
            missing = int(np.argmin(self._seen.all(axis=1)))
            raise DriverError(f"the board must send {self._readouts} membranes each step, not fewer (step {missing})")

        def in_time(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(self._samples, self._steps, -1).transpose(1, 0, 2).copy()

        return BoardResult(
            spikes=in_time(self._spikes),
            membranes=in_time(self._membranes) if self._readouts else None,
            values=in_time(self._values) if len(self._values) else None,
        )
