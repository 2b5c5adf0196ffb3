"""Segments as a model reads them, and its translations with the protected stretches back in their places."""

from __future__ import annotations

import re
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, islice

from mtkit.decoding.translation import Links
from mtkit.documents.document import Protected, Segment, TranslatedSegment
from mtkit.documents.placeholders import find_order, find_placeholders, protect_placeholders
from mtkit.documents.placement import Hidden, Insertion, place_hidden
from mtkit.documents.word_links import WordLinks, find_words

# Stands for a space that is not in the document, between words that only a tag parted: private use.
_GAP = "\ue000"
_WORD = re.compile(r"\w")
_BLANKS = string.whitespace + "\xa0" + _GAP


@dataclass(frozen=True)
class Masked:
    """A segment as the model reads it.

    What has something to show (`%s`) stands in the text; the model copies it. What has not (`<b>`, a line break) is
    taken out, and put back by the links of words.

    Attributes:
        text: For the model, on one line, no white space around it; empty if there is nothing to translate.
        shown: The protected stretches that the text shows something of, in order.
        names: What it shows of each of them.
        places: Where in the text each of these stands.
        hidden: What was taken out, with the places.
        margins: What stands before and behind the text, whatever its translation is.
        parts: Of the segment, with the placeholders protected that stand in its plain parts.
    """

    text: str
    shown: tuple[Protected, ...]
    names: tuple[str, ...]
    places: tuple[int, ...]
    hidden: tuple[Hidden, ...]
    margins: tuple[TranslatedSegment, TranslatedSegment]
    parts: tuple[str | Protected, ...]

    @property
    def has_words(self) -> bool:
        """Whether there is anything in it that a model can translate: a letter outside what is protected."""
        return any(isinstance(part, str) and any(map(str.isalpha, part)) for part in self.parts)

    @property
    def is_protected(self) -> bool:
        """Whether anything in it is protected but white space."""
        return any(isinstance(part, Protected) and part.text.strip() for part in self.parts)

    @cached_property
    def placeholders(self) -> Counter[str]:
        """How often each placeholder stands in the text."""
        return _count_placeholders(self.text)

    @cached_property
    def restored_placeholders(self) -> Counter[str]:
        """How often each stands in the text with the protected stretches as the document has them."""
        spans = [(at, at + len(name), part) for part, name, at in _iter_shown(self)]
        return _count_placeholders(_restore(self.text, spans))


def mask_segment(segment: Segment) -> Masked:
    """Return a segment as the model reads it."""
    parts = protect_placeholders(segment.parts)
    first, last = _peel(parts)
    text, shown, hidden = _take_out(parts[:last], first)
    core = text.strip(_BLANKS)
    start = len(text) - len(text.lstrip(_BLANKS))
    end = start + len(core)
    # Blanks between the text and what stands alone beside it go with that.
    alone = [item.offset for item in hidden if item.part.kind == "standalone"]
    leading = "" if any(place < start for place in alone) else text[:start]
    trailing = "" if any(place > end for place in alone) else text[end:]
    return Masked(
        text=core.replace(_GAP, " "),
        shown=tuple(part for _, part in shown),
        names=tuple(part.shown for _, part in shown),
        places=tuple(place - start for place, _ in shown),
        hidden=tuple(replace(item, offset=min(max(item.offset - start, 0), len(core))) for item in hidden),
        margins=((*parts[:first], leading.replace(_GAP, "")), (trailing.replace(_GAP, ""), *parts[last:])),
        parts=parts,
    )


def _take_out(parts: Sequence[str | Protected], first: int) -> tuple[str, list[tuple[int, Protected]], list[Hidden]]:
    """Return the text of the parts from `first` on, the stretches that it shows, with their places, and all others."""
    text = ""
    shown: list[tuple[int, Protected]] = []
    hidden: list[Hidden] = []
    behind = _find_spaces_behind(parts)
    is_closed = follows_hidden = False  # whether a tag was closed right here, and whether anything was taken out
    for index, part in enumerate(parts[first:], first):
        if isinstance(part, str):
            text += part.lstrip() if follows_hidden and text[-1:].isspace() else part
            is_closed = follows_hidden = False
        elif part.shown:
            shown.append((len(text), part))
            text += part.shown
            is_closed = follows_hidden = False
        else:
            following = parts[index + 1] if index + 1 < len(parts) else ""
            is_parted = isinstance(following, str) and following[:1].isspace()
            hidden.append(Hidden(part, len(text), text[-1:].isspace(), behind[index], is_parted))
            is_break = part.kind == "standalone" or (is_closed and part.kind == "open")
            if is_break and text and not text[-1].isspace() and text[-1] != _GAP and not behind[index]:
                text += _GAP  # what it parted stays two words
            is_closed = is_closed or part.kind == "close"
            follows_hidden = True
    return text, shown, hidden


