"""Record the output of snnTorch's ``spikegen`` for some values in ``spikegen.json`` beside this file.

    pip install 'spikeloom[frameworks]'        # snnTorch and torch, several hundred MB
    python tests/sw/datasets/encoders/record_spikegen.py

`test_against_spikegen` compares the encoders with the recording, so that the tests need neither.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from snntorch import spikegen

FULL = 16
SEVEN = [0, 2, 5, 4, 8, 8, 3]


def spikes(tensor):
    return tensor.int().tolist()


def main():
    torch.manual_seed(0)
    random = np.random.default_rng(0).integers(-8, 9, (40, 3, 2))
    values = torch.arange(FULL + 1) / FULL
    recorded = {"versions": {name: version(name) for name in ("snntorch", "torch")}, "full": FULL, "seven": SEVEN}
    recorded["series"] = random.tolist()
    recorded["delta"] = [
        {
            "values": name,
            "threshold": threshold,
            "padding": padding,
            "spikes": spikes(
                spikegen.delta(torch.tensor(series).float(), threshold=threshold, padding=padding, off_spike=True)
            ),
        }
        for name, series in (("seven", SEVEN), ("series", random.tolist()))
        for threshold in (1, 2, 3)
        for padding in (False, True)
    ]
    recorded["latency"] = [
        {
            "steps": steps,
            "clip": clip,
            "spikes": spikes(
                spikegen.latency(values, num_steps=steps, threshold=1e-6, linear=True, normalize=True, clip=clip)
            ),
        }
        for steps in (2, 5, 8, 16, 25)
        for clip in (False, True)
    ]
    recorded["charging"] = [
        {
            "steps": steps,
            "tau": tau,
            "threshold": threshold,
            "spikes": spikes(
                spikegen.latency(values, num_steps=steps, threshold=threshold / FULL, tau=tau, clip=True, bypass=True)
            ),
        }
        for steps in (5, 10)
        for tau in (1, 2, 5)
        for threshold in (1, 4)
    ]
    draws = 20_000
    counts = spikegen.rate(values, num_steps=draws).sum(dim=0).int().tolist()
    recorded["rate"] = {"draws": draws, "counts": counts}
    path = Path(__file__).with_name("spikegen.json")
    path.write_text(json.dumps(recorded) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
