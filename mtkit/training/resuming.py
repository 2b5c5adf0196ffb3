"""Whether the run that stands at a place may go on, and what is then not as it was."""

from __future__ import annotations

import torch

from mtkit.checkpoint.model_folder import MODEL_FILES
from mtkit.checkpoint.run_folder import RUN_FILES, Extension, MicroBatch, RunFolder, RunRecord, find_model
from mtkit.config.recipe import Recipe
from mtkit.config.training import TrainingSection
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import ModelError, RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import name_processor
from mtkit.runtime.distributed import Processes
from mtkit.runtime.files import hash_file
from mtkit.runtime.replacing import refuse_foreign, refuse_guests
from mtkit.training.schedule import FALLING, learning_rate_at, warmup_steps

# Where a run goes on to a new end, a learning rate that is higher by more than this is told.
_LARGEST_RISE = 1.1

# The fields that say where a run ends: --extend may change them.
_ENDS = {"training.max_steps", "training.max_epochs", "training.max_minutes", "training.patience"}

# Those that say how an update is computed, not what it is: a run that goes on takes them as they are now.
_ADAPTABLE = {"training.micro_batch_tokens", "training.activation_checkpointing"}


def check_output(run: RunFolder) -> None:
    """Refuse a folder that is none of ours.

    Raises:
        OutputError: Something else than a run stands there.
    """
    refuse_foreign(run.path, "a run", run.is_run)


def check_replaced(run: RunFolder, recipe: Recipe) -> None:
    """Refuse to replace a run in which there is something else, or from which training is to start.

    A kill before the first checkpoint would lose the weights that it starts from.

    Raises:
        RecipeError: `init_from` lies in the folder of the run.
        OutputError: There are other things in it.
    """
    refuse_guests(run.path, "a run", RUN_FILES)
    for folder, kind, owned in (
        (run.checkpoints, "the checkpoints of a run", ("step-*",)),
        (run.model, "a model folder", MODEL_FILES),
    ):
        if folder.is_dir():
            refuse_guests(folder, kind, owned)
    path = recipe.training.init_from
    if path is not None and path.resolve().is_relative_to(run.path.resolve()):
        raise RecipeError(
            "training cannot start from the run that it replaces",
            at="training.init_from",
            fix="choose another folder with -o, or copy the model first",
        )


def check_same_run(run: RunFolder, recipe: Recipe, corpus: PreparedCorpus, extend: bool) -> tuple[RunRecord, Recipe]:
    """Refuse to resume a run with another recipe or corpus; nothing is written.

    What says only how updates are computed may change, and is noted.

    Args:
        run: What stands there.
        recipe: What it is to go on with.
        corpus: The same.
        extend: Whether it may go on to another end than it was started with.

    Returns:
        What it goes on with, its new end included.

    Raises:
        RecipeError: Something differs, or the new end lies behind the run already.
        ModelError: There is nothing left to go on from.
    """
    before, record = run.read_recipe(), run.read_record()
    differing = [
        (f"{section}.{field}", f"{section}.{field} ({_show(old)} there, {_show(new)} now)")
        for section in (("model", "training") if record.is_finished else ("model", "training", "decoding"))
        for field, old, new in _differences(getattr(before, section), getattr(recipe, section))
        if not (field == "init_from" and _is_same_start(recipe, record))
    ]
    if record.corpus_fingerprint != corpus.fingerprint:
        differing.append(("corpus", "corpus"))
    adapted = [text for field, text in differing if field in _ADAPTABLE]
    differing = [(field, text) for field, text in differing if field not in _ADAPTABLE]
    ends = all(field in _ENDS for field, _ in differing)
    checkpoints = run.list_checkpoints()
    step = run.step_of(checkpoints[-1]) if checkpoints else 0
    changed = {"training": recipe.training, "decoding": recipe.decoding}  # another one, perhaps, of a finished run
    if not differing:
        if record.is_finished or not adapted:
            return record, before
        console.warn(f"the run goes on with another {', '.join(adapted)}: results may differ by rounding")
        return _adapt(record, recipe, step), before.model_copy(update=changed)
    if ends and extend and record.is_finished and not checkpoints:
        raise ModelError(
            "the run is finished, and has no checkpoint to go on from",
            at=run.path,
            fix=f"begin a new run with --set training.init_from={run.model}, or --restart this one",
        )
    training = recipe.training
    if ends and training.max_steps is not None and training.max_steps < step:
        raise end_is_past(step, f"max_steps={training.max_steps:,} is fewer", "training.max_steps")
    if not (ends and extend):
        others = ", ".join(text for field, text in differing if not (extend and field in _ENDS))
        fix = "mtkit train --extend lets it go on to the new end" if ends else "use the same settings to resume it"
        raise RecipeError(
            f"the run that stands here was started with another {others}",
            at=run.path,
            fix=f"{fix}, another -o keeps both, --restart (mtkit run: --overwrite) replaces it",
        )
    max_steps = training.max_steps
    if training.max_minutes is not None:
        is_same = (max_steps, training.max_minutes) == (before.training.max_steps, before.training.max_minutes)
        max_steps = record.max_steps if is_same else None  # as it was measured, or to be measured anew
    extension = Extension(from_step=step, max_steps=max_steps)
    update = {"max_steps": max_steps, "extensions": [*record.extensions, extension], "is_finished": False}
    if step and record.warmup_steps is None:  # which a longer run may make longer: the learning rate would jump
        update["warmup_steps"] = warmup_steps(before.training, record.max_steps)
    if step:
        warmup = {"warmup_steps": update.get("warmup_steps", record.warmup_steps)}
        old, new = (section.model_copy(update=warmup) for section in (before.training, training))
        planned, raised = _find_rate(step + 1, old, record.max_steps), _find_rate(step + 1, new, max_steps)
        if planned is not None and raised is not None and raised > _LARGEST_RISE * planned:
            console.warn(f"the learning rate had come down, and rises to {raised:.2e} for the new end")
    if adapted:
        record = _adapt(record, recipe, step)
    console.say(f"extending the run from step {step:,}")
    return record.model_copy(update=update), before.model_copy(update=changed)


