"""From a prepared corpus to a finished model folder: start or resume a run, train, average, and write the model."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from mtkit.checkpoint.averaging import average_weights
from mtkit.checkpoint.model_folder import WEIGHTS_NAME, ModelParts, read_parts, write_model_folder, write_parts
from mtkit.checkpoint.run_folder import RECIPE_NAME, RunFolder, RunRecord, Validation, rank_checkpoints
from mtkit.checkpoint.weights import load_weights, read_tensors
from mtkit.config.loading import load_recipe, write_recipe
from mtkit.config.model import build_model_config
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.recipe import Recipe
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import DataError, ModelError, OutputError, RecipeError, writing
from mtkit.model.transformer import Transformer, build_model
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName, resolve_device, resolve_precision, set_threads
from mtkit.runtime.files import atomic_folder
from mtkit.runtime.memory import keep_freed_memory
from mtkit.runtime.seeds import derive_seed
from mtkit.training.model_card import build_model_card
from mtkit.training.trainer import Trainer, measure_seconds_per_step
from mtkit.training.validation import Validator
from mtkit.version import __version__

# Of the minutes given, the share that is spent on updates; the rest is for validation, checkpoints and averaging.
_SHARE_FOR_UPDATES = 0.9
_DEFAULT_PATIENCE = 10


@dataclass(frozen=True)
class TrainingOutcome:
    """How a call of `train_model` ended.

    Attributes:
        model: The finished model folder; None where a signal stopped the run.
        was_up_to_date: True if there was nothing to do.
        exit_code: None, or the exit code of the signal.
    """

    model: Path | None
    was_up_to_date: bool = False
    exit_code: int | None = None


def train_model(
    corpus_path: Path,
    recipe: Recipe,
    output: Path,
    *,
    device: DeviceName = "auto",
    threads: int | None = None,
    overwrite: bool = False,
) -> TrainingOutcome:
    """Train a model on a prepared corpus; a run that stands at `output` is resumed.

    Args:
        corpus_path: A prepared corpus.
        recipe: Its model, training and decoding sections count.
        output: The run folder.
        device: Where to compute.
        threads: CPU threads; None for torch's choice.
        overwrite: Replace a run that stands at `output`.

    Raises:
        DataError: The corpus cannot be used.
        RecipeError: The recipe contradicts itself, or is not that of the run at `output`.
        OutputError: `output` is something else than a run, or cannot be written.
        ModelError: The run cannot be resumed.
        DeviceError: The device is absent.
        TrainingError: Training diverged.
    """
    run = RunFolder(output)
    corpus = PreparedCorpus.load(corpus_path)
    if corpus.train is None or len(corpus.train) == 0:
        raise DataError("the corpus has no training pairs", at=corpus_path, fix="prepare it with training text")
    recipe = _with_a_stop(recipe)
    _check_output(run, overwrite)
    if run.is_run:
        _check_same_run(run, recipe, corpus)
        if run.is_finished:
            return TrainingOutcome(run.model, was_up_to_date=True)
    torch_device = resolve_device(device)
    set_threads(threads)
    keep_freed_memory()
    parts = _build_parts(recipe, corpus)
    torch.manual_seed(derive_seed(recipe.training.seed, "weights"))
    model = build_model(parts.config.model)
    if not run.is_run:
        _start_run(run, recipe, corpus, corpus_path, parts, torch_device)
    trainer = _build_trainer(run, recipe, corpus, model, torch_device)
    if trainer.max_steps is None and recipe.training.max_minutes is not None:
        _choose_steps(trainer, recipe.training.max_minutes)
    console.say(_describe(trainer, corpus))
    exit_code = trainer.train()
    if exit_code is not None:
        return TrainingOutcome(None, exit_code=exit_code)
    _finish(run, recipe, trainer)
    return TrainingOutcome(run.model)


def _with_a_stop(recipe: Recipe) -> Recipe:
    """Return the recipe with early stopping where nothing else would end the run, and refuse what cannot end."""
    training = recipe.training
    if (training.max_steps, training.max_epochs, training.max_minutes, training.patience) == (None,) * 4:
        training = training.model_copy(update={"patience": _DEFAULT_PATIENCE})
    if training.schedule in {"linear", "cosine"} and training.max_steps is None and training.max_minutes is None:
        raise RecipeError(
            f"the schedule '{training.schedule}' needs to know where the run ends",
            at="training.schedule",
            fix="set training.max_steps or training.max_minutes, or use the schedule inverse_sqrt",
        )
    return recipe.model_copy(update={"training": training})


def _check_output(run: RunFolder, overwrite: bool) -> None:
    """Clear the place of the run where that was asked for, and refuse a folder that is none of ours."""
    if run.is_run and overwrite:
        with writing(run.path):
            shutil.rmtree(run.path)
    elif not run.is_run and run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise OutputError("something else stands here, not a run", at=run.path, fix="choose another folder with -o")


def _check_same_run(run: RunFolder, recipe: Recipe, corpus: PreparedCorpus) -> None:
    """Refuse to resume a run with another recipe or corpus."""
    before = load_recipe(run.path / RECIPE_NAME)
    differing = [
        f"{section}.{field} ({old} there, {new} now)"
        for section in ("model", "training")
        for field, old, new in _differences(getattr(before, section), getattr(recipe, section))
    ]
    if run.read_record().corpus_fingerprint != corpus.fingerprint:
        differing.append("the corpus")
    if differing:
        raise RecipeError(
            "the run that stands here was started with another " + ", ".join(differing),
            at=run.path,
            fix="use the same settings to resume it, another -o, or --overwrite to replace it",
        )


def _differences(before: object, now: object) -> list[tuple[str, object, object]]:
    fields = type(before).model_fields  # type: ignore[attr-defined]
    pairs = ((name, getattr(before, name), getattr(now, name)) for name in fields)
    return [(name, old, new) for name, old, new in pairs if old != new]


def _build_parts(recipe: Recipe, corpus: PreparedCorpus) -> ModelParts:
    source, target = corpus.source_tokenizer, corpus.target_tokenizer
    try:
        config = build_model_config(recipe.model, len(source), len(target), source.special_ids)
    except ValidationError as exc:
        reason = exc.errors()[0].get("ctx", {}).get("error") or exc.errors()[0]["msg"]
        raise RecipeError(str(reason), at="model", fix="change one of the values named") from exc
    if source is not target and config.tied_embeddings == "all":
        raise RecipeError(
            "source and target have vocabularies of their own, so their embeddings cannot be one matrix",
            at="model.tied_embeddings",
            fix="add --set model.tied_embeddings=target",
        )
    return ModelParts(
        ModelFolderConfig(
            mtkit_version=__version__,
            source_language=corpus.source_language,
            target_language=corpus.target_language,
            model=config,
        ),
        source,
        target,
    )


def _start_run(
    run: RunFolder, recipe: Recipe, corpus: PreparedCorpus, corpus_path: Path, parts: ModelParts, device: torch.device
) -> None:
    """Write what a run needs before its first checkpoint, all at once."""
    record = RunRecord(
        mtkit_version=__version__,
        torch_version=str(torch.__version__),
        device=device.type,
        threads=torch.get_num_threads(),
        corpus=str(corpus_path),
        corpus_fingerprint=corpus.fingerprint,
        precision=resolve_precision(recipe.training.precision, device),
        max_steps=recipe.training.max_steps,
    )
    with atomic_folder(run.path) as temporary:
        (temporary / "checkpoints").mkdir()
        write_recipe(recipe, temporary / RECIPE_NAME)
        write_parts(temporary, parts)
        RunFolder(temporary).write_record(record)


def _build_trainer(
    run: RunFolder, recipe: Recipe, corpus: PreparedCorpus, model: Transformer, device: torch.device
) -> Trainer:
    record = run.read_record()
    for name, before, now in (
        ("torch", record.torch_version, str(torch.__version__)),
        ("device", record.device, device.type),
        ("threads", record.threads, torch.get_num_threads()),
    ):
        if before != now:
            console.warn(f"the run was started with {name} {before}, now {now}: results may differ by rounding")
    config = model.config
    special = SpecialIds(config.pad_id, config.eos_id, config.decoder_start_id)
    validator = None
    if corpus.valid is not None and len(corpus.valid) > 0:
        validator = Validator(
            corpus=corpus,
            split=corpus.valid,
            training=recipe.training,
            decoding=recipe.decoding,
            precision=record.precision,
            device=device,
            special=special,
        )
    elif recipe.training.patience is not None:
        raise RecipeError(
            "early stopping needs validation text, and the corpus has none",
            at="training.patience",
            fix="set training.max_steps, or prepare the corpus with --valid-source and --valid-target",
        )
    assert corpus.train is not None
    return Trainer(
        run=run,
        model=model,
        split=corpus.train,
        validator=validator,
        training=recipe.training,
        max_steps=record.max_steps,
        precision=record.precision,
        device=device,
    )


def _choose_steps(trainer: Trainer, minutes: float) -> None:
    """Measure the rate once, and write the number of steps that fit into `minutes` into the run."""
    seconds = measure_seconds_per_step(trainer)
    trainer.max_steps = max(1, int(minutes * 60 * _SHARE_FOR_UPDATES / seconds))
    run = trainer.run
    run.write_record(run.read_record().model_copy(update={"max_steps": trainer.max_steps}))
    console.say(f"{minutes:g} minutes are {trainer.max_steps:,} steps here, at {seconds:.2f} seconds a step")


def _describe(trainer: Trainer, corpus: PreparedCorpus) -> str:
    config = trainer.model.config
    millions = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    layers = f"{config.num_encoder_layers}+{config.num_decoder_layers} layers"
    steps = f"{trainer.max_steps:,} steps" if trainer.max_steps is not None else "until early stopping or max_epochs"
    where = f"{trainer.device.type}, {trainer.precision}"
    if trainer.device.type == "cpu":
        where += f", {torch.get_num_threads()} threads"
    return (
        f"training {layers}, {config.d_model} wide, {config.norm}-norm, {millions:.1f} M parameters, "
        f"on {len(trainer.split):,} pairs ({corpus.source_language}-{corpus.target_language}); {steps}; {where}"
    )


def _finish(run: RunFolder, recipe: Recipe, trainer: Trainer) -> None:
    """Average checkpoints, validate the result, and write the model folder."""
    chosen = _choose_checkpoints(run, recipe)
    weights_paths = [folder / WEIGHTS_NAME for folder in chosen]
    weights = average_weights(weights_paths) if len(chosen) > 1 else read_tensors(weights_paths[0])
    load_weights(trainer.model, weights, weights_paths[0])
    scores: Validation | None = None
    if trainer.validator is not None:
        scores = trainer.validator.validate(trainer.model, trainer.state.step).scores
    parts = read_parts(run.path)
    card = build_model_card(run, recipe, parts.config, trainer.model, chosen, scores)
    write_model_folder(run.model, parts, weights, card)
    made_of = f"the average of {len(chosen)} checkpoints" if len(chosen) > 1 else chosen[0].name
    quality = f"; validation loss {scores.loss:.3f}, BLEU {scores.bleu:.2f} (greedy)" if scores is not None else ""
    console.say(f"the model is {made_of}{quality}: {run.model}")


def _choose_checkpoints(run: RunFolder, recipe: Recipe) -> list[Path]:
    """Return the checkpoints that make the final model."""
    training = recipe.training
    ranked = rank_checkpoints(run, training.best_metric)
    everything = run.list_checkpoints()
    if not everything:
        raise ModelError("the run has no checkpoint to make a model of", at=run.path, fix="train for at least one step")
    match training.average:
        case "best" if ranked:
            return ranked[: training.average_count]
        case "off":
            return (ranked or everything[::-1])[:1]
        case _:
            return everything[-training.average_count :]
