"""Weights and rows: the connections of a network as memory contents for the row reader of a core
(`spikeloom.sim.core.row_reader`).

A source is seen as ``(channels, height, width)`` and has a row for each channel and connection. This is the input shape
of its convolutions and poolings. Without any, it is the sequence of its neurons, folded into the coordinates of the
core so that few rows serve many neurons. Poolings cost nothing: the tables give all positions of a window the taps of
the window.

* A matrix has one tap. The weight words of all positions are consecutive, channel by channel.
* The kernel of a convolution is stored once: for each input channel its taps, for each tap the words of a position.
  The taps that one position meets are those of a *phase*, ``k = phase + i stride / g``, where ``g`` is the greatest
  common divisor of stride and dilation. They are stored phase by phase, so that they are consecutive words, and each
  lies ``dilation / g`` positions before its predecessor in the target.
* A matrix with all-zero words is *sparse* if the core supports it: these words are omitted, and each remaining word
  names its target. This needs a row per neuron, so it is impossible if the source also feeds convolutions or poolings.
* In a core with weights in block RAM and in SDRAM, kernels, sparse words and matrices of sources with coordinates lie
  in block RAM, because their rows are short or not plain. Of the other matrices, which have a row per neuron, the rows
  that save the memory the most time per word lie in block RAM as far as it goes: those that are often read, then short
  ones. The others are streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.layout import Layout
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.host.messages import LARGEST_AXON
from spikeloom.sim.lib.words import Field, WordLayout, bits_for, pack_lanes, weight_bits
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.projection import Convolution, Taps
from spikeloom.sim.network.sparse import Matrix, SparseMatrix

__all__ = ["Block", "RowError", "Rows", "blocks_of", "rows_of", "thin_connections", "words_per_event", "words_stored"]

Columns = dict[str, NDArray[np.int64]]

_ROW_OVERHEAD = 2
"""Time of the memory that a row takes beside its words, in words: about the distance to a next row in the same bank
(`docs/sdram.md`, Bandwidth). It only decides between rows that are read equally often."""


class RowError(ValueError):
    """Connections that the row reader cannot represent. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of a source, at the same addresses in all of its target tiles, and thus the axons of its neurons.

    A source of ``size`` neurons seen as ``shape`` has ``pitch`` rows per channel, from row ``first`` on: as many as it
    has connections to one tile. The rows of ``sparse`` blocks can be sparse, unless the source leads to convolutions or
    poolings.
    """

    size: int
    shape: tuple[int, int, int]
    pitch: int
    sparse: bool
    coordinate_width: int
    first: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[0] * self.pitch

    @property
    def axons(self) -> NDArray[np.int64]:
        """Axon ``(size,)`` of each neuron, ascending."""
        channel, y, x = np.indices(self.shape).reshape(3, -1)[:, : self.size]
        bits = self.coordinate_width
        # The encoding that all tiles share: coordinates in the low bits, and the row of the channel above them.
        return x | y << bits | (self.first + channel * self.pitch) << 2 * bits


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Memories of the row reader, and the axons of the neurons.

    ``axons`` ``(n,)`` are those of each source with connections; ``reaches`` ``(n,)`` tells whether an event has any
    words and must be sent. ``rows``, ``geometries``, ``weight_words`` and ``streamed_words`` are counts; ``images``
    are the words of the memories by name. ``lies_in`` are the weight words of each target in block RAM and in SDRAM.
    """

    axons: dict[str, NDArray[np.int64]]
    reaches: dict[str, NDArray[np.bool_]]
    rows: int
    geometries: int
    weight_words: int
    streamed_words: int
    lies_in: dict[str, tuple[int, int]]
    images: dict[str, NDArray[np.uint8]]


@dataclass(kw_only=True)
class _Axis:
    """One direction of a geometry: for each coordinate, the first tap in storage order, its output, and the number of
    taps.

    ``step`` is the distance in the target from each tap back to its predecessor.
    """

    first: list[int]
    output: list[int]
    count: list[int]
    step: int


