"""HDF5 reader for NIR and Lava-dl files in a separate small process: libhdf5 can crash or hang on a hostile file.

`spikeloom.frontends.nir_file` starts this file as a script, passes it an open descriptor of the file and the name of
the group to read, and reads the content from its standard output. It imports only h5py and NumPy, so that it starts in
a fifth of a second.

Before anything is read, every object is checked: hard links only, so that no other file is opened; each object once;
bounds on depth, number and declared sizes; storage inside the file; numbers and text only. Even if libhdf5 is
compromised, the process can open or write no further file, and has bounded memory and time.

Output format: eight bytes with the length of a JSON text, lowest byte first; the JSON text, ``{"refused": sentence}``
or ``{"tree": entries}``; and the numbers of all arrays in order. An entry is ``[name, kind, ...]``::

    [name, "group", entries]
    [name, "text", text]
    [name, "texts", shape, texts]         in C order
    [name, "numbers", shape, type]        type as "<f4"; the numbers follow in C order
    [name, "sparse", shape, type, count]  a large matrix ``weight`` with few nonzero entries: their positions in C
                                          order, ascending, as "<i8", and then the entries themselves
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any, BinaryIO

__all__ = ["DEEPEST", "KINDS", "LARGE", "LARGEST", "LARGEST_TEXTS", "MOST_OBJECTS", "SPARSE", "main"]

DEEPEST = 32
"""Maximum depth of nested groups; a nested NIR graph takes two."""

MOST_OBJECTS = 10_000
"""Maximum number of groups and datasets; a node of a graph takes up to ten."""

LARGEST = 512 << 20
"""Maximum size of all numbers of a file in bytes: 60 million 64-bit weights."""

LARGEST_TEXTS = 4 << 20
"""Maximum size of all texts of a file in bytes."""

LARGE = 1 << 20
"""Minimum number of entries of a sparse matrix, with at most one in `SPARSE` of them nonzero."""

SPARSE = 8

KINDS = {"node": ("NIR file", "graph"), "layer": ("Lava-dl file", "layers")}
"""For each group that can be read: the kind of its file, and the name of its content in messages."""

_BLOCK = 1 << 22
_MOST_TEXTS = 1 << 16
_LONGEST_TEXT = 4096
_LONGEST_NAME = 256
_MEMORY = 2 << 30
_CPU_S = 3
_FILTERS = (1, 2, 3, 32000)  # deflate, shuffle, fletcher32, LZF, which are built into h5py; others would load libraries


class _Refused(Exception):
    """Reason to refuse a file. The message follows "cannot read FILE: "."""


class _Reader:
    def __init__(self, h5py: Any, np: Any, root: str) -> None:
        self._h5py, self._np, self._root = h5py, np, root
        self._kind, self._what = KINDS[root]
        self._seen: set[tuple[int, int]] = set()
        self._bytes = self._texts = self._text_bytes = 0
        self.arrays: list[Any] = []
        self._datasets: list[tuple[list[Any], Any]] = []

    def tree(self, file: Any) -> list[Any]:
        """Return the content of the root group: check every object first, then read numbers and texts."""
        root, name = file["/"].id, self._root.encode()
        missing = _Refused(f"it is an HDF5 file but not a {self._kind}, it has no {self._what}")
        if not self._is_there(root, name):
            raise missing
        node = self._open(root, name, self._root)
        if not isinstance(node, self._h5py.h5g.GroupID):
            raise missing
        entries = self._group(node, self._root, 1)
        for entry, dataset in self._datasets:
            content = self._sparse(dataset) if entry[0] == "weight" else None
            entry.extend(content or self._content(dataset))
        return entries

    def _is_there(self, group: Any, name: bytes) -> bool:
        return bool(group.links.exists(name))

    def _open(self, group: Any, name: bytes, where: str) -> Any:
        """Return the object of a link, which must be a hard link and the first one to this object."""
        if group.links.get_info(name).type != self._h5py.h5l.TYPE_HARD:
            raise _Refused(f"{where} is a link to another place or file, but a {self._kind} must be self-contained")
        item = self._h5py.h5o.open(group, name)
        info = self._h5py.h5o.get_info(item)
        if (info.fileno, info.addr) in self._seen:
            raise _Refused(f"{where} has several names in the file, but each object must have one")
        self._seen.add((info.fileno, info.addr))
        if len(self._seen) > MOST_OBJECTS:
            raise _Refused(f"it must hold at most {MOST_OBJECTS:,} groups and datasets, but holds more")
        return item

    def _group(self, group: Any, where: str, depth: int) -> list[Any]:
        if depth > DEEPEST:
            raise _Refused(f"it must have at most {DEEPEST} groups inside each other, but has more")
        if group.get_num_objs() + len(self._seen) > MOST_OBJECTS:
            raise _Refused(f"it must hold at most {MOST_OBJECTS:,} groups and datasets, but holds more")
        entries: list[Any] = []
        for raw in group:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                raise _Refused(f"{where!a} has a name that is not UTF-8") from None
            if len(raw) > _LONGEST_NAME:
                raise _Refused(f"{where!a} has a name of more than {_LONGEST_NAME} bytes")
            inner = f"{where}/{name}"
            item = self._open(group, raw, ascii(inner))
            if isinstance(item, self._h5py.h5g.GroupID):
                entries.append([name, "group", self._group(item, inner, depth + 1)])
            elif isinstance(item, self._h5py.h5d.DatasetID):
                entry: list[Any] = [name]
                self._check(item, ascii(inner))
                self._datasets.append((entry, item))
                entries.append(entry)
            else:
                raise _Refused(f"{inner!a} must be a group or a dataset, not a stored type")
        return entries

    def _check(self, dataset: Any, where: str) -> None:
        h5py = self._h5py
        kind, space, plan = dataset.get_type(), dataset.get_space(), dataset.get_create_plist()
        if space.get_simple_extent_type() not in (h5py.h5s.SCALAR, h5py.h5s.SIMPLE):
            raise _Refused(f"{where} must hold a value, but is declared empty")
        count = 1
        for extent in space.get_simple_extent_dims():
            count *= extent
        if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise _Refused(f"{where} is a virtual dataset, but a {self._kind} must be self-contained")
        if plan.get_layout() != h5py.h5d.CHUNKED and plan.get_external_count():
            raise _Refused(f"{where} is stored in another file, but a {self._kind} must be self-contained")
        chunk = 1
        if plan.get_layout() == h5py.h5d.CHUNKED:
            for extent in plan.get_chunk():
                chunk *= extent
        for number in range(plan.get_nfilters()):
            if plan.get_filter(number)[0] not in _FILTERS:
                raise _Refused(
                    f"{where} must be plain or packed by deflate or LZF, not by filter {plan.get_filter(number)[0]}"
                )
        if kind.get_class() == h5py.h5t.STRING:
            self._texts += count
            if not kind.is_variable_str():
                self._text_bytes += count * kind.get_size()
            if self._texts > _MOST_TEXTS or self._text_bytes > LARGEST_TEXTS or chunk > _MOST_TEXTS:
                raise _Refused(
                    f"it must hold at most {_MOST_TEXTS:,} texts of {LARGEST_TEXTS:,} bytes, but declares more"
                )
            return
        allowed = {h5py.h5t.INTEGER: (1, 2, 4, 8), h5py.h5t.FLOAT: (2, 4, 8), h5py.h5t.ENUM: (1,)}
        if kind.get_size() not in allowed.get(kind.get_class(), ()):
            raise _Refused(f"{where} must hold integers or floats of at most 64 bits or text, not another type")
        if kind.get_class() == h5py.h5t.ENUM and dataset.dtype != self._np.bool_:
            raise _Refused(f"{where} must hold integers or floats of at most 64 bits or text, not another type")
        self._bytes += count * kind.get_size()
        if max(self._bytes, chunk * kind.get_size()) > LARGEST:
            raise _Refused(f"its numbers must take at most {LARGEST:,} bytes, but it declares more")

    def _sparse(self, dataset: Any) -> list[Any] | None:
        """Return the nonzero entries of a large matrix, read block by block; None if it is not one or has too many."""
        np = self._np
        shape = dataset.get_space().get_simple_extent_dims()
        if len(shape) != 2 or shape[0] * shape[1] < LARGE or dataset.dtype.kind not in "fiu":
            return None
        plan, rows = dataset.get_create_plist(), 1
        if plan.get_layout() == self._h5py.h5d.CHUNKED:
            rows = plan.get_chunk()[0]  # whole chunks, so that none is decompressed twice
        rows *= max(1, _BLOCK // (rows * shape[1]))
        places, values, count = [], [], 0
        for first in range(0, shape[0], rows):
            block = self._h5py.Dataset(dataset)[first : first + rows].reshape(-1)
            found = np.flatnonzero(block)
            count += len(found)
            if SPARSE * count > shape[0] * shape[1]:
                return None
            places.append(found + first * shape[1])
            values.append(block[found])
        kind = values[0].dtype.newbyteorder("<")
        self.arrays += [np.concatenate(places).astype("<i8"), np.concatenate(values).astype(kind)]
        return ["sparse", list(shape), kind.str, count]

    def _content(self, dataset: Any) -> list[Any]:
        value = self._h5py.Dataset(dataset)[()]
        if isinstance(value, bytes):
            return ["text", self._text(value)]
        array = self._np.asarray(value)
        if array.dtype.kind in "OS":
            return ["texts", list(array.shape), [self._text(bytes(item)) for item in array.reshape(-1).tolist()]]
        kind = array.dtype.newbyteorder("<")
        self.arrays.append(self._np.ascontiguousarray(array, kind))
        return ["numbers", list(array.shape), kind.str]

    def _text(self, value: bytes) -> str:
        if len(value) > _LONGEST_TEXT:
            raise _Refused(f"a text must have at most {_LONGEST_TEXT:,} bytes, not {len(value):,}")
        self._text_bytes += len(value)
        if self._text_bytes > 2 * LARGEST_TEXTS:  # texts of fixed length were counted before
            raise _Refused(f"its texts must take at most {LARGEST_TEXTS:,} bytes, but take more")
        return value.decode("utf-8")


def _answer(descriptor: int, root: str) -> tuple[dict[str, Any], list[Any]]:
    import resource

    import h5py  # type: ignore[import-untyped]
    import numpy as np

    for kind, limit in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, most = resource.getrlimit(kind)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (limit, limit))
    for encoding in ("ascii", "utf-8"):
        codecs.lookup(encoding)  # Python loads codecs from files on first use, which is impossible later
    try:
        with open(descriptor, "rb") as raw, h5py.File(raw, "r") as file:
            # From here on nothing can be opened: the limit equals the number of open descriptors.
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            reader = _Reader(h5py, np, root)
            return {"tree": reader.tree(file)}, reader.arrays
    except _Refused as refused:
        return {"refused": str(refused)}, []
    except Exception:  # h5py raises exceptions of many kinds on a damaged file
        return {"refused": f"it is truncated or not an HDF5 file, which a {KINDS[root][0]} must be"}, []


def _send(answer: dict[str, Any], arrays: list[Any], out: BinaryIO) -> None:
    text = json.dumps(answer).encode("ascii")
    out.write(len(text).to_bytes(8, "little"))
    out.write(text)
    for array in arrays:
        out.write(array.reshape(-1).view("u1").data)
    out.flush()


def main(arguments: list[str]) -> None:
    """Read the group ``arguments[1]`` of the file at the descriptor ``arguments[0]``; the other arguments are the
    import path."""
    descriptor, root, *sys.path[:] = arguments
    answer, arrays = _answer(int(descriptor), root)
    _send(answer, arrays, sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1:])