def use_stand_ins(masked: Masked) -> Masked:
    """Return a segment that shows `{0}`, `{1}`, … in place of each stretch that it shows.

    A model that spells a long name wrong may still copy these; they are told apart wherever they come back.

    Args:
        masked: The segment.
    """
    free = (name for number in count() if (name := f"{{{number}}}") not in masked.text)
    names = tuple(islice(free, len(masked.names)))
    text, end = "", 0
    places, ends, grown = [], [], [0]
    for old, new, place in zip(masked.names, names, masked.places, strict=True):
        text += masked.text[end:place]
        places.append(len(text))
        text += new
        end = place + len(old)
        ends.append(end)
        grown.append(len(text) - end)
    hidden = tuple(replace(h, offset=h.offset + grown[bisect_right(ends, h.offset)]) for h in masked.hidden)
    return replace(masked, text=text + masked.text[end:], names=names, places=tuple(places), hidden=hidden)


def _peel(parts: Sequence[str | Protected]) -> tuple[int, int]:
    """Return the span of the parts without those around it that keep their place whatever the translation is.

    These are white space, what is hidden and stands alone, and pairs that enclose all the rest or nothing that is read.
    """
    first, last = 0, len(parts)
    partners = _find_partners(parts)
    while first < last:
        head, tail = parts[first], parts[last - 1]
        if _stands_alone(head):
            first += 1
        elif _stands_alone(tail):
            last -= 1
        elif (
            isinstance(head, Protected)
            and isinstance(tail, Protected)
            and (head.kind, tail.kind) == ("open", "close")
            and head.pair == tail.pair
            and not head.shown
            and not tail.shown
        ):
            first, last = first + 1, last - 1
        elif _is_unread(parts, partners, first, partners.get(first, -1)):
            first = partners[first] + 1
        elif _is_unread(parts, partners, partners.get(last - 1, last), last - 1):
            last = partners[last - 1]
        else:
            break
    return first, last


def _find_partners(parts: Sequence[str | Protected]) -> dict[int, int]:
    """Return of each end of a pair, by its index, the other end."""
    opened: dict[int | None, int] = {}
    partners: dict[int, int] = {}
    for index, part in enumerate(parts):
        if isinstance(part, Protected) and part.kind == "open":
            opened[part.pair] = index
        elif isinstance(part, Protected) and part.kind == "close" and part.pair in opened:
            start = opened[part.pair]
            partners[start], partners[index] = index, start
    return partners


def _is_unread(parts: Sequence[str | Protected], partners: dict[int, int], start: int, end: int) -> bool:
    """Return whether a pair and what it encloses, both ends of each pair in it, shows nothing but white space."""
    if start >= end:
        return False
    for index in range(start, end + 1):
        part = parts[index]
        if isinstance(part, str) or part.kind == "standalone":
            if not _stands_alone(part):
                return False
        elif part.shown or not start <= partners.get(index, -1) <= end:
            return False
    return True


def _stands_alone(part: str | Protected) -> bool:
    if isinstance(part, str):
        return not part.strip()
    return part.kind == "standalone" and not part.shown


def unmask(masked: Masked, translation: str, links: Links | None) -> TranslatedSegment | None:
    """Return a translation with every protected stretch in it once; None if one was lost, doubled, made up or moved.

    Moved: of placeholders that are told apart by their order alone (`%s`, `%d`), the order must be the source's.

    Args:
        masked: The source.
        translation: Of `masked.text`.
        links: Of the words of both, parted by white space; None if they are not known.
    """
    if not translation.strip():
        return None
    found = _match_shown(masked, translation, links)
    if found is None:
        return None
    if _count_placeholders(_restore(translation, found)) != masked.restored_placeholders:
        return None  # one was made up, or has grown into something else
    shown: list[Insertion] = [(first, last, (part,)) for first, last, part in found]
    taken = [(first, last) for first, last, _ in found]
    hidden = place_hidden(masked.text, translation, masked.hidden, links, taken)
    parts: list[str | Protected] = [*masked.margins[0]]
    end = 0
    for first, last, inserted in sorted([*hidden, *shown], key=lambda item: item[:2]):
        parts += [translation[end:first], *inserted]
        end = max(end, last)
    parts += [translation[end:], *masked.margins[1]]
    return _join(parts)


