"""``spikeloom run``: run a network on a board, in simulation or as the reference."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from spikeloom.cli.choosing import DEFAULT_BOARD, Built, built, fabric_for, place_on, quantised_for
from spikeloom.cli.console import figures, note, out, print_json, progress_bar
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Backend, Hardware, JsonOption, Loading, NetworkArgument, Samples
from spikeloom.cli.ports import check_port, transport_to
from spikeloom.cli.signals import noted
from spikeloom.compiler.program import Program
from spikeloom.datasets.encoders import Encoder
from spikeloom.datasets.inputs import InputError, Inputs
from spikeloom.datasets.readout import Decision, classify
from spikeloom.model.network import Network
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.lib.files import replaced

if TYPE_CHECKING:
    from spikeloom.runners.runner import Runner, RunResult, Task

__all__ = ["Answer", "Encoding", "run"]

_SHOWN_ANSWERS = 20


class Encoding(Enum):
    """Where images are encoded as spikes."""

    HOST = "host"
    BOARD = "board"


class Answer(Enum):
    """Output of a board: spikes or membranes of the output population, or a class per image by the named score."""

    ALL = "all"
    COUNT = "count"
    FIRST = "first"
    LAST = "last"
    LARGEST = "largest"
    SUM = "sum"

    @property
    def mode(self) -> ReadoutMode:
        """Return the mode of the readout on the board."""
        return ReadoutMode.OFF if self is Answer.ALL else ReadoutMode[self.name]


@grouped
def run(
    network: NetworkArgument = None,
    backend: Annotated[Backend, typer.Option(help="Where the network runs.")] = Backend.BOARD,
    port: Annotated[str | None, typer.Option(help="Serial port, or HOST:PORT.", show_default=False)] = None,
    pixels: Annotated[
        str | None,
        typer.Option(help="Live events: columns x rows (x polarities), such as 34x34x2.", show_default=False),
    ] = None,
    step_ms: Annotated[float, typer.Option(help="Live events: milliseconds per step.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(help="Live events: number of steps; default: until Ctrl-C.", show_default=False)
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            help="Live events: accept them from HOST or HOST:PORT only; default: from any sender.", show_default=False
        ),
    ] = None,
    real_time: Annotated[
        bool,
        typer.Option(
            "--real-time", help="Live events: real-time priority, so that steps are on time on a busy machine."
        ),
    ] = False,
    encode: Annotated[
        Encoding, typer.Option(help="Where images are encoded: on the host, or by the encoder on the board.")
    ] = Encoding.HOST,
    answer: Annotated[
        Answer,
        typer.Option(
            help="Result: all output of the network, or only the class, as found by the readout on the board by "
            "most spikes (count), first spike, last, largest or summed (sum) membrane."
        ),
    ] = Answer.ALL,
    verify: Annotated[
        bool, typer.Option("--verify", help="Board: read the memories back after loading, and compare.")
    ] = False,
    identity: Annotated[
        Path | None,
        typer.Option(
            help="Identity file of the build expected on the board; default: the one in the build folder, if present.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the output to a .npy file: (T, B, n), or classes (B,) with such an --answer. Live: send "
            "the spikes to udp://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    *,
    loading: Loading,
    hardware: Hardware,
    samples: Samples,
) -> None:
    """Run a network on a board, in simulation or as the reference, and print the answers.

    With --inputs udp://HOST:PORT the input is live: SPIF events that arrive at this port. The events that arrive within
    --step-ms form one step.
    """
    from spikeloom.runners.live import udp_address
    from spikeloom.runners.runner import BoardRunner, TaskRunner

    source, sink = udp_address(samples.inputs or ""), udp_address(output or "")
    if source is not None and backend is not Backend.BOARD:
        raise InputError(f"backend must be board with live input, not {backend.value}")
    if sink is not None and source is None:
        raise InputError(f"output must be a file, not {output!r}, unless the input is live")
    if output is not None and sink is None and not output.endswith(".npy"):
        raise InputError(f"output must be a file that ends in .npy, not {output!r}")
    if peer is not None and source is None:
        raise InputError("peer must be left out, unless the input is live")
    if real_time and source is None:
        raise InputError("real-time must be left out, unless the input is live")
    plain = encode is Encoding.HOST and answer is Answer.ALL
    if answer is not Answer.ALL and loading.decision is not None:
        raise InputError("decision must be left out with --answer, which names the rule of the readout on the board")
    if not plain and (backend is Backend.RTL or source is not None):
        raise InputError("encode and answer must be left out with --backend rtl and with live input")
    if verify and (backend is not Backend.BOARD or source is not None):
        raise InputError("verify must be left out with live input and with backends other than board")
    loaded = loading.load(network)
    held = _hardware(backend, hardware, loading, loaded, identity)
    if backend is Backend.BOARD:
        check_port(port)  # before anything slow
    if source is not None:
        program = place_on(held.fabric, quantised_for(loaded, held.fabric, loading), hardware, is_built=True)
        _run_live(program, port, held, source, sink, pixels, step_ms, steps, peer, real_time=real_time, as_json=as_json)
        return
    chosen = samples.of(loaded, loading)
    runner = _runner(backend, port, held, hardware, loading, loaded, verify=verify)
    with progress_bar("images") as bar:
        shown = bar.add_task("", total=chosen.spikes.shape[1])

        def progress(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        if plain:
            result = runner.run(chosen.spikes, progress=progress)
        else:
            assert isinstance(runner, TaskRunner)
            result = runner.do(_task(chosen, loading.encoder_of(loaded), encode, answer), progress=progress)
    if as_json:
        print_json(_answers(loaded, backend, result, chosen.labels, loading.decision))
    else:
        _show_answers(f"{loaded.name} on {backend.value}", result, chosen.labels, loading.decision)
        if isinstance(runner, BoardRunner) and runner.identity is not None:
            out.print(f"board: {runner.identity.words}")
    if isinstance(runner, BoardRunner) and runner.memory_eye is not None:
        note(f"the SDRAM failed its self-test at the phase of its clock after power-up: {runner.memory_eye.sentence}")
    if output is not None:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        with replaced(output) as path:
            np.save(path, result.output if result.classes is None else result.classes)


def _hardware(backend: Backend, hardware: Hardware, loading: Loading, network: Network, identity: Path | None) -> Built:
    """Return the existing build or, for a simulation with other fields or tiles, the fabric to simulate."""
    changed = hardware.core or hardware.mesh or hardware.tiles
    if backend is Backend.BOARD or not changed:
        return built(hardware, identity)
    if hardware.fabric is None:
        hardware = replace(hardware, board=hardware.board or DEFAULT_BOARD)
    return Built(fabric=fabric_for(hardware, loading, [network]), baud_rate=0, build_hash=None)


def _runner(
    backend: Backend,
    port: str | None,
    held: Built,
    hardware: Hardware,
    loading: Loading,
    network: Network,
    *,
    verify: bool,
) -> Runner:
    from spikeloom.runners.runner import BoardRunner, PinsRunner, ReferenceRunner

    quantised = quantised_for(network, held.fabric, loading)
    if backend is Backend.REFERENCE:
        return ReferenceRunner(quantised)
    program = place_on(held.fabric, quantised, hardware, is_built=True)
    if backend is Backend.BOARD:
        return BoardRunner(program, transport_to(port, held.baud_rate), build_hash=held.build_hash, verify=verify)
    if backend is Backend.PINS:
        return PinsRunner(program, Path("build/run"), announce=note)
    from spikeloom.runners.compiled import CompiledRunner

    return CompiledRunner(program, Path("build/run"), workers=os.cpu_count() or 1, announce=note)


def _task(inputs: Inputs, encoder: Encoder | None, encode: Encoding, answer: Answer) -> Task:
    """Return the task of the units on the board for ``inputs``."""
    from spikeloom.runners.runner import Task

    if encode is Encoding.HOST:
        return Task(inputs=inputs.spikes, mode=answer.mode)
    if inputs.images is None or encoder is None:
        raise InputError("inputs must be images to be encoded on the board, not spikes")
    return Task(inputs=inputs.images, encoder=encoder, mode=answer.mode)


def _classes(result: RunResult, decision: Decision | None) -> NDArray[np.int64]:
    return classify(result.output, decision) if result.classes is None else result.classes


def _answers(
    network: Network,
    backend: Backend,
    result: RunResult,
    labels: NDArray[np.int64] | None,
    decision: Decision | None,
) -> dict[str, Any]:
    answers = _classes(result, decision)
    return {
        "network": network.name,
        "backend": backend.value,
        "images": len(answers),
        "answers": answers.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "accuracy": None if labels is None else float((answers == labels).mean()),
        "cycles": result.cycles,
        "seconds": round(result.seconds, 3),
    }


def _show_answers(title: str, result: RunResult, labels: NDArray[np.int64] | None, decision: Decision | None) -> None:
    """Print the class of each of the first images, the accuracy and the speed."""
    only_classes = result.classes is not None
    answers = _classes(result, decision)
    table = Table(title=title)
    for column in ("image", "answer", "label", *["spikes of each class"] * (not only_classes)):
        table.add_column(column, justify="right")
    for index in range(min(_SHOWN_ANSWERS, len(answers))):
        label = "-" if labels is None else str(labels[index])
        counts = [] if only_classes else [" ".join(f"{count:,}" for count in result.output[:, index].sum(axis=0))]
        table.add_row(str(index), str(answers[index]), label, *counts)
    out.print(table)
    if len(answers) > _SHOWN_ANSWERS:
        out.print(f"... and {len(answers) - _SHOWN_ANSWERS:,} more")
    if labels is not None:
        out.print(f"accuracy {100 * float((answers == labels).mean()):.2f} % of {len(answers):,} images")
    rate = f": {figures(len(answers) / result.seconds)} per second" if result.seconds else ""
    out.print(f"{len(answers):,} images in {result.seconds:.2f} s, loading included{rate}")


def _run_live(
    program: Program,
    port: str | None,
    held: Built,
    source: tuple[str, int],
    sink: tuple[str, int] | None,
    pixels: str | None,
    step_ms: float,
    steps: int | None,
    peer: str | None,
    *,
    real_time: bool,
    as_json: bool,
) -> None:
    """Send events from a UDP port through a board, and its spikes to another port."""
    from spikeloom.host.driver import Board
    from spikeloom.host.endpoint import Endpoint
    from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender
    from spikeloom.runners.live import peer_address, pixels_from, real_time_priority, run_live

    if steps is not None and steps < 1:
        raise InputError(f"the number of steps must be at least 1, not {steps}")
    if not 0 < step_ms < float("inf"):
        raise InputError(f"milliseconds per step must be more than 0, not {step_ms:g}")
    camera = pixels_from(pixels, len(program.input_axons))
    accepted = None if peer is None else peer_address(peer)
    transport = transport_to(port, held.baud_rate)
    with contextlib.ExitStack() as stack:
        stack.callback(transport.close)
        receiver = stack.enter_context(
            SpifReceiver(camera, source[1], host=source[0], step_s=step_ms / 1000, peer=accepted, rests=real_time)
        )
        sender = None
        if sink is not None:
            to = PixelMap(columns=program.observed[0][1], rows=1, polarities=1)
            sender = stack.enter_context(SpifSender(to, sink[1], host=sink[0]))
        endpoint = stack.enter_context(Endpoint(transport))
        board = Board(endpoint, program.fabric)
        board.check(program.fabric.identity(held.build_hash or bytes(16)), build=held.build_hash is not None)
        board.load(program)
        with noted() as stop:
            # A program that reads this line may send a signal at once.
            note(f"{program.network}: events from udp://{source[0]}:{receiver.port}; Ctrl-C ends")
            with real_time_priority() if real_time else contextlib.nullcontext(True) as permitted:
                if not permitted:
                    note(
                        "this user has no permission for real-time priority: steps may be late while other programs "
                        "run (docs/aer.md says how to permit it)"
                    )
                done = run_live(board, program, receiver, sender, steps=steps, stop=stop)
        board.check_errors()
    if as_json:
        print_json(asdict(done))
        return
    out.print(f"{done.steps:,} steps of {step_ms:g} ms, {done.events_in:,} events in, {done.spikes_out:,} spikes out")
    lost = "an unknown number" if done.dropped is None else f"{done.dropped:,}"
    out.print(f"datagrams: {done.used:,} used, {lost} dropped, {done.malformed:,} malformed", end="")
    out.print("" if accepted is None else f", {done.strangers:,} not from {peer}")
    out.print(f"{done.late_steps:,} steps late, at most {1000 * done.worst_late_s:.1f} ms")
    if done.late_s > step_ms / 1000:
        out.print(f"the last step was {done.late_s:.3f} s late: the board or its link needs longer steps")
