"""Seeded damage to files, as by a bad disk or a hostile writer."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import h5py
import numpy as np

__all__ = ["damaged", "damaged_graph", "damaged_text"]

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
# The structure of HDF5, NumPy and ZIP files is here: most bytes are numbers of weights, which are less interesting to
# change.
_SIGNS = (
    b"TREE",
    b"HEAP",
    b"SNOD",
    b"OHDR",
    b"GCOL",
    b"FRHP",
    b"BTHD",
    b"\x89HDF",
    b"\x93NUMPY",
    b"PK\1\2",
    b"PK\3\4",
    b"PK\5\6",
)
_NEAR = 256


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """``content`` with one or two places changed, most of them near the structure of the file."""
    data = bytearray(content)
    signs = [found.start() for sign in _SIGNS for found in re.finditer(re.escape(sign), content)]
    for _ in range(rng.integers(1, 3)):
        if not data:
            break
        place = int(rng.integers(len(data)))
        if signs and rng.random() < 0.8:
            place = min(len(data) - 1, int(rng.choice(signs)) + int(rng.integers(_NEAR)))
        width, kind = int(rng.choice((1, 2, 4, 8))), int(rng.integers(24))
        if kind < 6:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind < 10:
            data[place : place + width] = rng.bytes(width)
        elif kind < 16:
            value = int(rng.choice(np.array(_EXTREMES, np.uint64)))
            data[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        elif kind < 20:  # a number that is nearly right, such as an offset or a size
            value = int.from_bytes(data[place : place + width], "little") + int(rng.integers(-64, 65))
            data[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        elif kind < 22:
            start = int(rng.integers(len(data)))
            data[place : place + 32] = data[start : start + 32]
        elif kind == 22:
            del data[place : place + int(rng.integers(1, 64))]
        else:
            del data[place:]
    return bytes(data)


def damaged_text(rng: np.random.Generator, content: bytes) -> bytes:
    """JSON with one value or key changed to another; sometimes its bytes are damaged instead."""
    if rng.random() < 0.3:
        return damaged(rng, content)
    value = json.loads(content)
    holders: list[Any] = [value]
    for holder in holders:  # grows while it is traversed
        inner = holder.values() if isinstance(holder, dict) else holder
        holders.extend(item for item in inner if isinstance(item, dict | list) and item)
    holder = holders[int(rng.integers(len(holders)))]
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = keys[int(rng.integers(len(keys)))]
    others: list[Any] = [
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        10**400,
        0.5,
        1e308,
        "",
        "x" * 5000,
        "\x1b[31m",
        [],
        {},
        [[]],
        [-1] * 9,
    ]
    if rng.random() < 0.15:
        del holder[key]
    elif rng.random() < 0.15 and isinstance(holder, dict):
        holder["unknown"] = holder.pop(key)
    else:
        holder[key] = others[int(rng.integers(len(others)))]
    return json.dumps(value).encode()


def damaged_graph(rng: np.random.Generator, content: bytes, root: str = "node") -> bytes:
    """A file with intact HDF5, of which one or two values below ``root`` are wrong."""
    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        for _ in range(rng.integers(1, 3)):
            names: list[str] = []
            file[root].visit(names.append)
            if rng.random() < 0.9:  # a group replaced by something else would fail at the first check
                names = [name for name in names if isinstance(file[root][name], h5py.Dataset)]
            if not names:
                break
            name = f"{root}/{names[int(rng.integers(len(names)))]}"
            item = file[name]
            if isinstance(item, h5py.Group):
                del file[name]
                if rng.random() < 0.7:
                    file[name] = _another(rng, np.ones(3))
                continue
            value = item[()]
            del file[name]
            if rng.random() < 0.9:
                file[name] = _another(rng, value)
    return stream.getvalue()


def _another(rng: np.random.Generator, value: Any) -> Any:
    """A replacement for a value, of another size, type or magnitude."""
    texts = [
        "",
        "LIF",
        "NIRGraph",
        "Input",
        "Conv2d",
        "Flatten",
        "Delay",
        "SpikeloomAttention",
        "x" * 3000,
        "\x1b[31m\n",
        "µ",
    ]
    if isinstance(value, bytes):
        return texts[int(rng.integers(len(texts)))] if rng.random() < 0.8 else float(rng.normal())
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":  # the edges
        kind = int(rng.integers(8))
        rows = array.tolist()
        if kind < 4:
            return rows[: int(rng.integers(len(rows) + 1))] or np.zeros(0)
        flat = array.copy().reshape(-1)
        flat[int(rng.integers(flat.size))] = flat[int(rng.integers(flat.size))]
        return flat.reshape(array.shape) if kind < 7 else flat.tolist()
    numbers = np.array(array, np.float64)
    with np.errstate(invalid="ignore"):
        return _other_numbers(rng, numbers, texts)


def _other_numbers(rng: np.random.Generator, numbers: Any, texts: list[str]) -> Any:
    kind = int(rng.integers(8))
    special = (0.0, -0.0, 1e-320, 1e-5, -1.0, 1e300, -1e300, np.inf, np.nan, 2.0**63, 65536.0)
    if kind < 2:
        return numbers * special[int(rng.integers(len(special)))]
    if kind < 4:
        if not numbers.size:
            return 1.0
        flat = numbers.reshape(-1)
        flat[int(rng.integers(flat.size))] = special[int(rng.integers(len(special)))]
        return flat.reshape(numbers.shape)
    if kind == 4:
        return np.ones(tuple(rng.integers(0, 5, int(rng.integers(0, 5)))))
    if kind == 5:
        return numbers.reshape(-1)[: int(rng.integers(numbers.size + 1))]
    if kind == 6:
        return numbers.astype(str(rng.choice(("i1", "u1", "i8", "?", "f2"))))
    return texts[int(rng.integers(len(texts)))]
