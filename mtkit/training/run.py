"""From a prepared corpus to a finished model folder: start or resume a run, train, average, and write the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from mtkit.checkpoint.averaging import average_weights
from mtkit.checkpoint.initial import initialize_from
from mtkit.checkpoint.model_folder import ModelParts, read_parts, write_model_folder, write_parts
from mtkit.checkpoint.run_folder import (
    RECIPE_NAME,
    REPORT_NAME,
    Extension,
    MicroBatch,
    RunFolder,
    RunRecord,
    Validation,
    find_model,
    find_weights,
    rank_checkpoints,
)
from mtkit.checkpoint.weights import check_weights, read_tensors
from mtkit.config.loading import load_recipe, write_recipe
from mtkit.config.model import build_model_config
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.recipe import Recipe
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.store import PreparedCorpus
from mtkit.corpus.subwords import SubwordSampler
from mtkit.errors import DataError, ModelError, OutputError, RecipeError
from mtkit.model.transformer import Transformer, build_model
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName, name_processor, resolve_device, resolve_precision, set_threads
from mtkit.runtime.distributed import Processes, joined, read_processes
from mtkit.runtime.files import atomic_folder, hash_file
from mtkit.runtime.memory import keep_freed_memory
from mtkit.runtime.seeds import derive_seed
from mtkit.training.interrupts import tolerate_save_requests
from mtkit.training.micro_batch import fit_micro_batch
from mtkit.training.model_card import build_model_card
from mtkit.training.parallel import TrainedModel
from mtkit.training.report import write_report
from mtkit.training.trainer import Trainer, measure_seconds_per_step
from mtkit.training.updates import UpdateReader
from mtkit.training.validation import Validator
from mtkit.version import __version__

# Of the minutes given, the share that is spent on updates; the rest is for validation, checkpoints and averaging.
_SHARE_FOR_UPDATES = 0.9
_DEFAULT_PATIENCE = 10
# The fields that say where a run ends: --extend may change them.
_ENDS = {"training.max_steps", "training.max_epochs", "training.max_minutes", "training.patience"}


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
    restart: bool = False,
    extend: bool = False,
) -> TrainingOutcome:
    """Train a model on a prepared corpus; a run that stands at `output` is resumed.

    Started by torchrun, this process trains together with the others.

    Args:
        corpus_path: A prepared corpus.
        recipe: Its model, training and decoding sections count.
        output: The run folder.
        device: Where to compute.
        threads: CPU threads; None for torch's choice.
        restart: Replace a run that stands at `output`.
        extend: Let the run at `output` go on to another end than it was started with.

    Raises:
        DataError: The corpus cannot be used.
        RecipeError: The recipe contradicts itself, or is not that of the run at `output`.
        OutputError: `output` is something else than a run, or cannot be written.
        ModelError: The run cannot be resumed, or `init_from` is no model that fits.
        DeviceError: The device is absent, its memory too small, or another process gone.
        TrainingError: Training diverged.
    """
    run = RunFolder(output)
    processes = read_processes()
    corpus = PreparedCorpus.load(corpus_path)
    if corpus.train is None or len(corpus.train) == 0:
        raise DataError("the corpus has no training pairs", at=corpus_path, fix="prepare it with training text")
    recipe = _with_a_stop(recipe)
    parts = _build_parts(recipe, corpus)
    torch_device = resolve_device(device, processes.local_rank)
    set_threads(threads)
    keep_freed_memory()
    console.set_silent(not processes.is_main)
    with joined(processes, torch_device.type), tolerate_save_requests():
        if processes.is_main:
            _check_output(run)
            if run.is_run and not restart:
                _check_same_run(run, recipe, corpus, extend)
        is_new = processes.share(restart or not run.is_run)
        if not is_new and run.is_finished:
            return TrainingOutcome(run.model, was_up_to_date=True)
        torch.manual_seed(derive_seed(recipe.training.seed, "weights"))
        model = build_model(parts.config.model)
        init_fingerprint = _initialize(run, model, parts, recipe, is_new)
        if is_new:
            record = _build_record(recipe, corpus, corpus_path, torch_device, processes, init_fingerprint)
        else:
            record, recipe = run.read_record(), load_recipe(run.path / RECIPE_NAME)
            _announce_changes(record, torch_device, processes)
        trainer = _build_trainer(run, recipe, record, corpus, model, torch_device, processes)
        record = _choose(trainer)
        processes.wait()  # all have read what stands there
        if processes.is_main and is_new:
            _write_run(run, recipe, parts, record)
        elif processes.is_main:
            run.write_record(record)
        processes.wait()
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


def _check_output(run: RunFolder) -> None:
    """Refuse a folder that is none of ours."""
    if not run.is_run and run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise OutputError("something else stands here, not a run", at=run.path, fix="choose another folder with -o")


def _check_same_run(run: RunFolder, recipe: Recipe, corpus: PreparedCorpus, extend: bool) -> None:
    """Refuse to resume a run with another recipe or corpus; with `extend`, note its new end."""
    before, record = load_recipe(run.path / RECIPE_NAME), run.read_record()
    differing = [
        (f"{section}.{field}", f"{section}.{field} ({old} there, {new} now)")
        for section in ("model", "training")
        for field, old, new in _differences(getattr(before, section), getattr(recipe, section))
        if not (field == "init_from" and _is_same_start(recipe, record))
    ]
    if record.corpus_fingerprint != corpus.fingerprint:
        differing.append(("corpus", "the corpus"))
    ends = all(field in _ENDS for field, _ in differing)
    if not differing:
        return
    if not (ends and extend):
        others = ", ".join(text for field, text in differing if not (extend and field in _ENDS))
        fix = "mtkit train --extend lets it go on to the new end" if ends else "use the same settings to resume it"
        raise RecipeError(
            f"the run that stands here was started with another {others}",
            at=run.path,
            fix=f"{fix}, another -o keeps both, --restart (mtkit run: --overwrite) replaces it",
        )
    checkpoints = run.list_checkpoints()
    step = run.step_of(checkpoints[-1]) if checkpoints else 0
    training = recipe.training
    if training.max_steps is not None and training.max_steps < step:
        raise RecipeError(
            f"the run has made {step:,} updates already, and max_steps={training.max_steps:,} is fewer",
            at="training.max_steps",
            fix="give a larger number, or --restart",
        )
    max_steps = training.max_steps
    if max_steps is None and training.max_minutes == before.training.max_minutes:
        max_steps = record.max_steps  # as it was measured
    extension = Extension(from_step=step, max_steps=max_steps)
    update = {"max_steps": max_steps, "extensions": [*record.extensions, extension], "is_finished": False}
    # The record first: if a kill comes between, the same command finds the same difference and does this again.
    run.write_record(record.model_copy(update=update))
    write_recipe(before.model_copy(update={"training": training}), run.path / RECIPE_NAME)
    console.say(f"extending the run from step {step:,}")


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


def _build_parts(recipe: Recipe, corpus: PreparedCorpus) -> ModelParts:
    source, target = corpus.source_tokenizer, corpus.target_tokenizer
    try:
        config = build_model_config(recipe.model, len(source), len(target), source.special_ids)
    except ValidationError as exc:
        reason = exc.errors()[0].get("ctx", {}).get("error") or exc.errors()[0]["msg"]
        raise RecipeError(str(reason), at="model", fix="change one of the values named") from exc
    if config.tied_embeddings == "all" and not source.shares_ids(target):
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


def _initialize(run: RunFolder, model: Transformer, parts: ModelParts, recipe: Recipe, is_new: bool) -> str | None:
    """Start from another model's weights where the recipe says so; return their hash."""
    path = recipe.training.init_from
    if path is None or (not is_new and run.list_checkpoints()):
        return None
    config = parts.config.model
    initial = initialize_from(model, config, parts.source_tokenizer, parts.target_tokenizer, path)
    fingerprint = hash_file(initial.path)
    if not is_new and run.read_record().init_fingerprint != fingerprint:
        raise ModelError(
            "the model that the run starts from has changed since", at=path, fix="--restart starts from it as it is now"
        )
    console.say(f"starting from {path}: {initial.source}, {initial.target}")
    return fingerprint


