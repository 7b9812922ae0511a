"""Speed of the driver: part of ``make bench``, written to ``build/bench/driver.json``.

The driver is connected over a socket to a peer in another process, which consists of the model of a board's link and
known answers. Only the processor time of the driver's process counts, so the figures are upper limits of the host with
a link that is fast enough. The images are as bright as those of MNIST, and each answer is compared.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.peripherals import with_units
from spikeloom.host.transport import TcpTransport
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.bridge import BridgeModel, Read, Tick, Write
from spikeloom.sim.host.compiled_samples import compiled_samples
from spikeloom.sim.host.link import DeviceModel, LinkParameters
from spikeloom.sim.host.messages import encode_spikes
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE
from spikeloom.sim.lib.registers import BRIDGE_TILE

__all__ = ["DriverSpeed", "measure"]

ENCODER = LatencyEncoder(steps=4, bits=2)
SIDE, OUTPUTS, STREAMED = 28, 10, 500
_LIT = 0.19
"""Share of pixels of MNIST that are not black."""
_LINK = LinkParameters(receive_buffer=16384, transmit_buffer=16384, maximum_payload=1400)
"""Link with buffers large enough for a fast line: one window is in flight per round trip."""
_DIRECTORY = Path("build/bench")
_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class DriverSpeed:
    """Work of the driver per second of processor time, the best of three runs.

    ``images_per_s`` is a rate for each combination of what is sent and what is returned. ``load_mb_per_s`` and
    ``read_mb_per_s`` are the rates of writing memories and of reading them back in millions of bytes. ``us_per_step``
    is the time to send a step and receive its answer, in a sample that is sent step by step. ``compiled`` says whether
    the inner loops in C were used.
    """

    images: int
    images_per_s: dict[str, int]
    load_mb_per_s: float
    read_mb_per_s: float
    us_per_step: float
    mismatches: int
    compiled: bool


def images_of(count: int) -> NDArray[np.int64]:
    """Return images ``(count, 28, 28)`` of 0 to 4: bright discs near the middle."""
    rng = np.random.default_rng(0)
    row, column = rng.uniform(11, 17, (2, count, 1, 1))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    radius = np.sqrt(_LIT * SIDE * SIDE / np.pi)
    distance = np.hypot(rows - row, columns - column) / radius
    return np.where(distance < 1, np.clip(np.round(6 * (1 - distance)), 1, 4), 0).astype(np.int64)


class _Peer:
    """Model of the board behind its link: registers, and the output spikes ``(T, B, OUTPUTS)`` of all samples."""

    def __init__(self, spikes: NDArray[np.bool_], axons: NDArray[np.int64]) -> None:
        steps, samples, _ = spikes.shape
        self._steps = [
            [encode_spikes(spikes[[t], b], axons, last=t == steps - 1) for t in range(steps)] for b in range(samples)
        ]
        self._classes = spikes.sum(axis=0).argmax(axis=1)
        self._model = BridgeModel(16, index_width=32)
        # 3: the host bridge has an encoder and a readout.
        self._registers = {(BRIDGE_TILE, BRIDGE.register("units").offset): 3}
        self._memories: dict[tuple[int, int], bytearray] = {}
        self._sample = self._step = 0

    def answer(self, data: bytes) -> bytes:
        """Return the bytes that answer ``data``."""
        answer = []
        for request in self._model.from_host(data):
            if isinstance(request, Tick):
                answer.append(self._tick(request.last))
            elif isinstance(request, (Write, Read)) and request.address.memory:
                answer.append(self._memory(request))
            elif isinstance(request, Write):
                for offset, byte in enumerate(request.data):
                    self._registers[request.address.tile, request.address.index + offset] = byte
            elif isinstance(request, Read):
                first, tile = request.address.index, request.address.tile
                found = bytes(self._registers.get((tile, index), 0) for index in range(first, first + request.count))
                answer.append(self._model.read_data(found))
        return b"".join(answer)

    def _memory(self, request: Write | Read) -> bytes:
        """Write or read words; return the answer."""
        address = request.address
        content = self._memories.setdefault((address.tile, address.memory), bytearray())
        start = address.index * address.word_bytes
        if isinstance(request, Read):
            return self._model.read_data(bytes(content[start : start + request.count]))
        content.extend(bytes(max(0, start - len(content))))
        content[start : start + len(request.data)] = request.data
        return b""

    def _tick(self, last: bool) -> bytes:
        of_sample = self._steps[self._sample % len(self._steps)]
        if self._register("readout_mode"):
            answer = self._class() if last else b""
        elif self._register("encoder_mode"):
            answer = b"".join(of_sample) if last else b""
        else:
            answer = of_sample[self._step]
        self._sample, self._step = (self._sample + 1, 0) if last else (self._sample, self._step + 1)
        return answer

    def _class(self) -> bytes:
        winner = int(self._classes[self._sample % len(self._classes)])
        return self._model.value(winner, 1) + self._model.tick(True)

    def _register(self, name: str) -> int:
        return self._registers.get((BRIDGE_TILE, BRIDGE.register(name).offset), 0)


def _serve(
    port: Connection, identity: bytes, link: LinkParameters, spikes: NDArray[np.bool_], axons: NDArray[np.int64]
) -> None:
    """Play the role of the board for one connection."""
    peer = _Peer(spikes, axons)
    model = DeviceModel(link, identity)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port.send(server.getsockname()[1])
        line, _ = server.accept()
    # Frames are small; without this option, TCP would wait to combine them.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pending = b""
    with line:
        while data := line.recv(1 << 16):
            # In pieces of at most the receive buffer, so that the model never drops a frame for lack of room.
            for start in range(0, len(data), link.receive_buffer):
                model.from_line(data[start : start + link.receive_buffer])
                pending += peer.answer(model.receive())
                while True:
                    taken = model.transmit(pending)
                    pending = pending[taken:]
                    if out := model.to_line():
                        line.sendall(out)
                    if not taken:
                        break


def _best(run: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """Return the shortest processor time of ``run`` in seconds, and its last result."""
    best, found = float("inf"), None
    for _ in range(runs):
        start = time.process_time()
        found = run()
        best = min(best, max(time.process_time() - start, 1e-9))
    return best, found


def _stream(board: Board, spikes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Run samples step by step as in a closed loop, in which each step waits for the answer to the previous one."""
    found = []
    for sample in range(spikes.shape[1]):
        stream = board.stream()
        for number, step in enumerate(spikes[:, sample]):
            stream.send(step, last=number == len(spikes) - 1)
            while stream.received < stream.sent:
                found += [result.spikes for result in stream.receive()]
        stream.finish()
    return np.array(found)


