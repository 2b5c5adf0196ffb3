"""Documents of which only marked stretches of text are rewritten; every other byte stays."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mtkit.decoding.splitting import UNSPACED
from mtkit.documents.document import Protected, Segment, TranslatedSegment
from mtkit.documents.flow import Piece, fill_lines, find_words, join_words
from mtkit.documents.sentences import cut_sentences
from mtkit.documents.slots import Slot, build_segment, collapse_blanks, is_same, match_slots, number_pairs

_LINE_END = re.compile(r"\r\n|\n|\r")
_SHORTEST_WIDTH = 40


@dataclass(frozen=True)
class Unit:
    """A segment and the slots that it is made of."""

    segment: Segment
    slots: tuple[Slot, ...]

    @property
    def start(self) -> int:
        """Its first character in the document's text."""
        return self.slots[0].start

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.slots[-1].end


@dataclass(frozen=True)
class Flow:
    """How a hard-wrapped block is wrapped again.

    Attributes:
        width: Longest line in characters.
        first_column: Characters before the block on its first line.
        newline: Line break, with what stands before each further line.
        may_start: Whether a word may start a line.
        cut_unspaced: Whether a line may end between characters of scripts without spaces.
    """

    width: int
    first_column: int
    newline: str
    may_start: Callable[[str], bool] | None = None
    cut_unspaced: bool = False

    def fill(self, pieces: Sequence[Piece]) -> str:
        """Return text in lines."""
        margin = len(self.newline.lstrip("\r\n"))
        rows = fill_lines(find_words(pieces, self.cut_unspaced), self.width, self.first_column, margin, self.may_start)
        return self.newline.join(map(join_words, rows))


@dataclass(frozen=True)
class Block:
    """Segments that follow each other in one block of text, such as a paragraph.

    Attributes:
        units: In order; never empty.
        escape: Writes plain text as the format needs it; the flag is True where it starts the block.
        flow: None for a block that stands on one line.
        before: Written before what is translated (a quote that an attribute had not).
        after: Written after it.
        breaks: Where hard line breaks stand that are written as blanks and a line end.
    """

    units: tuple[Unit, ...]
    escape: Callable[[str, bool], str]
    flow: Flow | None = None
    before: str = ""
    after: str = ""
    breaks: tuple[int, ...] = ()

    @property
    def start(self) -> int:
        """Its first character in the document's text."""
        return self.units[0].start

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.units[-1].end

    def has_break(self, start: int, end: int) -> bool:
        """Return whether one of its `breaks` stands between two places."""
        return bisect.bisect_left(self.breaks, start) < bisect.bisect_left(self.breaks, end)


