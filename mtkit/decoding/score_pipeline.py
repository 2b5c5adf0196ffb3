"""From streams of sources and targets to a stream of scores: what `mtkit score` does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from mtkit.decoding.formats import Format
from mtkit.decoding.lines import WINDOW_CHARACTERS
from mtkit.decoding.output import Output
from mtkit.decoding.problems import ProblemHandler
from mtkit.decoding.score_formats import Answers, PairRecord, pair_lines, read_pair
from mtkit.decoding.scoring import Score, Scorer
from mtkit.decoding.splitting import UNSPACED
from mtkit.decoding.stream import LineStream
from mtkit.errors import DataError
from mtkit.runtime import console

# In scripts that are written without spaces, words that stand apart have fewer characters on the average.
_LONGEST_MEAN = 6


@dataclass
class ScoreSummary:
    """What was scored.

    Attributes:
        num_lines: Pairs, those without a score included.
        num_scored: Pairs with a score.
        num_tokens: Target tokens, EOS included.
        num_words: Words of the targets: what stands between white space.
        num_characters: Characters of the targets, inner spaces included.
        num_unspaced: Of these, those of scripts that are written without spaces.
        num_unknown: Target tokens that the vocabulary does not know.
        num_empty: Pairs with an empty source or target.
        num_long: Pairs that translation would have split, scored whole.
        log_prob: Natural log-probability of all targets.
        elapsed_seconds: Time taken, waiting for input included.
    """

    num_lines: int = 0
    num_scored: int = 0
    num_tokens: int = 0
    num_words: int = 0
    num_characters: int = 0
    num_unspaced: int = 0
    num_unknown: int = 0
    num_empty: int = 0
    num_long: int = 0
    log_prob: float = 0.0
    elapsed_seconds: float = 0.0

    def add(self, source: str, score: Score, max_source_tokens: int) -> None:
        """Count one pair."""
        self.num_lines += 1
        if score.problem is not None or not score.token_log_probs:
            return
        self.num_scored += 1
        self.num_tokens += score.num_tokens
        self.num_words += len(score.target.split())
        self.num_characters += len(score.target)
        self.num_unspaced += len(UNSPACED.findall(score.target))
        self.num_unknown += score.num_unknown
        self.num_empty += not score.target or not source.strip()
        self.num_long += score.num_source_tokens - 1 > max_source_tokens
        self.log_prob += score.log_prob

    def perplexity(self, count: int) -> float:
        """Return the perplexity for so many units of the targets; NaN for none.

        It is exp(-log_prob / count). The probability of each EOS is in it, whatever is counted.
        """
        try:
            return math.exp(-self.log_prob / count) if count else math.nan
        except OverflowError:
            return math.inf

    def build_rows(self) -> list[tuple[str, int, float, float]]:
        """Return a row for each unit: its name, how many there are, the perplexity, and bits a unit.

        There is none for words where the text is written without spaces: what stands between them is no word.
        """
        units = [("token, end of sentence included", self.num_tokens), ("word", self.num_words)]
        if 2 * self.num_unspaced > self.num_characters > _LONGEST_MEAN * self.num_words:
            units.pop()
        units.append(("character", self.num_characters))
        bits = -self.log_prob / math.log(2)
        return [(name, count, self.perplexity(count), bits / count if count else math.nan) for name, count in units]

    def __str__(self) -> str:
        rate = self.num_tokens / max(self.elapsed_seconds, 1e-9)
        parts = [
            f"{console.count(self.num_lines, 'pair')}, {console.count(self.num_tokens, 'token')} "
            f"in {self.elapsed_seconds:.1f} s ({rate:,.0f} tokens/s)",
        ]
        if self.num_tokens:
            perplexity = self.perplexity(self.num_tokens)
            parts.append(f"log-probability {self.log_prob:,.2f}, perplexity {perplexity:,.3f} a token")
        counts = [
            f"{what}: {count:,}"
            for what, count in (
                ("pairs without a score", self.num_lines - self.num_scored),
                ("with an empty side", self.num_empty),
                ("longer than translation takes at once, scored whole", self.num_long),
                ("unknown tokens", self.num_unknown),
            )
            if count
        ]
        return "; ".join(parts + ([", ".join(counts)] if counts else []))


def iter_line_pairs(sources: LineStream, targets: LineStream, max_lines: int) -> Iterator[list[PairRecord]]:
    """Yield the lines of two files together, in windows.

    Raises:
        DataError: One cannot be read, or has fewer lines than the other.
    """
    window: list[PairRecord] = []
    size = 0
    both = zip_longest(iter_lines(sources, max_lines), iter_lines(targets, max_lines))
    for number, (source, target) in enumerate(both, 1):
        if source is None or target is None:
            shorter, longer = (sources, targets) if source is None else (targets, sources)
            if window:
                yield window
            raise _refuse_lengths(shorter.name, number - 1, longer.name)
        window.append(pair_lines(source, target, f"{targets.name}:{number}"))
        size += len(source) + len(target)
        if len(window) == max_lines or size >= WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


def check_lengths(streams: Sequence[LineStream], num_lines: Sequence[int | None]) -> None:
    """Refuse two files of unequal length before they are read.

    Args:
        streams: Of both.
        num_lines: Of each; None where that is not known.

    Raises:
        DataError: The lengths are known, and differ.
    """
    first, second = num_lines
    if first is not None and second is not None and first != second:
        (shorter, few), (longer, many) = sorted(zip(streams, (first, second), strict=True), key=lambda item: item[1])
        raise _refuse_lengths(shorter.name, few, longer.name, many)


def _refuse_lengths(shorter: str, count: int, longer: str, longer_count: int | None = None) -> DataError:
    """Return the error of two files that do not belong together line by line."""
    more = "more" if longer_count is None else f"{longer_count:,}"
    return DataError(
        f"{shorter} has {console.count(count, 'line')} and {longer} has {more}",
        at=f"{longer}:{count + 1}",
        fix="give two files in which line i belongs to line i",
    )


def iter_lines(stream: LineStream, max_lines: int) -> Iterator[str]:
    """Yield the lines of a stream."""
    for window in stream.iter_windows(max_lines):
        yield from window


def iter_records(
    stream: LineStream, line_format: Format, answers: Answers, output: Output, max_lines: int
) -> Iterator[list[PairRecord]]:
    """Yield the pairs of one file, in windows; write the header of the answers when that of the input has been read.

    Raises:
        DataError: It cannot be read, or its header lacks a column.
    """
    has_begun = False
    for window in stream.iter_windows(max_lines):
        if not has_begun and line_format.has_header:
            line_format.take_header(window.pop(0), stream.name)
            try:
                header = answers.head()
            except DataError as exc:
                raise DataError(exc.message, at=f"{stream.name}:1", fix=exc.fix) from exc
            if header is not None:
                output.write_line(header)
        has_begun = True
        first = stream.num_lines - len(window) + 1
        yield [read_pair(line_format, line, f"{stream.name}:{number}") for number, line in enumerate(window, first)]


def score_windows(
    scorer: Scorer,
    windows: Iterator[list[PairRecord]],
    answers: Answers,
    output: Output,
    *,
    strict: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScoreSummary:
    """Score pairs and write the answer to each, in order: as many answers as pairs.

    A pair that is malformed, or that the model cannot take, has an empty score, and a warning that names its place.

    Args:
        scorer: Scores a window at a time.
        windows: What to score.
        answers: How scores are written.
        output: Takes them; flushed after each window.
        strict: Stop at a pair without a score, when those before it are written.
        advance: Called with the number of pairs done.

    Raises:
        DataError: The input cannot be read; or, if `strict`, a pair has no score.
        ModelError: The model's probabilities are not numbers.
        DeviceError: The device's memory does not suffice for a single pair.
        OutputError: The results cannot be written.
    """
    summary = ScoreSummary()
    started = time.monotonic()
    handler = ProblemHandler("answered without a score", "such a pair has an empty score", strict, (output,))
    for window in windows:
        sound = [pair for pair in window if pair.problem is None]
        scores = iter(scorer.score_window([(pair.record.request, pair.target) for pair in sound]))
        for pair in window:
            score = next(scores) if pair.problem is None else Score("")
            problem = handler.check(pair.place, pair.problem, score.problem)
            checked = pair if problem is None else replace(pair, problem=problem)
            output.write_line(answers.write(checked, score))
            summary.add(pair.record.source, score, scorer.decoding.max_source_tokens)
        output.flush()
        if advance is not None:
            advance(len(window))
    summary.elapsed_seconds = time.monotonic() - started
    return summary
