"""Registration of the commands of ``spikeloom``."""

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
from spikeloom.cli.explore import explore
from spikeloom.cli.flash import load_board
from spikeloom.cli.generate import generate
from spikeloom.cli.info import info
from spikeloom.cli.init import init
from spikeloom.cli.mnist import mnist
from spikeloom.cli.place import show_placement
from spikeloom.cli.report import report
from spikeloom.cli.run import run
from spikeloom.cli.save import save_network
from spikeloom.cli.serve import serve
from spikeloom.cli.simulate import simulate

__all__ = ["UsageError", "app", "execute"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "save": save_network,
    "check": check,
    "explore": explore,
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

# Depending on its version, Typer bundles click or imports the package.
_ClickException: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class UsageError(ValueError):
    """Unknown option or invalid option value. The message is one sentence."""


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
    """Turn a trained spiking neural network into bit-exact RTL, a bitstream and a host driver."""


def execute(arguments: Sequence[str] | None) -> int:
    """Run the command and return its status; raise its exceptions, or `UsageError` for wrong options."""
    with contextlib.suppress(AttributeError):
        # Characters that the terminal's encoding lacks are shown escaped.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = app(list(arguments) if arguments is not None else None, prog_name="spikeloom", standalone_mode=False)
    except _ClickException as error:
        context = getattr(error, "ctx", None)
        where = "spikeloom" if context is None else context.command_path
        raise UsageError(f"{error.format_message().strip().rstrip('.')}; see: {where} --help") from error
    except typer.Abort:
        return 130
    return status if isinstance(status, int) else 0
