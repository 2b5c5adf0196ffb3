"""Bootstrap intervals of what is counted sentence by sentence."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Table: TypeAlias = npt.NDArray[np.floating[Any]]


def bootstrap_interval(
    table: Table, compute: Callable[[Any], float], samples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of a score (Koehn 2004, aclanthology.org/W04-3250): its mean minus and plus half width.

    The numbers are those of `sacrebleu --confidence`, except that this also ends well where a resample has no chrF
    match at all.

    Args:
        table: `(sentences, numbers)`, what is counted in each sentence.
        compute: Makes a score of these numbers summed over sentences, `(numbers,)`.
        samples: Resamples; None is returned for less than 2.
        seed: Seed of the resampling.
    """
    if samples < 2:
        return None
    scores = sorted(resample(table, compute, samples, seed))
    outside = samples // 40
    half_width = (scores[samples - outside - 1] - scores[outside]) / 2
    mean = fmean(scores)
    return mean - half_width, mean + half_width


def resample(table: Table, compute: Callable[[Any], float], samples: int, seed: int) -> list[float]:
    """Return the scores of texts made of sentences drawn with replacement, as many as there are.

    The draws are those of sacreBLEU, the same for every table of so many sentences, but one text is held at a time
    instead of all thousand, which for a large test set are gigabytes.

    Args:
        table: `(sentences, numbers)`, what is counted in each sentence.
        compute: Makes a score of these numbers summed over sentences, `(numbers,)`.
        samples: How many texts.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    size = len(table)
    return [compute(table[rng.choice(size, size)].sum(0)) for _ in range(samples)]
