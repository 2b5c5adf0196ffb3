"""The shapes in which pairs are read to be scored, and their scores written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mtkit.decoding.formats import Format, JsonLines, Record, Table
from mtkit.decoding.json_objects import dump_json, leave_out_answer
from mtkit.decoding.request import Request
from mtkit.decoding.scoring import Score
from mtkit.errors import DataError

# none: the log-probability; mean: that a token; penalty: the score, after the length penalty.
Normalize = Literal["none", "mean", "penalty"]

TARGET_NAMES = ("target", "translation")

_DIGITS = 6
_VALUE_NAMES = {"none": "log_prob", "mean": "mean_log_prob", "penalty": "score"}
# What mtkit says of a translation by its model: of another model than this one if it stands in the input.
_NUMBERS = (*_VALUE_NAMES.values(), "tokens", "token_log_probs")


@dataclass(frozen=True)
class PairRecord:
    """A source and a target as they were read.

    Attributes:
        record: The source, with its tag and what else its line holds.
        target: What to score.
        place: The line, for messages.
        problem: Why it cannot be scored.
    """

    record: Record
    target: str
    place: str
    problem: str | None = None


def pair_lines(source: str, target: str, place: str) -> PairRecord:
    """Return what a line of each of two files holds together."""
    return PairRecord(Record(Request(source)), target, place)


def read_pair(line_format: Format, line: str, place: str) -> PairRecord:
    """Return what one line holds: a malformed one is a record with a problem."""
    record = line_format.read(line)
    if record.problem is not None:
        return PairRecord(record, "", place, record.problem)
    fields = line_format.name_fields(record)
    target = next((fields[name] for name in TARGET_NAMES if fields.get(name) is not None), None)
    if not isinstance(target, str):
        return PairRecord(record, "", place, "the object has no text under 'target' or 'translation'")
    return PairRecord(record, target, place)


class Answers(Protocol):
    """How scores are written."""

    def head(self) -> str | None:
        """Return the header of the answers, if they have one; the input's has been read."""

    def write(self, pair: PairRecord, score: Score) -> str:
        """Return the answer to a pair, without its line feed."""


@dataclass
class LineAnswers:
    """A number a line; with the tokens, two more columns: the pieces and their log-probabilities, parted by spaces."""

    normalize: Normalize
    has_tokens: bool

    def head(self) -> None:
        """Do nothing: there is none."""

    def write(self, pair: PairRecord, score: Score) -> str:
        """Return the number; nothing for a pair that has none."""
        cells = [_show(find_value(score, self.normalize))]
        return "\t".join(cells + _show_tokens(score) if self.has_tokens else cells)


@dataclass
class TableAnswers:
    """The columns of the table that was read, and one named after the number; more with the tokens."""

    table: Table
    normalize: Normalize
    has_tokens: bool

    @property
    def _names(self) -> list[str]:
        return [_VALUE_NAMES[self.normalize], *(["tokens", "token_log_probs"] if self.has_tokens else [])]

    def head(self) -> str:
        """Return the names of the columns.

        Raises:
            DataError: None holds the target.
        """
        if not any(name in self.table.columns for name in TARGET_NAMES):
            raise DataError(
                "no column is named 'target' or 'translation'",
                fix="name the column of the translations to score 'target'",
            )
        return self.table.lay_over(self._names, self._names, self.table.columns)

    def write(self, pair: PairRecord, score: Score) -> str:
        """Return the row with the numbers in it."""
        cells = [_show(find_value(score, self.normalize))]
        if self.has_tokens:
            cells += _show_tokens(score)
        return self.table.lay_over(self._names, cells, pair.record.passed_through)


@dataclass
class JsonAnswers:
    """Objects with what was read, by name, and the numbers; those of an earlier answer of mtkit's are left out.

    Args:
        normalize: The number to tell.
        has_tokens: Whether to tell of each token.
        is_full: Tell all there is: every number, and the tokens.
        reader: Of what was read; None for two files of plain lines.
    """

    normalize: Normalize
    has_tokens: bool
    is_full: bool = False
    reader: Format | None = None

    def head(self) -> None:
        """Do nothing: there is none."""

    def write(self, pair: PairRecord, score: Score) -> str:
        """Return the object; the numbers of a pair that has none are null."""
        if self.reader is None:
            answer: dict[str, Any] = {"source": pair.record.source, "target": pair.target}
        else:
            answer = leave_out_answer(self.reader.name_fields(pair.record), _NUMBERS)
        kinds: list[Normalize] = ["none", "mean", "penalty"] if self.is_full else [self.normalize]
        for kind in kinds:
            answer[_VALUE_NAMES[kind]] = _round(find_value(score, kind))
        if self.has_tokens or self.is_full:
            answer["tokens"] = score.tokens
            answer["token_log_probs"] = [round(log_prob, _DIGITS) for log_prob in score.token_log_probs]
        if pair.problem is not None:
            answer["error"] = pair.problem
        return dump_json(answer)


def build_answers(reader: Format | None, normalize: Normalize, *, has_tokens: bool, is_json: bool) -> Answers:
    """Return how to answer.

    Args:
        reader: Of the input, if it is one file; None for two files of plain lines.
        normalize: The number to tell.
        has_tokens: Whether to tell of each token.
        is_json: Answer with all there is, as objects, whatever was read.
    """
    if is_json or isinstance(reader, JsonLines):
        return JsonAnswers(normalize, has_tokens, is_json, reader)
    if isinstance(reader, Table):
        return TableAnswers(reader, normalize, has_tokens)
    return LineAnswers(normalize, has_tokens)


def find_value(score: Score, normalize: Normalize) -> float:
    """Return the number that is asked for; NaN if there is none."""
    match normalize:
        case "none":
            return score.log_prob
        case "mean":
            return score.mean_log_prob
        case "penalty":
            return score.score


def _show(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{_DIGITS}f}"


def _round(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)


def _show_tokens(score: Score) -> list[str]:
    return [" ".join(score.tokens), " ".join(map(_show, score.token_log_probs))]
