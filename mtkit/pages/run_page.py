"""The report of a training run: a page made of what `metrics.jsonl` holds, thinned so that it stays small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mtkit.pages.page import build_page

# More points than a chart is wide in pixels show nothing more.
_MAX_POINTS = 800
_MAX_VALIDATIONS = 400
_MAX_EVENTS = 200
# How many validations show their translations, and how many characters of one.
_MAX_TRANSLATIONS = 60
_MAX_CHARACTERS = 600

_CURVES = ("loss", "learning_rate", "tokens_per_second", "grad_norm")
_SCORES = ("loss", "bleu", "chrf")


def build_run_page(data: Mapping[str, Any]) -> str:
    """Return the report of a run.

    Args:
        data: `name`, of the run; `records`, those of `metrics.jsonl`, oldest first; `recipe`, as text; `facts`, pairs
            of a label and a text; `best_metric`, `loss`, `bleu` or `chrf`; `best_step`, that of the best validation, or
            None; `is_finished`; `max_steps`, None where it is not known; `model_scores`, the finished model's `loss`,
            `bleu` and `chrf`, or None. A number that is not finite, as of a run that diverges, is left out.
    """
    records: Sequence[Mapping[str, Any]] = data["records"]
    training = [record for record in records if record["kind"] == "train"]
    validations = [record for record in records if record["kind"] == "validation"]
    spikes = [{"step": r["step"], "loss": _finite(r.get("loss"))} for r in records if r["kind"] == "spike"]
    skipped = [record["step"] for record in records if record["kind"] == "skipped"]
    best = next((index for index, record in enumerate(validations) if record["step"] == data["best_step"]), None)
    points = _thin_curves(training)
    shown = {
        "step": max((record["step"] for record in records), default=0),
        "max_steps": data["max_steps"],
        "is_finished": data["is_finished"],
        "facts": [list(fact) for fact in data["facts"]],
        "recipe": data["recipe"],
        "elapsed_seconds": _finite(sum(record.get("elapsed_seconds", 0.0) for record in training)),
        "training": points,
        "num_records": len(training),
        "validations": [
            {"step": record["step"], **{name: _finite(record.get(name)) for name in _SCORES}}
            for record in _thin(validations, _MAX_VALIDATIONS, best)
        ],
        "num_validations": len(validations),
        "best_step": data["best_step"],
        "best_metric": data["best_metric"],
        "model_scores": data["model_scores"] and {name: _finite(data["model_scores"][name]) for name in _SCORES},
        "spikes": _thin(spikes, _MAX_EVENTS),
        "num_spikes": len(spikes),
        "skipped": _thin(skipped, _MAX_EVENTS),
        "num_skipped": len(skipped),
        "samples": _collect_samples(_thin(validations, _MAX_TRANSLATIONS, best)),
    }
    return build_page("run", f"Training run {data['name']}", shown)


def _finite(value: float | None) -> float | None:
    """Return a number with the digits that a page can show, or None where it is not finite."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _thin(items: Sequence[Any], limit: int, kept: int | None = None) -> list[Any]:
    """Return at most so many items, evenly spaced: the first, the last, and the one at `kept` among them."""
    if len(items) <= limit:
        return list(items)
    chosen = {round(i * (len(items) - 1) / (limit - 1)) for i in range(limit)}
    if kept is not None and kept not in chosen:
        inner = chosen - {0, len(items) - 1}
        chosen = chosen - {min(inner, key=lambda i: abs(i - kept))} | {kept}
    return [items[i] for i in sorted(chosen)]


def _thin_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the curves of training as lists of one length; a point is the mean of neighbouring records, at the last.

    The learning rate is that of the last record, so that where a schedule ends is exact.
    """
    size = -(-len(records) // _MAX_POINTS) or 1
    groups = [records[start : start + size] for start in range(0, len(records), size)]
    curves: dict[str, list[float | None]] = {"step": [group[-1]["step"] for group in groups]}
    for name in _CURVES:
        if name == "learning_rate":
            curves[name] = [_finite(group[-1].get(name)) for group in groups]
        else:
            curves[name] = [_mean([_finite(record.get(name)) for record in group]) for group in groups]
    return curves


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _finite(sum(known) / len(known)) if known else None


def _collect_samples(validations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each sample sentence with its translations, as (first step, last step, text): equal ones are joined."""
    samples: dict[tuple[str, str], list[list[Any]]] = {}
    for record in validations:
        for source, hypothesis, reference in record.get("samples", ()):
            found = samples.setdefault((source, reference), [])
            text = _cut(hypothesis)
            if found and found[-1][2] == text:
                found[-1][1] = record["step"]
            else:
                found.append([record["step"], record["step"], text])
    return [
        {"source": _cut(source), "reference": _cut(reference), "translations": found}
        for (source, reference), found in samples.items()
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"
