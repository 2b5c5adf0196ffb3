"""The report of an evaluation: scores, comparisons, and where the errors are, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mtkit.evaluation.breakdowns import Breakdown, break_down_by_label, break_down_by_length, break_down_by_rare_words
from mtkit.evaluation.metrics import Evaluator, Scores
from mtkit.evaluation.oddities import Flag, find_oddities
from mtkit.evaluation.significance import Measure, compare_systems

if TYPE_CHECKING:
    from mtkit.evaluation.external import ExternalScores
    from mtkit.evaluation.metrics import Counts

# Sentences that gained most, and as many that lost most.
_CHANGES = 20


@dataclass(frozen=True)
class ScoredSystem:
    """A system with its scores, and what they were made from.

    Attributes:
        name: As it was given.
        hypotheses: Its translations.
        counts: What the metrics count in each, chrF among them.
        scores: Its scores.
    """

    name: str
    hypotheses: Sequence[str]
    counts: Counts
    scores: Scores


@dataclass(frozen=True)
class Texts:
    """What the systems were given and measured by.

    Attributes:
        references: Lists of one reference a line.
        source: One source a line, if known.
        labels: One of each sentence, if known.
        word_counts: How often each word occurs in the training text, if known.
        external: Scores of other metrics.
    """

    references: Sequence[Sequence[str]]
    source: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    word_counts: Mapping[str, int] | None = None
    external: Sequence[ExternalScores] = field(default=())


def score_system(evaluator: Evaluator, name: str, hypotheses: Sequence[str], label: str) -> ScoredSystem:
    """Return a system with its scores.

    Args:
        evaluator: It counts chrF, at least for the report.
        name: The system.
        hypotheses: Its translations.
        label: What to call it in an error.

    Raises:
        DataError: There are not as many hypotheses as references.
    """
    counts = evaluator.count(hypotheses, label)
    return ScoredSystem(name, hypotheses, counts, evaluator.score(hypotheses, label, counts))


def build_evaluation_report(
    evaluator: Evaluator, systems: Sequence[ScoredSystem], texts: Texts, *, randomization_trials: int
) -> dict[str, Any]:
    """Return the report, which is JSON as it stands.

    Args:
        evaluator: What the systems were scored with.
        systems: The first is the baseline.
        texts: References and what else is known.
        randomization_trials: Trials of paired approximate randomisation; 0 for none.

    Returns:
        `systems` (scores, length ratio, other metrics, counts of odd lines), `tests` (resamples, trials and seed),
        `comparisons` (each system beside the baseline, by metric: difference, p-values), `breakdowns` (scores by
        length, by rare words where the training text is known, by label where labels are known), `changes` (rows, from
        0, that gained and lost most in sentence chrF beside the baseline), `reference_count`, `sentence_count`, and
        `sentences` (texts, sentence chrF and flags of each).
    """
    flags = {system.name: _flag(system, texts) for system in systems}
    chrf = {system.name: _sentence_chrf(evaluator, system) for system in systems}
    breakdowns = [break_down_by_length(texts.source, texts.references[0])]
    if texts.word_counts is not None:
        breakdowns.append(break_down_by_rare_words(texts.references[0], texts.word_counts, evaluator.split_words))
    if texts.labels is not None:
        breakdowns.append(break_down_by_label(texts.labels))
    return {
        "systems": [_describe(system, evaluator, texts, flags[system.name]) for system in systems],
        "tests": {
            "bootstrap_samples": evaluator.bootstrap_samples if evaluator.bootstrap_samples > 1 else 0,
            "randomization_trials": randomization_trials,
            "seed": evaluator.seed,
        },
        "comparisons": _compare(evaluator, systems, texts, randomization_trials),
        "breakdowns": [_score_groups(breakdown, evaluator, systems) for breakdown in breakdowns],
        "changes": [_find_changes(system.name, systems[0].name, chrf) for system in systems[1:]],
        "reference_count": len(texts.references),
        "sentence_count": evaluator.size,
        "sentences": [
            {
                "source": None if texts.source is None else texts.source[row],
                "references": [stream[row] for stream in texts.references],
                "label": None if texts.labels is None else texts.labels[row],
                "hypotheses": [system.hypotheses[row] for system in systems],
                "chrf": [round(chrf[system.name][row], 2) for system in systems],
                "flags": [flags[system.name][row] for system in systems],
            }
            for row in range(evaluator.size)
        ],
    }


def _describe(
    system: ScoredSystem, evaluator: Evaluator, texts: Texts, flags: Sequence[Sequence[Flag]]
) -> dict[str, Any]:
    external = {}
    for metric in texts.external:
        interval = metric.interval(system.name, evaluator.bootstrap_samples, evaluator.seed)
        external[metric.name] = {
            "score": metric.score(system.name),
            "interval": None if interval is None else list(interval),
        }
    oddities: dict[Flag, int | None] = {
        "empty": _count(flags, "empty"),
        "untranslated": None if texts.source is None else _count(flags, "untranslated"),
        "repeated": _count(flags, "repeated"),
    }
    return {"name": system.name, **system.scores.to_json(), "external": external, "oddities": oddities}


def _count(flags: Sequence[Sequence[Flag]], flag: Flag) -> int:
    return sum(flag in of_line for of_line in flags)


def _flag(system: ScoredSystem, texts: Texts) -> list[list[Flag]]:
    return [
        find_oddities(
            hypothesis,
            [stream[row] for stream in texts.references],
            None if texts.source is None else texts.source[row],
        )
        for row, hypothesis in enumerate(system.hypotheses)
    ]


def _sentence_chrf(evaluator: Evaluator, system: ScoredSystem) -> list[float]:
    compute = evaluator.scorer("chrf")
    return [compute(row) for row in system.counts["chrf"].tolist()]


def _compare(
    evaluator: Evaluator, systems: Sequence[ScoredSystem], texts: Texts, randomization_trials: int
) -> list[dict[str, Any]]:
    names = [system.name for system in systems]
    measures = [
        Measure(metric, evaluator.scorer(metric), [system.counts[metric] for system in systems])
        for metric in evaluator.shown
    ]
    measures += [metric.measure(names) for metric in texts.external]
    comparisons = compare_systems(
        measures,
        bootstrap_samples=evaluator.bootstrap_samples,
        randomization_trials=randomization_trials,
        seed=evaluator.seed,
    )
    return [
        {
            "system": names[comparison.system],
            "baseline": names[0],
            "metric": comparison.metric,
            "difference": comparison.difference,
            "bootstrap_p": comparison.bootstrap_p,
            "randomization_p": comparison.randomization_p,
        }
        for comparison in comparisons
    ]


def _score_groups(breakdown: Breakdown, evaluator: Evaluator, systems: Sequence[ScoredSystem]) -> dict[str, Any]:
    def score(rows: Sequence[int], system: ScoredSystem) -> dict[str, float]:
        scores = {
            metric: evaluator.scorer(metric)(system.counts[metric][rows].sum(axis=0).tolist())
            for metric in ("bleu", "chrf")
        }
        return {**scores, "length_ratio": evaluator.length_ratio(system.counts, rows)}

    groups = [
        {"label": label, "sentences": len(rows), "systems": list(map(partial(score, rows), systems))}
        for label, rows in breakdown.groups.items()
    ]
    return {"by": breakdown.by, "unit": breakdown.unit, "groups": groups}


def _find_changes(system: str, baseline: str, chrf: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    gains = [after - before for before, after in zip(chrf[baseline], chrf[system], strict=True)]
    rows = sorted(range(len(gains)), key=lambda row: (-gains[row], row))
    lost = sorted((row for row in rows if gains[row] < 0), key=lambda row: (gains[row], row))
    return {
        "system": system,
        "baseline": baseline,
        "gained": [row for row in rows if gains[row] > 0][:_CHANGES],
        "lost": lost[:_CHANGES],
    }
