"""Record what the layers compute, for the tests without PyTorch: ``PYTHONPATH=tests python -m training.record``."""

import json
from dataclasses import fields
from enum import Enum

import numpy as np
import torch
from harness.networks import rng_of
from harness.recordings import RECORDINGS

from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.train.neurons import LEARNED
from training.cases import random_inputs, random_model

CASES = {f"{width} bits, {number}": (width, number) for width in (1, 2, 3, 4, 8) for number in range(2)}


def recordings():
    """The arrays of each case; texts are stored as arrays too."""
    found = {}
    for name, (width, number) in CASES.items():
        rng = rng_of(f"recording {width} {number}")
        model = random_model(rng, hidden=8, weight_width=width, v_width=(8, 16)[number])
        inputs = random_inputs(rng, model, steps=12, batch=2)
        with torch.no_grad():
            outputs = [fired.numpy() for _, fired in model.run(inputs)]
            integers = [layer.integers() for layer in model.layers]
        quantisation = model.quantisation
        facts = {
            "layers": [layer.name for layer in model.layers],
            "weight_width": quantisation.weight_width,
            "v_width": quantisation.v_width,
            "rounding": quantisation.rounding.value,
            "input_value_width": model.input_value_width,
            "input_bits": [layer.input_bits for layer in model.layers],
            "exponents": [layer.exponent for layer in integers],
            "convolution": integers[0].convolution is not None,
            "parameters": [_as_json(layer.parameters) for layer in integers],
        }
        arrays = {"facts": np.array(json.dumps(facts)), "inputs": inputs.numpy().astype(np.int8)}
        for number, (layer, whole, output) in enumerate(zip(model.layers, integers, outputs, strict=True)):
            latents = {"weight": layer.weight, "recurrent": layer.recurrent}
            latents |= {key: getattr(layer, key, None) for key in LEARNED}
            arrays |= {
                f"{number} latent {key}": value.detach().numpy() for key, value in latents.items() if value is not None
            }
            arrays[f"{number} weight"] = whole.weight.astype(np.int16)
            if whole.recurrent is not None:
                arrays[f"{number} recurrent"] = whole.recurrent.astype(np.int16)
            arrays[f"{number} outputs"] = output.astype(np.int32)
        found[name] = arrays
    return found


def _as_json(parameters):
    values = {field.name: getattr(parameters, field.name) for field in fields(NeuronParameters)}
    plain = {}
    for key, value in values.items():
        plain[key] = value.value if isinstance(value, Enum) else value.tolist() if hasattr(value, "tolist") else value
    return plain


if __name__ == "__main__":
    np.savez_compressed(
        RECORDINGS, **{f"{name}/{key}": array for name, arrays in recordings().items() for key, array in arrays.items()}
    )
    print(f"{RECORDINGS.name}: {RECORDINGS.stat().st_size:,} bytes")