def _program() -> Program:
    fabric = FabricConfig(name="driver", core=replace(FABRICS["wide"].core, read_back=True), link=_LINK)
    fabric = with_units(fabric, [ENCODER], inputs=SIDE * SIDE, outputs=OUTPUTS)
    network = quantise(load(shipped("mnist-mlp-128.nir")), Quantisation(v_width=fabric.core.v_width))
    return place(network, fabric)


def measure(images: int = 4000, *, runs: int = _RUNS) -> DriverSpeed:
    """Run ``images`` images in each way."""
    program = _program()
    fabric = program.fabric
    axons = np.asarray(program.output_axons)
    pixels = images_of(images)
    spikes = ENCODER.encode(pixels)
    fired = np.random.default_rng(1).random((ENCODER.steps, images, OUTPUTS)) < 0.1
    # Not a fork, which would copy the threads and locks of this process.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    identity = fabric.identity(bytes(16)).encode()
    memories = [(image.tile, image.memory, len(image.words)) for image in program.memories]
    size = sum(image.words.size for image in program.memories)
    peer = context.Process(target=_serve, args=(theirs, identity, fabric.link, fired, axons), daemon=True)
    peer.start()
    with Endpoint(TcpTransport("127.0.0.1", ours.recv()), maximum_payload=fabric.link.maximum_payload) as endpoint:
        board = Board(endpoint, fabric)
        loading, _ = _best(lambda: board.load(program), runs)
        reading, words = _best(lambda: [board.read_memory(*place, count=count) for *place, count in memories], runs)
        as_spikes, result = _best(lambda: board.run(spikes), runs)
        as_pixels, encoded = _best(lambda: board.run_images(pixels, ENCODER), runs)
        as_classes, answers = _best(lambda: board.classify(pixels, encoder=ENCODER), runs)
        streamed = spikes[:, : STREAMED // ENCODER.steps]
        streaming, steps = _best(lambda: _stream(board, streamed), 1)
    peer.join(10)
    expected = fired[:, : streamed.shape[1]].transpose(1, 0, 2).reshape(-1, OUTPUTS)
    wrong = [
        result.spikes != fired,
        encoded.spikes != fired,
        answers.classes != fired.sum(axis=0).argmax(axis=1),
        steps != expected,
        *(found != image.words for found, image in zip(words, program.memories, strict=True)),
    ]
    return DriverSpeed(
        images=images,
        images_per_s={
            "spikes, spikes back": round(images / as_spikes),
            "pixels, spikes back": round(images / as_pixels),
            "pixels, classes back": round(images / as_classes),
        },
        load_mb_per_s=round(size / loading / 1e6, 1),
        read_mb_per_s=round(size / reading / 1e6, 1),
        us_per_step=round(streaming / len(expected) * 1e6, 1),
        mismatches=sum(int(np.count_nonzero(part)) for part in wrong),
        compiled=compiled_samples() is not None,
    )


def main() -> None:
    speed = measure()
    for way, rate in speed.images_per_s.items():
        print(f"{way:22} {rate:9,} images/s")
    print(f"{'memories loaded':22} {speed.load_mb_per_s:9,.1f} MB/s")
    print(f"{'memories read back':22} {speed.read_mb_per_s:9,.1f} MB/s")
    print(f"{'step by step':22} {speed.us_per_step:9,.1f} us per step")
    print(f"{speed.mismatches:,} mismatches, {'with' if speed.compiled else 'without'} the inner loops in C")
    path = _DIRECTORY / "driver.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, BENCHMARK_FILE.text(asdict(speed)))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
