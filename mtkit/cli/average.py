"""The command `mtkit average`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtkit.cli.options import OverwriteOption, QuietOption
from mtkit.errors import ModelError, RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from torch import Tensor

    from mtkit.checkpoint.run_folder import RunFolder


def average(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...", help="Checkpoint folders of one run, or the run itself with --last or --best."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    last: Annotated[int | None, typer.Option("--last", min=1, help="The last so many checkpoints of the run.")] = None,
    best: Annotated[
        int | None, typer.Option("--best", min=1, help="The best so many, by the recipe's training.best_metric.")
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the mean of the weights of several checkpoints as a model folder.

    Example: `mtkit average run --best 3 -o model`

    Example: `mtkit average run/checkpoints/step-00001000 run/checkpoints/step-00001500 -o model`
    """
    from mtkit.checkpoint.averaging import average_weights
    from mtkit.checkpoint.checkpoint import find_whole_weights
    from mtkit.checkpoint.model_folder import read_parts
    from mtkit.checkpoint.weights import check_weights
    from mtkit.interop.output import write_plain_model
    from mtkit.model.transformer import build_model

    run, chosen = choose_checkpoints(checkpoints, last, best)
    parts = read_parts(run.path)
    paths = [find_whole_weights(run, folder) for folder in chosen]
    weights = average_weights(paths)
    check_weights(build_model(parts.config.model, is_drawn=False), weights, paths[0])
    is_new = write_plain_model(output, parts, weights, build_card(run, chosen, weights), overwrite=overwrite)
    names = ", ".join(folder.name for folder in chosen)
    if is_new:
        console.say(f"the mean of {names}: {output}")
    else:
        console.say(f"{output} is up to date (the mean of {names}): not written again")


def choose_checkpoints(paths: Sequence[Path], last: int | None, best: int | None) -> tuple[RunFolder, list[Path]]:
    """Return the run and those of its checkpoints that a person named.

    Args:
        paths: Checkpoints of one run, or the run alone.
        last: With a run: how many of the last.
        best: With a run: how many of the best.

    Raises:
        RecipeError: The arguments contradict each other, or the run has not as many checkpoints.
        ModelError: A path is neither, or the checkpoints are of several runs.
    """
    from mtkit.checkpoint.run_folder import STATE_NAME, RunFolder

    runs = [path for path in paths if RunFolder(path).is_run]
    if runs:
        if len(paths) > 1:
            raise RecipeError("a run stands alone here", at=runs[0], fix="give one run, or checkpoints of one")
        return RunFolder(runs[0]), _choose_of_run(RunFolder(runs[0]), last, best)
    for path in paths:
        if not (path / STATE_NAME).is_file():
            raise ModelError(
                "neither a checkpoint nor a run", at=path, fix="give folders such as run/checkpoints/step-00001000"
            )
    if last is not None or best is not None:
        raise RecipeError(
            "--last and --best choose among the checkpoints of a run", at=paths[0], fix="give the run, or neither flag"
        )
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise RecipeError("a checkpoint is named twice", at="mtkit average", fix="name each once")
    if len({path.parents[1] for path in resolved}) > 1:
        raise ModelError("these are checkpoints of several runs", at=paths[0], fix="name checkpoints of one run")
    run = RunFolder(resolved[0].parents[1])
    if not run.is_run:
        raise ModelError(
            "the run of this checkpoint is not there", at=paths[0], fix="name the checkpoint where its run keeps it"
        )
    return run, resolved


def _choose_of_run(run: RunFolder, last: int | None, best: int | None) -> list[Path]:
    from mtkit.checkpoint.run_folder import rank_checkpoints

    if (last is None) == (best is None):
        which = "--last and --best exclude each other" if last is not None else "which checkpoints of the run?"
        raise RecipeError(which, at=run.path, fix="add --last 5, or --best 5")
    if last is not None:
        flag, wanted, found = "--last", last, run.list_checkpoints()[::-1]
    else:
        metric = run.read_recipe().training.best_metric
        flag, wanted, found = "--best", best or 0, rank_checkpoints(run, metric)
    if len(found) < wanted:
        kind = "checkpoints" if last is not None else "validated checkpoints"
        fix = "wait for its first checkpoint"
        if found:
            fix = f"give {flag} {len(found)}"
        elif best is not None and run.list_checkpoints():
            fix = "choose by --last, or name checkpoints: none was validated"
        raise RecipeError(f"the run has {len(found)} {kind}, not {wanted}", at=run.path, fix=fix)
    return found[:wanted]


def build_card(run: RunFolder, checkpoints: Sequence[Path], weights: Mapping[str, Tensor]) -> str:
    """Return the model card of checkpoints of a run; the scores of one are known, those of a mean are not."""
    from mtkit.checkpoint.model_folder import read_model_config
    from mtkit.training.model_card import build_model_card

    scores = run.read_state(checkpoints[0]).validation if len(checkpoints) == 1 else None
    recipe = run.read_recipe()
    return build_model_card(run, recipe, read_model_config(run.path), weights, checkpoints, scores)
