"""Where tags and line breaks that were taken out of a source go in its translation, by the links of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mtkit.decoding.translation import Links
from mtkit.documents.document import Protected

_WORD = re.compile(r"\S+")
Span = tuple[int, int]

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


@dataclass
class _Node:
    """A pair with what it encloses, or something that stands alone."""

    opening: Hidden
    closing: Hidden | None = None
    inner: list[_Node] = field(default_factory=list)


@dataclass(frozen=True)
class _Words:
    """The words of source and target as spans of characters, and the links between them."""

    source_text: str
    target_text: str
    source: list[Span]
    target: list[Span]
    links: Links


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
        taken: Spans of the target into which nothing may be put.
    """
    if not hidden:
        return []
    words = _Words(source, target, _find_spans(source), _find_spans(target), tuple(links or ()))
    placed: list[tuple[int, Hidden]] = []
    _place(_build_tree(hidden), (0, len(source)), (0, len(target)), words, placed)
    free = [(_leave(offset, taken), item) for offset, item in placed]
    offsets = sorted({offset for offset, _ in free})
    return [_insert(target, offset, [item for there, item in free if there == offset]) for offset in offsets]


def _find_spans(text: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(text)]


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
    stack: list[int | None] = []
    for item in hidden:
        if item.part.kind == "open":
            stack.append(item.part.pair)
        elif item.part.kind == "close" and item.part.pair in stack:
            while stack.pop() != item.part.pair:
                pass
            nested.add(item.part.pair)
    return nested


def _place(nodes: Sequence[_Node], source: Span, target: Span, words: _Words, placed: list[tuple[int, Hidden]]) -> None:
    """Append the places of nodes inside a span of source and target, in the order of the target."""
    wanted: list[tuple[Span, int, _Node]] = []
    for number, node in enumerate(nodes):
        last = node.closing.offset if node.closing else node.opening.offset
        enclosed = (node.opening.offset, last)
        if words.source_text[slice(*enclosed)].strip():
            span = _find_span(enclosed, source, target, words)
        else:
            gap = _find_gap(node.opening.offset, source, target, words)
            span = (gap, gap)
        wanted.append((span, number, node))
    end = target[0]
    for (first, last), _, node in sorted(wanted, key=lambda item: item[:2]):
        first, last = max(first, end), max(last, end)  # noqa: PLW2901
        placed.append((first, node.opening))
        if node.inner:
            enclosed_end = node.closing.offset if node.closing else node.opening.offset
            _place(node.inner, (node.opening.offset, enclosed_end), (first, last), words, placed)
        if node.closing is not None:
            placed.append((last, node.closing))
        end = last


def _find_span(enclosed: Span, source: Span, target: Span, words: _Words) -> Span:
    """Return the characters of the target that a pair is to enclose."""
    if not (words.source_text[source[0] : enclosed[0]] + words.source_text[enclosed[1] : source[1]]).strip():
        return target  # it enclosed all there is
    inside = {i for i, (first, last) in enumerate(words.source) if first < enclosed[1] and last > enclosed[0]}
    allowed = _find_words(words.target, target)
    linked = [j for i, j in words.links if i in inside and j in allowed]
    if linked:
        start = _find_edge(words, enclosed[0], words.target[min(linked)], at_start=True)
        end = _find_edge(words, enclosed[1], words.target[max(linked)], at_start=False)
        start, end = max(start, target[0]), min(end, target[1])
        if start < end:
            return start, end
    return _find_share(enclosed, source, target, words)


def _find_share(enclosed: Span, source: Span, target: Span, words: _Words) -> Span:
    """Return the span of the target that has the place, among its words, that a pair has in the source."""
    there = sorted(_find_words(words.target, target))
    if not there:
        return target[0], target[0]
    share = len(there) / max(1, source[1] - source[0])
    first = min(int((enclosed[0] - source[0]) * share), len(there) - 1)
    last = max(first, min(round((enclosed[1] - source[0]) * share), len(there)) - 1)
    return max(words.target[there[first]][0], target[0]), min(words.target[there[last]][1], target[1])


def _find_edge(words: _Words, offset: int, word: Span, *, at_start: bool) -> int:
    """Return where in a target word, the first or last one of a pair, the pair begins or ends.

    Punctuation at the word's edge stays outside, unless the pair in the source begins or ends with some. In a word that
    was copied the place is that of the source.
    """
    text = words.target_text[slice(*word)]
    around = next((span for span in words.source if span[0] < offset < span[1]), None)
    if around is not None and words.source_text[slice(*around)] == text:
        return word[0] + offset - around[0]
    beside = words.source_text[offset : offset + 1] if at_start else words.source_text[:offset][-1:]
    marks = re.match(r"\W*", text) if at_start else re.search(r"\W*$", text)
    count = len(marks[0]) if marks and beside.isalnum() else 0
    if count == len(text):
        count = 0
    return word[0] + count if at_start else word[1] - count


def _find_gap(offset: int, source: Span, target: Span, words: _Words) -> int:
    """Return where the fewest links cross, in characters of the target: the end of a word, or the span's start."""
    if not words.source_text[source[0] : offset].strip():
        return target[0]
    if not words.source_text[offset : source[1]].strip():
        return target[1]
    before = {i for i, (first, last) in enumerate(words.source) if first + last < 2 * offset}
    allowed = sorted(_find_words(words.target, target))
    if not allowed:
        return target[0]
    share = (offset - source[0]) / max(1, source[1] - source[0]) * len(allowed)
    relevant = [(i in before, j) for i, j in words.links if allowed[0] <= j <= allowed[-1]]

    def cost(count: int) -> tuple[int, float]:
        crossing = sum(is_before != (j < allowed[0] + count) for is_before, j in relevant)
        return crossing, abs(count - share)

    best = min(range(len(allowed) + 1), key=cost)
    return target[0] if best == 0 else min(words.target[allowed[best - 1]][1], target[1])


def _find_words(words: Sequence[Span], span: Span) -> set[int]:
    return {j for j, (first, last) in enumerate(words) if first < span[1] and last > span[0]}


def _leave(offset: int, taken: Sequence[Span]) -> int:
    """Return the offset, or the end of the span that it lies within."""
    return next((last for first, last in taken if first < offset < last), offset)


def _insert(target: str, offset: int, items: Sequence[Hidden]) -> Insertion:
    """Return what to put at a place: what stands alone brings the white space that it had."""
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
        parts += [*before, " "] if items[alone[0]].space_before else before
        parts += inserted[alone[0] : alone[-1] + 1]
        parts += [" ", *behind] if items[alone[-1]].space_after else behind
        return first, last, tuple(parts)
    return first, last, (*parts, *(item.part for item in items))
