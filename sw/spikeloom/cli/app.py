"""The command ``spikeloom``: what the commands raise, and signals, become one sentence and an exit status.

Whatever the user got wrong is one sentence on standard error and exit status 2, and leaves no half-written file. SIGINT
ends with 130, SIGTERM with 143, even while the commands are being imported: so they are imported inside `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spikeloom.cli.signals import Interrupted, handled

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 0, or with 2 and one sentence."""
    try:
        with handled():
            status = _execute(arguments)
    except Interrupted as error:
        sys.exit(128 + error.number)
    if status:
        sys.exit(status)


def _execute(arguments: Sequence[str] | None) -> int:
    from spikeloom.cli.commands import execute
    from spikeloom.cli.console import printable

    try:
        return execute(arguments)
    except ModuleNotFoundError as error:
        extra = "boards" if (error.name or "").startswith("amaranth_boards") else "simulate"
        return _fail(f"{error.name} is not installed; pip install 'spikeloom[{extra}]'")
    except OSError as error:
        return _fail(f"cannot use {str(error.filename)!r}: {error.strerror}" if error.filename else str(error))
    except MemoryError:
        return _fail("this takes more memory than there is; a smaller network or fewer inputs take less")
    except ValueError as error:
        return _fail(str(error))
    except RuntimeError as error:  # of tools: the end of what they said may follow
        print(f"spikeloom: {printable(str(error))}", file=sys.stderr)
        return 2


def _fail(sentence: str) -> int:
    from spikeloom.cli.console import one_line

    print(f"spikeloom: {one_line(sentence)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