@dataclass(kw_only=True)
class _Builder:
    """Memories under construction."""

    core: CoreParameters
    weights: list[NDArray[np.int64]]
    targets: list[NDArray[np.int64]]
    geometries: dict[bytes, tuple[Columns, Columns]]
    weight_words: int = 0
    streamed: list[NDArray[np.int64]]
    streamed_words: int = 0

    def add_words(
        self, count: int, words: Callable[[], NDArray[np.int64]], targets: NDArray[np.int64] | None = None
    ) -> int:
        """Append ``count`` weight words ``(count, lanes)``; return the address of the first.

        Words beyond the capacity of the core are counted but not generated, because there can be very many.
        """
        first = self.weight_words
        self.weight_words += count
        if self.weight_words <= self.core.weight_words:
            self.weights.append(words())
            self.targets.append(np.zeros(count, np.int64) if targets is None else targets)
        return first

    def add_streamed(self, count: int, words: Callable[[], NDArray[np.int64]]) -> int:
        """Append ``count`` weight words in SDRAM like `add_words`."""
        first = self.streamed_words
        self.streamed_words += count
        if self.streamed_words <= self.core.streamed_words:
            self.streamed.append(words())
        return first

    def geometry(self, columns: Columns, lines: Columns) -> int:
        """Return the number of a geometry; equal geometries share one."""
        key = b"".join(name.encode() + array.tobytes() for table in (columns, lines) for name, array in table.items())
        self.geometries.setdefault(key, (columns, lines))
        return list(self.geometries).index(key)


def blocks_of(
    network: QuantisedNetwork,
    tile_of: Mapping[str, int],
    cores: Mapping[int, CoreParameters],
    layouts: Mapping[str, Layout],
) -> dict[str, Block]:
    """Return the rows of each source with connections, consecutive from row 0, the input first.

    ``tile_of`` and ``layouts`` are those of every population, ``cores`` those of the tiles. Raises `RowError` if rows
    cannot represent a connection.
    """
    blocks: dict[str, Block] = {}
    first = 0
    thin = {
        tile: thin_connections(network, core, {n: of for n, of in layouts.items() if tile_of[n] == tile})
        for tile, core in cores.items()
    }
    for name in network.sources:
        chain = list(network.connections_from(name))
        if not chain:
            continue
        tiles = Counter(tile_of[c.target] for c in chain)
        widths = sorted({cores[tile].coordinate_width for tile in tiles})
        if len(widths) > 1:
            raise RowError(
                f"{_called(name)}: its target tiles must have coordinates of the same width, not of "
                f"{' and '.join(map(str, widths))} bits"
            )
        # One row per connection into a tile, read one after the other. An axon means the same to every tile, so all
        # tiles reserve as many rows as the one that needs the most.
        pitch = max(tiles.values())
        last_axon = ((network.size(name) * pitch) << 2 * widths[0]) - 1
        has_places = (name != INPUT or last_axon <= LARGEST_AXON) and all(c.source_shape is None for c in chain)
        sparse = (
            all(cores[tile].sparse for tile in tiles) and has_places and any(thin[tile_of[c.target]](c) for c in chain)
        )
        # Plain rows can be streamed: a row per neuron, as for sparse ones.
        single = sparse or (has_places and all(cores[tile].mixed for tile in tiles))
        shape = _shape(name, chain, network.size(name), widths[0], single)
        blocks[name] = Block(
            shape=shape, size=network.size(name), pitch=pitch, sparse=sparse, coordinate_width=widths[0], first=first
        )
        first += blocks[name].rows
    return blocks


