"""The shapes of input and output: plain lines, JSON objects, rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mtkit.corpus.text_files import strip_compression
from mtkit.decoding.json_objects import dump_json, leave_out_answer, load_object
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation
from mtkit.decoding.wishes import WISH_COLUMNS, MalformedError, parse_cells, parse_object
from mtkit.errors import DataError

FormatName = Literal["lines", "jsonl", "tsv"]


@dataclass(frozen=True)
class Record:
    """One line of the input.

    Attributes:
        request: What to translate, and how.
        passed_through: What else the line holds, as its format needs it to write the answer.
        problem: Why the line cannot be answered; the source of its request may then be empty.
    """

    request: Request
    passed_through: Any = None
    problem: str | None = None

    @property
    def source(self) -> str:
        """The text to translate."""
        return self.request.source


class Format(Protocol):
    """How a line of the input is read, and its answer written."""

    @property
    def has_header(self) -> bool:
        """Whether the first line is a header, for `take_header` instead of `read`."""

    def take_header(self, line: str, name: str) -> str | None:
        """Take the first line of the input `name`: return the header of the output, or None if it has none."""

    def read(self, line: str) -> Record:
        """Return what a line holds. Never raises: a malformed line is a record with a problem."""

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the answer to a record, without its last line feed; `index` counts records from 0."""

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return what the line held, by name, source and wishes included."""


def find_format(path: Path | None) -> FormatName:
    """Return the format that a file's name tells; `lines` for standard input and unknown suffixes."""
    match "" if path is None else strip_compression(path).suffix.lower():
        case ".jsonl":
            return "jsonl"
        case ".tsv":
            return "tsv"
        case _:
            return "lines"


def build_format(name: FormatName, n_best: int = 1) -> Format:
    """Return the format of that name, for answers of `n_best` translations."""
    match name:
        case "lines":
            return Lines(n_best)
        case "jsonl":
            return JsonLines(n_best)
        case "tsv":
            return Table(n_best)


@dataclass
class Lines:
    """Plain text: a line in, a line out; of n-best lists, `index ||| text ||| score`, a line each."""

    n_best: int
    has_header: bool = False

    def take_header(self, line: str, name: str) -> None:
        """Do nothing: there is none."""

    def read(self, line: str) -> Record:
        """Take the line as it is."""
        return Record(Request(line))

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the translation, or the n best."""
        if self.n_best == 1:
            return translation.text
        return "\n".join(f"{index} ||| {a.text} ||| {a.score:.6f}" for a in translation.alternatives)

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return the source."""
        return {"source": record.source}


@dataclass
class JsonLines:
    """A JSON object a line with the text under `source`, and wishes; the answer has its keys and `translation`.

    Of n-best lists, `translations` holds `text` and `score` of each; of a malformed line, `error` what was wrong.
    """

    n_best: int
    has_header: bool = False

    def take_header(self, line: str, name: str) -> None:
        """Do nothing: there is none."""

    def read(self, line: str) -> Record:
        """Parse the object."""
        try:
            value = load_object(line)
        except MalformedError as exc:
            return Record(Request(""), {}, str(exc))
        try:
            return Record(parse_object(value), value)
        except MalformedError as exc:
            return Record(Request(""), value, str(exc))

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the object with the translation in it."""
        answer = {**leave_out_answer(record.passed_through), "translation": translation.text}
        if "translation" in record.passed_through and isinstance(answer.get("translations"), list):
            del answer["translations"]  # the n best of an earlier answer
        if self.n_best > 1:
            answer["translations"] = [{"text": a.text, "score": a.score} for a in translation.alternatives]
        if record.problem is not None:
            answer["error"] = record.problem
        return dump_json(answer)

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return the object."""
        return dict(record.passed_through)


@dataclass
class Table:
    """Tab-separated columns under a header with a column `source`; the answer has the columns and `translation`.

    Columns named `prefix`, `constraints`, `forbidden` and `tag` hold wishes. A column `translation` that is there
    already is replaced. Of n-best lists, the second is `translation_2`, and so on.
    """

    n_best: int
    columns: list[str] = field(default_factory=list)
    has_header: bool = True

    @property
    def _answer_columns(self) -> list[str]:
        return ["translation", *(f"translation_{rank}" for rank in range(2, self.n_best + 1))]

    def take_header(self, line: str, name: str) -> str:
        """Take the names of the columns.

        Raises:
            DataError: None is `source`, or two have the same meaning.
        """
        self.columns = line.split("\t")
        if "source" not in self.columns:
            raise DataError(
                "no column is named 'source'",
                at=f"{name}:1",
                fix="begin the file with a header that names the column to translate 'source'",
            )
        for column in ("source", *WISH_COLUMNS):
            if self.columns.count(column) > 1:
                raise DataError(f"two columns are named '{column}'", at=f"{name}:1", fix="rename one of them")
        return self.lay_over(self._answer_columns, self._answer_columns, self.columns)

    def read(self, line: str) -> Record:
        """Take the cells of the row."""
        cells = line.split("\t")
        if len(cells) != len(self.columns):
            padded = [*cells, *[""] * len(self.columns)][: len(self.columns)]
            return Record(Request(""), padded, f"columns: {len(cells)}, where the header has {len(self.columns)}")
        return Record(parse_cells(dict(zip(self.columns, cells, strict=True))), cells)

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the row with the translation in its columns."""
        texts = [a.text.replace("\t", " ") for a in translation.alternatives]
        texts += [""] * (self.n_best - len(texts))
        return self.lay_over(self._answer_columns, texts, record.passed_through)

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return the cells by the names of their columns."""
        return dict(zip(self.columns, record.passed_through, strict=True))

    def lay_over(self, names: Sequence[str], answers: Sequence[str], cells: Sequence[str]) -> str:
        """Return a row: the cells, with the answers in the columns of their names, or behind."""
        row = list(cells)
        for name, answer in zip(names, answers, strict=True):
            if name in self.columns:
                row[self.columns.index(name)] = answer
            else:
                row.append(answer)
        return "\t".join(row)
