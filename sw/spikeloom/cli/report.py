"""``spikeloom report``: write one HTML page about a network on a fabric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import DEFAULT_BOARD, DEFAULT_FABRIC, built, fabric_for, place_on, quantised_for
from spikeloom.cli.console import note, out
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import PLACE_IMAGES, Backend, Hardware, Loading, NetworkArgument, Samples
from spikeloom.cli.ports import check_port, transport_to
from spikeloom.sim.lib.files import write_whole

__all__ = ["report"]


@grouped
def report(
    network: NetworkArgument = None,
    backend: Annotated[
        Backend, typer.Option(help="Backend to run besides the reference, for its counters.")
    ] = Backend.REFERENCE,
    port: Annotated[str | None, typer.Option(help="Serial port, or HOST:PORT.", show_default=False)] = None,
    timing: Annotated[
        Path | None,
        typer.Option(help="report.json of a build, or a file of qor, as the source of the clock.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output file.")] = Path("report.html"),
    *,
    loading: Loading,
    hardware: Hardware,
    samples: Samples,
) -> None:
    """Write an HTML page about a network on a fabric: tiles, routes, traffic, resources, spikes and timing."""
    from spikeloom.explore.cost import measured_rates
    from spikeloom.report.collect import gather
    from spikeloom.report.page import page
    from spikeloom.report.timing import timing_from, timing_of_build
    from spikeloom.runners.runner import BoardRunner

    if backend is Backend.BOARD:
        check_port(port)
    loaded = loading.load(network)
    on_board = built(hardware) if backend is Backend.BOARD else None
    if on_board is not None:
        fabric = on_board.fabric
    else:
        fabric = fabric_for(hardware, loading, [loaded], counters=backend is Backend.RTL)
    quantised = quantised_for(loaded, fabric, loading)
    sample = samples.of(loaded, loading).first(samples.images or PLACE_IMAGES)
    # Use the clock of the build named by --fabric, or of the board's build if it holds this fabric.
    named = Path(hardware.fabric or DEFAULT_FABRIC)
    folders = (named if named.is_dir() else named.parent, Path("build") / (hardware.board or DEFAULT_BOARD))
    figures = timing_of_build(folders, fabric) if timing is None else timing_from(timing)
    rates = measured_rates(quantised, sample.spikes)
    program = place_on(fabric, quantised, hardware, is_built=on_board is not None, rates=rates)
    result = None
    if on_board is not None:
        transport = transport_to(port, on_board.baud_rate)
        result = BoardRunner(program, transport, build_hash=on_board.build_hash).run(sample.spikes)
    elif backend is not Backend.REFERENCE:
        from spikeloom.runners.compiled import CompiledRunner
        from spikeloom.runners.runner import PinsRunner

        runner = CompiledRunner if backend is Backend.RTL else PinsRunner
        result = runner(program, Path("build/run"), announce=note).run(sample.spikes)
    counted = None if result is None else result.cycles_per_sample
    gathered = gather(
        quantised,
        program,
        sample.spikes,
        labels=sample.labels,
        decision=loading.decision,
        measured=None if result is None else {**{n: result.fired(n) for n in result.spikes}, **result.membranes},
        counters=None if result is None else result.counters,
        links=None if result is None else result.links,
        cycles_per_sample=None if counted is None else float(counted.mean()),
        timing=figures,
        runner=backend.value,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, page(gathered))
    out.print(f"{output}: {gathered.explanation.limit}")
