"""Whether two systems differ: paired bootstrap and paired approximate randomisation, as sacreBLEU draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mtkit.evaluation.intervals import Table, resample

# Trials that are drawn and summed at once: bounds the memory. A multiple of 32: numpy draws so many booleans at a time
# and forgets what is left over, so these blocks are what one draw of all trials would give.
_BLOCK_TRIALS = 64
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
    10 %: its p is that of a one-sided test. p-values are not corrected for the number of comparisons.

    Args:
        measures: The metrics, with the counts of the same systems in the same order.
        bootstrap_samples: Resamples of the paired bootstrap; no such test for less than 2.
        randomization_trials: Trials of approximate randomisation; no such test for 0.
        seed: Seed of both.
    """
    if not measures or len(measures[0].tables) < 2:
        return []
    size = len(measures[0].tables[0])
    bootstrap = [_bootstrap(measure, bootstrap_samples, seed) for measure in measures if bootstrap_samples > 1]
    comparisons = []
    for system in range(1, len(measures[0].tables)):
        for place, measure in enumerate(measures):
            baseline, other = measure.tables[0], measure.tables[system]
            if is_same := np.array_equal(baseline, other):
                difference = 0.0
            else:
                difference = _score(measure, other) - _score(measure, baseline)
            bootstrap_p = randomization_p = None
            if bootstrap:
                bootstrap_p = 1.0 if is_same or size < 2 else bootstrap[place][system - 1]
            if randomization_trials:
                randomization_p = 1.0 if is_same else _randomize(measure, system, randomization_trials, seed)
            comparisons.append(Comparison(system, measure.name, difference, bootstrap_p, randomization_p))
    return comparisons


def _score(measure: Measure, table: Table) -> float:
    return measure.compute([sum(column) for column in zip(*table.tolist(), strict=True)])


def _bootstrap(measure: Measure, samples: int, seed: int) -> list[float]:
    """Return the p-value of each system but the baseline, as sacreBLEU computes it, in float32 as it does."""
    scores = [_score(measure, table) for table in measure.tables]
    resampled = [
        np.array(resample(table.astype(np.float32), measure.compute, samples, seed)) for table in measure.tables
    ]
    p_values = []
    for score, values in zip(scores[1:], resampled[1:], strict=True):
        differences = np.abs(values - resampled[0])
        count = np.sum(differences - differences.mean() > abs(score - scores[0]))
        p_values.append(float((count + 1) / (samples + 1)))
    return p_values


def _randomize(measure: Measure, system: int, trials: int, seed: int) -> float:
    """Return the share of trials, the texts as they are being one, whose difference is at least that which was found.

    Args:
        measure: The metric.
        system: Its place among the systems.
        trials: How many are drawn.
        seed: Seed of the draws.
    """
    baseline, other = measure.tables[0], measure.tables[system]
    found = _score(measure, baseline), _score(measure, other)
    least = abs(found[0] - found[1]) - _ROUNDING * max(map(abs, found))
    change, start, total = baseline - other, other.sum(0), baseline.sum(0) + other.sum(0)
    count = 1
    for is_swapped in _iter_swaps(trials, len(baseline), seed):
        first = is_swapped @ change + start  # (trials, numbers)
        count += sum(abs(measure.compute(one) - measure.compute(total - one)) >= least for one in first)
    return count / (trials + 1)


def _iter_swaps(trials: int, size: int, seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield, for some trials at a time, `(trials, sentences)`: whether both systems exchange their translations."""
    rng = np.random.default_rng(seed)
    for start in range(0, trials, _BLOCK_TRIALS):
        yield rng.integers(2, size=(min(_BLOCK_TRIALS, trials - start), size), dtype=bool)
