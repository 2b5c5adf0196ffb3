"""The command line's entry, and the one boundary where errors become messages and exit codes."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from mtkit.cli.options import QuietOption
from mtkit.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    DeviceError,
    MtkitError,
    OutputError,
    RecipeError,
)
from mtkit.runtime import console
from mtkit.runtime.memory import is_out_of_memory
from mtkit.runtime.signals import STOPPED, ignore_signals, unwind_on_signals
from mtkit.version import __version__

# The commands, in the order of the help and under its headings; each is a function in a module of its own.
_PANELS = {
    "From text to a scored model": {
        "run": "mtkit.cli.run:run",
        "prepare": "mtkit.cli.prepare:prepare",
        "train": "mtkit.cli.train:train",
        "translate": "mtkit.cli.translate:translate",
        "evaluate": "mtkit.cli.evaluate:evaluate",
    },
    "A closer look": {
        "score": "mtkit.cli.score:score",
        "explain": "mtkit.cli.explain:explain",
        "align": "mtkit.cli.align:align",
        "embed": "mtkit.cli.embed:embed",
    },
    "Models in and out": {
        "serve": "mtkit.cli.serve:serve",
        "import": "mtkit.cli.import_model:import_model",
        "export": "mtkit.cli.export:export",
        "average": "mtkit.cli.average:average",
    },
    "What there is": {
        "info": "mtkit.cli.info:info",
        "options": "mtkit.cli.options_table:options",
    },
}
_COMMANDS = {name: (place, panel) for panel, places in _PANELS.items() for name, place in places.items()}

# How typer ends a message with what it suggests: `Did you mean 'a'?` or `(Possible options: --a, --b)`.
_SUGGESTION = re.compile(r"(.*?)\.?(?: Did you mean (.*)\?| \(Possible options: (.*)\))?")

# Typer raises a usage error of click's, or of its own copy of click, by its version; BadParameter is one in both.
_UsageError: type = typer.BadParameter.__mro__[1]


class _PlainSwitches:
    """Shows no type beside a switch in a help: it takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, that of the help included."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_PlainSwitches, TyperCommand):
    pass


class _Group(_PlainSwitches, TyperGroup):
    pass


def _show_version(value: bool) -> None:
    if value:
        print(f"mtkit {__version__}")  # noqa: T201
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Hold the options that stand before a command."""


def build_app(names: Iterable[str] = _COMMANDS) -> typer.Typer:
    """Return the command line with some of its commands: each that it has costs time to set up."""
    app = typer.Typer(
        name="mtkit",
        cls=_Group,
        help="Train, run and score sequence-to-sequence translation models.\n\n"
        "From text to a scored model in one command: `mtkit run quickstart -o quickstart`.",
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in names:
        place, panel = _COMMANDS[name]
        module, _, function = place.partition(":")
        app.command(name, cls=_Command, rich_help_panel=panel)(getattr(importlib.import_module(module), function))
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, otherwise by the kind of error (see `mtkit.errors`)."""
    try:
        unwind_on_signals()
        _collect_seldom()
        if sys.stderr is None:  # closed: print would turn to standard output
            sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # whatever the locale says, text is UTF-8 here
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        given = list(sys.argv[1:] if arguments is None else arguments)
        first = next((argument for argument in given if not argument.startswith("-")), None)
        app = build_app([first] if first in _COMMANDS else _COMMANDS)
        code = app(args=given or ["--help"], prog_name="mtkit", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:
        ignore_signals()
        code = _report(exc)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to unwind
    sys.exit(code if isinstance(code, int) else 0)


def _collect_seldom() -> None:
    """Let Python look for cyclic garbage seldom, and not at exit.

    torch comes with some hundred thousand objects that live as long as the process. To look through them again and
    again takes a sixth of the time in which they are imported, and 0.4 seconds at exit.
    """
    gc.set_threshold(50_000)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _report(exc: BaseException) -> int:
    """Print what a person should know of an exception, and return the exit code."""
    if isinstance(exc, SystemExit) and isinstance(exc.__context__, BrokenPipeError):
        exc = exc.__context__  # Typer turns a broken pipe into an exit of its own
    match exc:
        case MtkitError():
            return _print_error(exc)
        case SystemExit():
            if exc.code in STOPPED:
                _tell(STOPPED[exc.code])
            return exc.code if isinstance(exc.code, int) else EXIT_BUG
        case KeyboardInterrupt() | typer.Abort():
            _tell(STOPPED[EXIT_INTERRUPTED])
            return EXIT_INTERRUPTED
        case typer.Exit():
            return exc.exit_code
        case BrokenPipeError():  # the reader has enough
            flush_output()
            return 0
        case OSError() if exc.errno in (errno.ENOSPC, errno.EFBIG):
            flush_output()
            place = exc.filename or "standard output"
            return _print_error(OutputError(f"cannot write: {exc.strerror}", at=place, fix="free space there"))
        case Exception() if isinstance(exc, _UsageError):
            return _print_error(_explain_usage(exc))
        case Exception() if is_out_of_memory(exc):
            return _print_error(DeviceError("out of memory", fix="use smaller batches or a smaller model"))
        case _:
            _tell("".join(traceback.format_exception(exc)))
            _tell("error: this is a bug in mtkit; please report it with the lines above")
            return EXIT_BUG


def _explain_usage(exc: Exception) -> RecipeError:
    """Turn a usage error of the command line's parser into ours; what it suggests becomes the fix."""
    context = getattr(exc, "ctx", None)
    command = context.command_path if context is not None else "mtkit"
    text = " ".join(getattr(exc, "format_message", exc.__str__)().split()).replace("Value error, ", "")
    message, *suggestions = _SUGGESTION.fullmatch(text).groups()  # type: ignore[union-attr]
    suggestion = next(filter(None, suggestions), None)
    fix = f"did you mean {suggestion}?" if suggestion else f"see {command} --help"
    return RecipeError(message[:1].lower() + message[1:], at=command, fix=fix)


def flush_output() -> None:
    """Write what is left to write, and give up the outputs that cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            console.discard(stream)


def _print_error(error: MtkitError) -> int:
    # Of the processes that torchrun started on a machine, the first one tells.
    if not (error.is_of_all and os.environ.get("LOCAL_RANK", "0") != "0"):
        _tell(str(error))
    return error.exit_code


def _tell(text: str) -> None:
    """Print to stderr, if anybody reads it."""
    try:
        sys.stderr.write(f"{text}\n")  # at once: other processes may write there too
        sys.stderr.flush()
    except OSError:
        flush_output()
