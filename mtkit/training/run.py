"""From a prepared corpus to a finished model folder: start or resume a run, train, average, and write the model."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from mtkit.checkpoint.initial import initialize_from
from mtkit.checkpoint.model_folder import ModelParts, write_parts
from mtkit.checkpoint.run_folder import RECIPE_NAME, RunFolder, RunRecord
from mtkit.config.loading import write_recipe
from mtkit.config.model import build_model_config
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.recipe import Recipe
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.language_tags import show_direction
from mtkit.corpus.store import PreparedCorpus
from mtkit.corpus.subwords import SubwordSampler
from mtkit.errors import DataError, ModelError, RecipeError
from mtkit.model.transformer import Transformer, build_model
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName, name_processor, resolve_device, resolve_precision, set_threads
from mtkit.runtime.distributed import Processes, joined, read_processes
from mtkit.runtime.files import atomic_folder, hash_file, remove_leftovers
from mtkit.runtime.memory import keep_freed_memory
from mtkit.runtime.seeds import derive_seed
from mtkit.training.exclusive import claimed, taken
from mtkit.training.finishing import finish
from mtkit.training.interrupts import tolerate_save_requests
from mtkit.training.machine_choices import choose
from mtkit.training.parallel import TrainedModel
from mtkit.training.resuming import announce_changes, check_output, check_replaced, check_same_run
from mtkit.training.schedule import FALLING, warmup_steps
from mtkit.training.trainer import Trainer
from mtkit.training.updates import UpdateReader
from mtkit.training.validation import Validator
from mtkit.version import __version__

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
        restart: Replace a run that stands at `output`; not again where torchrun starts this process once more.
        extend: Let the run at `output` go on to another end than it was started with.

    Raises:
        DataError: The corpus cannot be used.
        RecipeError: The recipe contradicts itself, or is not that of the run at `output`.
        OutputError: `output` is something else than a run, cannot be written, or another training works there.
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
    restart = _is_restart(restart)
    with joined(processes, torch_device.type), tolerate_save_requests(), ExitStack() as claims:
        standing, was_run = None, run.is_run
        if processes.is_main:
            corpus.verify()
            check_output(run)
            if was_run:
                claims.enter_context(claimed(run.path))
                remove_leftovers(run.path)  # of a --restart
                standing = _check_run(run, recipe, corpus, restart=restart, extend=extend)
            elif extend:
                console.warn(f"no run stands at {run.path} that --extend could lengthen: a new one begins")
        standing = processes.share(standing)
        if standing is not None and standing[0].is_finished and run.is_finished:
            return TrainingOutcome(run.model, was_up_to_date=True)
        torch.manual_seed(derive_seed(recipe.training.seed, "weights"))
        model = build_model(parts.config.model)
        init_fingerprint, told = _initialize(run, model, parts, recipe, standing is None)
        if standing is None:
            record = _build_record(recipe, corpus, corpus_path, torch_device, processes, init_fingerprint)
        else:
            record, recipe = standing
            announce_changes(record, torch_device, processes)
        trainer = _build_trainer(run, recipe, record, corpus, model, torch_device, processes)
        record = choose(trainer)
        _warn_of_warmup(trainer)
        processes.wait()  # all have read what stands there
        if processes.is_main and standing is None:
            _write_run(run, recipe, parts, record, replaces=was_run)
            claims.enter_context(claimed(run.path))
        elif processes.is_main:
            # The record first: if a kill comes between, the same command finds the same difference and does this again.
            run.write_record(record)
            write_recipe(recipe, run.path / RECIPE_NAME)
        processes.wait()
        exit_code = trainer.train([*told, _describe(trainer, corpus)])
        if exit_code is not None:
            return TrainingOutcome(None, exit_code=exit_code)
        finish(run, recipe, parts, trainer)
    return TrainingOutcome(run.model)


def _is_restart(is_asked: bool) -> bool:
    """Return whether to replace the run; not again where torchrun starts its processes anew, after one had died."""
    if is_asked and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        console.warn("started again by torchrun: the run that stands here goes on, and --restart is left out")
        return False
    return is_asked


def _check_run(
    run: RunFolder, recipe: Recipe, corpus: PreparedCorpus, *, restart: bool, extend: bool
) -> tuple[RunRecord, Recipe] | None:
    """Refuse to replace a run, or to go on with it, where that would be a mistake.

    Returns:
        What the run goes on with; None where it is replaced.
    """
    if restart:
        check_replaced(run, recipe)
        return None
    return check_same_run(run, recipe, corpus, extend)


def _with_a_stop(recipe: Recipe) -> Recipe:
    """Return the recipe with early stopping where nothing else would end the run, and refuse what cannot end."""
    training = recipe.training
    if (training.max_steps, training.max_epochs, training.max_minutes, training.patience) == (None,) * 4:
        training = training.model_copy(update={"patience": _DEFAULT_PATIENCE})
    if training.schedule in FALLING and training.max_steps is None and training.max_minutes is None:
        raise RecipeError(
            f"the schedule '{training.schedule}' needs to know where the run ends",
            at="training.schedule",
            fix="set training.max_steps or training.max_minutes, or use the schedule inverse_sqrt",
        )
    return recipe.model_copy(update={"training": training})


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
            tags=list(dict.fromkeys(known.tag for known in corpus.manifest.corpora.values() if known.pairs)),
            model=config,
        ),
        source,
        target,
    )


def _initialize(
    run: RunFolder, model: Transformer, parts: ModelParts, recipe: Recipe, is_new: bool
) -> tuple[str | None, list[str]]:
    """Start from another model's weights where the recipe says so; return their hash, and what to tell of them."""
    path = recipe.training.init_from
    if path is None or (not is_new and run.list_checkpoints()):
        return None, []
    config = parts.config.model
    initial = initialize_from(model, config, parts.source_tokenizer, parts.target_tokenizer, path)
    fingerprint = hash_file(initial.path)
    if not is_new and run.read_record().init_fingerprint != fingerprint:
        raise ModelError(
            "the model that the run starts from has changed since", at=path, fix="--restart starts from it as it is now"
        )
    return fingerprint, [f"starting from {path}: {initial.source}, {initial.target}"]


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
        max_steps=recipe.training.max_steps if recipe.training.max_minutes is None else None,  # to be measured
    )


