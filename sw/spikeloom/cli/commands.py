"""The command ``spikeloom``: registers the commands, and turns what they raise into one sentence and an exit status.

Whatever the user got wrong is one sentence on standard error and exit status 2, and leaves no half-written file.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from spikeloom.cli.bitstream import bitstream
from spikeloom.cli.boards import boards
from spikeloom.cli.check import check
from spikeloom.cli.console import one_line, printable
from spikeloom.cli.flash import load_board
from spikeloom.cli.generate import generate
from spikeloom.cli.info import info
from spikeloom.cli.init import init
from spikeloom.cli.mnist import mnist
from spikeloom.cli.place import show_placement
from spikeloom.cli.report import report
from spikeloom.cli.run import run
from spikeloom.cli.serve import serve
from spikeloom.cli.simulate import simulate

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
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


def _show_version(value: bool) -> None:
    if value:
        print(f"spikeloom {importlib.metadata.version('spikeloom')}")
        raise typer.Exit


@app.callback()
def _spikeloom(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """A trained spiking neural network in; bit-exact RTL, a bitstream and a host driver out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 0, or with 2 and one sentence."""
    with contextlib.suppress(AttributeError):
        # A name that the terminal's encoding does not have is shown escaped.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app(list(arguments) if arguments is not None else None, prog_name="spikeloom", standalone_mode=False)
    except _UsageError as error:
        _fail(_usage_sentence(error))
    except typer.Abort:
        sys.exit(130)
    except ModuleNotFoundError as error:
        extra = "boards" if (error.name or "").startswith("amaranth_boards") else "simulate"
        _fail(f"{error.name} is not installed; pip install 'spikeloom[{extra}]'")
    except OSError as error:
        _fail(f"cannot use {str(error.filename)!r}: {error.strerror}" if error.filename else str(error))
    except MemoryError:
        _fail("this takes more memory than there is; a smaller network or fewer inputs take less")
    except ValueError as error:
        _fail(str(error))
    except RuntimeError as error:  # tools: the end of what they said may follow
        print(f"spikeloom: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)


def _fail(sentence: str) -> None:
    print(f"spikeloom: {one_line(sentence)}", file=sys.stderr)
    sys.exit(2)


def _usage_sentence(error: Any) -> str:
    context = getattr(error, "ctx", None)
    where = "spikeloom" if context is None else context.command_path
    return f"{error.format_message().strip().rstrip('.')}; see: {where} --help"


if __name__ == "__main__":
    main()
