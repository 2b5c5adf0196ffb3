"""Nearest neighbours among sentence vectors, and the mining of parallel text with them.

Exact search: all products of both sides, a block at a time. Memory is that of a block of products and of the best few
lines of each line.

A plain cosine is not comparable between sentences: some are near to many. The margin of Artetxe and Schwenk 2019
(arXiv:1811.01136) relates the cosine of a pair to the mean cosine of both with their k nearest neighbours:

```
absolute    cos(x, y)
distance    cos(x, y) - (near(x) + near(y)) / 2
ratio       cos(x, y) / ((near(x) + near(y)) / 2)
```
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtkit.inspection.vectors import Vectors, check_lines, check_widths

Margin = Literal["absolute", "distance", "ratio"]
Direction = Literal["forward", "backward", "intersection", "max"]

DEFAULT_NEIGHBOURS = 4

_QUERY_ROWS = 1024
_BASE_ROWS = 8192

# A ratio's divisor is at least so much: where nothing is near, it may be zero or, of centred vectors, below.
_SMALLEST_MEAN = 1e-3


@dataclass(frozen=True)
class Nearest:
    """The best lines of each line, best first.

    Attributes:
        scores: `(lines, count)` float32; -inf where there are no more.
        lines: `(lines, count)` int64, from 0; -1 where there are no more.
    """

    scores: npt.NDArray[np.float32]
    lines: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two lines, from 0, and the score of their being translations of each other."""

    score: float
    left: int
    right: int


class PairScorer:
    """Scores pairs of lines of two sides.

    Args:
        left: Vectors of one side.
        right: Vectors of the other, of the same model.
        margin: `absolute` is the cosine alone.
        num_neighbours: k, from which the margin is computed.
        device: Where the products are computed; the CPU by default.

    Raises:
        DataError: The numbers of dimensions differ.
    """

    def __init__(
        self,
        left: Vectors,
        right: Vectors,
        margin: Margin = "ratio",
        num_neighbours: int = DEFAULT_NEIGHBOURS,
        device: torch.device | None = None,
    ) -> None:
        check_widths(left.matrix.shape[1], right.matrix.shape[1])
        self.left = left
        self.right = right
        self.margin = margin
        self.device = device or torch.device("cpu")
        self._means: tuple[Tensor, Tensor] | None = None
        if margin != "absolute":
            both = self._find_best(num_neighbours, "absolute")
            self._means = (_mean_finite(both[0].scores), _mean_finite(both[1].scores))

    def score_lines(self) -> Iterator[float]:
        """Yield the score of each line with the same line of the other side; 0 where one of them is empty.

        Raises:
            DataError: The numbers of lines differ.
        """
        check_lines(self.left, self.right)
        for start in range(0, len(self.left), _BASE_ROWS):
            rows = slice(start, start + _BASE_ROWS)
            left, right = (side.unit_block(rows.start, rows.stop) for side in (self.left, self.right))
            scores = (left * right).sum(1)
            if self._means is not None:
                scores = _apply(self.margin, scores, (self._means[0][rows] + self._means[1][rows]) / 2)
            is_empty = torch.from_numpy(self.left.is_empty[rows] | self.right.is_empty[rows])
            yield from scores.masked_fill(is_empty, 0).tolist()

    def find_nearest(self, count: int) -> tuple[Nearest, Nearest]:
        """Return the best lines of the right for each line of the left, and of the left for each of the right.

        Empty lines have none, and are none.

        Args:
            count: Of lines for each line.
        """
        return self._find_best(count, self.margin)

    def _find_best(self, count: int, margin: Margin) -> tuple[Nearest, Nearest]:
        forward = _Best(len(self.left), min(count, len(self.right)))
        backward = _Best(len(self.right), min(count, len(self.left)))
        for first in range(0, len(self.right), _BASE_ROWS):
            base = slice(first, min(first + _BASE_ROWS, len(self.right)))
            columns = self.right.unit_block(base.start, base.stop).to(self.device).T
            for start in range(0, len(self.left), _QUERY_ROWS):
                rows = slice(start, min(start + _QUERY_ROWS, len(self.left)))
                products = self.left.unit_block(rows.start, rows.stop).to(self.device) @ columns
                scores = self._score_block(products, rows, base, margin)  # (rows, columns)
                forward.update(rows, scores, base.start)
                backward.update(base, scores.T, rows.start)
        return forward.finish(), backward.finish()

    def _score_block(self, products: Tensor, rows: slice, columns: slice, margin: Margin) -> Tensor:
        if margin != "absolute":
            assert self._means is not None
            near_left = self._means[0][rows].to(self.device).unsqueeze(1)
            near_right = self._means[1][columns].to(self.device)
            products = _apply(margin, products, (near_left + near_right) / 2)
        is_empty = torch.from_numpy(self.left.is_empty[rows, None] | self.right.is_empty[columns])
        return products.masked_fill_(is_empty.to(self.device), -torch.inf)


