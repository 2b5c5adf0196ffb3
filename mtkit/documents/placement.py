"""Where tags and line breaks that were taken out of a source go in its translation, by the links of words."""

from __future__ import annotations

import bisect
import re
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
# From, to, and what stands there in place of the text between: white space and protected stretches.
Insertion = tuple[int, int, tuple[str | Protected, ...]]


@dataclass(frozen=True)
class Hidden:
    """A stretch that was taken out of a text.

    Attributes:
        part: The stretch.
        offset: Where it stood, in characters of the text without it.
        space_before: Whether white space stood before it …
        space_after: … and behind it.
    """

    part: Protected
    offset: int
    space_before: bool = False
    space_after: bool = False

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
            gap = _find_gap(node.opening.offset, source, target, words)
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


def _find_gap(offset: int, source: Span, target: Span, words: WordLinks) -> int:
    """Return where the fewest links cross, in characters of the target: the end of a word, or the span's start."""
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
    return target[0] if count == 0 else min(words.target[allowed[count - 1]][1], target[1])


def _leave(offset: int, taken: Sequence[Span]) -> int:
    """Return the offset, or the end of the span that it lies within."""
    around = find_words(taken, (offset, offset))
    return taken[around[0]][1] if around else offset


def _insert(source: str, target: str, offset: int, items: Sequence[Hidden]) -> Insertion:
    """Return what to put at a place: what stands alone brings the white space that it had.

    Between words there is some too on a side where it had none, but stood beside a mark, as in `the dog <img>.`.
    """
    parts: list[str | Protected] = []
    first = last = offset
    opens = items[0].part.kind == "open" and offset > 0
    if opens:  # an opening tag goes before a word, not behind one
        while last < len(target) and target[last].isspace():
            last += 1
        if last == offset or last == len(target):
            last = offset
        else:
            parts.append(target[offset:last])
    alone = [place for place, item in enumerate(items) if item.part.kind == "standalone"]
    if alone and not opens and 0 < offset < len(target):
        while last < len(target) and target[last].isspace():
            last += 1
        inserted = [item.part for item in items]
        before, behind = inserted[: alone[0]], inserted[alone[-1] + 1 :]
        head, tail = items[alone[0]], items[alone[-1]]
        is_apart = last > offset and target[last].isalnum() and target[offset - 1].isalnum()
        leads = head.space_before or (is_apart and tail.space_after and _is_mark(source, head.offset, -1))
        follows = tail.space_after or (is_apart and not tail.is_break and _is_mark(source, tail.offset, 1))
        parts += [*before, " "] if leads else before
        parts += inserted[alone[0] : alone[-1] + 1]
        parts += [" ", *behind] if follows else behind
        return first, last, tuple(parts)
    return first, last, (*parts, *(item.part for item in items))


def _is_mark(source: str, offset: int, step: Literal[-1, 1]) -> bool:
    """Return whether the character before (-1) or behind (1) a place of the source, blanks left out, is no letter."""
    place = offset if step == 1 else offset - 1
    while 0 <= place < len(source) and source[place].isspace():
        place += step
    return 0 <= place < len(source) and not source[place].isalnum()
