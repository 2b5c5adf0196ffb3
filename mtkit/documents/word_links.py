"""The words of a source and its translation, and which belong together."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtkit.decoding.translation import Links

_WORD = re.compile(r"\S+")
Span = tuple[int, int]


class WordLinks:
    """The words of source and target as spans of characters, and the links between them.

    Args:
        source_text: The source.
        target_text: Its translation.
        links: Of words, parted by white space.
    """

    def __init__(self, source_text: str, target_text: str, links: Links) -> None:
        self.source_text = source_text
        self.target_text = target_text
        self.source = [match.span() for match in _WORD.finditer(source_text)]
        self.target = [match.span() for match in _WORD.finditer(target_text)]
        self.links = sorted(links)
        self._linked_sources = np.array([i for i, _ in self.links], dtype=np.int64)
        self._linked_targets = np.array([j for _, j in self.links], dtype=np.int64)

    def is_blank(self, start: int, end: int) -> bool:
        """Return whether a stretch of the source holds nothing but white space."""
        return start >= end or not find_words(self.source, (start, end))

    def find_linked(self, sources: range, targets: range) -> list[int]:
        """Return those of some target words that are linked to some source words."""
        first = bisect.bisect_left(self.links, (sources.start, -1))
        last = bisect.bisect_left(self.links, (sources.stop, -1))
        return [j for _, j in self.links[first:last] if j in targets]

    def count_crossing(self, source: int, targets: range) -> npt.NDArray[np.int64]:
        """Return how many links cross each gap of some target words, if it is the gap before a source word.

        Args:
            source: The word, by its index.
            targets: The words; links of others do not count.

        Returns:
            For the gap before each of the words, and the one behind the last.
        """
        inside = (self._linked_targets >= targets.start) & (self._linked_targets < targets.stop)
        is_before = self._linked_sources < source
        size = len(targets)
        before = np.bincount(self._linked_targets[inside & is_before] - targets.start, minlength=size)
        after = np.bincount(self._linked_targets[inside & ~is_before] - targets.start, minlength=size)
        gaps = np.zeros(size + 1, dtype=np.int64)
        gaps[1:] = np.cumsum(after - before)
        gaps += before.sum()
        return gaps


def find_words(words: Sequence[Span], span: Span) -> range:
    """Return the words of which some characters stand within a span; around an empty span, the one that it is in.

    Args:
        words: In order.
        span: From, to.
    """
    first = bisect.bisect_right(words, span[0], key=lambda word: word[1])
    last = bisect.bisect_left(words, span[1], key=lambda word: word[0])
    return range(first, max(first, last))