def end_is_past(step: int, reason: str, field: str) -> RecipeError:
    """Return the error of an end that lies behind the run already.

    Args:
        step: How many updates the run has made.
        reason: What is fewer.
        field: Where that was asked for.
    """
    return RecipeError(
        f"the run has made {step:,} updates already, and {reason}",
        at=field,
        fix="give a larger number with --extend, or --restart",
    )


def _adapt(record: RunRecord, recipe: Recipe, step: int) -> RunRecord:
    """Return the record of a run whose micro-batches are, after `step`, as large as a recipe says."""
    tokens = recipe.training.micro_batch_tokens
    if tokens == "auto" or not record.micro_batches:
        return record
    kept = [old for old in record.micro_batches if old.from_step <= max(step, 1)]
    entry = MicroBatch(from_step=step + 1, tokens=tokens, reason="as the recipe says")
    return record if kept[-1].tokens == tokens else record.model_copy(update={"micro_batches": [*kept, entry]})


def _find_rate(step: int, training: TrainingSection, max_steps: int | None) -> float | None:
    """Return the learning rate of an update; None where it depends on an end that is still to be measured."""
    is_open = max_steps is None and (training.max_minutes is not None or training.schedule in FALLING)
    return None if is_open else learning_rate_at(step, training, max_steps)


def _show(value: object) -> str:
    """Return a value of a recipe as a person reads it."""
    return "not given" if value is None else str(value)


def _is_same_start(recipe: Recipe, record: RunRecord) -> bool:
    """Return whether the model that training starts from is the same, though its path is spelled otherwise."""
    path = recipe.training.init_from
    try:
        return path is not None and hash_file(find_model(path)[1]) == record.init_fingerprint
    except (ModelError, OSError):
        return False


def _differences(before: object, now: object) -> list[tuple[str, object, object]]:
    fields = type(before).model_fields  # type: ignore[attr-defined]
    pairs = ((name, getattr(before, name), getattr(now, name)) for name in fields)
    return [(name, old, new) for name, old, new in pairs if old != new]


def announce_changes(record: RunRecord, device: torch.device, processes: Processes) -> None:
    """Say what is not as it was when the run was started, and lets its results differ by rounding."""
    for name, before, now in (
        ("torch", record.torch_version, str(torch.__version__)),
        ("device", record.device, device.type),
        ("processor", record.processor, name_processor(device)),
        ("threads", record.threads, torch.get_num_threads()),
        ("processes", record.processes, processes.count),
    ):
        if before != now:
            console.warn(f"the run was started with {name} {before}, now {now}: results may differ by rounding")
