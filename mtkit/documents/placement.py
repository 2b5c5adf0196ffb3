"""Where tags and line breaks that were taken out of a source go in its translation, by the links of words."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np

from mtkit.decoding.translation import Links
from mtkit.documents.document import Protected
from mtkit.documents.word_links import Span, WordLinks, find_words

# Pairs within so many others are placed without the links.
_DEEPEST = 50
# A stretch touches the marks that stand at most so many characters from it.
_NEAR = 20
_MARKS = re.compile(r"\s*([^\w\s]+)")
_MARKS_BEFORE = re.compile(r"[^\w\s]+\Z")
# From, to, and what stands there in place of the text between: white space and protected stretches.
Insertion = tuple[int, int, tuple[str | Protected, ...]]


@dataclass(frozen=True)
class Hidden:
    """A stretch that was taken out of a text.

    Attributes:
        part: The stretch.
        offset: Where it stood, in characters of the text without it.
        space_before: Whether white space stood before it …
        space_after: … and behind it, others that were taken out not counted.
        is_parted: Whether white space stood right behind it, before any other.
    """

    part: Protected
    offset: int
    space_before: bool = False
    space_after: bool = False
    is_parted: bool = False

    @property
    def is_break(self) -> bool:
        """Whether it ends a line as it is written."""
        return self.part.text[-1:].isspace()


@dataclass
class _Node:
    """A pair with what it encloses, or something that stands alone."""

    opening: Hidden
    closing: Hidden | None = None
    inner: list[_Node] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Where what it encloses ends, in characters of the text without the stretches."""
        return self.opening.offset if self.closing is None else self.closing.offset


def place_hidden(
    source: str, target: str, hidden: Sequence[Hidden], links: Links | None, taken: Sequence[Span] = ()
) -> list[Insertion]:
    """Return what is to be inserted into a translation: each stretch once, pairs nested as in the source.

    A pair encloses the words that are linked to those it enclosed, from the first to the last. What stands alone goes
    where the fewest links cross it. Where there are no links, the share of the text that was before decides.

    Args:
        source: The text without the stretches.
        target: Its translation.
        hidden: The stretches, in the order of the source.
        links: Of words, parted by white space.
        taken: Spans of the target into which nothing may be put, in order.
    """
    if not hidden:
        return []
    words = WordLinks(source, target, tuple(links or ()))
    placed: list[tuple[int, Hidden]] = []
    _place(_build_tree(hidden), (0, len(source)), (0, len(target)), words, placed)
    free = sorted(((_leave(offset, taken), item) for offset, item in placed), key=_get_offset)
    groups = groupby(free, _get_offset)
    return [_insert(source, target, offset, [item for _, item in group]) for offset, group in groups]


def _get_offset(placed: tuple[int, Hidden]) -> int:
    return placed[0]


def _build_tree(hidden: Sequence[Hidden]) -> list[_Node]:
    """Return the nodes of the outermost level; ends of pairs that do not nest stand alone."""
    roots: list[_Node] = []
    stack: list[_Node] = []
    nested = _find_nested(hidden)
    for item in hidden:
        match item.part.kind:
            case "open" if item.part.pair in nested:
                node = _Node(item)
                (stack[-1].inner if stack else roots).append(node)
                stack.append(node)
            case "close" if stack and stack[-1].opening.part.pair == item.part.pair:
                stack.pop().closing = item
            case _:
                (stack[-1].inner if stack else roots).append(_Node(item))
    return roots


def _find_nested(hidden: Sequence[Hidden]) -> set[int | None]:
    """Return the pairs that close in the order in which pairs must."""
    nested: set[int | None] = set()
    opened: dict[int | None, None] = {}  # in order
    for item in hidden:
        if item.part.kind == "open":
            opened[item.part.pair] = None
        elif item.part.kind == "close" and item.part.pair in opened:
            while opened.popitem()[0] != item.part.pair:
                pass
            nested.add(item.part.pair)
    return nested


