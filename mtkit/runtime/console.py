"""What a person sees on stderr: messages, tables, progress. The only user of rich; stdout carries results only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

# A width at which no table folds.
_UNFOLDED = 10_000


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """Pass a broken pipe on, where rich would exit; `mtkit.cli` decides what it means."""
        raise BrokenPipeError


class _Messages(Console):
    def on_broken_pipe(self) -> None:
        """Speak no more, where rich would exit: work goes on, whether or not anybody reads of it."""
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Point an output elsewhere that cannot be written: what Python still holds for it would fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_is_silent = False
_console = _Messages(stderr=True, highlight=False, soft_wrap=True)


def set_quiet(quiet: bool) -> None:
    """Turn messages, tables and progress off, or on again; warnings and errors always show."""
    _console.quiet = quiet


def set_silent(silent: bool) -> None:
    """Print nothing but errors: of several processes only one speaks."""
    global _is_silent  # noqa: PLW0603
    _is_silent = silent
    _console.quiet = _console.quiet or silent


def is_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return _console.is_terminal


def say(message: str) -> None:
    """Print one line of information."""
    _console.print(escape(message))


def warn(message: str) -> None:
    """Print one line that a person should not miss."""
    if _is_silent:
        return
    try:
        print(f"warning: {message}", file=sys.stderr, flush=True)  # noqa: T201
    except BrokenPipeError:
        discard(sys.stderr)


def count(number: int, noun: str) -> str:
    """Return a number of things: "1 line", "2,000 lines"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to stderr; columns whose cells are all numbers are aligned to the right."""
    _console.print(_build_table(title, columns, rows))


def print_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table that is a result, to stdout; where that is no terminal, each row is one line."""
    console = _Results(highlight=False)
    if not console.is_terminal:
        console.width = _UNFOLDED
    console.print(_build_table(title, columns, rows))


def _build_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    shown = None if title is None else escape(title)
    table = Table(title=shown, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_format(cell)) for cell in row))
    return table


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) or (isinstance(cell, str) and cell[:1].isdigit() and not cell.isalpha())


def _format(cell: object) -> str:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.2f}"


class Advance(Protocol):
    """Counts work done."""

    def __call__(self, amount: int = 1, total: int | None = None) -> None:
        """Count `amount` more; `total` is a better estimate of all there is."""


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "pairs") -> Iterator[Advance]:
    """Show a progress bar with the rate and the time left while a block runs; nothing where stderr is no terminal."""
    if not is_terminal() or _console.quiet:
        yield lambda amount=1, total=None: None
        return
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=_console, transient=True) as bar:
        task = bar.add_task(label, total=total, rate="")

        def advance(amount: int = 1, total: int | None = None) -> None:
            bar.advance(task, amount)
            if total is not None:
                bar.update(task, total=total)
            speed = bar.tasks[0].speed
            bar.update(task, rate="" if speed is None else f"{speed:,.0f} {unit}/s")

        yield advance


class StatusLine:
    """One line that is rewritten in place on a terminal, and is nowhere else."""

    def __init__(self) -> None:
        self._shown = 0

    def update(self, text: str) -> None:
        """Show `text` in place of what stood there. Does nothing where stderr is no terminal."""
        if not is_terminal() or _console.quiet:
            return
        text = text[: _console.width - 1]
        sys.stderr.write("\r" + text + " " * max(0, self._shown - len(text)))
        sys.stderr.flush()
        self._shown = len(text)

    def clear(self) -> None:
        """Remove the line, so that something else can be printed."""
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            sys.stderr.flush()
            self._shown = 0
