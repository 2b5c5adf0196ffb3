"""Stretches of a document's text that make up what is translated, each with its place."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from mtkit.documents.document import Protected, Segment

# Web and mail addresses; a mark at the end belongs to the sentence.
_ADDRESS = re.compile(
    r"(?:https?|ftp)://[^\s<>\"'`\\]*[^\s<>\"'`\\.,;:!?)\]}]|www\.[\w-]+\.[^\s<>\"'`\\]*[^\s<>\"'`\\.,;:!?)\]}]"
    r"|(?<![\w.+-])[\w+-]+(?:\.[\w+-]+)*@[\w-]+(?:\.[\w-]+)+"
)
# Line breaks and blanks, but not the no-break space.
_BLANKS = " \t\n\r\f\v"
_BLANK_RUN = re.compile(rf"[{_BLANKS}]+")
# What need not be at the edge of a segment.
_EDGE = _BLANKS + "\xa0"
# A line break of HTML or a hard one of Markdown.
_BREAK = re.compile(r"<br[\s/>]|[ \t\\]*[\r\n]", re.IGNORECASE)


@dataclass(frozen=True)
class Slot:
    """A stretch of the document's text.

    Attributes:
        part: What it is to a translator: decoded text, or a protected stretch (its `pair` is unique in the run).
        start: Its first character in the document's text.
        end: The character after its last.
        written: How a protected stretch is written into a translation, where that differs from the document.
    """

    part: str | Protected
    start: int
    end: int
    written: str | None = None

    @property
    def seen(self) -> str:
        """What a reader sees of it; of a line break, its end of the line."""
        if isinstance(self.part, str):
            return self.part
        return self.part.shown or ("\n" if self.part.kind == "standalone" and _BREAK.match(self.part.text) else "")

    @property
    def is_literal(self) -> bool:
        """Whether it is text that stands in the document as it is, so that it may be cut."""
        return isinstance(self.part, str) and len(self.part) == self.end - self.start


def collapse_blanks(text: str) -> str:
    """Return text with each run of blanks and line breaks turned into one space."""
    return _BLANK_RUN.sub(" ", text)


def iter_text_slots(text: str, start: int, end: int) -> Iterator[Slot]:
    """Yield the slots of text that has no escapes: words, blanks as single spaces, addresses as protected stretches."""
    place = start
    for match in _ADDRESS.finditer(text, start, end):
        yield from _iter_plain_slots(text, place, match.start())
        yield Slot(Protected(match[0], shown=match[0]), *match.span())
        place = match.end()
    yield from _iter_plain_slots(text, place, end)


def _iter_plain_slots(text: str, start: int, end: int) -> Iterator[Slot]:
    place = start
    for match in _BLANK_RUN.finditer(text, start, end):
        if match[0] != " ":
            if place < match.start():
                yield Slot(text[place : match.start()], place, match.start())
            yield Slot(" ", *match.span())
            place = match.end()
    if place < end:
        yield Slot(text[place:end], place, end)


def trim_slots(slots: Sequence[Slot]) -> list[Slot]:
    """Return the slots without what need not be in a segment: at its edges, blanks, unseen marks, enclosing pairs.

    A pair that is to be written in another way stays, so that it is.
    """
    kept = deque(slots)
    # Ends of each pair that are left.
    ends = Counter(slot.part.pair for slot in kept if isinstance(slot.part, Protected))
    while kept:
        first, last = kept[0], kept[-1]
        if _is_removable(first, ends):
            _forget(kept.popleft(), ends)
        elif _is_removable(last, ends):
            _forget(kept.pop(), ends)
        elif isinstance(first.part, str) and first.part[0] in _EDGE:
            kept[0] = replace(first, part=first.part.lstrip(_EDGE), start=_skip(first, first.part, left=True))
        elif isinstance(last.part, str) and last.part[-1] in _EDGE:
            kept[-1] = replace(last, part=last.part.rstrip(_EDGE), end=_skip(last, last.part, left=False))
        elif len(kept) > 1 and (_is_pair(first, kept[1]) or (_is_pair(first, last) and last.written is None)):
            _forget(kept.popleft(), ends)  # its other end goes by itself, once it stands at an edge
        elif len(kept) > 1 and _is_pair(kept[-2], last):
            _forget(kept.pop(), ends)
        else:
            break
    return list(kept)


def _forget(slot: Slot, ends: Counter[int | None]) -> None:
    if isinstance(slot.part, Protected):
        ends[slot.part.pair] -= 1


def _is_removable(slot: Slot, ends: Counter[int | None]) -> bool:
    if isinstance(slot.part, str):
        return not slot.part.strip(_EDGE)
    if slot.part.kind == "standalone":
        return not slot.part.shown
    # One end of a pair whose other end is not here.
    return ends[slot.part.pair] == 1


def _is_pair(left: Slot, right: Slot) -> bool:
    return (
        isinstance(left.part, Protected)
        and isinstance(right.part, Protected)
        and left.part.kind == "open"
        and left.part.pair == right.part.pair
    )


def _skip(slot: Slot, text: str, left: bool) -> int:
    """Return the place of a slot's edge after blanks are taken from its text."""
    if left:
        return slot.start + len(text) - len(text.lstrip(_EDGE))
    return slot.end - (len(text) - len(text.rstrip(_EDGE)))


