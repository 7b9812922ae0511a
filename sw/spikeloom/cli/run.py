"""``spikeloom run``: a network on a board, in simulation or as the reference."""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from spikeloom.cli.choosing import built_fabric
from spikeloom.cli.options import (
    CompareOption,
    DelayOption,
    DiscretisationOption,
    ImagesOption,
    InputsOption,
    Loading,
    NetworkArgument,
    PresetOption,
    RefractoryOption,
    ResetOption,
    TimeStepOption,
    WeightOption,
    encoder_of,
    inputs_of,
    out,
    placed,
    progress_bar,
)
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Encoder
from spikeloom.datasets.inputs import InputError, Inputs
from spikeloom.datasets.readout import classify
from spikeloom.sim.fabric.fabric_file import read_identity
from spikeloom.sim.host.readout import ReadoutMode

if TYPE_CHECKING:
    from spikeloom.runners.runner import Runner, RunResult, Task

__all__ = ["Answer", "Backend", "Encoding", "build_hash_of", "run", "transport_to"]

_SHOWN_ANSWERS = 20


class Backend(Enum):
    """Where a network runs: `spikeloom.runners.runner` says more."""

    REFERENCE = "reference"
    RTL = "rtl"
    PINS = "pins"
    BOARD = "board"


class Encoding(Enum):
    """Who makes spikes of images."""

    HOST = "host"
    BOARD = "board"


class Answer(Enum):
    """What a board sends: its output's spikes or membranes, or of each image the class, by one of these scores."""

    ALL = "all"
    COUNT = "count"
    FIRST = "first"
    LAST = "last"
    LARGEST = "largest"
    SUM = "sum"

    @property
    def mode(self) -> ReadoutMode:
        """As the readout of the board has it."""
        return ReadoutMode.OFF if self is Answer.ALL else ReadoutMode[self.name]


