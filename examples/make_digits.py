"""Write models/digits.npz: the digits of scikit-learn, and which of them are held out.

    python examples/make_digits.py PATH_TO_digits.csv.gz

The file is ``sklearn/datasets/data/digits.csv.gz`` inside any wheel of scikit-learn (``pip download --no-deps
scikit-learn``, then unzip); scikit-learn itself is not needed. The split is the permutation of a seeded generator,
with the digits of both parts in their original order.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SEED = 1797
HELD_OUT = 360


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = np.loadtxt(sys.argv[1], delimiter=",", dtype=np.uint8)
    permutation = np.random.Generator(np.random.PCG64(SEED)).permutation(len(table))
    target = Path(__file__).resolve().parents[1] / "models" / "digits.npz"
    np.savez_compressed(
        target,
        images=table[:, :64].reshape(-1, 8, 8),
        labels=table[:, 64],
        train=np.sort(permutation[HELD_OUT:]).astype(np.uint16),
        held_out=np.sort(permutation[:HELD_OUT]).astype(np.uint16),
    )
    print(f"{target}: {len(table)} images, {HELD_OUT} of them held out, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
