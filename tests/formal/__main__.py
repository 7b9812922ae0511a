"""`make formal`: run every proof to its full depth and report its duration; exit status 1 if one fails.

The run ends within an hour: a proof that is not decided within its share of the remaining time is reported as open,
which is a failure.
"""

import subprocess
import sys
import time
from collections.abc import Sequence

from formal.proofs import PROOFS, Proof
from harness.formal import check

ALL_SECONDS = 55 * 60
"""Time for all proofs together, which leaves the last one a few minutes to stop."""
PROOF_SECONDS = 10 * 60
PROGRESS_SECONDS = 30


def main(
    proofs: Sequence[Proof] = PROOFS, *, all_seconds: float = ALL_SECONDS, proof_seconds: float = PROOF_SECONDS
) -> int:
    begin = time.monotonic()
    failed = undecided = 0
    for number, proof in enumerate(proofs, 1):
        start = time.monotonic()
        limit = max(1, int(min(proof_seconds, all_seconds - (start - begin))))
        print(f"[{number:2}/{len(proofs)}] {proof.name}, {proof.reach}, at most {limit} s", flush=True)

        def wait(process: subprocess.Popen, start: float = start) -> None:
            while True:
                try:
                    process.wait(PROGRESS_SECONDS)
                    return
                except subprocess.TimeoutExpired:
                    print(f"        still at it after {time.monotonic() - start:.0f} s", flush=True)

        result = check(proof.build(), mode=proof.mode, depth=proof.depth, name=proof.name, timeout=limit, wait=wait)
        verdict = "proven" if result.passed else "FAILED" if result.decided else "OPEN: not decided"
        print(f"        {verdict} after {time.monotonic() - start:.0f} s", flush=True)
        if not result.decided:
            undecided += 1
        elif not result.passed:
            failed += 1
            print(*(line for line in result.log.splitlines() if "failed" in line), sep="\n")
    passed = len(proofs) - failed - undecided
    print(f"{passed} passed, {failed} failed, {undecided} not decided, in {time.monotonic() - begin:.0f} s")
    return 1 if failed or undecided else 0


if __name__ == "__main__":
    sys.exit(main())
