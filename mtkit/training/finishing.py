"""The end of a run: from its checkpoints to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtkit.checkpoint.averaging import average_weights
from mtkit.checkpoint.checkpoint import find_whole_weights
from mtkit.checkpoint.model_folder import ModelParts, write_model_folder
from mtkit.checkpoint.run_folder import REPORT_NAME, RunFolder, Validation, rank_checkpoints
from mtkit.checkpoint.weights import check_weights, read_tensors
from mtkit.config.recipe import Recipe
from mtkit.config.training import Averaging
from mtkit.errors import ModelError
from mtkit.runtime import console
from mtkit.training.model_card import build_model_card
from mtkit.training.report import write_report
from mtkit.training.schedule import averaging
from mtkit.training.trainer import Trainer

# An average is not taken if its validation loss is larger than the best checkpoint's times this.
_TOLERATED = 1.01


def finish(run: RunFolder, recipe: Recipe, parts: ModelParts, trainer: Trainer) -> None:
    """Average checkpoints, validate the result, and write the model folder; all processes call this.

    An average that is clearly worse than the best of the checkpoints gives way to it.

    Raises:
        ModelError: There is no checkpoint that is whole.
        OutputError: The model cannot be written.
    """
    processes = trainer.processes
    kind = averaging(recipe.training, trainer.max_steps)
    paths = processes.share(_choose_weights(run, recipe, kind) if processes.is_main else None)
    assert paths is not None
    chosen = [path.parent for path in paths]
    weights = average_weights(paths) if len(chosen) > 1 else read_tensors(paths[0])
    check_weights(trainer.trained.model, weights, paths[0])
    scores: Validation | None = None
    has_report = False
    if trainer.validator is not None:
        result = trainer.validate(weights)
        scores = None if result is None else result.scores
    if processes.is_main:
        better = _find_better(run, chosen, scores)
        if better is not None:
            chosen, weights, scores = [better.parent], read_tensors(better), run.read_state(better.parent).validation
        card = build_model_card(run, recipe, parts.config, weights, chosen, scores)
        trainer.check_place()
        write_model_folder(run.model, parts, weights, card)
        has_report = write_report(run, is_finished=True, model_scores=scores)
        run.write_record(run.read_record().model_copy(update={"is_finished": True}))
    processes.wait()
    made_of = f"the average of {len(chosen)} checkpoints" if len(chosen) > 1 else chosen[0].name
    quality = f"; validation loss {scores.loss:.3f}, BLEU {scores.bleu:.2f} (greedy)" if scores is not None else ""
    console.say(f"the model is {made_of}{quality}: {run.model}")
    if has_report:
        console.say(f"how the training went: {run.path / REPORT_NAME}")


def _find_better(run: RunFolder, chosen: Sequence[Path], scores: Validation | None) -> Path | None:
    """Return the weights of the checkpoint that the average of others is clearly worse than, if there is one."""
    ranked = rank_checkpoints(run, "loss")
    if len(chosen) < 2 or scores is None or not ranked:
        return None
    best = run.read_state(ranked[0]).validation
    assert best is not None
    if scores.loss <= best.loss * _TOLERATED:
        return None
    try:
        weights = find_whole_weights(run, ranked[0])
    except ModelError:
        return None
    console.say(
        f"the average of {len(chosen)} checkpoints has a validation loss of {scores.loss:.3f}, {ranked[0].name} alone "
        f"one of {best.loss:.3f}: the average is not taken (mtkit average makes it)"
    )
    return weights


def _choose_weights(run: RunFolder, recipe: Recipe, kind: Averaging) -> list[Path]:
    """Return the weights that make the final model; damaged ones are reported, and the next take their place."""
    training = recipe.training
    ranked = rank_checkpoints(run, training.best_metric)
    everything = run.list_checkpoints()
    if not everything:
        raise ModelError("the run has no checkpoint to make a model of", at=run.path, fix="train for at least one step")
    match kind:
        case "best" if ranked:
            candidates, count = ranked, training.average_count
        case "off":
            candidates, count = ranked or everything[::-1], 1
        case _:
            candidates, count = run.list_planned()[::-1], training.average_count
    paths: list[Path] = []
    problem: ModelError | None = None
    for folder in candidates:
        if len(paths) == count:
            break
        try:
            paths.append(find_whole_weights(run, folder))
        except ModelError as exc:
            problem = exc
            console.warn(f"checkpoint {folder.name} cannot be used: {exc.message} ({exc.at}); making the model without")
    if not paths:
        raise ModelError(
            "no checkpoint that would make the model is whole",
            at=run.checkpoints,
            fix="make a model of another one with mtkit average",
        ) from problem
    return paths
