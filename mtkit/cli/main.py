"""The command line's entry, and the one boundary where errors become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from mtkit.cli.options import QuietOption
from mtkit.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, MtkitError, RecipeError
from mtkit.version import __version__

app = typer.Typer(
    name="mtkit",
    help="Train, run and score sequence-to-sequence translation models.\n\n"
    "From text to a scored model in one command: `mtkit run quickstart -o quickstart`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Typer raises a usage error of click's, or of its own copy of click, by its version; BadParameter is one in both.
_UsageError = typer.BadParameter.__mro__[1]


def _show_version(value: bool) -> None:
    if value:
        print(f"mtkit {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Hold the options that stand before a command."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, otherwise by the kind of error (see `mtkit.errors`)."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, prog_name="mtkit", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:
        code = _report(exc)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Let a termination unwind the stack, so that temporary files are removed."""
    raise SystemExit(EXIT_TERMINATED)


def _report(exc: BaseException) -> int:
    """Print what a person should know of an exception, and return the exit code."""
    match exc:
        case MtkitError():
            _print_error(exc)
            return exc.exit_code
        case SystemExit():
            return exc.code if isinstance(exc.code, int) else EXIT_BUG
        case KeyboardInterrupt() | typer.Abort():
            print("interrupted", file=sys.stderr)  # noqa: T201
            return EXIT_INTERRUPTED
        case typer.Exit():
            return exc.exit_code
        case BrokenPipeError():
            # The reader has enough. Point stdout elsewhere, or Python complains when it flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case _UsageError():
            context = getattr(exc, "ctx", None)
            command = context.command_path if context is not None else "mtkit"
            message = exc.format_message().rstrip(".")  # type: ignore[attr-defined]
            _print_error(RecipeError(message, at=command, fix=f"see {command} --help"))
            return RecipeError.exit_code
        case MemoryError():
            print("error: out of memory\n  fix: use smaller batches", file=sys.stderr)  # noqa: T201
            return 5
        case _:
            traceback.print_exception(exc)
            print("error: this is a bug in mtkit; please report it with the lines above", file=sys.stderr)  # noqa: T201
            return EXIT_BUG


def _print_error(error: MtkitError) -> None:
    print(error, file=sys.stderr)  # noqa: T201


def _register() -> None:
    """Add the commands. Their modules import torch and other heavy packages only when they run."""
    from mtkit.cli.evaluate import evaluate
    from mtkit.cli.info import info
    from mtkit.cli.options_table import options
    from mtkit.cli.prepare import prepare
    from mtkit.cli.run import run
    from mtkit.cli.train import train
    from mtkit.cli.translate import translate

    for command in (prepare, train, translate, evaluate, run, info, options):
        app.command()(command)


_register()
