"""Files to damage, and the product code that must handle each: the same that a command would run."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzz.mutations import damaged, damaged_graph, damaged_text

from spikeloom.boards.bitstream.report import Report
from spikeloom.cli.app import main
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.host.spif import PixelMap, SpifError, decode_events, encode_events
from spikeloom.report.timing import timing_from
from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_fabric, read_identity
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.files import FileError, read_bytes, read_text, toml_from

__all__ = ["Case", "case_of", "warm_up"]

ROOT = Path(__file__).parents[2]
_NETWORKS = {
    "digits-mlp": "small",
    "digits-transformer": "transformer",
    "mnist-conv": "spatial",
    "mnist-mlp-128": "wide",
    "mnist-mlp": "wide",
}
Damage = Callable[[np.random.Generator, bytes], bytes]


@dataclasses.dataclass(frozen=True)
class Case:
    """A damaged file, with its ``suffix`` and ``content``, and ``run``, which uses its path as the product would."""

    suffix: str
    content: bytes
    run: Callable[[Path], None]


@cache
def _network(name: str) -> bytes:
    return shipped(f"{name}.nir").read_bytes()


@cache
def _layers() -> bytes:
    """A Lava-dl file: an input, a convolution, a pooling, a flatten and a dense layer."""
    rng, stream = np.random.default_rng(5), io.BytesIO()
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 64, "refDelay": 1, "gradedSpike": False}
    plain = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    layers: list[dict[str, Any]] = [
        {"type": "input", "shape": [2, 8, 8]},
        {"type": "conv", "shape": [4, 6, 6], "weight": rng.integers(-20, 40, (4, 2, 3, 3, 1)), **plain},
        {"type": "pool", "shape": [4, 3, 3], "weight": np.full((1, 1, 2, 2, 1), 30), **plain | {"stride": [2, 2]}},
        {"type": "flatten", "shape": [36, 1, 1]},
        {"type": "dense", "shape": [5], "weight": rng.integers(-20, 40, (5, 36)), "bias": np.zeros(5)},
    ]
    with h5py.File(stream, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            group.create_dataset("type", (1,), "S10", [layer.pop("type").encode()])
            for key, value in (
                layer | ({f"neuron/{k}": v for k, v in neuron.items()} if "weight" in layer else {})
            ).items():
                group[key] = value
    return stream.getvalue()


@cache
def _digits() -> tuple[bytes, bytes]:
    """Some digits with their labels, compressed and not, and their images alone."""
    held_out = load_digits()[1].first(40)
    packed, plain, images = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, images=held_out.images, labels=held_out.labels)
    np.savez(plain, spikes=np.ones((4, 3, 64), bool), labels=np.arange(3))
    np.save(images, held_out.images)
    return packed.getvalue(), plain.getvalue(), images.getvalue()


@cache
def _reports() -> list[bytes]:
    """The ``report.json`` texts that are stored of builds and of blocks."""
    return [
        path.read_bytes() for pattern in ("board-*", "lif-core-*") for path in sorted(ROOT.glob(f"qor/{pattern}.json"))
    ]


_TOML = b'network = "digits.nir"\nboard = "icebreaker"\n[core]\nlanes = 4\nweight_bits = 8\nshifts = [3, 1]\n'


def warm_up() -> None:
    """Import what commands import at run time: once here instead of in every process."""
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        main(["place", str(shipped("digits-mlp.nir"))])


def _check(fabric: str) -> Callable[[Path], None]:
    return lambda path: main(["check", str(path), "--fabric", fabric])


def _run_inputs(path: Path) -> None:
    main(["place", str(shipped("digits-mlp.nir")), "--inputs", str(path)])


def _place_on(path: Path) -> None:
    fabric = read_fabric(path)
    if fabric.cores:
        core = next(iter(fabric.cores.values()))
        place(quantise(load(shipped("digits-mlp.nir")), Quantisation.for_core(core, weight_width=8)), fabric)


def _timing(path: Path) -> None:
    timing_from(path)
    Report.from_json(read_text(path))


def _spif(path: Path) -> None:
    pixels = PixelMap(columns=34, rows=34, polarities=2, left=3, top=1, scale=2)
    try:
        lines = pixels.lines(*decode_events(read_bytes(path, 65535)))
    except SpifError as error:
        raise FileError(str(error)) from error
    np.zeros(pixels.size, bool)[lines] = True


def _datagram(rng: np.random.Generator) -> bytes:
    return encode_events(rng.integers(0, 99, 20), rng.integers(0, 99, 20), rng.integers(0, 2, 20))


def case_of(number: int, seed: int) -> Case:
    """Case ``number`` of a ``seed``: 14 of 20 are networks, 3 of these Lava-dl files."""
    rng = np.random.default_rng((seed, number))
    kind = number % 20
    if kind in (0, 8, 9):
        layers = damaged(rng, _layers()) if kind == 0 else damaged_graph(rng, _layers(), "layer")
        return Case(".net", layers, _check("spatial"))
    if kind < 14:
        name = list(_NETWORKS)[int(rng.integers(len(_NETWORKS)))]
        damage: Damage = damaged if kind < 8 else damaged_graph
        return Case(".nir", damage(rng, _network(name)), _check(_NETWORKS[name]))
    if kind < 17:
        content = _digits()[kind - 14]
        return Case(".npy" if kind == 16 else ".npz", damaged(rng, content), _run_inputs)
    if kind == 17:
        fabric = list(FABRICS.values())[int(rng.integers(len(FABRICS)))]
        return Case(".json", damaged_text(rng, fabric_to_json(fabric).encode()), _place_on)
    if kind == 18:
        return Case(".json", damaged_text(rng, _reports()[int(rng.integers(len(_reports())))]), _timing)
    small: list[Case] = [
        Case("", damaged(rng, b"00112233445566778899aabbccddeeff\n"), lambda path: void(read_identity(path))),
        Case(".toml", damaged(rng, _TOML), lambda path: void(toml_from(read_text(path), str(path)))),
        Case(".spif", damaged(rng, _datagram(rng)), _spif),
    ]
    return small[number // 20 % 3]


def void(value: object) -> None:
    """Discard a value that is read only to check that it can be."""
    json.dumps(str(value))
