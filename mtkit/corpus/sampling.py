"""Which pairs an epoch is made of, where corpora are drawn by weight or temperature."""

from __future__ import annotations

import difflib

import numpy as np
import numpy.typing as npt

from mtkit.config.training import TrainingSection
from mtkit.corpus.store import Codes, CorpusSplit
from mtkit.errors import RecipeError
from mtkit.runtime.seeds import derive_seed

Shares = npt.NDArray[np.float64]


def corpus_shares(training: TrainingSection, split: CorpusSplit) -> Shares | None:
    """Return the share of an epoch that each corpus gets, in the order of `split.corpus_names`; they add up to 1.

    With a temperature t, the shares are proportional to pairs ** (1 / t) (Arivazhagan et al. 2019, arXiv:1907.05019).

    Returns:
        `(corpora,)`, or None where every pair is to stand once in an epoch: neither weights nor a temperature above 1
        is given, or there is but one corpus.

    Raises:
        RecipeError: A weight is given to a corpus that does not exist.
    """
    if training.corpus_weights is not None:
        _check_names(training.corpus_weights, split.corpus_names)
        weights = np.array([training.corpus_weights.get(name, 1.0) for name in split.corpus_names])
    elif training.corpus_temperature is not None and training.corpus_temperature != 1:
        pairs = np.bincount(split.corpus_codes, minlength=len(split.corpus_names))
        weights = pairs ** (1 / training.corpus_temperature)
    else:
        return None
    return weights / weights.sum() if len(weights) > 1 else None


def _check_names(weights: dict[str, float], names: list[str]) -> None:
    unknown = [name for name in weights if name not in names]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], names, n=1)
    raise RecipeError(
        f"no corpus '{unknown[0]}' in the training text",
        at=f"training.corpus_weights.{unknown[0]}",
        fix=f"did you mean '{near[0]}'?" if near else f"name one of: {', '.join(names)}",
    )


def draw_rows(codes: Codes, shares: Shares, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the rows of one epoch: as many as there are pairs, and of each corpus its share of them.

    Each corpus is an endless sequence of passes over its rows, each in an order of its own, and an epoch takes the next
    piece of it. So a small corpus repeats evenly, a large one is seen whole over several epochs, and the rows of an
    epoch are a function of (seed, epoch).

    Args:
        codes: `(rows,)`, the corpus of each row.
        shares: `(corpora,)`, adding up to 1; every corpus has rows.
        seed: The run's seed.
        epoch: 0-based.

    Returns:
        `(rows,)` row numbers, corpus by corpus.
    """
    counts = _count_draws(shares, len(codes))
    drawn = [
        _take(np.flatnonzero(codes == code), epoch * count, count, seed, code) for code, count in enumerate(counts)
    ]
    return np.concatenate(drawn)


def _count_draws(shares: Shares, total: int) -> list[int]:
    """Return how many pairs of `total` each corpus gets: its share, rounded so that they add up, and at least one."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    for code in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[code] = 1
    return [int(count) for count in counts]


def _take(rows: npt.NDArray[np.int64], start: int, count: int, seed: int, code: int) -> npt.NDArray[np.int64]:
    """Return `count` rows of a corpus from place `start` of its endless sequence on."""
    first, last = start // len(rows), (start + count - 1) // len(rows)
    passes = []
    for number in range(first, last + 1):
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "corpus", code, number)))
        passes.append(generator.permutation(rows))
    offset = start - first * len(rows)
    return np.concatenate(passes)[offset : offset + count]
