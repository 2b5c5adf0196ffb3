"""The command `mtkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtkit.cli.options import QuietOption, SetOption, ThreadsOption, gather, recipe_option
from mtkit.cli.training import run_training
from mtkit.config.model import Preset
from mtkit.errors import RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName


def train(
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus, made by `mtkit prepare`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; the same command again resumes it.")],
    recipe: Annotated[str | None, typer.Argument(help="Recipe: a .yaml file, or the name of a bundled one.")] = None,
    preset: Annotated[Preset | None, recipe_option("model.preset", "--preset")] = None,
    max_steps: Annotated[int | None, recipe_option("training.max_steps", "--max-steps")] = None,
    max_minutes: Annotated[float | None, recipe_option("training.max_minutes", "--max-minutes")] = None,
    device: Annotated[DeviceName, typer.Option("--device", help="Where to compute.")] = "auto",
    threads: ThreadsOption = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start anew: replace the run that stands there.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Let the run that stands there go on to a new end, such as more steps.")
    ] = False,
    set_: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a Transformer on a prepared corpus, or go on with a run that was stopped.

    The finished model is RUN/model. Ctrl-C saves a checkpoint; the same command goes on from there.

    Example: `mtkit train --corpus corpus --preset small --max-minutes 60 -o run`

    On several GPUs: `torchrun --nproc-per-node 8 -m mtkit train wmt14-en-de-base --corpus corpus -o run`
    """
    resolved = gather(
        recipe,
        set_,
        {
            "model.preset": ("--preset", preset),
            "training.max_steps": ("--max-steps", max_steps),
            "training.max_minutes": ("--max-minutes", max_minutes),
        },
    )
    if restart and extend:
        raise RecipeError("--restart and --extend contradict each other", at="mtkit train", fix="give one of them")
    outcome = run_training(corpus, resolved, output, device=device, threads=threads, restart=restart, extend=extend)
    if outcome.was_up_to_date:
        console.say(f"{output} is finished and up to date: nothing to do (--restart trains anew)")
