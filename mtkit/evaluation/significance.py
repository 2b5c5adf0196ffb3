"""Whether two systems differ: paired bootstrap, by sacreBLEU, and paired approximate randomisation, as it draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from mtkit.evaluation.intervals import Table

# Trials whose sums are computed at once: bounds the memory.
_BLOCK_TRIALS = 500
# Relative to the scores: differences that are closer than this are the same, but for rounding.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Measure:
    """A metric, as the tests see it.

    Attributes:
        name: The metric.
        compute: Makes a score of the numbers of a table, summed over sentences: `(numbers,)`.
        tables: For each system, `(sentences, numbers)`: what the metric counts in each sentence.
    """

    name: str
    compute: Callable[[Any], float]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Comparison:
    """A system beside the baseline, by one metric.

    Attributes:
        system: Its place among the systems; the baseline is 0.
        metric: The name of the metric.
        difference: Score of the system minus that of the baseline.
        bootstrap_p: p-value of the paired bootstrap; None if not asked for.
        randomization_p: p-value of paired approximate randomisation; None if not asked for.
    """

    system: int
    metric: str
    difference: float
    bootstrap_p: float | None
    randomization_p: float | None


def compare_systems(
    measures: Sequence[Measure], *, bootstrap_samples: int = 1000, randomization_trials: int = 10_000, seed: int = 12345
) -> list[Comparison]:
    """Compare each system with the first one, the baseline, by each metric.

    The p-values are those of `sacrebleu --paired-bs` (Koehn 2004, aclanthology.org/W04-3250) and `sacrebleu
    --paired-ar` (Riezler and Maxwell 2005, aclanthology.org/W05-0908), but for ties. A trial counts here that gives the
    very difference that was found, as it does in the paper; sacreBLEU counts greater ones only, and so finds systems
    significantly different that are the same, that differ in a sentence or two, or of which there is one sentence.
    Where no sentence counts differently, or there is but one to resample, p of the bootstrap is 1.

    Of two systems that are equally good, randomisation finds 5 % of the differences below 0.05, and the bootstrap about
    10 %: its p is that of a one-sided test. p-values are not corrected for the number of comparisons. Memory: about
    100 kB a sentence, with the defaults.

    Args:
        measures: The metrics, with the counts of the same systems in the same order.
        bootstrap_samples: Resamples of the paired bootstrap; no such test for less than 2.
        randomization_trials: Trials of approximate randomisation; no such test for 0.
        seed: Seed of both.
    """
    if not measures or len(measures[0].tables) < 2:
        return []
    size = len(measures[0].tables[0])
    bootstrap = _bootstrap(measures, bootstrap_samples, seed) if bootstrap_samples > 1 else None
    is_swapped = np.random.default_rng(seed).integers(2, size=(randomization_trials, size), dtype=bool)
    comparisons = []
    for system in range(1, len(measures[0].tables)):
        for measure in measures:
            baseline, other = (measure.tables[place] for place in (0, system))
            if is_same := np.array_equal(baseline, other):
                difference = 0.0
            else:
                difference = _score(measure, other) - _score(measure, baseline)
            bootstrap_p = randomization_p = None
            if bootstrap is not None:
                bootstrap_p = 1.0 if is_same or size < 2 else bootstrap[measure.name][system - 1]
            if randomization_trials:
                randomization_p = 1.0 if is_same else _randomize(measure, system, is_swapped)
            comparisons.append(Comparison(system, measure.name, difference, bootstrap_p, randomization_p))
    return comparisons


def _score(measure: Measure, table: Table) -> float:
    return measure.compute([sum(column) for column in zip(*table.tolist(), strict=True)])


def _randomize(measure: Measure, system: int, is_swapped: npt.NDArray[np.bool_]) -> float:
    """Return the share of trials, the texts as they are being one, whose difference is at least that which was found.

    Args:
        measure: The metric.
        system: Its place among the systems.
        is_swapped: `(trials, sentences)`, whether both systems exchange their translations of a sentence.
    """
    baseline, other = measure.tables[0], measure.tables[system]
    found = _score(measure, baseline), _score(measure, other)
    least = abs(found[0] - found[1]) - _ROUNDING * max(map(abs, found))
    count = 1
    for start in range(0, len(is_swapped), _BLOCK_TRIALS):
        first = is_swapped[start : start + _BLOCK_TRIALS] @ (baseline - other) + other.sum(0)  # (trials, numbers)
        pairs = zip(first, baseline.sum(0) + other.sum(0) - first, strict=True)
        count += sum(abs(measure.compute(one) - measure.compute(two)) >= least for one, two in pairs)
    return count / (len(is_swapped) + 1)


def _bootstrap(measures: Sequence[Measure], samples: int, seed: int) -> dict[str, list[float]]:
    """Return the p-values of each system but the baseline, by the name of the metric."""
    from sacrebleu.significance import PairedTest

    tables = measures[0].tables
    systems = [(str(place), _Lines(place, len(table))) for place, table in enumerate(tables)]
    metrics = {measure.name: _CountedMetric(measure) for measure in measures}
    test = PairedTest(systems, metrics, references=None, test_type="bs", n_samples=samples)
    test._seed = np.random.SeedSequence(seed)  # the generator of that seed; a plain 0 would be taken for none
    _, results = test()
    return {measure.name: [float(result.p_value) for result in results[measure.name][1:]] for measure in measures}


@dataclass(frozen=True)
class _Lines:
    """Stands for the hypotheses of a system: the tests need their number only."""

    system: int
    size: int

    def __len__(self) -> int:
        return self.size


class _CountedMetric:
    """A metric of sacreBLEU's interface whose sentences have been counted before."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure

    def _extract_corpus_statistics(self, hypotheses: _Lines, _references: None) -> Table:
        return self._measure.tables[hypotheses.system]

    def _aggregate_and_compute(self, statistics: Any) -> Any:
        if len(statistics) == 1:
            return self._compute_score_from_stats(statistics[0])
        return self._compute_score_from_stats([sum(column) for column in zip(*statistics.tolist(), strict=True)])

    def _compute_score_from_stats(self, sums: Any) -> Any:
        return SimpleNamespace(name=self._measure.name, score=self._measure.compute(sums))

    def get_signature(self) -> Any:
        """Return something that takes what the test says of itself; the signature of the score is told elsewhere."""
        return SimpleNamespace(update=lambda *_: None)
