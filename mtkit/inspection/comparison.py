"""What a comparison of two texts by their vectors is written as: cosines a line each, or a table of pairs of lines."""

from __future__ import annotations

import math

from mtkit.decoding.lines import clean_source
from mtkit.decoding.output import Output
from mtkit.inspection.neighbours import Direction, Pair, PairScorer, mine
from mtkit.inspection.vectors import Vectors


def write_similarity(scorer: PairScorer, output: Output) -> str:
    """Write the score of each line with the same line of the other side, and return what there is to say of them.

    Raises:
        DataError: The numbers of lines differ.
        OutputError: The scores cannot be written.
    """
    scores = []
    for score in scorer.score_lines():
        output.write_line(f"{score:.6f}")
        scores.append(score)
    return f"{len(scores):,} lines compared, {math.fsum(scores) / len(scores):.4f} on average"


def write_neighbours(scorer: PairScorer, count: int, output: Output) -> str:
    """Write the best `count` lines for each line as a table, best first, and return what there is to say of them.

    Raises:
        OutputError: The table cannot be written.
    """
    nearest, _ = scorer.find_nearest(count)
    table = _Table(scorer, output)
    for line, (scores, others) in enumerate(zip(nearest.scores.tolist(), nearest.lines.tolist(), strict=True)):
        for score, other in zip(scores, others, strict=True):
            if other >= 0:
                table.write(Pair(score, line, other))
    return f"{table.num_pairs:,} neighbours of {len(scorer.left):,} lines among {len(scorer.right):,}"


def write_pairs(scorer: PairScorer, direction: Direction, threshold: float | None, output: Output) -> str:
    """Write the pairs that are mined as a table, best first, and return what there is to say of them.

    Raises:
        OutputError: The table cannot be written.
    """
    table = _Table(scorer, output)
    for pair in mine(scorer, direction, threshold):
        table.write(pair)
    return f"{table.num_pairs:,} pairs of {len(scorer.left):,} and {len(scorer.right):,} lines"


class _Table:
    """Rows of score and line numbers, from 1, and of the texts where they are known; under a header."""

    def __init__(self, scorer: PairScorer, output: Output) -> None:
        self._sides: tuple[Vectors, Vectors] = (scorer.left, scorer.right)
        self._has_texts = all(side.texts is not None for side in self._sides)
        self._output = output
        self.num_pairs = 0
        columns = ["score", "source_line", "target_line", *(["source", "target"] if self._has_texts else [])]
        output.write_line("\t".join(columns))

    def write(self, pair: Pair) -> None:
        row = [f"{pair.score:.6f}", str(pair.left + 1), str(pair.right + 1)]
        for side, line in zip(self._sides, (pair.left, pair.right), strict=True):
            if self._has_texts and side.texts is not None:
                row.append(clean_source(side.texts[line]).replace("\t", " "))
        self._output.write_line("\t".join(row))
        self.num_pairs += 1
