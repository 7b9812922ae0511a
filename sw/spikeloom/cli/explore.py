"""``spikeloom explore``: sweep over widths, steps, encoders, lanes and boards, and show what cannot be improved."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich import box
from rich.table import Table

from spikeloom.cli.console import figures, note, notes, out, print_json, progress_bar
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Conversion, JsonOption, Loading, NetworkArgument
from spikeloom.compiler.quantise import Scales
from spikeloom.datasets.encoders import Encoder, LevelEncoder, encoder_from, encoder_from_text
from spikeloom.datasets.inputs import InputError, Layout, inputs_from, read_arrays
from spikeloom.datasets.shipped import load_digits
from spikeloom.explore.log import opened_log
from spikeloom.explore.pareto import Rate, front, objectives_for, picture
from spikeloom.explore.points import Grid, Point, WeightBits, weight_bits_text
from spikeloom.explore.study import DEFAULT_SAMPLES, Estimate, Outcome, Study, validation_arrays
from spikeloom.explore.sweep import sweep
from spikeloom.model.network import Network
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE

__all__ = ["explore"]

_GRID, _WORK = "Design space", "Work"
_DIGITS = 64
_FASTEST = "auto"
T = TypeVar("T")


def _varied(text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=_GRID, **settings)


@grouped
def explore(
    network: NetworkArgument = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Validation samples: .npy or .npz as for --inputs of other commands, with labels. Samples in an array "
            "held_out of indices are never used. Default: the training digits.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="Axis order of spikes: tbn or btn; default: tbn.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", help="Use only N samples, drawn at random, the same each time.", metavar="N")
    ] = DEFAULT_SAMPLES,
    weight_bits: Annotated[
        list[str] | None,
        _varied(
            "Bits per weight, such as 8,4,2; or one value with others for some populations, such as 8,lif1=4. May be "
            "repeated; default: 8,6,4,3,2, after those of the file if it has any.",
            "--weight-bits",
            metavar="BITS",
        ),
    ] = None,
    steps: Annotated[
        list[str] | None,
        _varied(
            "Steps per sample, such as 4,8,16; default: those of the encoder, half and twice as many.",
            "--steps",
            metavar="STEPS",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        _varied(
            "Encoder, such as latency:steps=8,bits=4. May be repeated; default: that of the network.",
            "--encoder",
            metavar="KIND:NAME=VALUE,...",
        ),
    ] = None,
    lanes: Annotated[
        list[str] | None,
        _varied(
            f"Lanes of the core, such as 1,8,{_FASTEST}, which is the fastest core that fits; default: {_FASTEST},1.",
            "--lanes",
            metavar="LANES",
        ),
    ] = None,
    board: Annotated[
        list[str] | None,
        _varied(
            f"Boards, see: spikeloom boards. May be repeated; default: {','.join(Grid.boards)}.",
            "--board",
            metavar="NAMES",
        ),
    ] = None,
    scales: Annotated[
        Scales, typer.Option(help="Neurons that share a scale of weights and thresholds.", rich_help_panel=_GRID)
    ] = Scales.POPULATION,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; default: one per core.", show_default=False, rich_help_panel=_WORK),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, such as tcp://127.0.0.1:8786, whose workers are used instead. It RUNS "
            "WHATEVER IT IS SENT, by anyone who can reach it.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Output directory; finished points in it are used.", rich_help_panel=_WORK),
    ] = Path("build/explore"),
    rate: Annotated[
        Rate,
        typer.Option(
            help="Images per second that count: of the board with its serial line, or of the core alone.",
            rich_help_panel=_GRID,
        ),
    ] = Rate.BOARD,
    every: Annotated[bool, typer.Option("--all", help="Show all points, not only the Pareto front.")] = False,
    as_json: JsonOption = False,
    *,
    conversion: Conversion,
) -> None:
    """Try out widths, steps, encoders, lanes and boards, and show the points that no other point surpasses.

    Accuracy is that of the integers on validation samples, exactly as on hardware; resources, clock, images per second
    and energy are estimates. Results are pareto.svg, points.csv and explore.json in the output directory. An
    interrupted run resumes.
    """
    _check_boards()
    loaded = conversion.load(network)
    encoders = _encoders(encoder, loaded)
    study = Study(
        network=loaded,
        arrays=_samples(data, loaded, encoders[0], layout, limit),
        where="the digits" if data is None else str(data),
        decision=conversion.decision,
        scales=scales,
    )
    grid = _grid(study, encoders, weight_bits=weight_bits, steps=steps, lanes=lanes, board=board)
    view = _View(study=study, rate=rate, boards=grid.boards)
    note(f"{len(grid):,} points, each with {study.samples:,} validation samples of {study.where}")
    outcomes = _run(view, list(grid.points()), output, jobs, scheduler)
    best = view.front(outcomes)
    if not best:
        raise InputError(f"no point is possible: {outcomes[0].refused}")
    _write(output, view, outcomes)
    note(f"pareto.svg, points.csv, explore.json in {output}")
    if as_json:
        print_json(view.content(outcomes))
        return
    out.print(*view.tables(outcomes if every else best, best), sep="\n")
    refused = [outcome for outcome in outcomes if outcome.estimate is None]
    if refused:
        out.print(f"{len(refused):,} of {len(outcomes):,} points are not possible, the first: {refused[0].refused}")


def _check_boards() -> None:
    """Raise `InputError` if the descriptions of the boards are not installed."""
    try:
        import spikeloom.boards.targets.registry  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            "explore needs the boards for estimates, which are not installed; pip install 'spikeloom[boards]'"
        ) from error


def _run(view: _View, points: Sequence[Point], output: Path, jobs: int | None, scheduler: str | None) -> list[Outcome]:
    """Evaluate all points; print an early table when those with the first encoder and number of steps are known."""
    first = {point for point in points if (point.encoder, point.steps) == (points[0].encoder, points[0].steps)}
    early: dict[Point, Outcome] = {}
    with opened_log(output / "points.jsonl", view.study) as log, progress_bar("points") as bar:
        task = bar.add_task("", total=len(points))

        def finished(outcomes: Sequence[Outcome]) -> None:
            bar.advance(task, len(outcomes))
            missing = len(first) - len(early)
            early.update({outcome.point: outcome for outcome in outcomes if outcome.point in first})
            # Not if the log has everything: the final tables follow at once then.
            if missing and len(early) == len(first) < len(points) and len(outcomes) < len(points):
                best = view.front(early.values())
                notes.print(*view.tables(best, best, "first results"), sep="\n")

        return sweep(view.study, points, log=log, jobs=jobs, scheduler=scheduler, finished=finished)


def _samples(
    data: Path | None, network: Network, encoder: Encoder | None, layout: Layout | None, limit: int
) -> dict[str, Any]:
    if data is None:
        if network.inputs % _DIGITS:
            raise InputError(
                f"network {network.name} has {network.inputs} inputs, so --data must be a file, not omitted"
            )
        training, _ = load_digits()
        return validation_arrays({"images": training.images, "labels": training.labels}, "the digits", limit=limit)
    arrays = read_arrays(data, network.inputs, encoder, value_width=network.input_value_width)
    if "spikes" in arrays:
        width = network.input_value_width
        found = inputs_from(arrays, network.inputs, encoder, where=str(data), layout=layout, value_width=width)
        arrays = {**arrays, "spikes": found.spikes}
    return validation_arrays(arrays, str(data), limit=limit)


def _encoders(texts: Sequence[str] | None, network: Network) -> tuple[Encoder | None, ...]:
    if texts:
        return tuple(encoder_from_text(text) for text in texts)
    return (None if network.encoder is None else encoder_from(network.encoder),)


def _grid(
    study: Study,
    encoders: tuple[Encoder | None, ...],
    *,
    weight_bits: Sequence[str] | None,
    steps: Sequence[str] | None,
    lanes: Sequence[str] | None,
    board: Sequence[str] | None,
) -> Grid:
    given: dict[str, Any] = {}
    if weight_bits:
        given["weight_bits"] = _once(bits for text in weight_bits for bits in _widths(text, study.network))
    elif any(population.weight_bits is not None for population in study.network.populations):
        given["weight_bits"] = _once((_own_widths(study.network), *Grid.weight_bits))
    if steps:
        given["steps"] = _once(_whole("steps", part) for part in _parts(steps))
    elif len(encoders) == 1 and isinstance(encoders[0], LevelEncoder) and "images" in study.arrays:
        own = encoders[0].steps
        given["steps"] = _once((own, max(1, own // 2), 2 * own))
    if lanes:
        given["lanes"] = _once(
            None if part == _FASTEST else _whole("lanes", part, f"whole numbers and {_FASTEST}")
            for part in _parts(lanes)
        )
    if board:
        given["boards"] = _once(_parts(board))
    # Without images and series there is nothing to encode.
    return Grid(encoders=(None,) if "spikes" in study.arrays else _once(encoders), **given)


def _widths(text: str, network: Network) -> Iterable[WeightBits]:
    """Return the values in ``8,4,2``, or the one in ``8,lif1=4``, which other commands take as well."""
    if "=" not in text:
        return [_whole("weight-bits", part) for part in _parts([text])]
    return [tuple(Loading(weight_bits=text).weight_widths(network).items())]


def _own_widths(network: Network) -> WeightBits:
    """Return the bits that the file of ``network`` asks for, those of all other populations being the default."""
    return tuple(Loading().weight_widths(network).items())


def _parts(texts: Iterable[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",")]


def _whole(name: str, text: str, allowed: str = "whole numbers") -> int:
    if not text.isdecimal():
        raise InputError(f"{name} must be {allowed} separated by commas, not {text!r}")
    return int(text)


def _once(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


_QUALITY = "accuracy"
_SCORED: dict[str, Callable[[Outcome], str]] = {
    "bits": lambda o: weight_bits_text(o.point.weight_bits),
    "encoder": lambda o: "-" if o.point.encoder is None else o.point.encoder.kind,
    "steps": lambda o: _shown(o.score.steps if o.score else o.point.steps),
    "lanes": lambda o: _shown(o.estimate.lanes if o.estimate else o.point.lanes),
    _QUALITY: lambda o: f"{100 * o.quality:.2f} %" if o.score else "-",
    "ops": lambda o: f"{o.score.synaptic_operations:,.0f}" if o.score else "-",
}
_ESTIMATED: dict[str, Callable[[Estimate], str]] = {
    "LUTs": lambda e: f"{e.lut:,}",
    "RAMs": lambda e: f"{e.ram + e.single_port:,}",
    "full": lambda e: f"{e.utilisation:.0%}",
    "images/s\nof core": lambda e: figures(e.core_images_per_second),
    "over\nline": lambda e: "-" if e.line_images_per_second is None else figures(e.line_images_per_second),
    "nJ": lambda e: figures(e.energy_nj),
}
_LEFT = ("bits", "encoder")


def _shown(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """Results as the user sees them; ``rate`` decides what is on the front."""

    study: Study
    rate: Rate
    boards: tuple[str, ...]

    @property
    def quality(self) -> str:
        """Meaning of the quality of an outcome, in words."""
        return "accuracy" if self.study.has_labels else "answers equal to those of the floats"

    def front(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Return the outcomes on the front of their board."""
        return front(outcomes, objectives_for(self.rate))

    def tables(self, shown: Sequence[Outcome], best: Sequence[Outcome], what: str = "Pareto front") -> list[Table]:
        """Return a table per board, the best outcomes first; those on the front have a star if others are shown."""
        of = {board: [outcome for outcome in shown if outcome.point.board == board] for board in self.boards}
        return [self._table(board, found, best, what) for board, found in of.items() if found]

    def _table(self, board: str, shown: Sequence[Outcome], best: Sequence[Outcome], what: str) -> Table:
        marks = {outcome.point for outcome in best}
        is_all = any(outcome.point not in marks for outcome in shown)
        clocks = {figures(o.estimate.clock_mhz) for o in shown if o.estimate}
        clock = f", {clocks.pop()} MHz" if len(clocks) == 1 else ""
        table = Table(
            title=f"{self.study.network.name} on {board}{clock}: {'all, * Pareto front' if is_all else what}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            caption="ops: synaptic operations per image; LUTs to nJ per image are estimates\n",
            caption_justify="left",
        )
        several = len({o.point.encoder and o.point.encoder.kind for o in shown}) > 1
        columns = {name: read for name, read in _SCORED.items() if several or name != "encoder"}
        for column in (*columns, *_ESTIMATED):
            is_text = column in _LEFT
            name = "as floats" if column == _QUALITY and not self.study.has_labels else column
            table.add_column(
                name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold", min_width=4
            )
        for outcome in sorted(shown, key=lambda o: -o.quality if o.score else 1.0):
            cells = [read(outcome) for read in columns.values()]
            cells[0] += " *" * (is_all and outcome.point in marks)
            estimate = outcome.estimate
            cells += ["-" if estimate is None else read(estimate) for read in _ESTIMATED.values()]
            table.add_row(*cells)
        return table

    def content(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        marks = {outcome.point for outcome in self.front(outcomes)}
        return {
            "network": self.study.network.name,
            "samples": self.study.samples,
            "quality": "accuracy" if self.study.has_labels else "agreement",
            "rate": self.rate.value,
            "points": [{**outcome.content(), "front": outcome.point in marks} for outcome in outcomes],
        }


def _write(output: Path, view: _View, outcomes: Sequence[Outcome]) -> None:
    """Write the picture, the table and the JSON, each whole or not at all."""
    content = view.content(outcomes)
    write_whole(output / "explore.json", SUMMARY_FILE.text(content))
    rows = [_flat(point) for point in content["points"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(output / "points.csv", text.getvalue())
    title = f"{view.study.network.name}, {view.study.samples:,} validation samples"
    write_whole(output / "pareto.svg", picture(outcomes, title, view.quality, view.rate))


def _flat(point: dict[str, Any]) -> dict[str, Any]:
    """Return a point as a row: the figures of score and estimate beside the point, settings as text."""
    bits, encoder, score = point["weight_bits"], point["encoder"], point["score"]
    row = {name: value for name, value in point.items() if name not in ("score", "estimate")}
    row["weight_bits"] = weight_bits_text(bits if isinstance(bits, int) else tuple(bits.items()))
    if encoder is not None:
        settings = ",".join(f"{name}={_joined(value)}" for name, value in encoder.items() if name != "kind")
        row["encoder"] = f"{encoder['kind']}:{settings}"
    # The steps of a point are those asked for, if any; those of a score are the steps taken.
    return row | (score or {}) | (point["estimate"] or {})


def _joined(value: Any) -> str:
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)
