"""Recorded runs of the training layers in PyTorch, written by ``tests/training/record.py``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from spikeloom.compiler.quantise import Quantisation
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.network.projection import Convolution
from spikeloom.train.integers import LayerIntegers

RECORDINGS = Path(__file__).resolve().parents[1] / "training" / "recordings.npz"
GEOMETRY = Convolution(input_shape=(2, 5, 3), output_channels=4, kernel=(3, 3), padding=(1, 1), groups=2)
"""The convolution of every recording that has one."""

_KINDS = {
    "leak": Leak,
    "current_leak": Leak,
    "adaptation_leak": Leak,
    "rounding": Rounding,
    "compare": Compare,
    "reset": Reset,
}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A chain of layers, its input and what its layers returned, ``(T, B, n)`` each."""

    arrays: dict[str, np.ndarray]

    @cached_property
    def facts(self):
        return json.loads(str(self.arrays["facts"]))

    @property
    def inputs(self):
        return self.arrays["inputs"].astype(np.int64)

    @property
    def quantisation(self):
        facts = self.facts
        return Quantisation(
            weight_width=facts["weight_width"], v_width=facts["v_width"], rounding=Rounding(facts["rounding"])
        )

    def outputs(self, number):
        """Spikes of a layer, or membranes if it never spikes."""
        return self.arrays[f"{number} outputs"].astype(np.int64)

    def layers(self):
        """The layers with their integers."""
        found = []
        for number, name in enumerate(self.facts["layers"]):
            plain = dict(self.facts["parameters"][number])
            for key, kind in _KINDS.items():
                plain[key] = None if plain[key] is None else kind(plain[key])
            plain = {key: np.array(value) if isinstance(value, list) else value for key, value in plain.items()}
            recurrent = self.arrays.get(f"{number} recurrent")
            found.append(
                LayerIntegers(
                    name=name,
                    exponent=self.facts["exponents"][number],
                    weight=self.arrays[f"{number} weight"].astype(np.int64),
                    convolution=GEOMETRY if self.facts["convolution"] and not number else None,
                    recurrent=None if recurrent is None else recurrent.astype(np.int64),
                    parameters=NeuronParameters(**plain),
                )
            )
        return found


def load_recordings():
    """The recordings by name."""
    found = {}
    with np.load(RECORDINGS) as file:
        for key in file.files:
            name, _, array = key.partition("/")
            found.setdefault(name, {})[array] = file[key]
    return {name: Recording(arrays=arrays) for name, arrays in found.items()}
