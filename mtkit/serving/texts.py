"""Texts of several lines: taken apart for the translator, and put together again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mtkit.decoding.lines import clean_source
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Alternative, Links, Translation

_LINE_ENDS = re.compile(r"(\r?\n)")


@dataclass(frozen=True)
class Answer:
    """The translation of a text.

    Attributes:
        text: With the line ends of the source; an empty line stays empty.
        alignment: Links (source word, target word) from 0 over the whole text; words are what stands between spaces and
            line ends. Empty if they were not asked for.
    """

    text: str
    alignment: Links = ()


class Text:
    """A text, taken apart.

    Args:
        text: Of any number of lines.
    """

    def __init__(self, text: str) -> None:
        pieces = _LINE_ENDS.split(text)
        self._lines, self._ends = pieces[::2], [*pieces[1::2], ""]
        self._cleaned = [clean_source(line) for line in self._lines]
        self.requests = [Request(line) for line, cleaned in zip(self._lines, self._cleaned, strict=True) if cleaned]

    def join(self, translations: Sequence[Translation]) -> list[Answer]:
        """Return the translations of the text, best first, each text once.

        The i-th puts the i-th of each line together; of a line that has fewer, its last.

        Args:
            translations: Of each of the `requests`.
        """
        num_ranks = max((len(one.alternatives) for one in translations), default=1)
        answers: dict[str, Answer] = {}
        for rank in range(num_ranks):
            chosen = [one.alternatives[min(rank, len(one.alternatives) - 1)] for one in translations]
            answer = self._join(chosen)
            answers.setdefault(answer.text, answer)
        return list(answers.values())

    def _join(self, chosen: Sequence[Alternative]) -> Answer:
        alternatives = iter(chosen)
        text = ""
        links: list[tuple[int, int]] = []
        num_source = num_target = 0  # words so far
        for cleaned, end in zip(self._cleaned, self._ends, strict=True):
            if cleaned:
                alternative = next(alternatives)
                links += [(num_source + i, num_target + j) for i, j in alternative.alignment or ()]
                num_source += _count_words(cleaned)
                num_target += _count_words(alternative.text)
                text += alternative.text
            text += end
        return Answer(text, tuple(links))


def _count_words(line: str) -> int:
    return sum(1 for word in line.split(" ") if word)