def _build_record(
    recipe: Recipe,
    corpus: PreparedCorpus,
    corpus_path: Path,
    device: torch.device,
    processes: Processes,
    init_fingerprint: str | None,
) -> RunRecord:
    return RunRecord(
        mtkit_version=__version__,
        torch_version=str(torch.__version__),
        device=device.type,
        processor=name_processor(device),
        threads=torch.get_num_threads(),
        processes=processes.count,
        corpus=str(corpus_path),
        corpus_fingerprint=corpus.fingerprint,
        init_fingerprint=init_fingerprint,
        precision=resolve_precision(recipe.training.precision, device),
        max_steps=recipe.training.max_steps,
    )


def _write_run(run: RunFolder, recipe: Recipe, parts: ModelParts, record: RunRecord) -> None:
    """Write what a run needs before its first checkpoint, all at once; it takes the place of an older run."""
    with atomic_folder(run.path) as temporary:
        (temporary / "checkpoints").mkdir()
        write_recipe(recipe, temporary / RECIPE_NAME)
        write_parts(temporary, parts)
        RunFolder(temporary).write_record(record)


def _announce_changes(record: RunRecord, device: torch.device, processes: Processes) -> None:
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


def _build_trainer(
    run: RunFolder,
    recipe: Recipe,
    record: RunRecord,
    corpus: PreparedCorpus,
    model: Transformer,
    device: torch.device,
    processes: Processes,
) -> Trainer:
    training, config = recipe.training, model.config
    special = SpecialIds(config.pad_id, config.eos_id, config.decoder_start_id)
    validator = None
    if corpus.valid is not None and len(corpus.valid) > 0:
        validator = Validator(
            corpus=corpus,
            split=corpus.valid,
            training=training,
            decoding=recipe.decoding,
            precision=record.precision,
            device=device,
            special=special,
            processes=processes,
        )
    elif training.patience is not None:
        raise RecipeError(
            "early stopping needs validation text, and the corpus has none",
            at="training.patience",
            fix="set training.max_steps, or prepare the corpus with --valid-source and --valid-target",
        )
    sampler = None
    if training.subword_sampling > 0:
        longest = None if model.max_length is None else model.max_length - 1  # one for EOS
        sampler = SubwordSampler.of(corpus, training.subword_sampling, longest)
    assert corpus.train is not None
    reader = UpdateReader(corpus.train, special, training, processes, record, sampler, pin=device.type == "cuda")
    return Trainer(
        run=run,
        trained=TrainedModel(model.to(device), training, processes, record.precision, device),
        reader=reader,
        validator=validator,
        training=training,
        max_steps=record.max_steps,
        processes=processes,
    )


