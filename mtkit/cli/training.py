"""Training as the commands do it: what is said when it is stopped, and how the command then ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mtkit.config.recipe import Recipe
from mtkit.errors import EXIT_INTERRUPTED
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.training.run import TrainingOutcome


def run_training(
    corpus: Path,
    recipe: Recipe,
    output: Path,
    *,
    device: DeviceName,
    threads: int | None,
    restart: bool = False,
    extend: bool = False,
) -> TrainingOutcome:
    """Train to the end; see `mtkit.training.run.train_model`. A training that is stopped ends the command.

    Raises:
        typer.Exit: With the exit code of the signal.
    """
    from mtkit.training.run import train_model

    try:
        outcome = train_model(corpus, recipe, output, device=device, threads=threads, restart=restart, extend=extend)
    except KeyboardInterrupt:
        console.warn("stopped at once; the same command goes on from the last checkpoint")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if outcome.exit_code is not None:
        console.say("stopped; the same command goes on from here")
        raise typer.Exit(outcome.exit_code)
    return outcome