def rows_of(
    network: QuantisedNetwork,
    core: CoreParameters,
    layouts: Mapping[str, Layout],
    blocks: Mapping[str, Block] | None = None,
    rates: Mapping[str, NDArray[np.float64]] | None = None,
) -> Rows:
    """Lay out all connections to the populations of ``layouts``, those of the core.

    ``rates`` ``(n,)`` are the spikes per step of each source, by which the rows that lie in block RAM are chosen where
    the core also streams weights; None stands for equal rates. Without ``blocks``, the core is the only one and rows
    are consecutive. Unused rows are empty if the core supports empty rows; no axon refers to them. Raises `RowError` if
    the rows of the core cannot represent a connection.
    """
    if blocks is None:
        blocks = blocks_of(network, dict.fromkeys(layouts, 0), {0: core}, layouts)
    builder = _Builder(core=core, weights=[], targets=[], geometries={}, streamed=[])
    chains = {name: [c for c in network.connections_from(name) if c.target in layouts] for name in blocks}
    chains = {name: chain for name, chain in chains.items() if chain}
    count = max((blocks[name].first + blocks[name].rows for name in chains), default=0)
    columns = {field.name: np.zeros(count, np.int64) for field in core.row_layout.fields}
    # A row that no connection fills must not add the weights at address 0.
    if core.sparse:
        columns["empty"][:] = 1
    in_block_ram = _in_block_ram(core, chains, layouts, blocks, rates) if core.mixed else {}
    lies_in: dict[str, tuple[int, int]] = dict.fromkeys(layouts, (0, 0))
    reaches: dict[str, NDArray[np.bool_]] = {}
    is_thin = thin_connections(network, core, layouts)
    for name, chain in chains.items():
        block = blocks[name]
        reaches[name] = np.zeros(block.size, np.bool_)
        for position, connection in enumerate(chain):
            layout = layouts[connection.target]
            before = builder.weight_words, builder.streamed_words
            if (kept := in_block_ram.get((name, position))) is not None:
                row = _mixed_rows(connection, builder, layout, kept)
                reaches[name] |= connection.fan_out > 0
            elif block.sparse and is_thin(connection):
                row = _sparse_rows(connection, builder, layout)
                reaches[name] |= row["empty"] == 0
            else:
                row = _rows(connection, block.shape, builder, layout)
                reaches[name] |= connection.fan_out > 0
            here_words, there_words = lies_in[connection.target]
            lies_in[connection.target] = (
                here_words + builder.weight_words - before[0],
                there_words + builder.streamed_words - before[1],
            )
            row["delay"] = np.full(block.shape[0], connection.delay)
            row["more"] = np.full(block.shape[0], int(position < len(chain) - 1))
            here = block.first + position + block.pitch * np.arange(block.shape[0])
            for field, values in columns.items():
                values[here] = row.get(field, 0)
    return Rows(
        axons={name: blocks[name].axons for name in chains},
        reaches=reaches,
        rows=count,
        geometries=len(builder.geometries) if core.coordinate_width else 0,
        weight_words=builder.weight_words,
        streamed_words=builder.streamed_words,
        lies_in=lies_in,
        images=_images(builder, columns, count),
    )


def _in_block_ram(
    core: CoreParameters,
    chains: Mapping[str, Sequence[QuantisedConnection]],
    layouts: Mapping[str, Layout],
    blocks: Mapping[str, Block],
    rates: Mapping[str, NDArray[np.float64]] | None,
) -> dict[tuple[str, int], NDArray[np.bool_]]:
    """Return which rows ``(n_source,)`` of the connections with plain rows lie in block RAM, by source and position."""
    found: dict[tuple[str, int], NDArray[np.bool_]] = {}
    values: list[NDArray[np.float64]] = []
    costs: list[NDArray[np.int64]] = []
    room = core.weight_words
    for name, chain in chains.items():
        block = blocks[name]
        for position, connection in enumerate(chain):
            layout = layouts[connection.target]
            is_plain = connection.source_shape is None and block.shape == (block.size, 1, 1)
            if not is_plain or (block.sparse and _is_sparse(connection, layout)):
                room -= words_stored(connection, layout, sparse=block.sparse)
                continue
            found[name, position] = np.zeros(block.size, np.bool_)
            rate = np.ones(block.size) if rates is None else rates[name]
            values.append(rate * (1 + _ROW_OVERHEAD / layout.words))
            costs.append(np.full(block.size, layout.words, np.int64))
    if not found:
        return found
    value, cost = np.concatenate(values), np.concatenate(costs)
    order = np.argsort(-value, kind="stable")
    chosen = np.zeros(len(value), np.bool_)
    chosen[order] = np.cumsum(cost[order]) <= max(0, room)
    ends = np.cumsum([len(kept) for kept in found.values()])
    return dict(zip(found, np.split(chosen, ends[:-1]), strict=True))


