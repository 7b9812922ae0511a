"""Losses of loading and quantisation, as printed by `check` and `simulate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from spikeloom.cli.console import figures
from spikeloom.compiler.weight_losses import WeightLosses
from spikeloom.model.network import Network
from spikeloom.runners.compare import Agreement

__all__ = ["agreement_json", "agreement_lines", "losses_json", "losses_table", "notes_of_all", "threshold_lines"]


def notes_of_all(network: Network) -> list[str]:
    """Return the notes about the whole network: those that do not begin with the name of a population."""
    prefixes = tuple(f"{population.name}: " for population in network.populations)
    return [text for text in network.notes if not text.startswith(prefixes)]


def losses_table(losses: Sequence[WeightLosses], bits: str) -> Table:
    """Return one row per population: the range of its weights as floats, and their losses as integers."""
    table = Table(title=f"weights as {bits}-bit integers, after the gain of the neurons")
    for column in ("population", "weights", "bits", "range", "step", "became 0", "clipped"):
        table.add_column(column, justify="left" if column == "population" else "right", overflow="fold")
    for row in losses:
        table.add_row(
            row.population,
            f"{row.weights:,}",
            f"{row.bits}",
            f"{row.low:.4g} to {row.high:.4g}",
            f"{row.step:.4g}",
            f"{row.zeroed:,}",
            f"{row.clipped:,}",
        )
    return table


def threshold_lines(losses: Sequence[WeightLosses]) -> list[str]:
    """Return a line for each population that spikes: its threshold in units of the weights."""
    return [f"{row.population}: {row.threshold_text}" for row in losses if row.threshold_text]


def losses_json(losses: Sequence[WeightLosses]) -> list[dict[str, Any]]:
    """Return the rows of `losses_table` as JSON."""
    return [dataclasses.asdict(row) for row in losses]


def agreement_lines(found: Agreement) -> list[str]:
    """Return sentences on the cells in which float model and integers differ."""
    lines = [
        f"{name}: {found.differing[name]:,} of {cells:,} cells differ between float model and integers"
        for name, cells in found.cells.items()
    ]
    lines += [
        f"{name}: in {count:,} of {found.cells[name]:,} cells the membrane reaches more thresholds than the neuron may "
        "fire spikes in a step; use a larger max_spikes if the framework has no such bound"
        for name, count in found.capped.items()
    ]
    lines.append(
        f"all spikes: {figures(100 * found.share)} % of the cells are equal, and {figures(100 * found.answers)} % of "
        "the answers"
    )
    if found.accuracy_float is not None and found.accuracy_integers is not None:
        lines.append(
            f"accuracy: {100 * found.accuracy_float:.2f} % as floats, {100 * found.accuracy_integers:.2f} % as integers"
        )
    return lines


def agreement_json(found: Agreement) -> dict[str, Any]:
    """Return the comparison as JSON."""
    return {**dataclasses.asdict(found), "share": found.share}
