"""Markdown: the text of paragraphs, headings, list items, table cells, footnotes, and of HTML in it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mtkit.documents.document import Document, Protected, TranslatedSegment
from mtkit.documents.html import READ_ATTRIBUTES, find_html_blocks, find_tag_blocks
from mtkit.documents.markdown_escapes import escape_all, escape_markdown, may_start_line
from mtkit.documents.markdown_events import Run, read_runs
from mtkit.documents.refusals import find_refused
from mtkit.documents.slots import Slot, collapse_blanks, is_same, match_slots
from mtkit.documents.spans import Block, LineNumbers, SpanDocument, Unit, build_block
from mtkit.documents.text_file import decode_text

_MOST_TRIES = 100
# An attribute that may be another one in a translation.
_ATTRIBUTE = re.compile(
    rf"""[\s>]({"|".join(READ_ATTRIBUTES)}|content|value)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)""", re.IGNORECASE
)
# A hard break in an outline, and a blank after it, which means nothing.
_AFTER_BREAK = re.compile("(\ue000\\\\? \ue001) ")
_DELIMITERS = {"*", "_", "**", "__", "~", "~~"}


def read_markdown(content: bytes, language: str | None = None) -> Document:
    """Read Markdown: CommonMark with GitHub's extensions.

    A segment is a sentence of a block, or the description of an image. Emphasis, links, code spans, footnote marks,
    HTML tags, math and line breaks are protected stretches. Left as they are: code blocks, metadata at the top,
    addresses and titles of links, blocks between HTML tags with `translate="no"`.

    Args:
        content: The file, in UTF-8 or with a byte order mark.
        language: Of the text, for the ends of sentences.

    Raises:
        DataError: The bytes are not UTF-8.
        RecipeError: pyromark or sentencex is not installed.
    """
    text, encoding = decode_text(content)
    return _MarkdownDocument(text, encoding, language)


@dataclass(frozen=True)
class _Home:
    """Where a block stands.

    Attributes:
        run: The index of its run.
        is_html: Whether it is written as HTML.
        is_inner: Whether it is inside a protected stretch: the description of an image, an attribute of HTML.
    """

    run: int
    is_html: bool
    is_inner: bool = False


class _MarkdownDocument(SpanDocument):
    unwritten_because = "as the Markdown would have changed with the translation"

    def __init__(self, text: str, encoding: str, language: str | None) -> None:
        self.unwritten: list[int] = []
        self._runs = read_runs(text)
        lines = LineNumbers(text)
        found: list[tuple[Block, _Home]] = []
        for number, run in enumerate(self._runs):
            is_html = run.kind == "Html"
            own = _build_html_blocks if is_html else _build_own_blocks
            found += [(block, _Home(number, is_html)) for block in own(text, run, lines, language)]
            alts = _build_blocks(text, run, run.alts, lines, language)
            found += [(replace(block, flow=None), _Home(number, is_html, is_inner=True)) for block in alts]
            attributes = _build_attribute_blocks(text, run, lines)
            found += [(block, _Home(number, is_html=True, is_inner=True)) for block in attributes]
        found = _leave_refused(found, find_refused(self._runs))
        super().__init__(text, encoding, [block for block, _ in found])
        homes = {(block.start, block.end): home for block, home in found}
        # Of each block.
        self._homes = [homes[block.start, block.end] for block in self.blocks]
        # Of each segment.
        self._units = [
            (unit, home) for block, home in zip(self.blocks, self._homes, strict=True) for unit in block.units
        ]

    def render_text(self, translations: Sequence[TranslatedSegment | None]) -> str:
        """Return the document's text with translations in it, its structure as it was.

        What is written is read again. A block that would not be the same block with the translation in it (emphasis
        that no longer is, text that became a list) has all its marks escaped; if that does not help, it keeps its
        source, and `unwritten` says so.
        """
        chosen = [
            None if each is None or is_same(each, segment) else _move_blanks(each)
            for each, segment in zip(translations, self.segments, strict=True)
        ]
        blocks = list(self.blocks)
        escaped: set[int] = set()
        self.unwritten = []
        for _ in range(_MOST_TRIES):
            written = SpanDocument(self.text, self.encoding, blocks).render_text(chosen)
            wrong = self._find_wrong(written, chosen)
            if not wrong:
                break
            hopeless = {number for number in wrong if number in escaped or self._runs[number].kind == "Html"}
            self._clear(chosen, hopeless)
            escaped |= wrong
            for index, home in enumerate(self._homes):
                if home.run in wrong and not home.is_html:
                    blocks[index] = replace(blocks[index], escape=escape_all)
        else:
            # Every try has mended something; what is left is more than a few odd blocks.
            self._clear(chosen, set(range(len(self._runs))))
            written = self.text
        return written

    def _find_wrong(self, written: str, translations: Sequence[TranslatedSegment | None]) -> set[int]:
        """Return the runs that are not read again as they were meant.

        Where the blocks themselves are others, it is the last changed run up to the first such place.
        """
        changed = self._find_changed(translations)
        if not changed:
            return set()
        found = read_runs(written)
        wrong: set[int] = set()
        for number, run in enumerate(self._runs):
            if number >= len(found) or found[number].kind != run.kind:
                return wrong | self._find_suspect(changed, number)
            if run.kind == "Html":
                continue
            expected = self._expect(number, changed.get(number, []))
            if _outline(found[number].slots) != expected:
                if number not in changed:
                    return wrong | self._find_suspect(changed, number)
                wrong.add(number)
        return wrong or (self._find_suspect(changed, len(self._runs)) if len(found) > len(self._runs) else wrong)

    def _find_suspect(self, changed: Iterable[int], number: int) -> set[int]:
        """Return the changed run nearest to a run, one before it rather than one after."""
        return {min(changed, key=lambda other: (other > number, abs(other - number)))}

    def _find_changed(
        self, translations: Sequence[TranslatedSegment | None]
    ) -> dict[int, list[tuple[Unit, TranslatedSegment]]]:
        """Return the translated segments of each run in which there are any; those of its own text alone."""
        changed: dict[int, list[tuple[Unit, TranslatedSegment]]] = {}
        for (unit, home), translation in zip(self._units, translations, strict=True):
            if translation is not None and not is_same(translation, unit.segment):
                own = changed.setdefault(home.run, [])
                own += [] if home.is_inner else [(unit, translation)]
        return changed

    def _expect(self, number: int, changed: list[tuple[Unit, TranslatedSegment]]) -> str:
        """Return the outline of a run with the translations in it."""
        run = self._runs[number]
        place = run.start
        slots: list[Slot] = []
        for unit, translation in changed:
            slots += _clip(run.slots, place, unit.start)
            found = match_slots(translation, unit.slots)
            texts = [part.text if isinstance(part, Protected) else part for part in translation]
            slots += [slot or Slot(text, 0, 0) for text, slot in zip(texts, found, strict=True)]
            place = unit.end
        return _outline([*slots, *_clip(run.slots, place, run.end)])

    def _clear(self, translations: list[TranslatedSegment | None], numbers: set[int]) -> None:
        """Take the translations of runs away."""
        for index, (_, home) in enumerate(self._units):
            if home.run in numbers and translations[index] is not None:
                translations[index] = None
                self.unwritten.append(index)


def _leave_refused(
    found: Iterable[tuple[Block, _Home]], stretches: Sequence[tuple[int, int]]
) -> list[tuple[Block, _Home]]:
    """Return the blocks that are in none of some stretches of the document."""
    ends = [end for _, end in stretches]
    places = [(bisect.bisect_right(ends, block.start), block, home) for block, home in found]
    return [(block, home) for index, block, home in places if index == len(ends) or block.start < stretches[index][0]]


def _build_own_blocks(text: str, run: Run, lines: LineNumbers, language: str | None) -> Iterable[Block]:
    return _build_blocks(text, run, [run.slots], lines, language)


def _build_blocks(
    text: str, run: Run, stretches: Sequence[Sequence[Slot]], lines: LineNumbers, language: str | None
) -> Iterable[Block]:
    """Yield the blocks of stretches of a run: its own text, or descriptions of images in it."""
    escape = partial(escape_markdown, is_cell=run.kind == "TableCell")
    for slots in stretches:
        block = build_block(text, slots, lines, escape, language, prefix=r"[ \t>]*", may_start=may_start_line)
        if block is not None:
            yield block if run.kind in {"Paragraph", "Item"} else replace(block, flow=None)


def _build_html_blocks(text: str, run: Run, lines: LineNumbers, language: str | None) -> Iterable[Block]:
    """Yield the blocks of HTML in Markdown."""
    for block in find_html_blocks(run.html, language):
        yield _move_block(block, text, run.html, run.start, lines)


def _build_attribute_blocks(text: str, run: Run, lines: LineNumbers) -> Iterable[Block]:
    """Yield the blocks of the attributes of HTML tags in a run."""
    for start, tag in run.tags:
        for block in find_tag_blocks(tag):
            moved = _move_block(block, text, tag, start, lines)
            yield replace(moved, escape=_escape_bars(moved.escape)) if run.kind == "TableCell" else moved


def _move_block(block: Block, text: str, html: str, start: int, lines: LineNumbers) -> Block:
    """Return a block of HTML as one of the document that it stands in, with the quote marks before its lines there.

    Args:
        block: Of the HTML.
        text: Of the document.
        html: With spaces in place of quote marks.
        start: Where it stands in the document.
        lines: Of the document.
    """
    units = []
    for unit in block.units:
        slots = tuple(replace(slot, start=slot.start + start, end=slot.end + start) for slot in unit.slots)
        place = f"line {lines.find_line(slots[0].start)}"
        units.append(Unit(replace(unit.segment, place=place), slots))
    moved = replace(block, units=tuple(units))
    if block.flow is None:
        return moved
    margin = len(block.flow.newline.lstrip("\r\n"))
    second = html.find("\n", block.start) + 1
    marks = text[start + second : start + second + margin].rfind(">") + 1
    written = block.flow.newline[: -margin or None] + text[start + second :][:marks]
    return replace(moved, flow=replace(block.flow, newline=written + block.flow.newline[len(written) :]))


def _escape_bars(escape: Callable[[str, bool], str]) -> Callable[[str, bool], str]:
    return lambda text, is_start: escape(text, is_start).replace("|", "&#124;")


def _move_blanks(translation: TranslatedSegment) -> TranslatedSegment:
    """Return a translation without blanks on the inner side of emphasis marks, where they would be no marks."""
    parts = list(translation)
    for index, part in enumerate(parts):
        if not isinstance(part, Protected) or part.text not in _DELIMITERS or part.kind == "standalone":
            continue
        inner = index + (1 if part.kind == "open" else -1)
        outer = index - (1 if part.kind == "open" else -1)
        text = parts[inner] if 0 <= inner < len(parts) else None
        if not isinstance(text, str):
            continue
        trimmed = text.lstrip() if part.kind == "open" else text.rstrip()
        if trimmed == text:
            continue
        parts[inner] = trimmed
        beside = parts[outer] if 0 <= outer < len(parts) else None
        if isinstance(beside, str) and not (beside.endswith(" ") if part.kind == "open" else beside.startswith(" ")):
            parts[outer] = f"{beside} " if part.kind == "open" else f" {beside}"
    return tuple(parts)


def _clip(slots: Sequence[Slot], start: int, end: int) -> list[Slot]:
    """Return the slots between two places; those of text are cut there."""
    clipped = []
    for index in range(bisect.bisect_left(slots, start, key=lambda slot: slot.end), len(slots)):
        slot = slots[index]
        if slot.start > end:
            break
        if slot.is_literal and isinstance(slot.part, str):
            first, last = max(start, slot.start), min(end, slot.end)
            if first < last:
                text = slot.part[first - slot.start : last - slot.start]
                clipped.append(Slot(text, first, last))
        elif start <= slot.start and slot.end <= end:
            clipped.append(slot)
    return clipped


def _outline(slots: Sequence[Slot]) -> str:
    """Return what a run says and which marks are in it, whatever the lines and escapes that it is written with."""
    written = []
    for slot in slots:
        if isinstance(slot.part, str):
            written.append(slot.part)
        elif slot.part.shown and slot.part.shown == slot.part.text:
            written.append(slot.part.text)
        else:
            mark = _ATTRIBUTE.sub(r" \1", slot.written or slot.part.text)
            written.append("\ue000" + ("![]" if mark.startswith("![") else mark) + "\ue001")
    return _AFTER_BREAK.sub(r"\1", collapse_blanks("".join(written))).strip()
