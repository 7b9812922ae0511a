"""Helpers for the recorders, which run in the environment of a framework, without spikeloom, and write recordings.

A recording is one ``.npz`` file without pickles: the NIR file as the framework's exporter wrote it, the input, and what
the framework computed from it in every step.

================== ==================================================================================================
array              content
================== ==================================================================================================
``about``          JSON text, see `Recorder.record`
``nir``            bytes of the NIR file; empty if the exporter refuses the network
``inputs``         spikes, ``(T, B, n)`` as packed bits
``spikes/NODE``    spikes of the neurons of a node, ``(T, B, n)`` as packed bits, or ``uint8`` with more than one a step
``membranes/NODE`` membranes of neurons that do not fire, ``(T, B, n)`` in single precision
================== ==================================================================================================
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
import zlib
from pathlib import Path

import nir
import numpy as np

STEPS, BATCH = 100, 4


class Recorder:
    """Writes the recordings of one framework into the folder given as the only argument of the script."""

    def __init__(self, framework, package):
        (folder,) = sys.argv[1:]
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.framework = framework
        self.version = importlib.metadata.version(package)
        self.features = set()

    def rng(self, feature):
        """Return a generator that is seeded by the name of the feature."""
        return np.random.default_rng(zlib.crc32(f"{self.framework} {feature}".encode()))

    def record(
        self,
        feature,
        export,
        inputs=None,
        *,
        spikes=None,
        membranes=None,
        load=None,
        exact=False,
        recurrent=False,
        lost="",
        refused="",
        late=0,
    ):
        """Write a recording.

        ``export`` is called without arguments and returns a NIR graph. ``load`` holds the options, besides the preset,
        with which spikeloom reads the file. ``exact`` states that 16-bit weights and 24-bit membranes round no number.
        ``lost`` is a sentence about what the file does not hold, so that the result may differ. ``refused`` is text
        that the exporter's own message must contain if it refuses the network. ``late`` is the number of steps by which
        the framework's spikes come later than those of spikeloom.
        """
        assert feature not in self.features, feature
        self.features.add(feature)
        about = {
            "framework": self.framework,
            "version": self.version,
            "feature": feature,
            "load": load or {},
            "exact": exact,
            "recurrent": recurrent,
            "lost": lost,
            "refused": "",
            "late": late,
        }
        arrays = {"nir": np.zeros(0, np.uint8)}
        try:
            content = content_of(export())
        except Exception as error:
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            if not refused or refused not in message:
                raise
            about["refused"] = message
        else:
            assert not refused, f"{feature}: the exporter must refuse it"
            arrays["nir"] = np.frombuffer(content, np.uint8)
            inputs = np.asarray(inputs).reshape(*inputs.shape[:2], -1)
            about["shapes"] = {"inputs": inputs.shape}
            arrays["inputs"] = np.packbits(inputs.astype(bool))
            for node, array in (spikes or {}).items():
                array = np.asarray(array).reshape(*array.shape[:2], -1)
                share = np.mean(array > 0)
                assert np.array_equal(array, np.rint(array)), (feature, node)
                assert 0.02 < share < 0.95, f"{feature}: {share:.3f} of the cells of {node} fire"
                key = f"spikes/{node}"
                about["shapes"][key] = array.shape
                arrays[key] = np.packbits(array.astype(bool)) if array.max() <= 1 else array.astype(np.uint8)
            for node, array in (membranes or {}).items():
                array = np.asarray(array).reshape(*array.shape[:2], -1)
                assert np.ptp(array) > 0.1, (feature, node)
                about["shapes"][f"membranes/{node}"] = array.shape
                arrays[f"membranes/{node}"] = array.astype(np.float32)
        text = json.dumps(about, sort_keys=True)
        path = self.folder / f"{feature.replace(' ', '-').replace(',', '').replace('/', '-')}.npz"
        np.savez_compressed(path, about=np.array(text), **arrays)
        kind = "refused by the exporter" if about["refused"] else f"{path.stat().st_size:,} bytes"
        print(f"  {self.framework} {self.version}: {feature}: {kind}", flush=True)


def content_of(graph):
    """Return the bytes of the NIR file of a graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        nir.write(path, graph)
        return path.read_bytes()


def stimulus(rng, shape, share=0.3, steps=STEPS, batch=BATCH):
    """Return random spikes ``(T, B, *shape)`` of 0 and 1; ``share`` of them are 1."""
    shape = (shape,) if isinstance(shape, int) else shape
    return (rng.random((steps, batch, *shape)) < share).astype(np.float32)


def two_layers_of(rng, linear, cell, lines, hidden, classes, scale=1.0):
    """Return two layers ``linear(weights, biases)`` with random numbers, each followed by the neurons ``cell(rng,
    n)``."""
    return [
        linear(rng.normal(0.1, 0.5, (hidden, lines)) * scale, rng.normal(0.0, 0.1, hidden) * scale),
        cell(rng, hidden),
        linear(rng.normal(0.1, 0.5, (classes, hidden)) * scale),
        cell(rng, classes),
    ]


def dyadic(rng, shape, low=-1.0, high=1.0):
    """Return random multiples of 1/16, which 16-bit integers hold exactly."""
    return (np.rint(rng.uniform(low, high, shape) * 16.0) / 16.0).astype(np.float32)
