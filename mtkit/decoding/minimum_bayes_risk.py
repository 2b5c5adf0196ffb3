"""Minimum Bayes risk: of several translations, the one that is most like all of them.

Kumar and Byrne 2004 (aclanthology.org/N04-1022); over samples, Eikema and Aziz 2020 (arXiv:2005.10283); with other
utilities, Freitag et al. 2022 (arXiv:2111.09388). The candidates stand for the model's distribution: each is judged by
its utility expected over all of them, taken as references.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

# How good translations are when others are the truth: of hypotheses and references, a matrix of shape
# `(len(hypotheses), len(references))`; higher is better.
Utility = Callable[[Sequence[str], Sequence[str]], npt.NDArray[np.float64]]


def choose_by_risk(
    texts: Sequence[str], utility: Utility, weights: Sequence[float] | None = None
) -> tuple[list[int], list[float]]:
    """Order candidates by their expected utility.

    A text that stands several times counts as often as a reference, by all its weights together, and is compared but
    once. Its first occurrence has its place in the order; the others, which tell a reader nothing new, come last.

    Args:
        texts: The candidates.
        utility: Called once, with the distinct texts as hypotheses and as references.
        weights: How likely each candidate is, up to a factor: none negative, at least one positive. None for samples,
            which are equally likely; for an n-best list, `weigh_by_log_probs`.

    Returns:
        The indices of all candidates, best first, ties in the order given; and the expected utility of each candidate,
        in the order given.
    """
    weights = [1.0] * len(texts) if weights is None else weights
    shares: dict[str, float] = {}
    for text, weight in zip(texts, weights, strict=True):
        shares[text] = shares.get(text, 0.0) + weight
    distinct = list(shares)
    total = math.fsum(shares.values())
    # The exact sum of the products does not depend on their order, so that candidates in the same position tie.
    expected = {
        text: math.fsum(value * share for value, share in zip(row, shares.values(), strict=True)) / total
        for text, row in zip(distinct, utility(distinct, distinct).tolist(), strict=True)
    }
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    utilities = [expected[text] for text in texts]
    order = sorted(range(len(texts)), key=lambda place: (first[texts[place]] != place, -utilities[place]))
    return order, utilities


def weigh_by_log_probs(log_probs: Sequence[float]) -> list[float]:
    """Return the weights of an n-best list: proportional to the probabilities, and of sum one.

    Args:
        log_probs: Natural logarithms, as of `Hypothesis`, without length penalty.
    """
    best = max(log_probs)
    weights = [math.exp(log_prob - best) for log_prob in log_probs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