def _write_run(run: RunFolder, recipe: Recipe, parts: ModelParts, record: RunRecord, *, replaces: bool) -> None:
    """Write what a run needs before its first checkpoint, all at once; it takes the place of an older run."""
    with atomic_folder(run.path) as temporary:
        if run.is_run and not replaces:
            raise taken(run.path)  # another training was quicker
        (temporary / "checkpoints").mkdir()
        write_recipe(recipe, temporary / RECIPE_NAME)
        write_parts(temporary, parts)
        RunFolder(temporary).write_record(record)


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
    if record.warmup_steps is not None:
        training = training.model_copy(update={"warmup_steps": record.warmup_steps})
    special = SpecialIds(config.pad_id, config.eos_id, config.decoder_start_id)
    _check_lengths(model, corpus)
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


def _warn_of_warmup(trainer: Trainer) -> None:
    """Warn of a warm-up that does not end within the run."""
    end = trainer.max_steps
    if end is not None and (steps := warmup_steps(trainer.training, end)) >= end:
        console.warn(f"the warm-up takes {steps:,} updates, the run {end:,}: the learning rate does not reach its peak")


def _check_lengths(model: Transformer, corpus: PreparedCorpus) -> None:
    """Refuse text that is longer than the positions that a model learns."""
    if model.max_length is None:
        return
    for name, split in (("training", corpus.train), ("validation", corpus.valid)):
        if split is None or len(split) == 0:
            continue
        longest = int(max(split.source_lengths.max(), split.target_lengths.max())) + 1  # EOS
        if longest > model.max_length:
            raise RecipeError(
                f"a {name} pair has {longest:,} tokens, and the model learns {model.max_length:,} positions",
                at="model.max_positions",
                fix=f"add --set model.max_positions={longest}, or drop long pairs in mtkit prepare",
            )


def _describe(trainer: Trainer, corpus: PreparedCorpus) -> str:
    trained = trainer.trained
    config = trained.model.config
    millions = sum(p.numel() for p in trained.parameters) / 1e6
    layers = f"{config.num_encoder_layers}+{config.num_decoder_layers} layers"
    steps = f"{trainer.max_steps:,} steps" if trainer.max_steps is not None else "until early stopping or max_epochs"
    where = f"{trained.device.type}, {trained.precision}"
    if trained.device.type == "cpu":
        where += f", {console.count(torch.get_num_threads(), 'thread')}"
    if trainer.processes.count > 1:
        where += f", {trainer.processes.count} processes ({trained.kind})"
    direction = show_direction((corpus.source_language, corpus.target_language))
    return (
        f"training {layers}, {config.d_model} wide, {config.norm}-norm, {millions:.1f} M parameters, "
        f"on {len(trainer.reader.split):,} pairs ({direction}); {steps}; {where}"
    )
