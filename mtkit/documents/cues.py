"""What SubRip and WebVTT share: sentences that run through cues, and lines of balanced width."""

from __future__ import annotations

import bisect
import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from mtkit.decoding.splitting import UNSPACED
from mtkit.documents.document import Protected, Segment, TranslatedSegment
from mtkit.documents.flow import Piece, Word, balance_lines, find_words, join_words
from mtkit.documents.sentences import cut_sentences
from mtkit.documents.slots import PairFinder, Slot, collapse_blanks, has_words, is_same, match_slots, trim_slots
from mtkit.documents.spans import LineNumbers, Unit, build_units

LEAST_WIDTH = 42
_MARKUP = r"(?:<[^>\n\r]*>|\{\\[^}\n\r]*\}|[ \t\u200e\u200f\ufeff♪♫#])*"
# A dash or a voice starts what another person says.
_TURN = re.compile(rf"{_MARKUP}(?:[-–—‐](?![-\d])|<v[ .\t][^>\n\r]*>)[ \t]*")
# What a reader does not see in ruby, or beside its base.
_READING = re.compile(r"<rt(?=[\s.>])[^>]*>.*?(?:</rt>|(?=<rt[\s.>]|</ruby>))|<[^>]*>", re.DOTALL)
_NOTES = " \t♪♫\u200e\u200f\ufeff"
_SENTENCE_END = re.compile(r"[.!?…。！？؟।:;♪\"”»)\]]\s*\Z")
_LONGEST_PAUSE_SECONDS = 1.0
_MOST_CUES = 4


@dataclass(frozen=True)
class Cue:
    """A cue: when it is shown, and the places of its lines of text (or of some that are read as one)."""

    start_seconds: float
    end_seconds: float
    lines: tuple[tuple[int, int], ...]


@dataclass
class _Turn:
    """What one person says in a cue."""

    cue: Cue
    slots: list[Slot]
    has_mark: bool
    margin: int
    newline: str
    is_last: bool = False

    @property
    def start(self) -> int:
        return self.slots[0].start

    @property
    def end(self) -> int:
        return self.slots[-1].end

    @property
    def text(self) -> str:
        return "".join(slot.seen for slot in self.slots)


@dataclass
class _Chain:
    """Turns through which sentences run, and the segments in them."""

    turns: list[_Turn]
    units: tuple[Unit, ...] = field(default=())


