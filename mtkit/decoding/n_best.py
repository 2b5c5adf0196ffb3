"""N-best lists, `i ||| text ||| score`: read, scored again, and put in a new order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from mtkit.decoding.output import Output
from mtkit.decoding.problems import ProblemHandler
from mtkit.decoding.score_formats import Normalize, find_value
from mtkit.decoding.score_pipeline import ScoreSummary, iter_lines
from mtkit.decoding.scoring import Scorer
from mtkit.decoding.stream import LineStream
from mtkit.errors import DataError
from mtkit.runtime import console

_SEPARATOR = " ||| "


@dataclass(frozen=True)
class Candidate:
    """One line of an n-best list.

    Attributes:
        index: Of the sentence, from 0.
        text: The translation.
        score: Higher is better.
        place: The line, for messages.
    """

    index: int
    text: str
    score: float
    place: str = ""

    def __str__(self) -> str:
        return f"{self.index}{_SEPARATOR}{self.text}{_SEPARATOR}{self.score:.6f}"


# A sentence's number, its source, and its candidates, in the order of the list.
Group = tuple[int, str, list[Candidate]]


def parse_candidate(line: str, place: str) -> Candidate:
    """Return what a line of an n-best list holds.

    Raises:
        DataError: It is not of the form `i ||| text ||| score`.
    """
    index, has_text, rest = line.partition(_SEPARATOR)
    text, has_score, score = rest.rpartition(_SEPARATOR)
    if has_text and not has_score and rest.startswith("||| "):  # no text, and one space in place of two
        text, has_score, score = "", _SEPARATOR, rest.removeprefix("||| ")
    try:
        candidate = Candidate(int(index), text, float(score), place)
    except ValueError:
        has_score = ""
    if not has_score or candidate.index < 0 or math.isnan(candidate.score):
        raise DataError(
            "not a line of an n-best list",
            at=place,
            fix="give lines as `mtkit translate --n-best` writes them: sentence from 0 ||| text ||| score",
        )
    return candidate


def iter_groups(sources: LineStream, candidates: LineStream, max_lines: int) -> Iterator[Group]:
    """Yield each source with its candidates, also one that has none.

    Raises:
        DataError: A line of the list is malformed, out of order, or names a sentence that is not there.
    """
    numbered = enumerate(iter_lines(sources, max_lines))
    lines = enumerate(iter_lines(candidates, max_lines), 1)
    parsed = (parse_candidate(line, f"{candidates.name}:{number}") for number, line in lines)
    last = -1
    for index, of_one in groupby(parsed, key=lambda candidate: candidate.index):
        members = list(of_one)
        if index <= last:
            raise DataError(
                f"sentence {index} comes after sentence {last}",
                at=members[0].place,
                fix="sort the list by sentence: sort -s -n -k 1,1",
            )
        for number, source in numbered:
            last = number
            if number == index:
                yield number, source, members
                break
            yield number, source, []
        if last != index:
            raise DataError(
                f"sentence {index} is not there: {sources.name} has {last + 1:,} lines, sentences count from 0",
                at=members[0].place,
                fix="give the source that the list was made from",
            )
    for number, source in numbered:
        yield number, source, []


def rescore(
    scorer: Scorer,
    groups: Iterator[Group],
    output: Output,
    *,
    normalize: Normalize = "penalty",
    weight: float = 1.0,
    best_only: bool = False,
    strict: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScoreSummary:
    """Score the candidates of each sentence, and write them with their new scores, best first; equals keep their order.

    A candidate that cannot be scored is warned of, and comes last with the score -inf.

    Args:
        scorer: Scores a window at a time.
        groups: From `iter_groups`.
        output: Takes the lists.
        normalize: Which number of the model counts.
        weight: Of that number; the score that is there has 1 - weight.
        best_only: Write the text of the best candidate alone, a line for each source.
        strict: Stop at a candidate that cannot be scored.
        advance: Called with the number of candidates done.

    Raises:
        DataError: The list is malformed; or, if `strict`, a candidate cannot be scored.
        ModelError: The model's probabilities are not numbers.
        DeviceError: The device's memory does not suffice for a single pair.
        OutputError: The results cannot be written.
    """
    summary = ScoreSummary()
    started = time.monotonic()
    num_bare = 0
    handler = ProblemHandler("it comes last", "such a candidate comes last", strict, (output,))
    for window in _iter_windows(groups, scorer.window_lines):
        scores = iter(scorer.score_window([(source, c.text) for _, source, members in window for c in members]))
        for _, source, members in window:
            rescored = []
            for candidate in members:
                score = next(scores)
                summary.add(source, score, scorer.decoding.max_source_tokens)
                if handler.check(candidate.place, None, score.problem) is not None:
                    value = -math.inf
                else:
                    value = interpolate(find_value(score, normalize), candidate.score, weight)
                rescored.append(Candidate(candidate.index, candidate.text, value))
            rescored.sort(key=lambda candidate: -candidate.score)
            num_bare += not rescored
            if best_only:
                output.write_line(rescored[0].text if rescored else "")
            else:
                for candidate in rescored:
                    output.write_line(str(candidate))
        output.flush()
        if advance is not None:
            advance(sum(len(members) for _, _, members in window))
    if num_bare:
        outcome = "answered with an empty line" if best_only else "left out"
        console.warn(f"source lines without a candidate in the list: {num_bare:,}, {outcome}")
    summary.elapsed_seconds = time.monotonic() - started
    return summary


def interpolate(new: float, old: float, weight: float) -> float:
    """Return weight * new + (1 - weight) * old; what has no weight may be infinite."""
    return sum(share * value for share, value in ((weight, new), (1 - weight, old)) if share)


def _iter_windows(groups: Iterator[Group], max_candidates: int) -> Iterator[list[Group]]:
    """Yield groups in lists of about so many candidates."""
    window: list[Group] = []
    size = 0
    for group in groups:
        window.append(group)
        size += max(1, len(group[2]))
        if size >= max_candidates:
            yield window
            window, size = [], 0
    if window:
        yield window
