"""`make formal`: runs every proof to its full depth and prints a table; exit status 1 if one fails."""

import sys
import time

from formal.proofs import PROOFS
from harness.formal import check


def main() -> int:
    failed = 0
    for proof in PROOFS:
        start = time.monotonic()
        result = check(proof.build(), mode=proof.mode, depth=proof.depth, name=proof.name)
        seconds = time.monotonic() - start
        print(
            f"{'proven' if result.passed else 'FAILED':7} {proof.name:60} {proof.reach:28} {seconds:5.0f} s", flush=True
        )
        if not result.passed:
            failed += 1
            print(*(line for line in result.log.splitlines() if "failed" in line), sep="\n")
    print(f"{len(PROOFS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