def find_made_up(masked: Masked, translation: str) -> set[str]:
    """Return the placeholders of a translation that its source has not, as phrases that may be forbidden.

    Args:
        masked: The source.
        translation: Of `masked.text`.
    """
    made_up = _count_placeholders(translation).keys() - masked.placeholders.keys()
    for text in set(masked.names):  # what a word grew on
        made_up |= set(re.findall(rf"{re.escape(text)}\w+", translation)) if text[-1].isalnum() else set()
    return {text for text in made_up if text.strip() and text not in masked.text}


def _match_shown(masked: Masked, translation: str, links: Links | None) -> list[tuple[int, int, Protected]] | None:
    """Return where the shown stretches stand in a translation, in its order; None unless each does, exactly once."""
    if not masked.shown:
        return []
    pattern = _compile(masked)
    protected = {at: (part, name) for part, name, at in _iter_shown(masked)}
    waiting: dict[str, list[re.Match[str]]] = {}
    for match in pattern.finditer(masked.text):
        waiting.setdefault(match[0], []).append(match)
    there: dict[str, list[re.Match[str]]] = {}
    for match in pattern.finditer(translation):
        there.setdefault(match[0], []).append(match)
    if {text: len(matches) for text, matches in waiting.items()} != {text: len(m) for text, m in there.items()}:
        return None
    found: list[tuple[int, int, Protected]] = []
    for text, sources in waiting.items():
        targets = there[text]
        if not all(source.start() in protected for source in sources):
            # A word that stands there as text too.
            targets = _follow_links(sources, targets, WordLinks(masked.text, translation, tuple(links or ())))
        for source, target in zip(sources, targets, strict=True):
            part, name = protected.get(source.start(), (None, ""))
            if part is not None and name == text:
                found.append((*target.span(), part))
    if len(found) < len(masked.shown):  # one stood inside another, which the pattern took
        return None
    found.sort(key=lambda item: item[:2])
    order = [find_order([part.text for part in parts]) for parts in (masked.shown, [part for *_, part in found])]
    return found if order[0] == order[1] else None


def _follow_links(
    sources: Sequence[re.Match[str]], targets: Sequence[re.Match[str]], words: WordLinks
) -> list[re.Match[str]]:
    """Return of each place of the source the one of the target to which a link leads; where none does, in order."""
    by_word = {word: number for number, each in enumerate(targets) for word in find_words(words.target, each.span())}
    free = dict.fromkeys(range(len(targets)))
    followed: list[int | None] = []
    for source in sources:
        linked = words.find_linked(find_words(words.source, source.span()), range(len(words.target)))
        number = min((by_word[word] for word in linked if by_word.get(word) in free), default=None)
        followed.append(number)
        if number is not None:
            del free[number]
    rest = iter(free)
    return [targets[next(rest) if number is None else number] for number in followed]


def _compile(masked: Masked) -> re.Pattern[str]:
    """Return a pattern for any shown stretch, longer ones first; what is a whole word in the source must be one."""
    before, behind = set(), set()  # those that touch a word
    for _, name, place in _iter_shown(masked):
        if place > 0 and _WORD.match(masked.text, place - 1):
            before.add(name)
        if _WORD.match(masked.text, place + len(name)):
            behind.add(name)
    patterns = []
    for text in sorted(set(masked.names), key=len, reverse=True):
        left = r"(?<!\w)" if text[0].isalnum() and text not in before else ""
        right = r"(?!\w)" if text[-1].isalnum() and text not in behind else ""
        patterns.append(f"{left}{re.escape(text)}{right}")
    return re.compile("|".join(patterns))


def _iter_shown(masked: Masked) -> Iterator[tuple[Protected, str, int]]:
    """Yield the shown stretches with what the text shows of them, and where."""
    return zip(masked.shown, masked.names, masked.places, strict=True)


def _restore(text: str, spans: Sequence[tuple[int, int, Protected]]) -> str:
    """Return a text with protected stretches as the document has them in place of what was shown, in order."""
    pieces, end = "", 0
    for first, last, part in spans:
        pieces += text[end:first] + part.text
        end = last
    return pieces + text[end:]


def _count_placeholders(text: str) -> Counter[str]:
    return Counter(part.text for part in find_placeholders(text) if isinstance(part, Protected))


def _find_spaces_behind(parts: Sequence[str | Protected]) -> list[bool]:
    """Return of each part whether white space comes next, hidden stretches left out."""
    spaces = []
    is_next = False
    for part in reversed(parts):
        spaces.append(is_next)
        if isinstance(part, str):
            is_next = part[:1].isspace()
        elif part.shown:
            is_next = False
    return spaces[::-1]


def _join(parts: Sequence[str | Protected]) -> TranslatedSegment:
    """Return parts without empty ones, neighbouring texts as one."""
    joined: list[str | Protected] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return tuple(joined)