def _images(builder: _Builder, rows: Columns, count: int) -> dict[str, NDArray[np.uint8]]:
    """Return the words of the memories. Oversized values are truncated; the caller refuses them by their count."""
    core = builder.core
    weights = np.concatenate([np.zeros((0, core.lanes), np.int64), *builder.weights])
    images = {"weights": pack_lanes(weight_bits(weights.reshape(-1), core.weight_width), core.lanes)}
    if core.mixed:
        streamed = np.concatenate([np.zeros((0, core.lanes), np.int64), *builder.streamed])
        images["streamed_weights"] = pack_lanes(weight_bits(streamed.reshape(-1), core.weight_width), core.lanes)

    def packed(layout: WordLayout, values: Columns, length: int) -> NDArray[np.uint8]:
        cut = {
            f.name: values[f.name] & ((1 << f.width) - 1) if f.width else values[f.name]
            for f in layout.fields
            if f.name in values
        }
        return pack_lanes(layout.bits(cut, length), 1)

    images["rows"] = packed(core.row_layout, rows, count)
    if core.coordinate_width:
        for number, (name, layout) in enumerate((("columns", core.column_layout), ("lines", core.line_layout))):
            tables = [pair[number] for pair in builder.geometries.values()]
            none = [np.zeros(0, np.int64)]
            joined = {f.name: np.concatenate(none + [table[f.name] for table in tables]) for f in layout.fields}
            images[name] = packed(layout, joined, len(tables) << core.coordinate_width)
    if core.sparse:
        targets = np.concatenate([np.zeros(0, np.int64), *builder.targets])
        layout = WordLayout((Field("target", bits_for(core.words)),))
        images["targets"] = packed(layout, {"target": targets}, len(targets))
    return images


def _called(name: str) -> str:
    return "the input" if name == INPUT else f"population {name}"