def _choose(trainer: Trainer) -> RunRecord:
    """Choose what the recipe leaves to the machine, unless that was done; return the run's record with it."""
    reader, training, processes = trainer.reader, trainer.training, trainer.processes
    record = reader.record
    if not record.micro_batches:
        if training.micro_batch_tokens == "auto":
            tokens, reason = fit_micro_batch(trainer.trained, reader)
            tokens = min(processes.gather(tokens))
        else:
            tokens, reason = training.micro_batch_tokens, "as the recipe says"
        if tokens < training.batch_tokens:
            console.say(f"micro-batches of {tokens:,} tokens: {reason}")
        entry = MicroBatch(from_step=1, tokens=tokens, reason=reason)
        reader.record = record = record.model_copy(update={"micro_batches": [entry]})
    if record.max_steps is None and training.max_minutes is not None:
        seconds = max(processes.gather(measure_seconds_per_step(trainer)))
        trainer.max_steps = max(1, int(training.max_minutes * 60 * _SHARE_FOR_UPDATES / seconds))
        reader.record = reader.record.model_copy(update={"max_steps": trainer.max_steps})
        console.say(
            f"{training.max_minutes:g} minutes are {trainer.max_steps:,} steps here, at {seconds:.2f} seconds a step"
        )
    return reader.record


def _describe(trainer: Trainer, corpus: PreparedCorpus) -> str:
    trained = trainer.trained
    config = trained.model.config
    millions = sum(p.numel() for p in trained.parameters) / 1e6
    layers = f"{config.num_encoder_layers}+{config.num_decoder_layers} layers"
    steps = f"{trainer.max_steps:,} steps" if trainer.max_steps is not None else "until early stopping or max_epochs"
    where = f"{trained.device.type}, {trained.precision}"
    if trained.device.type == "cpu":
        where += f", {torch.get_num_threads()} threads"
    if trainer.processes.count > 1:
        where += f", {trainer.processes.count} processes ({trained.kind})"
    return (
        f"training {layers}, {config.d_model} wide, {config.norm}-norm, {millions:.1f} M parameters, "
        f"on {len(trainer.reader.split):,} pairs ({corpus.source_language}-{corpus.target_language}); {steps}; {where}"
    )


def _finish(run: RunFolder, recipe: Recipe, trainer: Trainer) -> None:
    """Average checkpoints, validate the result, and write the model folder."""
    processes = trainer.processes
    chosen = _choose_checkpoints(run, recipe)
    paths = [find_weights(folder) for folder in chosen]
    weights = average_weights(paths) if len(chosen) > 1 else read_tensors(paths[0])
    check_weights(trainer.trained.model, weights, paths[0])
    scores: Validation | None = None
    has_report = False
    if trainer.validator is not None:
        scores = trainer.validator.validate(trainer.trained.model, trainer.state.step, weights).scores
    if processes.is_main:
        parts = read_parts(run.path)
        card = build_model_card(run, recipe, parts.config, weights, chosen, scores)
        write_model_folder(run.model, parts, weights, card)
        has_report = write_report(run, is_finished=True, model_scores=scores)
        run.write_record(run.read_record().model_copy(update={"is_finished": True}))
    processes.wait()
    made_of = f"the average of {len(chosen)} checkpoints" if len(chosen) > 1 else chosen[0].name
    quality = f"; validation loss {scores.loss:.3f}, BLEU {scores.bleu:.2f} (greedy)" if scores is not None else ""
    console.say(f"the model is {made_of}{quality}: {run.model}")
    if has_report:
        console.say(f"how the training went: {run.path / REPORT_NAME}")


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
