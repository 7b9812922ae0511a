"""The board's end of the link in Amaranth's simulator, with a line that Python code drives and reads."""

import math
import random
from collections import deque
from collections.abc import Callable

from amaranth.sim import Simulator

from harness.assign import assign
from spikeloom.hdl.host.link import Link
from spikeloom.host.transport import Transport
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.link import DeviceModel, Frame, Kind

__all__ = ["IDENTITY", "Board", "BoardTransport", "Echo"]

IDENTITY = Identity(lanes=8, neurons=256, axons=784, weight_words=8192, weight_width=8, v_width=16).encode()

PERIOD_S = 1e-6


class Board:
    """A :class:`Link` whose streams are queues here.

    ``to_board`` holds line bytes to be sent, ``from_board`` those that were received. ``received`` are the reliable
    bytes that arrived, ``to_send`` those to be sent. ``take`` and ``give`` are the probabilities that the bridge is
    ready and has a byte in a cycle; ``line`` that the line accepts and delivers a byte. ``violations`` counts offered
    bytes that changed or disappeared before they were taken.
    """

    def __init__(
        self,
        link: Link,
        *,
        seed: int = 0,
        take: float = 1.0,
        give: float = 1.0,
        line: float = 1.0,
        on_reset: Callable[[], None] = lambda: None,
        serve: Callable[["Board"], None] = lambda board: None,
    ) -> None:
        self.link = link
        self.take, self.give, self.line = take, give, line
        self.flush = False
        self.deaf = False  # the line accepts nothing
        self.stalls = 0  # cycles in which a byte was offered and not taken
        self.to_board: deque[int] = deque()
        self.from_board = bytearray()
        self.received = bytearray()
        self.to_send: deque[int] = deque()
        self.resets = 0
        self.cycles = 0
        self.violations = 0
        self._on_reset = on_reset
        self._serve = serve
        self._random = random.Random(seed)
        self._simulator = Simulator(link)
        self._simulator.add_clock(PERIOD_S)
        self._simulator.add_testbench(self._run, background=True)

    def step(self, cycles: int) -> None:
        """Lets the given number of cycles pass."""
        self._simulator.run_until((self.cycles + cycles) * PERIOD_S)

    def exchange(
        self, *frames: Frame | bytes, cycles: int = 900, until: Callable[[list[Frame]], bool] | None = None
    ) -> list[Frame]:
        """Sends frames (or bytes as they are); returns the frames that are complete after ``cycles`` cycles.

        With ``until`` it is over as soon as the frames that have come satisfy that.
        """
        for frame in frames:
            self.to_board.extend(frame if isinstance(frame, bytes) else frame.encode())
        if until is None:
            self.step(cycles)
            return self._take_frames()
        found: list[Frame] = []
        end = self.cycles + cycles
        while self.cycles < end:
            self.step(min(10, end - self.cycles))
            if 0 in self.from_board:
                found += self._take_frames()
                if until(found):
                    break
        return found

    def _take_frames(self) -> list[Frame]:
        *complete, self.from_board = self.from_board.split(b"\0")
        return [Frame.decode(bytes(piece)) for piece in complete]

    def open(self, nonce: bytes = b"open") -> list[Frame]:
        """Begins a session; returns the answer."""
        return self.exchange(Frame(kind=Kind.OPEN, payload=nonce))

    async def _run(self, ctx) -> None:
        link = self.link
        chance = self._random.random
        held = {}  # the bytes that the output streams offered in the cycle before without being taken
        driven: dict[str, int] = {}
        inputs = {
            "line": link.from_line.valid,
            "line byte": link.from_line.payload,
            "transmit": link.transmit.valid,
            "transmit byte": link.transmit.payload,
            "line out": link.to_line.ready,
            "receive": link.receive.ready,
            "flush": link.flush,
        }
        line_valid = transmit_valid = line_ready = receive_ready = False

        def drive() -> None:
            """Draw the levels of the next cycle, and assign those that change at once."""
            nonlocal line_valid, transmit_valid, line_ready, receive_ready
            line_valid = line_valid or (bool(self.to_board) and (self.line == 1 or chance() < self.line))
            transmit_valid = bool(self.to_send) and (transmit_valid or self.give == 1 or chance() < self.give)
            line_ready = not self.deaf and (self.line == 1 or chance() < self.line)
            receive_ready = self.take == 1 or chance() < self.take
            levels = {
                "line": line_valid,
                "transmit": transmit_valid,
                "line out": line_ready,
                "receive": receive_ready,
                "flush": self.flush,
            }
            if line_valid:
                levels["line byte"] = self.to_board[0]
            if transmit_valid:
                levels["transmit byte"] = self.to_send[0]
            changed = [name for name, level in levels.items() if driven.get(name) != level]
            if changed:
                driven.update(levels)
                assign(ctx, [(inputs[name], levels[name]) for name in changed])

        drive()
        async for *_, from_line, to_line, to_line_byte, received, received_byte, transmit, reset in ctx.tick().sample(
            link.from_line.ready,
            link.to_line.valid,
            link.to_line.payload,
            link.receive.valid,
            link.receive.payload,
            link.transmit.ready,
            link.reset,
        ):
            self.cycles += 1
            if reset:
                held.pop("receive", None)
            for name, valid, byte, ready in (
                ("to_line", to_line, to_line_byte, line_ready),
                ("receive", received, received_byte, receive_ready),
            ):
                if name in held and (not valid or byte != held[name]):
                    self.violations += 1
                held.pop(name, None)
                if valid and not ready:
                    self.stalls += 1
                    held[name] = byte
            if line_valid and from_line:
                self.to_board.popleft()
                line_valid = False
            if to_line and line_ready:
                self.from_board.append(to_line_byte)
            if received and receive_ready:
                assert not reset
                self.received.append(received_byte)
            if transmit_valid and transmit:
                assert not reset
                self.to_send.popleft()
                transmit_valid = False
            if reset:
                self.resets += 1
                self.received.clear()
                self.to_send.clear()
                transmit_valid = False
                self._on_reset()
            self._serve(self)
            drive()


class BoardTransport(Transport):
    """The line of a :class:`Board`; its seconds are those of the simulation."""

    name = "the simulation"
    round_trip_s = 400 * PERIOD_S

    def __init__(self, board: Board, *, slice_cycles: int = 50) -> None:
        self.board = board
        self._slice = slice_cycles

    def write(self, data: bytes) -> None:
        self.board.to_board.extend(data)

    def read(self, timeout_s: float) -> bytes:
        board = self.board
        end = board.cycles + math.ceil(timeout_s / PERIOD_S)
        while 0 not in board.from_board and board.cycles < end:
            board.step(min(self._slice, end - board.cycles))
        data = bytes(board.from_board)
        board.from_board.clear()
        return data

    def now(self) -> float:
        return self.board.cycles * PERIOD_S


class Echo:
    """Sends back what arrives, from a :class:`Board` or a :class:`DeviceModel`; a new session begins empty."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._resets = 0

    def __call__(self, end: "Board | DeviceModel") -> None:
        if isinstance(end, Board):
            end.to_send.extend(end.received)
            end.received.clear()
            return
        if end.resets != self._resets:
            self._resets = end.resets
            self._waiting.clear()
        self._waiting += end.receive()
        del self._waiting[: end.transmit(bytes(self._waiting))]