def _place(
    nodes: Sequence[_Node],
    source: Span,
    target: Span,
    words: WordLinks,
    placed: list[tuple[int, Hidden]],
    depth: int = 0,
) -> None:
    """Append the places of nodes inside a span of source and target, in the order of the target."""
    if depth == _DEEPEST:
        _place_in_order(nodes, source, target, words, placed)
        return
    wanted: list[tuple[Span, int, _Node]] = []
    for number, node in enumerate(nodes):
        enclosed = (node.opening.offset, node.end)
        if words.is_blank(*enclosed):
            gap = _find_gap(node.opening, source, target, words)
            span = (gap, gap)
        else:
            span = _find_span(enclosed, source, target, words)
        wanted.append((span, number, node))
    end = target[0]
    for (first, last), _, node in sorted(wanted, key=lambda item: item[:2]):
        first, last = max(first, end), max(last, end)  # noqa: PLW2901
        placed.append((first, node.opening))
        if node.inner:
            _place(node.inner, (node.opening.offset, node.end), (first, last), words, placed, depth + 1)
        if node.closing is not None:
            placed.append((last, node.closing))
        end = last


def _place_in_order(
    nodes: Sequence[_Node], source: Span, target: Span, words: WordLinks, placed: list[tuple[int, Hidden]]
) -> None:
    """Append the places of nodes and all that is in them by their share of the text, whatever the links are."""
    there = find_words(words.target, target)
    share = len(there) / max(1, source[1] - source[0])
    waiting: list[_Node | Hidden] = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        item = node.opening if isinstance(node, _Node) else node
        count = min(round((item.offset - source[0]) * share), len(there))
        edge = words.target[there[count - 1]][1] if count else target[0]
        placed.append((min(max(edge, target[0]), target[1]), item))
        if isinstance(node, _Node):
            waiting += [node.closing] if node.closing is not None else []
            waiting += reversed(node.inner)


def _find_span(enclosed: Span, source: Span, target: Span, words: WordLinks) -> Span:
    """Return the characters of the target that a pair is to enclose."""
    if words.is_blank(source[0], enclosed[0]) and words.is_blank(enclosed[1], source[1]):
        return target  # it enclosed all there is
    linked = words.find_linked(find_words(words.source, enclosed), find_words(words.target, target))
    if linked:
        start = _find_edge(words, enclosed[0], words.target[min(linked)], at_start=True)
        end = _find_edge(words, enclosed[1], words.target[max(linked)], at_start=False)
        start, end = max(start, target[0]), min(end, target[1])
        if start < end:
            return start, end
    return _find_share(enclosed, source, target, words)


def _find_share(enclosed: Span, source: Span, target: Span, words: WordLinks) -> Span:
    """Return the span of the target that has the place, among its words, that a pair has in the source."""
    there = find_words(words.target, target)
    if not there:
        return target[0], target[0]
    share = len(there) / max(1, source[1] - source[0])
    first = min(int((enclosed[0] - source[0]) * share), len(there) - 1)
    last = max(first, min(round((enclosed[1] - source[0]) * share), len(there)) - 1)
    return max(words.target[there[first]][0], target[0]), min(words.target[there[last]][1], target[1])


def _find_edge(words: WordLinks, offset: int, word: Span, *, at_start: bool) -> int:
    """Return where in a target word, the first or last one of a pair, the pair begins or ends.

    Punctuation at the word's edge stays outside, unless the pair in the source begins or ends with some. In a word that
    was copied the place is that of the source.
    """
    text = words.target_text[slice(*word)]
    for around in find_words(words.source, (offset, offset)):
        span = words.source[around]
        if words.source_text[slice(*span)] == text:
            return word[0] + offset - span[0]
    beside = words.source_text[offset : offset + 1] if at_start else words.source_text[max(0, offset - 1) : offset]
    marks = re.match(r"\W*", text if at_start else text[::-1])
    count = len(marks[0]) if marks and beside.isalnum() else 0
    if count == len(text):
        count = 0
    return word[0] + count if at_start else word[1] - count


def _find_gap(item: Hidden, source: Span, target: Span, words: WordLinks) -> int:
    """Return where the fewest links cross, in characters of the target: beside a word, or a mark that it touches."""
    offset = item.offset
    if words.is_blank(source[0], offset):
        return target[0]
    if words.is_blank(offset, source[1]):
        return target[1]
    # The first word of which the greater part stands behind the place.
    following = bisect.bisect_left(words.source, 2 * offset, key=sum)
    allowed = find_words(words.target, target)
    if not allowed:
        return target[0]
    share = (offset - source[0]) / max(1, source[1] - source[0]) * len(allowed)
    crossing = words.count_crossing(following, allowed)
    best = np.flatnonzero(crossing == crossing.min())
    count = int(best[np.argmin(np.abs(best - share))])
    edge = target[0] if count == 0 else min(words.target[allowed[count - 1]][1], target[1])
    return min(max(_touch_marks(item, edge, words), target[0]), target[1])