class _Best:
    """The best few lines of each line among the blocks seen so far."""

    def __init__(self, num_lines: int, count: int) -> None:
        self._count = count
        self._scores = torch.full((num_lines, count), -torch.inf)
        self._lines = torch.full((num_lines, count), -1)

    def update(self, rows: slice, scores: Tensor, first: int) -> None:
        """Compare with a block of scores, `(rows, lines)`, whose lines are numbered from `first`."""
        best, places = scores.topk(min(self._count, scores.size(1)), dim=1)
        all_scores = torch.cat([self._scores[rows], best.cpu()], dim=1)
        all_lines = torch.cat([self._lines[rows], places.cpu() + first], dim=1)
        # Stable, so that of equal scores those of the earlier blocks stay.
        order = all_scores.argsort(dim=1, descending=True, stable=True)[:, : self._count]
        self._scores[rows] = all_scores.gather(1, order)
        self._lines[rows] = all_lines.gather(1, order)

    def finish(self) -> Nearest:
        self._lines[self._scores == -torch.inf] = -1
        return Nearest(self._scores.numpy(), self._lines.numpy())


def mine(scorer: PairScorer, direction: Direction = "max", threshold: float | None = None) -> list[Pair]:
    """Return the pairs of lines that are likely translations of each other, the best first.

    Artetxe and Schwenk 2019, section 3.3.

    Args:
        scorer: Of the two sides.
        direction: `forward`: each line of the left with its best one; `backward`: each of the right with its best one;
            `intersection`: pairs that are both; `max`: pairs that are either, from the best on, no line twice.
        threshold: The score that a pair has at least.
    """
    there, back = (_pair_up(nearest) for nearest in scorer.find_nearest(1))
    back = {(left, right): score for (right, left), score in back.items()}
    match direction:
        case "forward":
            found = there
        case "backward":
            found = back
        case "intersection":
            found = {lines: score for lines, score in there.items() if lines in back}
        case "max":
            found = there | back
    pairs = [Pair(score, *lines) for lines, score in found.items() if threshold is None or score >= threshold]
    pairs.sort(key=lambda pair: (-pair.score, pair.left, pair.right))
    return _use_once(pairs) if direction == "max" else pairs


def _pair_up(nearest: Nearest) -> dict[tuple[int, int], float]:
    best = zip(nearest.lines[:, 0].tolist(), nearest.scores[:, 0].tolist(), strict=True)
    return {(line, other): score for line, (other, score) in enumerate(best) if other >= 0}


def _use_once(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs, the best first, without those of which a line is in a better one."""
    lefts: set[int] = set()
    rights: set[int] = set()
    kept = []
    for pair in pairs:
        if pair.left not in lefts and pair.right not in rights:
            lefts.add(pair.left)
            rights.add(pair.right)
            kept.append(pair)
    return kept


def _apply(margin: Margin, cosines: Tensor, means: Tensor) -> Tensor:
    """Return margin scores of cosines; `means` are those of the pairs' neighbourhoods, of a shape that fits."""
    return cosines - means if margin == "distance" else cosines / means.clamp_min(_SMALLEST_MEAN)


def _mean_finite(scores: npt.NDArray[np.float32]) -> Tensor:
    """Return the mean of each row's scores, `(lines, k)` to `(lines,)`, of those that there are; 0 without any."""
    is_there = np.isfinite(scores)
    total = np.where(is_there, scores, 0).sum(1, dtype=np.float32)
    return torch.from_numpy(total / np.maximum(1, is_there.sum(1)).astype(np.float32))
