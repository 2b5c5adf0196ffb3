"""Plain text: paragraphs of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from mtkit.decoding.splitting import UNSPACED
from mtkit.documents.document import Document
from mtkit.documents.slots import Slot, iter_text_slots
from mtkit.documents.spans import Block, LineNumbers, SpanDocument, build_block
from mtkit.documents.text_file import decode_text

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_MARGIN = r"[ \t]*(?:>[ \t]*)*"
_START = re.compile(rf"(?P<margin>\ufeff?{_MARGIN})(?P<mark>(?:[-*+•‣·–—]|\d{{1,3}}[.)]|\(?[a-z0-9]\))[ \t]+)?")
_MARK = re.compile(r"(?:[-*+•‣·–—]|\d{1,3}[.)]|\(?[a-z0-9]\))\Z")
# Below this width, lines are lines: addresses, poems, tables. Above it, a line may fall short by so much of it.
_SHORTEST_WIDTH = 40
_SLACK = 0.15


@dataclass(frozen=True)
class _Line:
    """A line of text: its margin, the place of its text (never empty), and whether a list mark stands before it."""

    margin: str
    start: int
    end: int
    is_item: bool
    width: int


def read_paragraphs(content: bytes, language: str | None = None) -> Document:
    """Read plain text.

    A segment is a sentence. The lines of a paragraph that was wrapped are joined, and what is translated is wrapped
    again at the paragraph's own width; lines that were not wrapped stay lines. Empty lines, margins, quote marks and
    list marks are kept.

    Args:
        content: The file, in UTF-8 or with a byte order mark.
        language: Of the text, for the ends of sentences.

    Raises:
        DataError: The bytes are not UTF-8.
        RecipeError: sentencex is not installed.
    """
    text, encoding = decode_text(content)
    lines = LineNumbers(text)
    blocks = []
    for paragraph in _iter_paragraphs(text):
        groups = [paragraph] if _is_wrapped(text, paragraph) else [[line] for line in paragraph]
        for group in groups:
            block = _build_block(text, group, lines, language)
            if block is not None:
                blocks.append(block)
    return SpanDocument(text, encoding, blocks)


def _iter_paragraphs(text: str) -> Iterator[list[_Line]]:
    """Yield runs of lines with one margin, of which the first may have another, or a list mark."""
    paragraph: list[_Line] = []
    for line in _iter_lines(text):
        if line is None or line.is_item or (paragraph and not _continues(line, paragraph)):
            if paragraph:
                yield paragraph
            paragraph = []
        if line is not None:
            paragraph.append(line)
    if paragraph:
        yield paragraph


def _iter_lines(text: str) -> Iterator[_Line | None]:
    """Yield the lines; None for one without letters or digits, which is no text."""
    for match in _LINE.finditer(text):
        content = match[0].rstrip()
        start = _START.match(content)
        if start is None or not any(map(str.isalnum, content)):
            yield None
            continue
        yield _Line(
            margin=start["margin"].lstrip("\ufeff"),
            start=match.start() + start.end(),
            end=match.start() + len(content),
            is_item=start["mark"] is not None,
            width=len(content),
        )


def _continues(line: _Line, paragraph: list[_Line]) -> bool:
    if len(paragraph) > 1:
        return line.margin == paragraph[1].margin
    # A first line may stand further in or, as a list item, further out; a quote stays a quote.
    return line.margin.count(">") == paragraph[0].margin.count(">")


def _is_wrapped(text: str, paragraph: list[_Line]) -> bool:
    """Return whether each line of a paragraph is so long that the next word had no room on it."""
    width = max(line.width for line in paragraph)
    if len(paragraph) < 2 or width < _SHORTEST_WIDTH:
        return False
    for line, following in pairwise(paragraph):
        words = text[following.start : following.end].split(maxsplit=1)
        if not words or line.width + 1 + len(words[0]) <= width * (1 - _SLACK):
            return False
    return True


def _build_block(text: str, paragraph: list[_Line], lines: LineNumbers, language: str | None) -> Block | None:
    slots: list[Slot] = []
    for index, line in enumerate(paragraph):
        if index:
            end = paragraph[index - 1].end
            is_unspaced = UNSPACED.match(text[end - 1]) and UNSPACED.match(text[line.start : line.start + 1])
            slots.append(Slot("" if is_unspaced else " ", end, line.start))
        slots += iter_text_slots(text, line.start, line.end)
    block = build_block(text, slots, lines, lambda text, _: text, language, prefix=_MARGIN, may_start=_may_start_line)
    if block is None or block.flow is None:
        return block
    return replace(block, flow=replace(block.flow, cut_unspaced=True))


def _may_start_line(word: str) -> bool:
    return _MARK.match(word) is None
