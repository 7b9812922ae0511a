"""Tables of kept figures in the README and in ``docs/``, written by ``python -m spikeloom.boards.qor.tables``; a test
checks that they are current, and ``make qor`` writes them."""

import re
from collections.abc import Callable
from pathlib import Path

from spikeloom.boards.qor.blocks import ATTENTION_SHAPES, ATTENTION_STEPS, attention_block
from spikeloom.boards.qor.boards import MEASURED, BoardQuality
from spikeloom.boards.qor.figures import Figures
from spikeloom.boards.qor.measure import FOLDER, Quality

__all__ = ["PAGES", "TABLES", "fmax", "main", "with_tables"]

PAGES = ("README.md", "docs/core.md", "docs/choosing.md", "docs/attention.md")

_LANES = {"1-lane": 1, "8-lanes": 8, "64-lanes": 64, "256-lanes": 256}

_BLOCKS = (
    ("lif-core-1-lane-ecp5-85f", "[LIF core](docs/core.md), 1 lane", "one weight word per cycle, for any events"),
    ("lif-core-8-lanes-ecp5-85f", "8 lanes", ""),
    ("lif-core-64-lanes-ecp5-85f", "64 lanes", ""),
    ("lif-core-256-lanes-ecp5-85f", "256 lanes", ""),
    ("lif-core-1-lane-ice40-up5k", "1 lane on an iCE40 UP5K", "weights in single-port RAM"),
    (
        "router-5-ports-ecp5-85f",
        "[AER router](docs/router.md), 5 ports, multicast in the network",
        "formally proven; 10 million packets, none lost",
    ),
    ("mesh-4x4-ecp5-85f", "4 x 4 mesh of them", ""),
    ("fabric-4x4-ecp5-85f", "the same with 15 small cores", ""),
    (
        "attention-64-tokens-8-rows-ecp5-85f",
        "[attention unit](docs/attention.md), 64 tokens, 64 features, 8 rows in parallel",
        "the first open implementation",
    ),
    ("attention-64-tokens-64-rows-ecp5-85f", "64 rows in parallel", ""),
)
"""File, name and remark of each block of the README."""


def fmax(kept: Figures) -> str:
    """Return the median Fmax with the range and the number of seeds."""
    seeds = len(kept.seeds)
    if seeds == 1:
        return f"{kept.fmax_mhz:.1f} MHz (one seed)"
    return f"{kept.fmax_mhz:.1f} MHz ({kept.fmax_min_mhz:.1f} to {kept.fmax_max_mhz:.1f}, {seeds} seeds)"


def _table(columns: str, rows: list[list[object]]) -> str:
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def _block(folder: Path, name: str) -> Quality:
    return Quality.from_json((folder / f"{name}.json").read_text())


def _boards(folder: Path) -> str:
    rows: list[list[object]] = []
    for measured in MEASURED:
        board = measured.description()
        kept = BoardQuality.from_json((folder / measured.file_name).read_text())
        counts = [f"{kept.lut:,}", f"{kept.ff:,}", kept.ram, kept.dsp]
        held = [f"{kept.neurons:,}", f"{kept.synapses:,}"]
        named = [board.name, board.link_kind.option, board.device_name]
        rows.append([*named, *counts, f"{kept.clock_mhz:g} MHz", fmax(kept), *held])
    return _table("board | link | device | LUT | FF | RAM | DSP | clock | Fmax | neurons | synapses", rows)


def _blocks(folder: Path) -> str:
    rows: list[list[object]] = []
    for name, title, remark in _BLOCKS:
        kept = _block(folder, name)
        lanes = next((count for variant, count in _LANES.items() if f"core-{variant}-ecp5" in name and count > 1), 0)
        if lanes:
            remark = f"{lanes * kept.fmax_mhz / 1e3:.1f} billion synaptic operations per second at most"
        elif kept.microseconds is not None and not remark:
            remark = f"{ATTENTION_STEPS} steps in {kept.microseconds:.1f} µs"
        rows.append([title, f"{kept.lut:,}", fmax(kept), remark])
    return _table("block | LUT | Fmax |  ", rows)


def _core(folder: Path) -> str:
    rows: list[list[object]] = []
    for variant, lanes in _LANES.items():
        kept = _block(folder, f"lif-core-{variant}-ecp5-85f")
        rate = round(lanes * kept.fmax_mhz * 1e6 / kept.lut)
        each = round(kept.lut / lanes)
        rows.append([lanes, f"{kept.lut:,}", f"{each:,}", f"{kept.ff:,}", kept.ram, fmax(kept), f"{rate:,}"])
    return _table(
        "lanes | LUT (TRELLIS_COMB) | per lane | FF | block RAM | Fmax | synaptic operations per second per LUT", rows
    )


def _weights(folder: Path) -> str:
    rows: list[list[object]] = []
    for bits, variant in ((4, "8-lanes-4-bit-weights"), (8, "8-lanes"), (16, "8-lanes-16-bit-weights")):
        kept = _block(folder, f"lif-core-{variant}-ecp5-85f")
        rows.append([bits, bits + 8, f"{kept.lut:,}", f"{kept.ff:,}", kept.ram, fmax(kept)])
    return _table("bits per weight | of a sum | LUT (TRELLIS_COMB) | FF | block RAM | Fmax", rows)


def _attention(folder: Path) -> str:
    rows: list[list[object]] = []
    for tokens, parallel in ATTENTION_SHAPES:
        kept = Quality.from_json((folder / attention_block(tokens, parallel).file_name).read_text())
        counts = [f"{kept.lut:,}", f"{kept.ff:,}", kept.ram]
        rows.append([tokens, parallel, *counts, fmax(kept), f"{kept.cycles:,}", f"{kept.microseconds:.2f}"])
    return _table(f"N = d | rows | LUT | FF | block RAM | Fmax | cycles for T = {ATTENTION_STEPS} | us", rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "boards": _boards,
    "blocks": _blocks,
    "core": _core,
    "weights": _weights,
    "attention": _attention,
}
"""Tables by name, each made from the folder of the kept files."""


def with_tables(page: str, folder: Path = FOLDER) -> str:
    """Return ``page`` with the tables between its marks. Raises ``ValueError`` if it has none."""
    marks = re.compile(r"(<!-- kept (\w+): [^\n]*-->\n).*?(<!-- end of kept -->\n)", re.S)
    found, count = marks.subn(lambda mark: f"{mark[1]}\n{TABLES[mark[2]](folder)}\n\n{mark[3]}", page)
    if not count:
        raise ValueError("page must have the marks '<!-- kept NAME: ... -->' and '<!-- end of kept -->'")
    return found


def main() -> None:
    """Run the command."""
    for path in map(Path, PAGES):
        path.write_text(with_tables(path.read_text()))


if __name__ == "__main__":
    main()
