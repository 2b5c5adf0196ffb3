"""`report.html`, the page of a run: what is recorded, as charts and tables, for a person who looks in."""

from __future__ import annotations

from mtkit.checkpoint.model_folder import read_model_config
from mtkit.checkpoint.run_folder import (
    RECIPE_NAME,
    REPORT_NAME,
    RunFolder,
    RunRecord,
    Validation,
    find_best,
    list_validations,
)
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.corpus.language_tags import show_direction
from mtkit.errors import MtkitError
from mtkit.pages.run_page import build_run_page
from mtkit.runtime import console
from mtkit.runtime.files import atomic_file


def write_report(run: RunFolder, *, is_finished: bool = False, model_scores: Validation | None = None) -> bool:
    """Write the page of a run from its records, whole or not at all.

    No page is worth a training: where it cannot be written, for whatever reason, that is said, and nothing is raised.

    Args:
        run: The run; where no run stands there, nothing is written.
        is_finished: Whether its model is made.
        model_scores: Those of the finished model.

    Returns:
        Whether it was written.
    """
    if not run.is_run:
        return False
    path = run.path / REPORT_NAME
    try:
        text = build_report(run, is_finished=is_finished, model_scores=model_scores)
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except Exception as exc:
        reason = exc.message if isinstance(exc, MtkitError) else f"{type(exc).__name__}: {exc}"
        console.warn(f"the report is not up to date: {reason}: {path}")
        return False
    return True


def build_report(run: RunFolder, *, is_finished: bool, model_scores: Validation | None = None) -> str:
    """Return the page of a run, made of its folder alone.

    Raises:
        ModelError: A file of the run is missing or damaged.
    """
    record, best_metric = run.read_record(), run.read_recipe().training.best_metric
    records = run.read_metrics()
    best = find_best(list_validations(records), best_metric)
    data = {
        "name": "/".join(run.path.resolve().parts[-2:]),
        "records": records,
        "recipe": (run.path / RECIPE_NAME).read_text(encoding="utf-8"),
        "facts": _facts(record, read_model_config(run.path)),
        "best_metric": best_metric,
        "best_step": None if best is None else best.step,
        "is_finished": is_finished,
        "max_steps": record.max_steps,
        "model_scores": None if model_scores is None else model_scores.model_dump(),
    }
    return build_run_page(data)


def _facts(record: RunRecord, config: ModelFolderConfig) -> list[tuple[str, str]]:
    """Return what a person asks first about a run, as labels and texts."""
    model = config.model
    languages = show_direction((config.source_language, config.target_language))
    layers = f"{model.num_encoder_layers}+{model.num_decoder_layers} layers, {model.d_model} wide, {model.norm}-norm"
    processes = f", {record.processes} processes" if record.processes > 1 else ""
    threads = f", {console.count(record.threads, 'thread')}" if record.device == "cpu" else ""
    changes = [
        f"{entry.tokens:,} tokens from step {entry.from_step:,} ({entry.reason})" for entry in record.micro_batches[1:]
    ]
    return [
        ("Languages", languages),
        ("Model", layers),
        ("Device", f"{record.device}, {record.precision}{threads}{processes}"),
        ("Processor", record.processor),
        *([("Micro-batches", "; ".join(changes))] if changes else []),
        ("Made with", f"mtkit {record.mtkit_version}, torch {record.torch_version}"),
    ]