class LineNumbers:
    """Tells the lines of a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def find_line(self, place: int) -> int:
        """Return the line, from 1, of a character."""
        return bisect.bisect_right(self._starts, place)

    def find_column(self, place: int) -> int:
        """Return the characters before a character on its line."""
        return place - self._starts[self.find_line(place) - 1]


def build_units(runs: Iterable[Sequence[Slot]], lines: LineNumbers, max_width: int | None = None) -> tuple[Unit, ...]:
    """Return the units of trimmed runs of slots."""
    units = []
    for run in runs:
        slots = number_pairs(run)
        units.append(Unit(build_segment(slots, f"line {lines.find_line(slots[0].start)}", max_width), tuple(slots)))
    return tuple(units)


def build_block(
    text: str,
    slots: Sequence[Slot],
    lines: LineNumbers,
    escape: Callable[[str, bool], str],
    language: str | None = None,
    prefix: str = r"[ \t]*",
    may_start: Callable[[str], bool] | None = None,
) -> Block | None:
    """Return the block of a run of slots, cut into sentences; None if there is nothing to translate.

    Args:
        text: The document's.
        slots: The run.
        lines: Of the text.
        escape: As in `Block`.
        language: Of the text.
        prefix: Pattern of what stands before the text on a further line.
        may_start: As in `Flow`.
    """
    runs = cut_sentences(slots, language)
    if not runs:
        return None
    start, end = runs[0][0].start, runs[-1][-1].end
    breaks = [slot for slot in slots if slot.part in {" ", ""} and start <= slot.start < end]
    hard_breaks = tuple(slot.start for slot in slots if isinstance(slot.part, Protected) and slot.part.text.isspace())
    first_break = next((found for slot in breaks if (found := _LINE_END.search(text, slot.start, slot.end))), None)
    if first_break is None:
        return Block(build_units(runs, lines), escape, breaks=hard_breaks)
    margin = re.compile(prefix).match(text, first_break.end())
    column = lines.find_column(start)
    widths = [len(line) for line in re.split(_LINE_END, text[start - column : end])]
    flow = Flow(
        width=max(_SHORTEST_WIDTH, *widths),
        first_column=column,
        newline=first_break[0] + (margin[0] if margin else ""),
        may_start=may_start,
    )
    return Block(build_units(runs, lines, flow.width), escape, flow, breaks=hard_breaks)


class SpanDocument:
    """A document as its text and the blocks in it.

    Args:
        text: The whole document.
        encoding: Of the bytes.
        blocks: In any order; one block may lie in a protected stretch of another (an attribute of a tag).
        errors: What is done about characters that the encoding lacks, as in `str.encode`.
    """

    def __init__(self, text: str, encoding: str, blocks: Iterable[Block], errors: str = "strict") -> None:
        self.text = text
        self.encoding = encoding
        self.blocks = sorted(blocks, key=lambda block: (block.start, -block.end))
        self._errors = errors
        self._starts = [block.start for block in self.blocks]
        self._first_units: list[int] = []
        self._segments: list[Segment] = []
        for block in self.blocks:
            self._first_units.append(len(self._segments))
            self._segments += [unit.segment for unit in block.units]

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the document's order."""
        return self._segments

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the document with translations in it; see `Document`."""
        return self.render_text(translations).encode(self.encoding, self._errors)

    def render_text(self, translations: Sequence[TranslatedSegment | None]) -> str:
        """Return the document's text with translations in it."""
        if len(translations) != len(self._segments):
            raise ValueError(f"{len(translations)} translations of {len(self._segments)} segments")
        changed = [
            None if translation is None or is_same(translation, segment) else tuple(translation)
            for translation, segment in zip(translations, self._segments, strict=True)
        ]
        return self._write_range(0, len(self.text), changed)

    def _write_range(
        self, start: int, end: int, translations: Sequence[TranslatedSegment | None], first: int | None = None
    ) -> str:
        """Return a stretch of the document with the blocks in it translated, from block `first` on."""
        written = []
        place = start
        if first is None:
            first = bisect.bisect_left(self._starts, start)
        for index in range(first, len(self.blocks)):
            block = self.blocks[index]
            if block.start >= end:
                break
            if block.start < place or block.end > end:
                continue  # inside the block before, or around this stretch
            written += [self.text[place : block.start], self._write_block(index, translations)]
            place = block.end
        return "".join([*written, self.text[place:end]])

    def _write_block(self, index: int, translations: Sequence[TranslatedSegment | None]) -> str:
        block = self.blocks[index]
        first = self._first_units[index]
        own = translations[first : first + len(block.units)]
        if all(translation is None for translation in own):
            return self._write_range(block.start, block.end, translations, index + 1)
        pieces: list[Piece] = []
        for number, (unit, translation) in enumerate(zip(block.units, own, strict=True)):
            if number:
                last = block.units[number - 1]
                gap = self._write_range(last.end, unit.start, translations)
                is_kept = bool(gap.strip()) or block.has_break(last.end, unit.start)
                joint = Piece(gap, is_fixed=True) if is_kept else None
                pieces.append(joint or _join_sentences(gap, pieces[-1].text[-1:], block.flow is not None))
            if translation is None:
                pieces += self._copy_unit(unit, translations)
            else:
                pieces += self._write_unit(unit, translation, block, translations, is_first=not pieces)
        written = "".join(piece.text for piece in pieces) if block.flow is None else block.flow.fill(pieces)
        return block.before + written + block.after

    def _copy_unit(self, unit: Unit, translations: Sequence[TranslatedSegment | None]) -> list[Piece]:
        pieces = []
        for slot in unit.slots:
            if isinstance(slot.part, Protected):
                pieces.append(Piece(self._write_range(slot.start, slot.end, translations), is_fixed=True))
            else:
                pieces.append(Piece(slot.part if slot.part in {" ", ""} else self.text[slot.start : slot.end]))
        return pieces

    def _write_unit(
        self,
        unit: Unit,
        translation: TranslatedSegment,
        block: Block,
        translations: Sequence[TranslatedSegment | None],
        is_first: bool,
    ) -> list[Piece]:
        pieces: list[Piece] = []
        for part, slot in zip(translation, match_slots(translation, unit.slots), strict=True):
            if slot is None:  # text; a placeholder in it stays on one line
                text = part if isinstance(part, str) else part.text
                written = block.escape(collapse_blanks(text), is_first and not pieces)
                pieces.append(Piece(written, is_fixed=not isinstance(part, str)))
            elif slot.written is not None:
                pieces.append(Piece(slot.written, is_fixed=True))
            else:
                pieces.append(Piece(self._write_range(slot.start, slot.end, translations), is_fixed=True))
        return pieces or [Piece("")]


def _join_sentences(gap: str, before: str, is_flowing: bool) -> Piece:
    """Return what is written between two sentences: what stood there, with a space where the language has spaces.

    Args:
        gap: What stood there: blanks, or nothing.
        before: Last character of what is written before.
        is_flowing: Whether the lines are filled anew.
    """
    is_unspaced = UNSPACED.match(before) is not None
    if not gap or is_flowing or is_unspaced:
        return Piece("" if is_unspaced else " ")
    return Piece(gap, is_fixed=True)
