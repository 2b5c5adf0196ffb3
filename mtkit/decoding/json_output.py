"""Answers with all that is known about a translation: one JSON object a line, whatever the input's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mtkit.decoding.formats import Format, Record
from mtkit.decoding.json_objects import dump_json, leave_out_answer
from mtkit.decoding.translation import Alternative, Translation

_DIGITS = 6


@dataclass
class FullJson:
    """Reads another format, and answers with what `mtkit translate --json` tells.

    An object has what the line held, by name, and: `translation`, `score`, `log_prob`, `tokens` and `token_log_probs`
    (pieces, EOS included), `cut`; `alignment` if it was asked for; `constraints_met` and `constraints_required`,
    `terms_kept` and `terms_found` where there are any; `split`, the number of parts; of n-best lists `alternatives`,
    each with the same; of a malformed line, `error`.

    Args:
        reader: How lines are read.
        n_best: Translations in each answer.
    """

    reader: Format
    n_best: int

    @property
    def has_header(self) -> bool:
        """Whether the format that is read has one."""
        return self.reader.has_header

    def take_header(self, line: str, name: str) -> None:
        """Take the header of the format that is read; the answers have none.

        Raises:
            DataError: It lacks what the format needs.
        """
        self.reader.take_header(line, name)

    def read(self, line: str) -> Record:
        """Return what a line holds."""
        return self.reader.read(line)

    def write(self, record: Record, translation: Translation, index: int) -> str:
        """Return the object."""
        held = leave_out_answer(self.name_fields(record))
        answer = {"source": record.source, **held, **_describe(translation.alternatives[0])}
        answer["split"] = translation.num_parts
        if self.n_best > 1:
            answer["alternatives"] = [_describe(alternative) for alternative in translation.alternatives]
        if record.problem is not None:
            answer["error"] = record.problem
        return dump_json(answer)

    def name_fields(self, record: Record) -> dict[str, Any]:
        """Return what the line held, by name."""
        return self.reader.name_fields(record)


def _describe(alternative: Alternative) -> dict[str, Any]:
    described: dict[str, Any] = {
        "translation": alternative.text,
        "score": round(alternative.score, _DIGITS),
        "log_prob": round(alternative.log_prob, _DIGITS),
        "tokens": alternative.tokens,
        "token_log_probs": [round(log_prob, _DIGITS) for log_prob in alternative.token_log_probs],
        "cut": alternative.is_cut,
    }
    if alternative.alignment is not None:
        described["alignment"] = alternative.alignment
    if alternative.constraints.wanted:
        described["constraints_met"] = alternative.constraints.kept
        described["constraints_required"] = alternative.constraints.wanted
    if alternative.terms.wanted:
        described["terms_kept"] = alternative.terms.kept
        described["terms_found"] = alternative.terms.wanted
    return described
