"""Entry point of the ``spikeloom`` command: turn exceptions and signals into one sentence and an exit status.

A user error prints one sentence on standard error, exits with status 2 and leaves no partial file. SIGINT exits with
130 and SIGTERM with 143, even during the import of the commands; therefore `main` imports them only after it has
installed the signal handlers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spikeloom.cli.signals import Interrupted, handled

__all__ = ["main"]

_EXTRAS = {"amaranth_boards": "boards", "distributed": "explore", "dask": "explore"}
"""Extra that installs a package, where it is not ``simulate``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 0, or with one sentence and status 2."""
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
        extra = _EXTRAS.get((error.name or "").partition(".")[0], "simulate")
        return _fail(f"{error.name} is not installed; pip install 'spikeloom[{extra}]'")
    except OSError as error:
        return _fail(f"cannot use {str(error.filename)!r}: {error.strerror}" if error.filename else str(error))
    except MemoryError:
        return _fail("out of memory; use a smaller network or fewer inputs")
    except ValueError as error:
        return _fail(str(error))
    except RuntimeError as error:  # from external tools; the message may end with an excerpt of their output
        print(f"spikeloom: {printable(str(error))}", file=sys.stderr)
        return 2


def _fail(sentence: str) -> int:
    from spikeloom.cli.console import one_line

    print(f"spikeloom: {one_line(sentence)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
