"""Which training pairs are dropped for what they look like, each by itself."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Iterator
from itertools import compress

import numpy as np
import numpy.typing as npt

from mtkit.config.corpus import FilterSection
from mtkit.corpus.invisible import is_blank, remove_invisible

Mask = npt.NDArray[np.bool_]

# Short texts differ in length by chance: so many characters are added to both sides before they are compared.
LENGTH_GRACE = 15


def clean_chunk(
    sources: list[str], targets: list[str], filters: FilterSection
) -> tuple[list[str], list[str], dict[str, int]]:
    """Return the pairs that pass all filters of single pairs, and how many each filter dropped.

    A pair is counted by the first filter that it fails.
    """
    alive = np.ones(len(sources), np.bool_)
    dropped = {}
    for reason, fails in _iter_filters(sources, targets, filters):
        dropped[reason] = int(np.count_nonzero(alive & fails))
        alive &= ~fails
    if alive.all():
        return sources, targets, dropped
    return list(compress(sources, alive)), list(compress(targets, alive)), dropped


def _iter_filters(sources: list[str], targets: list[str], filters: FilterSection) -> Iterator[tuple[str, Mask]]:
    """Yield each filter that is on: its name, and a mask that is True where a pair fails."""
    count = len(sources)
    yield "empty", _are_blank(sources) | _are_blank(targets)
    source_lengths = np.fromiter(map(len, sources), np.int32, count)
    target_lengths = np.fromiter(map(len, targets), np.int32, count)
    longer = np.maximum(source_lengths, target_lengths)
    shorter = np.minimum(source_lengths, target_lengths)
    if filters.max_characters is not None:
        yield "too long (characters)", longer > filters.max_characters
    if filters.max_length_ratio is not None:
        yield "length ratio", longer + LENGTH_GRACE > filters.max_length_ratio * (shorter + LENGTH_GRACE)
    if filters.source_copy:
        copies = map(operator.eq, map(str.strip, sources), map(str.strip, targets))
        yield "target copies source", np.fromiter(copies, np.bool_, count)
    if filters.min_letter_share is not None:
        shares = map(min, map(letter_share, sources), map(letter_share, targets))
        yield "too few letters", np.fromiter(shares, np.float64, count) < filters.min_letter_share


def _are_blank(lines: list[str]) -> Mask:
    return np.fromiter(map(is_blank, lines), np.bool_, len(lines))


def letter_share(line: str) -> float:
    """Return the share of letters, with their combining marks, among the characters that are seen."""
    visible = "".join(remove_invisible(line).split())
    return len(visible.translate(_LETTERS)) / len(visible) if visible else 0.0


class _LettersOnly(dict[int, int | None]):
    """A table for `str.translate` that removes everything but letters and combining marks; it fills itself."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LM" else None
        return self[code]


_LETTERS = _LettersOnly()