def run(
    network: NetworkArgument = None,
    backend: Annotated[Backend, typer.Option(help="Where it runs.")] = Backend.BOARD,
    board: Annotated[str, typer.Option(help="Name of the board at the port.")] = "icebreaker",
    port: Annotated[str | None, typer.Option(help="Serial port, or HOST:PORT.", show_default=False)] = None,
    inputs: InputsOption = None,
    live: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="udp://HOST:PORT: live events instead, SPIF words that come there; a step is what comes in --step-ms.",
            show_default=False,
        ),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(help="Of live events: columns x rows (x polarities), such as 34x34x2.", show_default=False),
    ] = None,
    step_ms: Annotated[float, typer.Option(help="Of live events: milliseconds of a step.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(help="Of live events: steps to run; until Ctrl-C if not given.", show_default=False)
    ] = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    images: ImagesOption = None,
    encode: Annotated[
        Encoding, typer.Option(help="Who makes spikes of images: the host, or the encoder on the board.")
    ] = Encoding.HOST,
    answer: Annotated[
        Answer,
        typer.Option(
            help="What comes back: all that the output sends; or only the class, found by the readout on the board: "
            "most spikes (count), first spike, last, largest or summed (sum) membrane."
        ),
    ] = Answer.ALL,
    identity: Annotated[
        Path | None,
        typer.Option(help="The build that the board must hold; build/BOARD/identity if there.", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Write the output as .npy, (T, B, n), or the classes (B,) where only they come back; or, live, send "
            "its spikes to udp://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a network on a board, in simulation or as the reference, and print the answers."""
    from spikeloom.runners.compiled import CompiledRunner
    from spikeloom.runners.live import udp_address
    from spikeloom.runners.runner import BoardRunner, PinsRunner, ReferenceRunner, TaskRunner

    source, sink = udp_address(live or ""), udp_address(output or "")
    if live is not None and (source is None or backend is not Backend.BOARD or inputs is not None):
        raise InputError(f"input must be udp://HOST:PORT, on a board and without --inputs, not {live!r}")
    if sink is not None and source is None:
        raise InputError(f"output must be a file, not {output!r}, unless the input is live")
    if output is not None and sink is None and not output.endswith(".npy"):
        raise InputError(f"output must be a file that ends in .npy, not {output!r}")
    plain = encode is Encoding.HOST and answer is Answer.ALL
    if not plain and (backend is Backend.RTL or source is not None):
        raise InputError("encode and answer must be left out with --backend rtl and with live input")
    options = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    from spikeloom.boards.targets.registry import find_board

    description = find_board(board)
    fabric = built_fabric(board, identity)
    if source is not None:
        program = placed(loaded, fabric, weight_bits)
        transport = transport_to(port, description.baud_rate)
        _run_live(program, transport, build_hash_of(identity, board), source, sink, pixels, step_ms, steps)
        return
    chosen = inputs_of(loaded, inputs, images)
    runner: Runner
    if backend is Backend.REFERENCE:
        widths = Quantisation.for_core(fabric.core, weight_width=weight_bits)
        runner = ReferenceRunner(quantise(loaded, widths))
    else:
        program = placed(loaded, fabric, weight_bits)
        if backend is Backend.RTL:
            runner = CompiledRunner(program, Path("build/run"), workers=os.cpu_count() or 1, announce=out.print)
        elif backend is Backend.PINS:
            runner = PinsRunner(program, Path("build/run"), announce=out.print)
        else:
            build_hash = build_hash_of(identity, board)
            runner = BoardRunner(program, transport_to(port, description.baud_rate), build_hash=build_hash)
    with progress_bar("images") as bar:
        shown = bar.add_task("", total=chosen.spikes.shape[1])

        def progress(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        if plain:
            result = runner.run(chosen.spikes, progress=progress)
        else:
            assert isinstance(runner, TaskRunner)
            result = runner.do(_task(chosen, encoder_of(loaded), encode, answer), progress=progress)
    _show_answers(f"{loaded.name} on {backend.value}", result, chosen.labels)
    if output is not None:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        np.save(output, result.output if result.classes is None else result.classes)


def _task(inputs: Inputs, encoder: Encoder | None, encode: Encoding, answer: Answer) -> Task:
    """What the units of the board are to do with ``inputs``."""
    from spikeloom.runners.runner import Task

    if encode is Encoding.HOST:
        return Task(inputs=inputs.spikes, mode=answer.mode)
    if inputs.images is None or encoder is None:
        raise InputError("inputs must be images to be encoded on the board, not spikes")
    return Task(inputs=inputs.images, encoder=encoder, mode=answer.mode)


def _show_answers(title: str, result: RunResult, labels: NDArray[np.int64] | None) -> None:
    """The class of each of the first images, how many are right, and how fast it went."""
    only_classes = result.classes is not None
    answers = classify(result.output) if result.classes is None else result.classes
    table = Table(title=title)
    for column in ("image", "answer", "label", *["spikes of each class"] * (not only_classes)):
        table.add_column(column, justify="right")
    for index in range(min(_SHOWN_ANSWERS, len(answers))):
        label = "-" if labels is None else str(labels[index])
        counts = [] if only_classes else [" ".join(f"{count}" for count in result.output[:, index].sum(axis=0))]
        table.add_row(str(index), str(answers[index]), label, *counts)
    out.print(table)
    if len(answers) > _SHOWN_ANSWERS:
        out.print(f"... and {len(answers) - _SHOWN_ANSWERS} more")
    if labels is not None:
        out.print(f"accuracy {100 * float((answers == labels).mean()):.2f} % of {len(answers)} images")
    rate = len(answers) / result.seconds if result.seconds else float("inf")
    out.print(f"{len(answers)} images in {result.seconds:.2f} s with loading: {rate:.3g} a second")


def _run_live(
    program: Program,
    transport: Any,
    build_hash: bytes | None,
    source: tuple[str, int],
    sink: tuple[str, int] | None,
    pixels: str | None,
    step_ms: float,
    steps: int | None,
) -> None:
    """Events of a UDP port through a board, and its spikes to another."""
    from spikeloom.host.driver import Board
    from spikeloom.host.endpoint import Endpoint
    from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender
    from spikeloom.runners.live import pixels_from, run_live

    if steps is not None and steps < 1:
        raise InputError(f"the number of steps must be at least 1, not {steps}")
    link = program.fabric.link
    with contextlib.ExitStack() as stack:
        camera = pixels_from(pixels, len(program.input_axons))
        receiver = stack.enter_context(SpifReceiver(camera, source[1], host=source[0], step_s=step_ms / 1000))
        sender = None
        if sink is not None:
            to = PixelMap(columns=program.observed[0][1], rows=1, polarities=1)
            sender = stack.enter_context(SpifSender(to, sink[1], host=sink[0]))
        endpoint = stack.enter_context(Endpoint(transport, maximum_payload=link.maximum_payload))
        board = Board(endpoint, program.fabric)
        board.check(program.fabric.identity(build_hash or bytes(16)), build=build_hash is not None)
        board.load(program)
        out.print(f"{program.network}: events from udp://{source[0]}:{receiver.port}; Ctrl-C ends")
        done = run_live(board, program, receiver, sender, steps=steps)
        board.check_errors()
    out.print(f"{done.steps} steps of {step_ms:g} ms, {done.events_in} events in, {done.spikes_out} spikes out")
    if done.malformed:
        out.print(f"{done.malformed} datagrams were no SPIF")
    if done.late_s > step_ms / 1000:
        out.print(f"the last step was {done.late_s:.3f} s late: the board, or its line, needs longer steps")


def transport_to(port: str | None, baud_rate: int) -> Any:
    from spikeloom.host.transport import SerialTransport, TcpTransport

    if port is None:
        raise InputError("a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000")
    host, colon, number = port.rpartition(":")
    if colon and number.isdigit():
        return TcpTransport(host, int(number))
    return SerialTransport(port, baud_rate)


def build_hash_of(identity: Path | None, board: str) -> bytes | None:
    path = identity or Path("build") / board / "identity"
    if identity is None and not path.exists():
        return None
    try:
        return read_identity(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be the identity file of a build") from error