class CueDocument:
    """Subtitles.

    Args:
        text: The whole file.
        encoding: Of the bytes.
        cues: In the file's order.
        iter_slots: Yields the slots of a stretch of a line (text, start, end) that holds no markup.
        escape: Writes plain text as the format needs it.
        markup: Pattern of what is protected; with a group `name` it is one end of a pair, with a group `ruby` a base
            and its reading.
        max_width: Longest line in characters; the longest of the file, but at least 42, if None.
        language: Of the text, for the ends of sentences.
    """

    def __init__(
        self,
        text: str,
        encoding: str,
        cues: Sequence[Cue],
        iter_slots: Callable[[str, int, int], Iterable[Slot]],
        escape: Callable[[str], str],
        markup: re.Pattern[str],
        max_width: int | None = None,
        language: str | None = None,
    ) -> None:
        self._text = text
        self._encoding = encoding
        self._iter_slots = iter_slots
        self._escape = escape
        self._markup = markup
        self._longest = LEAST_WIDTH
        newline = re.search(r"\r\n|\n|\r", text)
        self._newline = newline[0] if newline else "\n"
        turns = [turn for cue in cues for turn in self._read_turns(cue)]
        self.max_width = self._longest if max_width is None else max_width
        lines = LineNumbers(text)
        self._chains = [_Chain(chain) for chain in _iter_chains(turns)]
        for chain in self._chains:
            slots = list(chain.turns[0].slots)
            for turn in chain.turns[1:]:
                slots += [Slot(" ", slots[-1].end, turn.start), *turn.slots]
            chain.units = build_units(cut_sentences(slots, language), lines, self.max_width)
        self._segments = [unit.segment for chain in self._chains for unit in chain.units]

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the document's order."""
        return self._segments

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the subtitles with translations in them; see `Document`.

        A sentence that runs through several cues is shared out among them by the length of its parts.
        """
        if len(translations) != len(self._segments):
            raise ValueError(f"{len(translations)} translations of {len(self._segments)} segments")
        written = []
        place = index = 0
        for chain in self._chains:
            own = translations[index : index + len(chain.units)]
            index += len(chain.units)
            for start, end, text in self._write_chain(chain, own):
                written += [self._text[place:start], text]
                place = end
        return "".join([*written, self._text[place:]]).encode(self._encoding)

    def _read_turns(self, cue: Cue) -> Iterator[_Turn]:
        """Yield what each person says in a cue."""
        turns: list[list[tuple[int, int]]] = []
        marks: list[bool] = []
        margins: list[int] = []
        for start, end in cue.lines:
            line = self._text[start:end]
            for part in re.split(r"[\r\n]+", line):
                self._longest = max(self._longest, len(self._markup.sub(_find_shown, part).strip()))
            match = _TURN.match(line)
            if match or not turns:
                turns.append([])
                marks.append(match is not None)
                margins.append(len(self._markup.sub("", match[0])) if match else 0)
            turns[-1].append((start + (match.end() if match else 0), end))
        found = []
        for turn_lines, has_mark, margin in zip(turns, marks, margins, strict=True):
            slots = trim_slots(self._read_lines(turn_lines))
            if has_words(slots):
                newline = re.search(r"\r\n|\n|\r", self._text[slots[0].start : slots[-1].end])
                found.append(_Turn(cue, slots, has_mark, margin, newline[0] if newline else self._newline))
        if found:
            found[-1].is_last = True
        yield from found

    def _read_lines(self, lines: Sequence[tuple[int, int]]) -> list[Slot]:
        slots: list[Slot] = []
        pairs = PairFinder()
        for index, (start, end) in enumerate(lines):
            line = self._text[start:end]
            first = start + len(line) - len(line.lstrip(_NOTES if index == 0 else " \t"))
            last = max(first, end - len(line) + len(line.rstrip(_NOTES if index == len(lines) - 1 else " \t")))
            if index:
                around = self._text[lines[index - 1][1] - 1], self._text[first : first + 1]
                is_unspaced = all(map(UNSPACED.match, around))
                slots.append(Slot("" if is_unspaced else " ", slots[-1].end if slots else first, first))
            place = first
            for match in self._markup.finditer(self._text, first, last):
                slots += self._iter_slots(self._text, place, match.start())
                slots.append(Slot(_build_tag(match, pairs), *match.span()))
                place = match.end()
            slots += self._iter_slots(self._text, place, last)
        return _merge_tags(slots)

    def _write_chain(
        self, chain: _Chain, translations: Sequence[TranslatedSegment | None]
    ) -> Iterator[tuple[int, int, str]]:
        """Yield the places of a chain that change, one in each turn, and what is written there."""
        starts = [turn.start for turn in chain.turns]
        pieces: list[list[Piece]] = [[] for _ in chain.turns]
        # What is written in each turn starts and ends with the sentences in it.
        begins = [turn.end for turn in chain.turns]
        ends = [turn.start for turn in chain.turns]
        changed: set[int] = set()
        for unit, translation in zip(chain.units, translations, strict=True):
            places = [bisect.bisect_right(starts, slot.start) - 1 for slot in unit.slots]
            first, last = places[0], places[-1]
            if translation is None or is_same(translation, unit.segment):
                for slot, turn in zip(unit.slots, places, strict=True):
                    if slot.end > chain.turns[turn].end:
                        continue  # what stands between two cues
                    if slot is unit.slots[0]:
                        self._start_sentence(pieces[turn], ends[turn], slot.start)
                    pieces[turn].append(self._copy_slot(slot))
                    begins[turn], ends[turn] = min(begins[turn], slot.start), slot.end
                continue
            changed.update(range(first, last + 1))
            own = match_slots(translation, unit.slots)
            written = [self._write_part(part, slot) for part, slot in zip(translation, own, strict=True)]
            if first == last:
                shares = [written]
            else:
                sizes = [
                    sum(len(slot.seen) for slot, place in zip(unit.slots, places, strict=True) if place == turn)
                    for turn in range(first, last + 1)
                ]
                shares = _share(find_words(written, cut_unspaced=True), sizes)
            for turn, share in enumerate(shares, first):
                self._start_sentence(pieces[turn], ends[turn], unit.start)
                pieces[turn] += share
                begins[turn] = min(begins[turn], max(unit.start, chain.turns[turn].start))
                ends[turn] = min(unit.end, chain.turns[turn].end)
        for turn in sorted(changed):
            width = max(1, self.max_width - chain.turns[turn].margin)
            rows = balance_lines(find_words(pieces[turn], cut_unspaced=True), width)
            yield begins[turn], ends[turn], chain.turns[turn].newline.join(map(join_words, rows))

    def _start_sentence(self, pieces: list[Piece], start: int, end: int) -> None:
        """Add what stands between two sentences of a cue; a space, or nothing in scripts that have none."""
        if not pieces:
            return
        gap = self._text[start:end]
        if gap.strip():
            pieces.append(Piece(collapse_blanks(gap), is_fixed=True, width=len(self._markup.sub(_find_shown, gap))))
        elif not UNSPACED.match(pieces[-1].text[-1:]):
            pieces.append(Piece(" "))

    def _copy_slot(self, slot: Slot) -> Piece:
        if isinstance(slot.part, Protected):
            return Piece(self._text[slot.start : slot.end], is_fixed=True, width=len(slot.part.shown))
        return Piece(slot.part if slot.part in {" ", ""} else self._text[slot.start : slot.end])

    def _write_part(self, part: str | Protected, slot: Slot | None) -> Piece:
        if isinstance(part, str):
            return Piece(self._escape(collapse_blanks(part)))
        if slot is None:  # a placeholder that was found in the text
            return Piece(self._escape(collapse_blanks(part.text)), is_fixed=True, width=len(part.text))
        return Piece(part.text, is_fixed=True, width=len(part.shown))


def _build_tag(match: re.Match[str], pairs: PairFinder) -> Protected:
    groups = match.groupdict()
    name = groups.get("name")
    if not name:
        return Protected(match[0], shown=_find_shown(match))
    if not groups.get("slash"):
        return Protected(match[0], "open", pairs.open(name.lower()))
    pair = pairs.close(name.lower())
    return Protected(match[0]) if pair is None else Protected(match[0], "close", pair)


def _find_shown(markup: re.Match[str]) -> str:
    """Return what a reader sees of markup: of ruby, its base."""
    ruby = markup.groupdict().get("ruby")
    return "" if ruby is None else collapse_blanks(html.unescape(_READING.sub("", ruby))).strip()


def _merge_tags(slots: list[Slot]) -> list[Slot]:
    """Return slots in which a tag that ends with a line and starts again with the next goes through both."""
    merged: list[Slot] = []
    renamed: dict[int | None, int | None] = {}
    openers: dict[int | None, str] = {}
    for slot in slots:
        part = slot.part
        if isinstance(part, Protected) and part.kind == "open" and len(merged) >= 2 and merged[-1].part == " ":
            before = merged[-2].part
            if isinstance(before, Protected) and before.kind == "close" and openers.get(before.pair) == part.text:
                renamed[part.pair] = before.pair
                merged[-2:] = [Slot(" ", merged[-2].start, slot.end)]
                continue
        if isinstance(part, Protected) and part.kind == "open":
            openers[part.pair] = part.text
        if isinstance(part, Protected) and part.pair in renamed:
            merged.append(replace(slot, part=replace(part, pair=renamed[part.pair])))
        else:
            merged.append(slot)
    return merged


def _iter_chains(turns: Sequence[_Turn]) -> Iterator[list[_Turn]]:
    """Yield turns, those together through which a sentence runs."""
    chain: list[_Turn] = []
    for turn in turns:
        if chain and not (len(chain) < _MOST_CUES and _goes_on(chain[-1], turn)):
            yield chain
            chain = []
        chain.append(turn)
    if chain:
        yield chain


def _goes_on(turn: _Turn, following: _Turn) -> bool:
    """Return whether a sentence goes on in the next cue: it does not end, and what follows starts in lower case."""
    if turn.cue is following.cue or not turn.is_last or following.has_mark:
        return False
    if any(isinstance(slot.part, Protected) for slot in [*turn.slots, *following.slots]):
        return False
    pause = following.cue.start_seconds - turn.cue.end_seconds
    if not -_LONGEST_PAUSE_SECONDS <= pause <= _LONGEST_PAUSE_SECONDS:
        return False
    return following.text[:1].islower() and _SENTENCE_END.search(turn.text) is None


def _share(words: Sequence[Word], sizes: Sequence[int]) -> list[list[Piece]]:
    """Share words out over cues in proportion to sizes; each has some, or, where words are too few, all of them."""
    if len(words) < len(sizes):
        return [[Piece(join_words(words))] for _ in sizes]
    ends = []
    total = 0
    for word in words:
        total += word.has_space + word.width
        ends.append(total)
    cuts = [0]
    wanted = 0.0
    for number, size in enumerate(sizes[:-1]):
        wanted += total * size / sum(sizes)
        first, last = cuts[-1] + 1, len(words) - (len(sizes) - 1 - number)
        cuts.append(min(range(first, last + 1), key=lambda cut: _judge_cut(words[cut - 1], ends[cut - 1] - wanted)))
    cuts.append(len(words))
    return [[Piece(join_words(words[start:end]))] for start, end in pairwise(cuts)]


def _judge_cut(word: Word, distance: float) -> float:
    """Return how far a cut after a word is from its place; a mark at its end makes up for some characters."""
    return abs(distance) - (6 if word.text[-1:] in ",;:.!?，、。" else 0)