def cut_slots(slots: Sequence[Slot], places: Sequence[int]) -> list[list[Slot]]:
    """Cut a run of slots at places of its seen text, where that parts no pair and no slot that cannot be cut.

    Args:
        slots: The run.
        places: Characters of `seen` text before each cut, rising.
    """
    runs: list[list[Slot]] = [[]]
    waiting = list(reversed(places))
    depth = seen = 0
    for slot in slots:
        rest = slot
        while waiting and waiting[-1] <= seen + len(rest.seen):
            offset = waiting.pop() - seen
            if depth or (0 < offset < len(rest.seen) and not rest.is_literal) or offset < 0:
                continue
            if offset and offset < len(rest.seen):
                text = rest.seen
                runs[-1].append(replace(rest, part=text[:offset], end=rest.start + offset))
                rest = replace(rest, part=text[offset:], start=rest.start + offset)
                seen += offset
                runs.append([])
            elif offset == 0 and runs[-1]:
                runs.append([])
            elif offset == len(rest.seen):
                waiting.append(seen + offset)
                break
        runs[-1].append(rest)
        seen += len(rest.seen)
        if isinstance(rest.part, Protected) and rest.part.kind != "standalone":
            depth += 1 if rest.part.kind == "open" else -1
    return [run for run in runs if run]


def number_pairs(slots: Sequence[Slot]) -> list[Slot]:
    """Number the pairs of a run from 0; one end without the other, or with the other before it, becomes standalone."""
    opened: dict[int | None, None] = {}  # in order
    closed: set[int | None] = set()
    for slot in slots:
        if isinstance(slot.part, Protected) and slot.part.kind == "open":
            opened[slot.part.pair] = None
        elif isinstance(slot.part, Protected) and slot.part.kind == "close" and slot.part.pair in opened:
            closed.add(slot.part.pair)
    numbers = {pair: number for number, pair in enumerate(pair for pair in opened if pair in closed)}
    return [replace(slot, part=_number_part(slot.part, numbers)) for slot in slots]


def _number_part(part: str | Protected, numbers: dict[int | None, int]) -> str | Protected:
    if isinstance(part, str) or part.kind == "standalone":
        return part
    if part.pair in numbers:
        return replace(part, pair=numbers[part.pair])
    return replace(part, kind="standalone", pair=None)


def build_segment(slots: Sequence[Slot], place: str, max_width: int | None = None) -> Segment:
    """Return the segment of a trimmed and numbered run of slots."""
    parts: list[str | Protected] = []
    for is_text, group in groupby(slots, lambda slot: isinstance(slot.part, str)):
        found = [slot.part for slot in group]
        parts += [collapse_blanks("".join(map(str, found)))] if is_text else found
    return Segment(tuple(parts), place, max_width)


def match_slots(parts: Iterable[str | Protected], slots: Iterable[Slot]) -> list[Slot | None]:
    """Return of each part of a translation the slot that it is, each slot once; None for text, and what is none.

    Args:
        parts: Of the translation.
        slots: Of its segment.
    """
    free: dict[Protected, deque[Slot]] = {}
    for slot in slots:
        if isinstance(slot.part, Protected):
            free.setdefault(slot.part, deque()).append(slot)
    return [free[part].popleft() if isinstance(part, Protected) and free.get(part) else None for part in parts]


def has_words(slots: Sequence[Slot]) -> bool:
    """Return whether a run holds letters that may be translated."""
    return any(isinstance(slot.part, str) and any(map(str.isalpha, slot.part)) for slot in slots)


def is_same(parts: Iterable[str | Protected], segment: Segment) -> bool:
    """Return whether a translation is its source; a placeholder that was found in the segment's text is text."""
    own = set(segment.protected)
    joined: list[str | Protected] = []
    for part in parts:
        if isinstance(part, Protected) and part in own:
            joined.append(part)
            continue
        text = part if isinstance(part, str) else part.text
        joined += [text] if not joined or isinstance(joined[-1], Protected) else [f"{joined.pop()}{text}"]
    return tuple(joined) == segment.parts


class PairFinder:
    """Numbers the tags of a run: an end tag belongs to the nearest open tag of its name."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int]] = []
        self._names: Counter[str] = Counter()
        self._count = 0

    def open(self, name: str) -> int:
        """Return the number of a tag's pair."""
        self._open.append((name, self._count))
        self._names[name] += 1
        self._count += 1
        return self._count - 1

    def close(self, name: str) -> int | None:
        """Return the number of the pair that a tag ends, if one is open; what is open inside remains without end."""
        if not self._names[name]:
            return None
        while True:
            last, pair = self._open.pop()
            self._names[last] -= 1
            if last == name:
                return pair