def _shape(
    name: str, chain: list[QuantisedConnection], size: int, coordinate_width: int, sparse: bool
) -> tuple[int, int, int]:
    """Return the shape in which the neurons of a source are seen: channels have rows, the rest are coordinates."""
    shapes = {c.source_shape for c in chain if c.source_shape is not None}
    if len(shapes) > 1:
        raise RowError(
            f"{_called(name)}: its target convolutions and poolings must have the same input shape, not "
            f"{' and '.join(map(str, sorted(shapes)))}"
        )
    side = 1 << coordinate_width
    shape = next(iter(shapes), None)
    if shape is not None:
        needed = bits_for(max(shape[1:]))
        if max(shape[1:]) > side:
            raise RowError(
                f"{_called(name)}: its convolutions and poolings need coordinates of {needed} bits, the fabric has "
                f"{coordinate_width}"
            )
        return shape
    return (size, 1, 1) if sparse else (-(-size // (side * side)), side, side)


def _by_words(weight: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    """Return the columns of a matrix as weight words ``(n_source, words, lanes)``, each target in its slot."""
    words = np.zeros((weight.shape[1], layout.words * layout.lanes), np.int64)
    words[:, layout.offsets] = weight.T
    return words.reshape(-1, layout.words, layout.lanes)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The nonzero words of a matrix, by source and then by number: both ``(k,)``, and ``counts`` per source
    ``(n_source,)``."""

    sources: NDArray[np.int64]
    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, sources: NDArray[np.int64], numbers: NDArray[np.int64], size: int) -> _Kept:
        return cls(sources, numbers, np.bincount(sources, minlength=size).astype(np.int64))


def _kept(weight: Matrix, layout: Layout) -> _Kept:
    if isinstance(weight, SparseMatrix):
        return _kept_of_sparse(weight, layout)
    sources, numbers = np.nonzero(_by_words(weight, layout).any(axis=2))
    return _Kept.of(sources, numbers, weight.shape[1])


@lru_cache(maxsize=16)  # one placement asks for it several times
def _kept_of_sparse(weight: SparseMatrix, layout: Layout) -> _Kept:
    keys = weight.columns * layout.words + layout.offsets[weight.rows] // layout.lanes
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) > 0]
    sources, numbers = np.divmod(keys, layout.words)
    return _Kept.of(sources, numbers, weight.shape[1])


def _kept_words(weight: Matrix, layout: Layout, kept: _Kept) -> NDArray[np.int64]:
    """Return the words ``(k, lanes)``."""
    if not isinstance(weight, SparseMatrix):
        return _by_words(weight, layout)[kept.sources, kept.numbers]
    number, lane = np.divmod(layout.offsets[weight.rows], layout.lanes)
    place = np.searchsorted(kept.sources * layout.words + kept.numbers, weight.columns * layout.words + number)
    words = np.zeros((len(kept.sources), layout.lanes), np.int64)
    words[place, lane] = weight.values
    return words


def _is_sparse(connection: QuantisedConnection, layout: Layout) -> bool:
    """Whether the sparse form of a matrix takes fewer words, which is so if any word is zero."""
    return len(_kept(connection.weight, layout).sources) < connection.weight.shape[1] * layout.words


def thin_connections(
    network: QuantisedNetwork, core: CoreParameters, layouts: Mapping[str, Layout]
) -> Callable[[QuantisedConnection], bool]:
    """Return whether a connection to a population of ``layouts``, those of a core, is better stored as sparse rows.

    Sparse rows are better if they take fewer words. A core that adds several words per cycle adds those of a sparse row
    one by one, so there a matrix with few words to save is stored whole, as long as the weight memory has room for it.
    """
    if core.words_per_cycle == 1 or not core.sparse:
        return lambda connection: _is_sparse(connection, layouts[connection.target])
    connections = [c for name in layouts for c in network.connections_to(name)]
    is_thin: dict[int, bool] = {}
    left = core.weight_words
    for connection in connections:
        chain = [c for c in network.connections_from(connection.source) if c.target in layouts]
        may_be = all(c.source_shape is None for c in chain)
        if connection.source == INPUT:
            rows = network.size(INPUT) * len(chain)
            may_be &= (rows << 2 * core.coordinate_width) - 1 <= LARGEST_AXON
        is_thin[id(connection)] = may_be and _is_sparse(connection, layouts[connection.target])
        left -= words_stored(connection, layouts[connection.target], sparse=may_be)
    for connection in connections:
        layout = layouts[connection.target]
        if not is_thin[id(connection)]:
            continue
        kept, whole = (words_stored(connection, layout, sparse=sparse) for sparse in (True, False))
        is_slower = kept > connection.weight.shape[1] * -(-layout.words // core.words_per_cycle)
        if is_slower and whole - kept <= left:
            is_thin[id(connection)] = False
            left -= whole - kept
    return lambda connection: is_thin[id(connection)]


def words_per_event(
    connection: QuantisedConnection, layout: Layout, *, sparse: bool, words_per_cycle: int = 1
) -> NDArray[np.int64]:
    """Return the weight words ``(n_source,)`` per spike of each source neuron; ``sparse`` permits sparse rows.

    If the core adds several words per cycle, these are the cycles in which it adds them.
    """
    if connection.convolution is not None:
        convolution = connection.convolution
        a_group = convolution.output_channels // convolution.groups
        of_groups = -(-_words_of_groups(convolution, layout.lanes) // words_per_cycle)
        words = np.repeat(of_groups, convolution.input_shape[0] // convolution.groups)
        taps = connection.fan_out.reshape(convolution.input_shape[0], -1) // a_group
        return (taps * words[:, None]).reshape(-1)
    if sparse and connection.pooling is None and _is_sparse(connection, layout):
        return _kept(connection.weight, layout).counts
    return np.where(connection.fan_out > 0, -(-layout.words // words_per_cycle), 0)


def words_stored(connection: QuantisedConnection, layout: Layout, *, sparse: bool) -> int:
    """Return the weight words that a connection takes; ``sparse`` permits sparse rows."""
    if connection.convolution is not None:
        _, inputs_per_group, *kernel = connection.convolution.weight_shape
        return int(_words_of_groups(connection.convolution, layout.lanes).sum()) * inputs_per_group * prod(kernel)
    if sparse and connection.pooling is None and _is_sparse(connection, layout):
        return int(words_per_event(connection, layout, sparse=True).sum())
    return connection.weight.shape[1] * layout.words


def _words_of_groups(convolution: Convolution, lanes: int) -> NDArray[np.int64]:
    """Return the words that hold the output channels of each group."""
    a_group = convolution.output_channels // convolution.groups
    first = np.arange(convolution.groups) * a_group
    return (first + a_group - 1) // lanes - first // lanes + 1


def _sparse_rows(connection: QuantisedConnection, builder: _Builder, layout: Layout) -> Columns:
    kept = _kept(connection.weight, layout)
    counts = kept.counts
    first = builder.add_words(
        len(kept.sources), lambda: _kept_words(connection.weight, layout, kept), layout.first_word + kept.numbers
    )
    return {
        "weight_address": first + np.cumsum(counts) - counts,
        "length": np.maximum(counts - 1, 0),
        "geometry": np.full(len(counts), _plain_geometry(builder)),
        "sparse": np.ones(len(counts), np.int64),
        "empty": (counts == 0).astype(np.int64),
    }


def _mixed_rows(connection: QuantisedConnection, builder: _Builder, layout: Layout, kept: NDArray[np.bool_]) -> Columns:
    """Plain rows, of which those that are ``kept`` ``(n_source,)`` lie in block RAM, and the others in SDRAM."""
    weight = connection.weight

    def of(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        matrix = weight.dense() if isinstance(weight, SparseMatrix) else weight
        return _by_words(matrix[:, rows], layout).reshape(-1, layout.lanes)

    number = int(np.count_nonzero(kept))
    here = builder.add_words(number * layout.words, lambda: of(kept))
    there = builder.add_streamed((len(kept) - number) * layout.words, lambda: of(~kept))
    # Each row lies behind the rows before it that lie in the same memory.
    before = np.where(kept, np.cumsum(kept), np.cumsum(~kept)) - 1
    return {
        "weight_address": np.where(kept, here, there) + before * layout.words,
        "target": np.full(len(kept), layout.first_word),
        "length": np.full(len(kept), layout.words - 1),
        "geometry": np.full(len(kept), _plain_geometry(builder)),
        "streamed": (~kept).astype(np.int64),
    }


def _rows(connection: QuantisedConnection, shape: tuple[int, int, int], builder: _Builder, layout: Layout) -> Columns:
    if connection.convolution is not None:
        return _convolution_rows(connection, builder, layout)
    pooled = shape if connection.pooling is None else connection.pooling.output_shape
    channels, height, width = pooled
    weight = connection.weight

    def words() -> NDArray[np.int64]:
        matrix = weight.dense() if isinstance(weight, SparseMatrix) else weight
        return _by_words(matrix, layout).reshape(-1, layout.lanes)

    first = builder.add_words(weight.shape[1] * layout.words, words)
    window = (1, 1) if connection.pooling is None else connection.pooling.window
    axes = [
        _Axis(first=list(range(extent)), output=[0] * extent, count=[1] * extent, step=0) for extent in (height, width)
    ]
    return {
        "weight_address": first + np.arange(channels) * (height * width * layout.words),
        "target": np.full(channels, layout.first_word),
        "length": np.full(channels, layout.words - 1),
        "geometry": np.full(
            channels, _geometry(builder, axes, window, words=layout.words, taps=width, position=0, line=0)
        ),
    }


def _convolution_rows(connection: QuantisedConnection, builder: _Builder, layout: Layout) -> Columns:
    convolution, lanes = connection.convolution, layout.lanes
    assert convolution is not None
    orders, axes = zip(*(_axis(convolution.taps(axis), convolution, axis) for axis in range(2)), strict=True)
    outputs, per_channel, *_ = convolution.weight_shape
    per_group = outputs // convolution.groups
    window = (1, 1) if connection.pooling is None else connection.pooling.window
    pitch, width = layout.words_per_position, convolution.output_shape[2]
    rows: dict[str, list[int]] = {name: [] for name in ("weight_address", "target", "length", "geometry")}
    for channel in range(convolution.input_shape[0]):
        group, within = divmod(channel, per_channel)
        first_word, last_word = group * per_group // lanes, ((group + 1) * per_group - 1) // lanes
        words = last_word - first_word + 1
        first_lane = group * per_group - first_word * lanes
        if builder.core.weight_width == 1 and (first_lane or (per_group % lanes and group < convolution.groups - 1)):
            raise RowError(
                f"population {connection.target}: the {per_group} output channels of a group must fill whole words of "
                f"{lanes} lanes at 1 bit, because there is no weight of 0"
            )
        kernel = connection.kernel[group * per_group : (group + 1) * per_group, within]
        kernel = kernel[:, orders[0]][:, :, orders[1]].transpose(1, 2, 0)
        stored = np.zeros((*kernel.shape[:2], words * lanes), np.int64)
        stored[:, :, first_lane : first_lane + per_group] = kernel
        rows["weight_address"].append(builder.add_words(stored.size // lanes, partial(stored.reshape, -1, lanes)))
        rows["target"].append(layout.first_word + first_word)
        rows["length"].append(words - 1)
        rows["geometry"].append(
            _geometry(
                builder, axes, window, words=words, taps=convolution.kernel[1], position=pitch, line=width * pitch
            )
        )
    return {name: np.array(values) for name, values in rows.items()}


def _axis(taps: Taps, convolution: Convolution, axis: int) -> tuple[list[int], _Axis]:
    """Return the storage order of the taps in one direction, and the taps that each coordinate meets."""
    stride, dilation = convolution.stride[axis], convolution.dilation[axis]
    common = gcd(stride, dilation)
    phases = stride // common
    order = [k for phase in range(phases) for k in range(phase, convolution.kernel[axis], phases)]
    met = [[(order.index(k), output) for k, output in found] for found in taps]
    for found in met:  # consecutive in storage, equally spaced in the target
        assert all(b[0] - a[0] == 1 and a[1] - b[1] == dilation // common for a, b in pairwise(found))
    return order, _Axis(
        first=[found[0][0] if found else 0 for found in met],
        output=[found[0][1] if found else 0 for found in met],
        count=[len(found) for found in met],
        step=dilation // common,
    )


def _plain_geometry(builder: _Builder) -> int:
    """Return the geometry of a source without coordinates: one tap at the words of the row."""
    axis = _Axis(first=[0], output=[0], count=[1], step=0)
    return _geometry(builder, [axis, axis], (1, 1), words=1, taps=1, position=0, line=0)


def _geometry(
    builder: _Builder,
    axes: Sequence[_Axis],
    window: tuple[int, int],
    *,
    words: int,
    taps: int,
    position: int,
    line: int,
) -> int:
    """Return the number of the geometry with these entries for each coordinate of the source.

    A row has ``words`` words per tap and ``taps`` taps per line in storage. A position and a line of the target have
    ``position`` and ``line`` words. For a core without coordinates, the number is 0.
    """
    bits = builder.core.coordinate_width
    if not bits:
        return 0
    extent = 1 << bits
    tables: list[Columns] = []
    for axis, wide, weight, target in zip(axes, window, (taps * words, words), (line, position), strict=True):
        table = {name: np.zeros(extent, np.int64) for name in ("weight", "target", "taps", "skip")}
        for coordinate in range(extent):
            index = coordinate // wide
            count = axis.count[index] if index < len(axis.count) else 0
            table["skip"][coordinate] = int(count == 0)
            if count > extent:
                raise RowError(f"a position must meet at most {extent} taps of a kernel in each direction, not {count}")
            if count:
                table["weight"][coordinate] = axis.first[index] * weight
                table["target"][coordinate] = axis.output[index] * target
                table["taps"][coordinate] = count - 1
        tables.append(table)
    lines, columns = tables
    here = columns["taps"]  # of the columns after the first
    back = axes[1].step * position
    columns["next_target"] = np.full(extent, -back - (words - 1))
    columns["line_weight"] = (taps - 1 - here) * words + 1
    columns["line_target"] = here * back - axes[0].step * line - (words - 1)
    return builder.geometry(columns, lines)