def _touch_marks(item: Hidden, edge: int, words: WordLinks) -> int:
    """Return a place of the target moved so that the marks that touched a stretch in the source touch it there too.

    Such as those in `Delete "<x/>"?` and `Hello <x/>!`, which are read without it.
    """
    source, target, offset = words.source_text, words.target_text, item.offset
    before = "" if item.space_before else source[max(0, offset - _NEAR) : offset].rstrip()[-1:]
    behind = "" if item.space_after else source[offset : offset + _NEAR].lstrip()[:1]
    is_before, is_behind = (_MARKS.fullmatch(character) is not None for character in (before, behind))
    if is_before and is_behind:
        for around in (before + behind, f"{before} {behind}"):
            if target.count(around) == 1:
                return target.index(around) + 1
    marks = _MARKS.match(target, edge, edge + _NEAR)
    if is_before and marks and before in marks[1]:
        return marks.start(1) + marks[1].index(before) + 1
    marks = _MARKS_BEFORE.search(target, max(0, edge - _NEAR), edge)
    if is_behind and marks and behind in marks[0]:
        return marks.start() + marks[0].index(behind)
    return edge


def _leave(offset: int, taken: Sequence[Span]) -> int:
    """Return the offset, or the end of the span that it lies within."""
    around = find_words(taken, (offset, offset))
    return taken[around[0]][1] if around else offset


def _insert(source: str, target: str, offset: int, items: Sequence[Hidden]) -> Insertion:
    """Return what to put at a place: stretches with white space, which may take the place of that of the target."""
    alone = _find_alone(items)
    # A tag that encloses words goes before the first of them, not behind the word before it.
    opens = offset > 0 and items[0].part.kind == "open" and 0 not in alone
    last = offset
    if opens or (alone and offset > 0):
        last = len(target) - len(target[offset:].lstrip())
    if opens and last == len(target):
        last = offset
    spaces = _find_spaces(source, target, (offset, last), items, alone)
    parts: list[str | Protected] = []
    if opens:
        spaces -= set(alone[:1])
        parts.append(target[offset:last])
    for number, item in enumerate(items):
        parts += [" ", item.part] if number in spaces else [item.part]
    return offset, last, (*parts, " ") if len(items) in spaces else tuple(parts)


def _find_alone(items: Sequence[Hidden]) -> list[int]:
    """Return which of the stretches at one place stand alone there, or enclose nothing."""
    ends = Counter(item.part.pair for item in items)
    return [n for n, item in enumerate(items) if item.part.kind == "standalone" or ends[item.part.pair] == 2]


def _find_spaces(source: str, target: str, span: Span, items: Sequence[Hidden], alone: Sequence[int]) -> set[int]:
    """Return before which of the stretches at one place a space goes; their number stands for behind the last.

    Those that stand alone bring the white space that they had. Between words there is some too on a side where they had
    none, but stood beside a mark, as in `the dog <img>.`.

    Args:
        source: Where they stood.
        target: The translation.
        span: What they take the place of.
        items: The stretches.
        alone: Which of them stand alone.
    """
    if not alone:
        return set()
    (start, end), first, last = span, alone[0], alone[-1]
    head, tail = items[first], items[last]
    beside = target[max(0, start - 1) : start] + target[end : end + 1]
    is_apart = (end > start or start in (0, len(target))) and all(map(str.isalnum, beside))
    leads = head.space_before or (is_apart and tail.space_after and _is_free(source, head.offset, -1))
    follows = tail.space_after or (is_apart and not tail.is_break and _is_free(source, tail.offset, 1))
    spaces = {n + 1 for n in range(first, last) if _are_parted(source, items[n], items[n + 1])}
    spaces |= {first} if leads and start > 0 else set()
    return spaces | ({last + 1} if follows and end < len(target) else set())


def _are_parted(source: str, item: Hidden, following: Hidden) -> bool:
    """Return whether there is white space between two stretches at one place: as there was, or as each had."""
    if source[item.offset : following.offset].strip():
        return not item.is_break and (item.space_after or following.space_before)
    return item.is_parted


def _is_free(source: str, offset: int, step: Literal[-1, 1]) -> bool:
    """Return whether no letter is the first before (-1) or behind (1) a place of the source, blanks left out."""
    place = offset if step == 1 else offset - 1
    while 0 <= place < len(source) and source[place].isspace():
        place += step
    return not 0 <= place < len(source) or not source[place].isalnum()
