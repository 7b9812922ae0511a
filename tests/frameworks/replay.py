"""Recordings of frameworks against the float model and the integers: equal, different or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.quantise import Quantisation, quantise, scale_exponents
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir import load
from spikeloom.model.network import Network
from spikeloom.sim.network.reference import simulate

__all__ = ["FRAMEWORKS", "RECORDINGS", "Recording", "Verdict", "differences", "read", "recordings", "verdict_of"]

RECORDINGS = Path(__file__).parent / "recordings"

FRAMEWORKS = ("snntorch", "norse", "spikingjelly", "sinabs", "rockpool", "spyx")
"""The frameworks, in the order of the table."""

FLOAT_TOLERANCE = 1e-5
"""Tolerance of readouts, relative to the largest one, because files hold 32-bit floats."""

INTEGER_TOLERANCE = 5e-3
"""The same tolerance between integers and recording where weights or leaks are rounded."""

WIDTHS = Quantisation(weight_width=16, v_width=24, beta_fraction=18)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording; `tests/frameworks/recorders/common.py` describes the fields of ``about`` and the arrays."""

    about: Mapping[str, Any]
    nir: bytes
    inputs: NDArray[np.bool_]
    spikes: Mapping[str, NDArray[np.uint8]]
    membranes: Mapping[str, NDArray[np.float64]]

    @property
    def name(self) -> str:
        """Framework and feature."""
        return f"{self.about['framework']}: {self.about['feature']}"

    @property
    def framework(self) -> str:
        """Name of the framework, which is also the name of its preset."""
        return str(self.about["framework"])

    def graph(self) -> Any:
        """Return the content of the NIR file in the third form that `load` accepts, besides a path and a
        ``nir.NIRGraph``."""
        return _Tree(self.nir)

    def network(self, **options: Any) -> Network:
        """Load the network with the preset of the framework and the options of the recording."""
        given = {"preset": self.framework, **self.about["load"], **options}
        return load(self.graph(), **{key: value for key, value in given.items() if value is not None})


class _Tree:
    """Content of a NIR file, read in this process: starting the reader process of `load` takes longer than the
    comparison."""

    def __init__(self, content: bytes) -> None:
        with h5py.File(io.BytesIO(content)) as file:
            self.tree = _tree(file["node"])

    def to_dict(self) -> dict[str, Any]:
        return self.tree


def _tree(group: Any) -> dict[str, Any]:
    return {key: _tree(item) if isinstance(item, h5py.Group) else item[()] for key, item in group.items()}


def read(path: Path) -> Recording:
    """Read a recording."""
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        shapes = about.get("shapes", {})

        def unpacked(key: str) -> NDArray[Any]:
            shape = shapes[key]
            array = arrays[key]
            if array.ndim == 1:
                array = np.unpackbits(array, count=int(np.prod(shape)))
            return array.reshape(shape)

        inputs = unpacked("inputs").astype(np.bool_) if "inputs" in shapes else np.zeros((0, 0, 0), np.bool_)
        names = [key for key in shapes if key != "inputs"]
        return Recording(
            about=about,
            nir=arrays["nir"].tobytes(),
            inputs=inputs,
            spikes={key[7:]: unpacked(key) for key in names if key.startswith("spikes/")},
            membranes={key[10:]: unpacked(key).astype(float) for key in names if key.startswith("membranes/")},
        )


