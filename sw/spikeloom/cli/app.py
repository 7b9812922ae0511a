"""The command ``spikeloom``: registers the commands, and turns what they raise into one sentence and an exit status.

Whatever the user got wrong is one sentence on standard error and exit status 2, and leaves no half-written file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from spikeloom.cli.bitstream import bitstream
from spikeloom.cli.boards import boards
from spikeloom.cli.check import check
from spikeloom.cli.flash import load_board
from spikeloom.cli.generate import generate
from spikeloom.cli.info import info
from spikeloom.cli.mnist import mnist
from spikeloom.cli.place import show_placement
from spikeloom.cli.report import report
from spikeloom.cli.run import run
from spikeloom.cli.serve import serve
from spikeloom.cli.simulate import simulate

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A trained spiking neural network in; bit-exact RTL, a bitstream and a host driver out.",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "place": show_placement,
    "report": report,
    "simulate": simulate,
    "generate": generate,
    "bitstream": bitstream,
    "flash": load_board,
    "run": run,
    "boards": boards,
    "serve": serve,
    "mnist": mnist,
    "info": info,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)

# Typer carries its own copy of click, or uses the package, as its version has it.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 0, or with 2 and one sentence."""
    try:
        app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except ModuleNotFoundError as error:
        extra = "boards" if (error.name or "").startswith("amaranth_boards") else "simulate"
        print(f"spikeloom: {error.name} is not installed; pip install 'spikeloom[{extra}]'", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        reason = f"cannot use {str(error.filename)!r}: {error.strerror}" if error.filename else str(error)
        print(f"spikeloom: {reason}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print(
            "spikeloom: this takes more memory than there is; a smaller network or fewer inputs take less",
            file=sys.stderr,
        )
        sys.exit(2)
    except (ValueError, RuntimeError) as error:
        print(f"spikeloom: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
