"""Groups of sentences that are scored apart, to see where the errors are."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mtkit.evaluation.tokenizers import guess_language, is_unspaced

_LENGTH_GROUPS = 5
# The smallest count of each group of rare words.
_RARITY_BOUNDS = (0, 1, 10, 100, 1000)


@dataclass(frozen=True)
class Breakdown:
    """Sentences in groups.

    Attributes:
        by: What decides the group.
        unit: What the labels of the groups count or name.
        groups: Label to the rows of its sentences; no group is empty.
    """

    by: Literal["source length", "reference length", "rare words", "label"]
    unit: str
    groups: Mapping[str, Sequence[int]]


def break_down_by_length(sources: Sequence[str] | None, references: Sequence[str]) -> Breakdown:
    """Group sentences by length into about five groups of about the same size.

    A sentence is as long as its source has words, between spaces; where the source is not known, its reference. Text of
    a script that is written without spaces is measured in characters.

    Args:
        sources: One source a line, if known.
        references: One reference a line.
    """
    side, lines = ("reference", references) if sources is None else ("source", sources)
    counts_characters = is_unspaced(guess_language(lines))
    lengths = [len("".join(line.split())) if counts_characters else len(line.split()) for line in lines]
    starts = _find_starts(lengths)
    ends = [*(start - 1 for start in starts[1:]), max(lengths)]
    labels = [f"{first}" if first == last else f"{first}-{last}" for first, last in zip(starts, ends, strict=True)]
    groups: dict[str, list[int]] = {label: [] for label in labels}
    for row, length in enumerate(lengths):
        groups[labels[bisect_right(starts, length) - 1]].append(row)
    unit = f"{'characters' if counts_characters else 'words'} of the {side}"
    return Breakdown("reference length" if sources is None else "source length", unit, groups)


def _find_starts(lengths: Sequence[int]) -> list[int]:
    """Return the smallest length of each group: the quantiles, each length in one group only."""
    ordered = sorted(lengths)
    quantiles = [ordered[len(ordered) * part // _LENGTH_GROUPS] for part in range(_LENGTH_GROUPS)]
    return sorted(set(quantiles))


def count_words(lines: Iterable[str], split_words: Callable[[str], Sequence[str]]) -> Counter[str]:
    """Count the words of a training text.

    Args:
        lines: Text of the target language.
        split_words: Returns the words of a line.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(split_words(line))
    return counts


def break_down_by_rare_words(
    references: Sequence[str], counts: Mapping[str, int], split_words: Callable[[str], Sequence[str]]
) -> Breakdown:
    """Group sentences by how often the rarest word of their reference occurs in the training text.

    Args:
        references: One reference a line; of several references the first.
        counts: What `count_words` gave for the target side of the training text.
        split_words: The function that it split words with.
    """
    ends = [*(bound - 1 for bound in _RARITY_BOUNDS[1:]), None]
    labels = [
        f"{first:,} or more" if last is None else f"{first}" if first == last else f"{first}-{last}"
        for first, last in zip(_RARITY_BOUNDS, ends, strict=True)
    ]
    groups: dict[str, list[int]] = {label: [] for label in [*labels, "no words"]}
    for row, line in enumerate(references):
        words = split_words(line)
        rarest = min((counts.get(word, 0) for word in words), default=None)
        label = "no words" if rarest is None else labels[bisect_right(_RARITY_BOUNDS, rarest) - 1]
        groups[label].append(row)
    unit = "times that the rarest word of the reference occurs in the training text"
    return Breakdown("rare words", unit, {label: rows for label, rows in groups.items() if rows})


def break_down_by_label(labels: Sequence[str]) -> Breakdown:
    """Group sentences by a label of each, in the order in which labels first appear.

    Args:
        labels: One a sentence, such as the corpus or the domain that it comes from.
    """
    groups: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        groups.setdefault(label or "(no label)", []).append(row)
    return Breakdown("label", "given for each sentence", groups)