def recordings(folder: Path = RECORDINGS, framework: str | None = None) -> Iterator[Path]:
    """Yield the files of all recordings, or of one framework."""
    for name in FRAMEWORKS:
        if framework in (None, name):
            yield from sorted((folder / name).glob("*.npz"))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result for a recording.

    ``verdict`` is "equal", "differs" or "refused"; ``cells`` and ``differing`` compare the float model with the
    recording, and ``integers`` is the number of cells in which the integers differ. ``note`` says how the result
    differs or why the network is refused; otherwise it names the options that the file needs. ``kept`` states whether
    the required shares are reached.
    """

    framework: str
    version: str
    feature: str
    verdict: str
    cells: int
    differing: int
    integers: int
    note: str
    kept: bool

    @property
    def entry(self) -> dict[str, Any]:
        """The entry in ``summary.json``."""
        return {"integers_differing" if key == "integers" else key: value for key, value in vars(self).items()}

    @property
    def text(self) -> str:
        """The result in words."""
        if self.verdict == "refused":
            return f"refused, {self.note}"
        counts = f"float model differs in {self.differing:,} of {self.cells:,} cells, integers in {self.integers:,}"
        return f"{counts}; {self.note}" if self.note else counts


def verdict_of(recording: Recording) -> Verdict:
    """Replay a recording and judge it.

    The float model must equal the recording in every cell, unless the file does not hold everything (``lost``); then a
    note of the network or a refusal must say so. Integers must equal the recording in every cell where nothing is
    rounded, elsewhere in 99.5 % of the cells, or in 98 % for recurrent networks.
    """
    about = recording.about

    def verdict(kind: str, note: str, *, kept: bool, cells: int = 0, floats: int = 0, integers: int = 0) -> Verdict:
        return Verdict(
            framework=recording.framework,
            version=about["version"],
            feature=about["feature"],
            verdict=kind,
            cells=cells,
            differing=floats,
            integers=integers,
            note=note,
            kept=kept,
        )

    if about["refused"]:
        return verdict("refused", f"by the exporter: {about['refused']}", kept=True)
    try:
        network = recording.network()
    except LoadError as error:
        why = f"{about['lost']}; " if about["lost"] else ""
        return verdict("refused", f"{why}{error}", kept=bool(about["lost"]))
    floats, cells = differences(network, recording)
    integers = _integer_differences(network, recording)
    if about["lost"]:
        return verdict(
            "differs" if floats else "equal", about["lost"], kept=True, cells=cells, floats=floats, integers=integers
        )
    allowed = 0.0 if about["exact"] else 0.02 if about["recurrent"] else 0.005
    late = "spikes come one step later in the framework" if about.get("late") else ""
    options = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in about["load"].items())
    notes = [f"with {options}"] if options else [late] if late else []
    within = integers <= allowed * cells
    kept = floats == 0 and within
    return verdict(
        "equal" if kept else "differs",
        "; ".join(notes),
        kept=kept,
        cells=cells,
        floats=floats,
        integers=integers,
    )


def differences(network: Network, recording: Recording) -> tuple[int, int]:
    """Return the number of cells in which the float model differs, and the number of all cells."""
    result = network.run(recording.inputs)
    differing = cells = 0
    for name, spikes in recording.spikes.items():
        differing += _unequal(result.fired(name), spikes, recording)
        cells += spikes.size
    for name, membranes in recording.membranes.items():
        differing += _apart(result.membranes[name], membranes, FLOAT_TOLERANCE)
        cells += membranes.size
    return differing, cells


def _integer_differences(network: Network, recording: Recording) -> int:
    """Return the number of cells in which the integers differ."""
    quantised = quantise(network, WIDTHS)
    exponents, _ = scale_exponents(network, WIDTHS)
    result = simulate(quantised, recording.inputs)
    differing = 0
    for name, spikes in recording.spikes.items():
        differing += _unequal(result.fired(name), spikes, recording)
    tolerance = FLOAT_TOLERANCE if recording.about["exact"] else INTEGER_TOLERANCE
    for name, membranes in recording.membranes.items():
        found = np.ldexp(result.states[name].v.astype(np.float64), -exponents[name])
        differing += _apart(found, membranes, tolerance)
    return differing


def _unequal(found: NDArray[Any], recorded: NDArray[np.uint8], recording: Recording) -> int:
    """Return the number of different cells; if the framework is late, its first steps must be silent."""
    late = recording.about.get("late", 0)
    shifted = np.concatenate([np.zeros_like(found[:late]), found[: len(found) - late]])
    return int(np.count_nonzero(shifted != recorded))


def _apart(found: NDArray[np.float64], recorded: NDArray[np.float64], tolerance: float) -> int:
    return int(np.count_nonzero(np.abs(found - recorded) > tolerance * np.abs(recorded).max()))
